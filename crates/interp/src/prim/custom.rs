//! Custom blocks as OCaml sees them: how each kind is compared, hashed and marshalled, the three kinds of boxed
//! integers, and the names by which unmarshalling finds a kind.
//!
//! To the heap, custom blocks only have operations. What OCaml adds to these is a [`Behaviour`].

use std::cmp::Ordering;
use std::collections::HashMap;

use spelter_heap::raw::{CustomOps, tag};
use spelter_heap::{Val, WrongType};

use crate::Machine;
use crate::prim::bigarray;
use crate::prim::{Raise, Res};

/// The result of a custom comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compared {
    /// The result in the total order (`compare`).
    pub order: Ordering,
    /// Whether a NaN was found, so that `=`, `<`, `<=`, `>`, `>=` are all false.
    pub unordered: bool,
}

impl From<Ordering> for Compared {
    fn from(order: Ordering) -> Self {
        Compared { order, unordered: false }
    }
}

/// Orders two blocks of a kind.
pub type Compare = fn(&Machine, Val<'_>, Val<'_>) -> Result<Compared, Box<Raise>>;

/// Orders a block of a kind and an integer.
pub type CompareInt = fn(&Machine, Val<'_>, i64) -> Result<Compared, Box<Raise>>;

/// The hash of a block, of which the low 32 bits are used.
pub type Hash = fn(&Machine, Val<'_>) -> Result<i64, Box<Raise>>;

/// Writes a block's payload for `Marshal`. Returns its size in bytes on 32-bit and on 64-bit machines.
pub type Serialize = fn(&Machine, Val<'_>, &mut Vec<u8>) -> Result<(u32, u64), Raise>;

/// Reads a payload that [`Serialize`] wrote, from the start of the bytes, and makes the block, which is of that kind. The
/// last argument is the block's size in bytes, as recorded or fixed.
pub type Deserialize = for<'m> fn(&'m mut Machine, &'static CustomOps, &mut &[u8], u64) -> Res<'m>;

/// What OCaml's generic primitives do with one kind of custom block: the functions of C's `struct custom_operations`
/// that do not concern the heap.
#[derive(Default)]
pub struct Behaviour {
    /// Orders two blocks of this kind; without it, comparing them raises.
    pub compare: Option<Compare>,
    /// Orders a block of this kind and an integer; without it, integers are smaller than blocks.
    pub compare_ext: Option<CompareInt>,
    /// Its hash. Without it, a block does not contribute to a hash.
    pub hash: Option<Hash>,
    /// Writes the payload. Without it, marshalling raises.
    pub serialize: Option<Serialize>,
    /// Reads the payload. Without it, unmarshalling raises.
    pub deserialize: Option<Deserialize>,
    /// The size of a block in bytes, for kinds without a fixed one. The one recorded with a marshalled block must be it.
    pub size: Option<fn(Val<'_>) -> u64>,
    /// Payload sizes in bytes, on 32-bit and on 64-bit machines, for kinds of a fixed size.
    pub fixed_length: Option<(u64, u64)>,
}

impl Behaviour {
    /// That of blocks which cannot be compared or marshalled, and contribute to no hash.
    pub const OPAQUE: Behaviour = Behaviour {
        compare: None,
        compare_ext: None,
        hash: None,
        serialize: None,
        deserialize: None,
        size: None,
        fixed_length: None,
    };

    /// The size of a block of this kind in bytes, if it is known.
    pub(crate) fn block_size(&self, v: Val<'_>) -> Option<u64> {
        self.fixed_length.map(|(_, size)| size).or_else(|| Some((self.size?)(v)))
    }
}

/// What OCaml does with blocks of this kind. `None` for a kind of the host.
#[inline]
pub fn behaviour(ops: &CustomOps) -> Option<&'static Behaviour> {
    ops.behaviour.downcast_ref()
}

/// The custom kinds that can be unmarshalled, by name.
pub struct Customs {
    by_name: HashMap<&'static str, &'static CustomOps>,
    /// That of new big arrays.
    arrays: Option<&'static CustomOps>,
}

impl Default for Customs {
    /// Contains the three boxed integers.
    fn default() -> Self {
        Customs { by_name: [&INT32, &INT64, &NATIVEINT].map(|ops| (ops.name, ops)).into(), arrays: None }
    }
}

impl Customs {
    /// Adds a kind. The last one added under a name takes precedence.
    pub fn add(&mut self, ops: &'static CustomOps) {
        self.by_name.insert(ops.name, ops);
        if bigarray::is_whole(ops) {
            self.arrays = Some(ops);
        }
    }

    /// The kind of new big arrays: the last one added that is one of these.
    pub(crate) fn arrays(&self) -> Option<&'static CustomOps> {
        self.arrays
    }

    /// The kind with this name. A name in a file may be any bytes.
    pub fn find(&self, name: &[u8]) -> Option<&'static CustomOps> {
        self.by_name.get(std::str::from_utf8(name).ok()?).copied()
    }
}

// ---- reading marshalled payloads -------------------------------------------------------------------

/// What is raised for a payload that ends too early, as for any truncated object.
#[cold]
pub fn cut() -> Raise {
    Raise::failure("input_value: truncated object")
}

/// Takes `N` bytes from the start of a marshalled payload.
///
/// # Errors
/// [`cut`] when there are fewer.
pub fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], Raise> {
    match from.split_first_chunk() {
        Some((head, rest)) => {
            *from = rest;
            Ok(*head)
        }
        None => Err(cut()),
    }
}

// ---- the three boxed integers ----------------------------------------------------------------------

/// The only payload word of a boxed integer of this kind.
#[inline]
fn word(v: Val<'_>, kind: &'static CustomOps, expected: &'static str) -> Result<u64, WrongType> {
    if v.tag() == Ok(tag::CUSTOM) && v.wosize().is_ok_and(|n| n >= 2) {
        let v = v.raw();
        // SAFETY: a valid custom block of at least two words. Blocks of these kinds own nothing, so their first word is
        // just the address of the operations.
        unsafe {
            if v.word(0) == kind.word() {
                return Ok(v.word(1));
            }
        }
    }
    Err(WrongType { expected })
}

impl Machine {
    /// A boxed integer.
    #[inline]
    pub(crate) fn new_boxed(&mut self, kind: &'static CustomOps, payload: u64) -> Res<'_> {
        // SAFETY: the machine's roots are complete whenever a primitive runs, and both words are filled. A kind without
        // a finaliser need not be registered.
        unsafe {
            let b = self.heap.alloc_young(&mut self.roots, 2, tag::CUSTOM)?;
            b.set_word(0, kind.word());
            b.set_word(1, payload);
            Ok(self.as_val(b))
        }
    }
}

/// The integer in a boxed one of this kind.
#[inline]
pub(crate) fn boxed_int(v: Val<'_>, kind: &'static CustomOps) -> Result<i64, WrongType> {
    word(v, kind, "a boxed integer").map(|w| w as i64)
}

/// The `int32` in a value.
///
/// # Errors
/// When the slot holds anything else.
#[inline]
pub fn int32(v: Val<'_>) -> Result<i32, WrongType> {
    word(v, &INT32, "an int32").map(|w| w as i32)
}

/// The `int64` in a value.
///
/// # Errors
/// When the slot holds anything else.
#[inline]
pub fn int64(v: Val<'_>) -> Result<i64, WrongType> {
    word(v, &INT64, "an int64").map(|w| w as i64)
}

/// The `nativeint` in a value.
///
/// # Errors
/// When the slot holds anything else.
#[inline]
pub fn nativeint(v: Val<'_>) -> Result<i64, WrongType> {
    word(v, &NATIVEINT, "a nativeint").map(|w| w as i64)
}

/// Replaces the error for a value of another kind by 0. Callers have already tested the operations.
fn or_zero<T: Default>(r: Result<T, WrongType>) -> T {
    r.unwrap_or_default()
}

/// `int32`: always four bytes when marshalled.
pub static INT32: CustomOps = CustomOps::new(
    c"_i",
    &Behaviour {
        compare: Some(|_, a, b| Ok(or_zero(int32(a)).cmp(&or_zero(int32(b))).into())),
        compare_ext: None,
        hash: Some(|_, v| Ok(i64::from(or_zero(int32(v))))),
        serialize: Some(|_, v, out| {
            out.extend_from_slice(&or_zero(int32(v)).to_be_bytes());
            Ok((4, 4))
        }),
        deserialize: Some(|m, _, from, _| {
            let i = i32::from_be_bytes(take(from)?);
            m.new_int32(i)
        }),
        size: None,
        fixed_length: Some((4, 4)),
    },
);

/// `int64`: always eight bytes when marshalled.
pub static INT64: CustomOps = CustomOps::new(
    c"_j",
    &Behaviour {
        compare: Some(|_, a, b| Ok(or_zero(int64(a)).cmp(&or_zero(int64(b))).into())),
        compare_ext: None,
        hash: Some(|_, v| {
            let x = or_zero(int64(v));
            Ok((x >> 32) ^ x)
        }),
        serialize: Some(|_, v, out| {
            out.extend_from_slice(&or_zero(int64(v)).to_be_bytes());
            Ok((8, 8))
        }),
        deserialize: Some(|m, _, from, _| {
            let i = i64::from_be_bytes(take(from)?);
            m.new_int64(i)
        }),
        size: None,
        fixed_length: Some((8, 8)),
    },
);

/// `nativeint`: marshalled as byte 1 and four bytes, or byte 2 and eight.
pub static NATIVEINT: CustomOps = CustomOps::new(
    c"_n",
    &Behaviour {
        compare: Some(|_, a, b| Ok(or_zero(nativeint(a)).cmp(&or_zero(nativeint(b))).into())),
        compare_ext: None,
        hash: Some(|_, v| {
            let n = or_zero(nativeint(v));
            Ok((n >> 32) ^ (n >> 63) ^ n)
        }),
        serialize: Some(|_, v, out| {
            let n = or_zero(nativeint(v));
            match i32::try_from(n) {
                Ok(short) => {
                    out.push(1);
                    out.extend_from_slice(&short.to_be_bytes());
                }
                Err(_) => {
                    out.push(2);
                    out.extend_from_slice(&n.to_be_bytes());
                }
            }
            Ok((4, 8))
        }),
        deserialize: Some(|m, _, from, _| {
            let n = match take(from)? {
                [1] => i64::from(i32::from_be_bytes(take(from)?)),
                [2] => i64::from_be_bytes(take(from)?),
                _ => return Err(Raise::failure("input_value: ill-formed native integer")),
            };
            m.new_nativeint(n)
        }),
        size: None,
        fixed_length: Some((4, 8)),
    },
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, Slot};

    fn serialized(m: &Machine, s: Slot) -> (Vec<u8>, (u32, u64)) {
        let v = m.val(s);
        let mut out = Vec::new();
        let serialize = behaviour(v.custom_ops().unwrap()).and_then(|b| b.serialize).unwrap();
        let sizes = serialize(m, v, &mut out).unwrap();
        (out, sizes)
    }

    #[test]
    fn payloads_round_trip() {
        let mut m = Machine::new(Settings::default());
        let all = [
            m.push(|m| m.new_int32(-7)).unwrap(),
            m.push(|m| m.new_int64(i64::MIN)).unwrap(),
            m.push(|m| m.new_nativeint(-7)).unwrap(),
            m.push(|m| m.new_nativeint(1 << 40)).unwrap(),
        ];
        for s in all {
            let (bytes, _) = serialized(&m, s);
            let ops = m.val(s).custom_ops().unwrap();
            let read = behaviour(ops).and_then(|b| b.deserialize).unwrap();
            assert_eq!(m.customs.find(ops.name.as_bytes()).map(|found| found.name), Some(ops.name));
            let mut from = &bytes[..];
            let back = m.push(|m| read(m, ops, &mut from, 8)).unwrap();
            assert!(from.is_empty());
            let compare = behaviour(ops).and_then(|b| b.compare).unwrap();
            assert_eq!(compare(&m, m.val(s), m.val(back)), Ok(Ordering::Equal.into()));
            assert!(matches!(
                m.push(|m| read(m, ops, &mut &bytes[..bytes.len() - 1], 8)),
                Err(Raise::Failure(_))
            ));
        }
        assert_eq!(serialized(&m, all[0]), (vec![0xFF, 0xFF, 0xFF, 0xF9], (4, 4)));
        assert_eq!(serialized(&m, all[2]), (vec![1, 0xFF, 0xFF, 0xFF, 0xF9], (4, 8)));
        assert_eq!(serialized(&m, all[3]).0[0], 2);
    }

    #[test]
    fn kinds_are_not_mistaken_for_each_other() {
        let mut m = Machine::new(Settings::default());
        let s = m.push(|m| m.new_int64(3)).unwrap();
        assert_eq!(m.int64(s), Ok(3));
        assert!(matches!(m.int32(s), Err(Raise::Invalid(_))));
        assert!(matches!(m.nativeint(s), Err(Raise::Invalid(_))));
        let float = m.push(|m| m.new_float(1.0)).unwrap();
        assert!(matches!(m.int64(float), Err(Raise::Invalid(_))));
    }
}
