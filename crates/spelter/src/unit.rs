//! Handles on loaded units.

use spelter_dynlink::LoadedUnit;
use spelter_interp::UnitId;

/// A loaded unit, kept alive by the host. Drop it, and the unit goes when nothing else can reach it.
#[derive(Debug)]
pub struct Unit(pub(crate) LoadedUnit);

impl Unit {
    /// The unit's number in its machine.
    pub fn id(&self) -> UnitId {
        self.0.id
    }

    /// The module's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

impl From<&Unit> for UnitId {
    fn from(unit: &Unit) -> UnitId {
        unit.id()
    }
}

impl From<&UnitInfo> for UnitId {
    fn from(unit: &UnitInfo) -> UnitId {
        unit.id
    }
}

/// A unit that is alive in a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitInfo {
    /// Its number.
    pub id: UnitId,
    /// The module's name.
    pub name: String,
    /// Bytes of code, with what belongs to it outside the heap.
    pub code_bytes: usize,
    /// Bytes of debug data, as far as it has been read.
    pub debug_bytes: usize,
}
