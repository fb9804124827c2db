//! Points in code, by which programs and backtraces refer to it.

use crate::code::unit::{Unit, UnitId};

/// A point in code: a unit's number and a position. It is not an address, because an address may be reused when the
/// unit has been freed. OCaml programs keep points as integers, of which the collector knows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodePoint(i64);

impl CodePoint {
    /// Bits of the position in words. The unit's number has the remaining bits of a positive OCaml integer.
    const POSITION_BITS: u32 = 28;
    const UNIT_BITS: u32 = 62 - Self::POSITION_BITS;

    /// No unit has number 0, so 0 stands for a point that does not fit: it refers to no code.
    pub(crate) fn new(unit: &Unit, address: usize) -> CodePoint {
        let position = unit.position(address);
        let fits = position >> Self::POSITION_BITS == 0 && unit.id.0 >> Self::UNIT_BITS == 0;
        CodePoint(if fits { (unit.id.0 << Self::POSITION_BITS) as i64 | position as i64 } else { 0 })
    }

    /// The integer that OCaml code sees.
    pub fn to_int(self) -> i64 {
        self.0
    }

    /// The point that an integer stands for. Any integer is a point, but possibly one that refers to no code.
    pub fn from_int(n: i64) -> CodePoint {
        CodePoint(n)
    }

    pub(crate) fn unit(self) -> UnitId {
        UnitId((self.0 >> Self::POSITION_BITS) as u64)
    }

    pub(crate) fn position(self) -> usize {
        (self.0 & ((1 << Self::POSITION_BITS) - 1)) as usize
    }
}
