//! `caml/custom.h`: kinds of custom blocks that C defines.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int};
use std::sync::{LazyLock, Mutex, PoisonError};

use spelter_heap::Val;
use spelter_heap::raw::{COperations, CustomOps, Value, foreign_kind};
use spelter_interp::prim::bigarray::operations_of_c;
use spelter_interp::prim::custom::{Behaviour, Compare, CompareInt, Compared, Deserialize, Hash, Serialize};
use spelter_interp::{Machine, Raise, Res};

use super::intext::{with_input, with_output};
use crate::call::{call_reading, call_with_machine, in_collection};
use crate::state;

/// What a nursery's worth of bytes outside the heap is, for C's ratios.
const NURSERY_BYTES: u128 = 8 * 256 * 1024;

/// The bytes outside the heap that `mem` of `max` units stand for.
pub(super) fn outside_bytes(mem: usize, max: usize) -> usize {
    if mem == 0 { 0 } else { (mem as u128 * NURSERY_BYTES / max.max(1) as u128) as usize }
}

/// The operations behind a block of C's.
fn operations(v: Val<'_>) -> &'static COperations {
    // SAFETY: only blocks of C's kinds come here; their word 0 is the address of operations that live for ever.
    unsafe { &*(v.raw().word(0) as *const COperations) }
}

/// Three words as the arguments of a function of C.
fn arguments(a: Value, b: u64, c: u64) -> [Value; 3] {
    [a, Value::from_bits(b), Value::from_bits(c)]
}

/// Compares by a function of C, at `entry`.
fn compared(m: &Machine, entry: usize, a: Val<'_>, b: u64) -> Result<Compared, Box<Raise>> {
    let unordered = state::places().compare_unordered;
    state::set(unordered, 0);
    // SAFETY: C's function, on a block of its kind.
    let order = unsafe { call_reading(m, entry, &arguments(a.raw(), b, 0)) }? as c_int;
    Ok(Compared { order: order.cmp(&0), unordered: state::get(unordered) as c_int != 0 })
}

fn compare(m: &Machine, a: Val<'_>, b: Val<'_>) -> Result<Compared, Box<Raise>> {
    let Some(f) = operations(a).compare else { return Ok(Ordering::Equal.into()) };
    compared(m, f as usize, a, b.raw().bits())
}

/// C's function gets the two values in the program's order; here the block comes first.
fn compare_ext(m: &Machine, a: Val<'_>, int: i64) -> Result<Compared, Box<Raise>> {
    let Some(f) = operations(a).compare_ext else { return Ok(Ordering::Greater.into()) };
    compared(m, f as usize, a, Value::int(int).bits())
}

fn hash(m: &Machine, v: Val<'_>) -> Result<i64, Box<Raise>> {
    let Some(f) = operations(v).hash else { return Ok(0) };
    // SAFETY: C's function on a block of its kind.
    Ok(unsafe { call_reading(m, f as usize, &arguments(v.raw(), 0, 0)) }? as i64)
}

fn serialize(m: &Machine, v: Val<'_>, out: &mut Vec<u8>) -> Result<(u32, u64), Raise> {
    let (mut bytes32, mut bytes64) = (0usize, 0usize);
    if let Some(f) = operations(v).serialize {
        let words = arguments(v.raw(), &raw mut bytes32 as u64, &raw mut bytes64 as u64);
        // SAFETY: C's function on a block of its kind.
        with_output(out, || unsafe { call_reading(m, f as usize, &words) })?;
    }
    Ok((bytes32 as u32, bytes64 as u64))
}

/// What C may write for a block whose size is not recorded, which no version of OCaml has written since 4.08.
const UNRECORDED: u64 = 1 << 16;

/// Reads the payload of a block of this kind.
fn deserialize<'m>(m: &'m mut Machine, kind: &'static CustomOps, from: &mut &[u8], recorded: u64) -> Res<'m> {
    let operations = kind.word() as *const COperations;
    // SAFETY: a kind of C's.
    let Some(f) = (unsafe { (*operations).deserialize }) else {
        return Err(Raise::failure("input_value: unknown custom block identifier"));
    };
    // C writes to memory outside the heap, because only it knows how much.
    let room = if recorded == u64::MAX { UNRECORDED } else { recorded };
    let mut payload: Vec<u64> = Vec::new();
    payload.try_reserve_exact(room.div_ceil(8) as usize)?;
    payload.resize(room.div_ceil(8) as usize, 0);
    let words = arguments(Value::from_ptr(payload.as_mut_ptr().cast()), 0, 0);
    // SAFETY: C's function, with as much room as it has said.
    let (size, left) = with_input(from, || unsafe { call_with_machine(m, f as usize, &words) });
    let size = size? as usize;
    *from = &from[from.len() - left..];
    if recorded != u64::MAX && recorded != size as u64 {
        return Err(wrong_size(m, kind.name));
    }
    // SAFETY: the machine's roots are complete; the payload is filled at once.
    unsafe {
        let (heap, roots) = m.heap_and_roots();
        let wosize = size.div_ceil(8);
        let v = heap.alloc_custom(roots, kind, wosize, 0)?;
        for (i, word) in payload.iter().take(wosize).enumerate() {
            v.set_word(1 + i, *word);
        }
        Ok(m.value(v))
    }
}

/// C has read another number of bytes than were recorded.
fn wrong_size(m: &Machine, name: &str) -> Raise {
    Raise::failure(match m.behaviour().marshal_errors_name_function {
        true => format!("input_value: error while deserializing custom block {name}"),
        false => "input_value: incorrect length of serialized custom block".to_owned(),
    })
}

/// Describes a kind of C's.
///
/// # Safety
/// The operations live as long as the process.
pub(super) unsafe fn describe(ops: *const COperations) -> &'static CustomOps {
    // SAFETY: by contract.
    let c = unsafe { &*ops };
    // SAFETY: C's two sizes.
    let fixed = unsafe { c.fixed_length.as_ref() };
    let behaviour: &'static Behaviour = Box::leak(Box::new(Behaviour {
        compare: c.compare.map(|_| compare as Compare),
        compare_ext: c.compare_ext.map(|_| compare_ext as CompareInt),
        hash: c.hash.map(|_| hash as Hash),
        serialize: c.serialize.map(|_| serialize as Serialize),
        deserialize: c.deserialize.map(|_| deserialize as Deserialize),
        size: None,
        fixed_length: fixed.map(|[bytes32, bytes64]| (*bytes32 as u64, *bytes64 as u64)),
    }));
    // SAFETY: C's string, which lives as long as the operations.
    let name: &'static CStr = unsafe { CStr::from_ptr(c.identifier) };
    let mut kind = CustomOps::named(name, behaviour);
    if c.finalize.is_some() {
        kind = kind.finalized_by(finalize);
    }
    if super::bigarray::uses_operations(c) {
        kind = operations_of_c(kind);
    }
    // SAFETY: by contract.
    unsafe { foreign_kind(ops, kind) }
}

/// Calls C's finaliser, with the value whose payload this is.
fn finalize(payload: &mut [u64]) {
    let v = Value::from_ptr(payload.as_mut_ptr().wrapping_sub(1));
    // SAFETY: the payload lies behind word 0, which is the address of C's operations.
    unsafe {
        if let Some(f) = (*(v.word(0) as *const COperations)).finalize {
            in_collection(|| f(v));
        }
    }
}

/// The operations of `caml_alloc_final`, by the finaliser. They live for ever.
pub(super) fn final_operations(f: unsafe extern "C" fn(Value)) -> *const COperations {
    static KNOWN: LazyLock<Mutex<HashMap<usize, usize>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let made = known.entry(f as usize).or_insert_with(|| {
        let name: *const c_char = c"_final".as_ptr();
        let operations = COperations { finalize: Some(f), ..COperations::named(name) };
        std::ptr::from_ref(Box::leak(Box::new(operations))) as usize
    });
    *made as *const COperations
}

/// Makes a kind known by its identifier, for unmarshalling.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_register_custom_operations(ops: *const COperations) {
    crate::call::with_machine(|m| {
        // SAFETY: the library's operations live as long as the process.
        unsafe { m.add_custom(describe(ops)) };
    });
}
