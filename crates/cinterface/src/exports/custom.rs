//! `caml/custom.h`: kinds of custom blocks that C defines.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int};
use std::sync::{LazyLock, Mutex, PoisonError};

use spelter_heap::Val;
use spelter_heap::raw::{COperations, CustomOps, Value, foreign_kind};
use spelter_interp::prim::custom::{Behaviour, Compared, Deserialize, Serialize};
use spelter_interp::{Machine, Raise, Res};

use super::intext::with_output;
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

/// The result of a comparison by C.
fn compared(order: c_int) -> Compared {
    let unordered = state::get(state::places().compare_unordered) != 0;
    Compared { order: order.cmp(&0), unordered }
}

fn compare(a: Val<'_>, b: Val<'_>) -> Compared {
    let Some(f) = operations(a).compare else { return Ordering::Equal.into() };
    state::set(state::places().compare_unordered, 0);
    // SAFETY: C's function on two blocks of its kind.
    compared(unsafe { f(a.raw(), b.raw()) })
}

fn hash(v: Val<'_>) -> i64 {
    // SAFETY: C's function on a block of its kind.
    operations(v).hash.map_or(0, |f| unsafe { f(v.raw()) as i64 })
}

fn serialize(v: Val<'_>, out: &mut Vec<u8>) -> (u32, u64) {
    let (mut bytes32, mut bytes64) = (0, 0);
    if let Some(f) = operations(v).serialize {
        // SAFETY: C's function on a block of its kind.
        with_output(out, || unsafe { f(v.raw(), &raw mut bytes32, &raw mut bytes64) });
    }
    (bytes32 as u32, bytes64 as u64)
}

/// Reads the payload of a block whose kind C has registered under this name.
fn deserialize<'m>(_: &'m mut Machine, _: &mut &[u8], _: u64) -> Res<'m> {
    Err(Raise::failure("input_value: kinds of C libraries are not read yet"))
}

/// Describes a kind of C's.
///
/// # Safety
/// The operations live as long as the process.
pub(super) unsafe fn describe(ops: *const COperations) -> &'static CustomOps {
    // SAFETY: by contract.
    let c = unsafe { &*ops };
    let behaviour: &'static Behaviour = Box::leak(Box::new(Behaviour {
        compare: c.compare.map(|_| compare as fn(Val<'_>, Val<'_>) -> Compared),
        hash: c.hash.map(|_| hash as fn(Val<'_>) -> i64),
        serialize: c.serialize.map(|_| serialize as Serialize),
        deserialize: c.deserialize.map(|_| deserialize as Deserialize),
        ..Behaviour::OPAQUE
    }));
    // SAFETY: C's string, which lives as long as the operations.
    let name: &'static CStr = unsafe { CStr::from_ptr(c.identifier) };
    let mut kind = CustomOps::named(name, behaviour);
    if c.finalize.is_some() {
        kind = kind.finalized_by(finalize);
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
            f(v);
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
