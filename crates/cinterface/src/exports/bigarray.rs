//! `caml/bigarray.h`: big arrays.
//!
//! Those of the program are blocks with C's layout already (`spelter_interp::prim::bigarray`). In a machine with
//! libraries, their kind has the operations that C knows by name.

use std::ffi::{c_int, c_void};

use spelter_heap::Val;
use spelter_heap::raw::{COperations, Value, describe_foreign_kinds, foreign_kind};
use spelter_interp::prim::bigarray::{
    BEFORE_DIMS, Kind, MAX_DIMS, Memory, Words, count, finalise, flag, operations,
};
use spelter_interp::{Machine, Raise, Release};
use spelter_primitives::bigarray::{BEHAVIOUR, read};

use super::built_in;
use super::custom::describe;
use super::intext::{put, rest};
use crate::arch::{VaList, may_raise, variadic};
use crate::call::{Answer, answer, reading};
use crate::misuse::misused;
use crate::state;

/// What C sees of the kind. C declares it; it never changes.
#[repr(transparent)]
pub struct Operations(COperations);

// SAFETY: nothing in it changes.
unsafe impl Sync for Operations {}

/// The operations of big arrays.
#[unsafe(no_mangle)]
pub static caml_ba_ops: Operations = Operations(COperations {
    finalize: Some(caml_ba_finalize),
    compare: Some(caml_ba_compare),
    hash: Some(caml_ba_hash),
    serialize: Some(caml_ba_serialize),
    deserialize: Some(deserialize),
    ..COperations::named(c"_bigarr02".as_ptr())
});

/// The size of an element in bytes, by kind.
#[unsafe(no_mangle)]
pub static caml_ba_element_size: [c_int; Kind::ALL.len()] = {
    let mut sizes = [0; Kind::ALL.len()];
    let mut i = 0;
    while i < sizes.len() {
        sizes[i] = Kind::ALL[i].size() as c_int;
        i += 1;
    }
    sizes
};

/// Makes these the operations of the machine's big arrays.
pub(crate) fn register(m: &mut Machine) {
    // SAFETY: the operations live as long as the process; the behaviour is that of big arrays.
    unsafe {
        let kind = foreign_kind(&raw const caml_ba_ops.0, operations(c"_bigarr02", &BEHAVIOUR));
        m.add_custom(kind);
        describe_foreign_kinds(|operations| describe(operations));
    }
}

/// Whether a library's operations use those of big arrays, so that their blocks must be some.
pub(super) fn uses_operations(c: &COperations) -> bool {
    let is = |a: Option<usize>, b: usize| a == Some(b);
    is(c.finalize.map(|f| f as usize), caml_ba_finalize as *const () as usize)
        || is(c.compare.map(|f| f as usize), caml_ba_compare as *const () as usize)
        || is(c.hash.map(|f| f as usize), caml_ba_hash as *const () as usize)
        || is(c.serialize.map(|f| f as usize), caml_ba_serialize as *const () as usize)
}

may_raise! {
    /// A big array on C's memory, or on new memory if `data` is null.
    caml_ba_alloc(flags: c_int, rank: c_int, data: *mut c_void, dims: *const isize) = alloc;
}

variadic! {
    /// The same, with the dimensions as arguments behind `data`.
    caml_ba_alloc_dims(flags: c_int, rank: c_int; ...) = alloc_dims
}

unsafe extern "C" fn alloc_dims(flags: c_int, rank: c_int, arguments: *mut VaList) -> Answer {
    // SAFETY: C passes the data, and as many dimensions as it says.
    unsafe {
        let data = (*arguments).next() as *mut c_void;
        make(flags, rank, data, |_| (*arguments).next() as usize)
    }
}

unsafe extern "C" fn alloc(flags: c_int, rank: c_int, data: *mut c_void, dims: *const isize) -> Answer {
    // SAFETY: C's array, which may lie in the heap, and has been read when anything is allocated.
    unsafe { make(flags, rank, data, |i| *dims.add(i) as usize) }
}

/// A big array whose dimensions `dim` tells, in order.
unsafe fn make(flags: c_int, rank: c_int, data: *mut c_void, dim: impl FnMut(usize) -> usize) -> Answer {
    let (Ok(rank), Some(kind)) =
        (usize::try_from(rank), Kind::ALL.get(flags as usize & flag::KIND_MASK).copied())
    else {
        misused("got a wrong kind or number of dimensions");
    };
    let mut dims = [0; MAX_DIMS];
    let Some(all) = dims.get_mut(..rank) else { misused("got too many dimensions") };
    for (place, dim) in all.iter_mut().zip((0..).map(dim)) {
        *place = dim;
    }
    // SAFETY: C's memory.
    answer(|m| unsafe { new(m, flags as usize, kind, data.cast(), all) })
}

/// A big array. The dimensions determine how much memory C has given.
unsafe fn new(
    m: &mut Machine,
    mut flags: usize,
    kind: Kind,
    data: *mut u8,
    dims: &[usize],
) -> Result<Value, Raise> {
    let since_5_2 = m.dialect().release >= Release::V5_2;
    let size = count(dims).and_then(|n| n.checked_mul(kind.size()));
    if data.is_null() {
        if m.dialect().release >= Release::V5_5 {
            flags &= !flag::SUBARRAY;
        }
        let memory = Memory::zeroed(m, size.ok_or(Raise::OutOfMemory)?)?;
        let ops = m.kind_of_numbers()?;
        let outside = memory.len();
        return Ok(m.new_numbers_with(ops, flags, dims, memory, outside)?.raw());
    }
    if since_5_2 && size.is_none() {
        return Err(Raise::OutOfMemory);
    }
    let is_own = flags & flag::MANAGED_MASK == flag::MANAGED && flags & flag::SUBARRAY == 0;
    let outside = if since_5_2 && is_own { size.unwrap_or(0) } else { 0 };
    // SAFETY: C's memory.
    let memory = unsafe { Memory::of_c(data, size.unwrap_or(usize::MAX), flags) };
    let ops = m.kind_of_numbers()?;
    Ok(m.new_numbers_with(ops, flags, dims, memory, outside)?.raw())
}

/// The number of elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_ba_num_elts(array: *const Words) -> usize {
    // SAFETY: C's argument.
    unsafe { Words::dims(array) }.iter().fold(1, |n: usize, dim| n.wrapping_mul(*dim))
}

/// The size of the elements in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_ba_byte_size(array: *const Words) -> usize {
    // SAFETY: C's argument.
    unsafe { caml_ba_num_elts(array).wrapping_mul(Words::kind(array).size()) }
}

// ---- operations ------------------------------------------------------------------------------------

/// Frees the memory of an array, if it is OCaml's and no other array shares it. Needs no machine, since libraries call it
/// when their own arrays are finalised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_ba_finalize(v: Value) {
    // SAFETY: C's argument, whose elements are not used any more.
    unsafe { finalise(v) };
}

/// The total order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_ba_compare(a: Value, b: Value) -> c_int {
    let compared = reading(|m| {
        // SAFETY: values of the program.
        let (a, b): (Val<'_>, Val<'_>) = unsafe { (m.value(a), m.value(b)) };
        BEHAVIOUR.compare.and_then(|compare| compare(m, a, b).ok())
    });
    let Some(compared) = compared else { return 0 };
    if compared.unordered {
        state::set(state::places().compare_unordered, 1);
    }
    compared.order as c_int
}

/// The hash.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_ba_hash(v: Value) -> isize {
    // SAFETY: a value of the program.
    reading(|m| BEHAVIOUR.hash.and_then(|hash| hash(m, unsafe { m.value(v) }).ok())).unwrap_or(0) as isize
}

/// Writes an array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_ba_serialize(v: Value, bytes32: *mut usize, bytes64: *mut usize) {
    let mut out = Vec::new();
    let sizes = reading(|m| {
        // SAFETY: a value of the program.
        BEHAVIOUR.serialize.and_then(|serialize| serialize(m, unsafe { m.value(v) }, &mut out).ok())
    });
    put(&out);
    let (small, large) = sizes.unwrap_or_default();
    // SAFETY: C's variables.
    unsafe {
        *bytes32 = small as usize;
        *bytes64 = large as usize;
    }
}

may_raise! {
    /// Reads the payload of an array into a block of a library's own kind; returns its size.
    caml_ba_deserialize(array: *mut Words) = read_array;
}

/// The same, as the operations have it.
unsafe extern "C" fn deserialize(array: *mut c_void) -> usize {
    // SAFETY: the same contract.
    unsafe { caml_ba_deserialize(array.cast()) }.bits() as usize
}

unsafe extern "C" fn read_array(array: *mut Words) -> Answer {
    answer(|m| {
        let Some(from) = rest() else { misused("was called while nothing is unmarshalled") };
        let read = read(m, from, u64::MAX)?;
        let flags = read.flags() | flag::MANAGED;
        // SAFETY: C has as much room as the message says.
        unsafe { Words::fill(array, read.memory.into_c(), flags, &read.dims) };
        Ok(Value::from_bits(8 * (BEFORE_DIMS + read.dims.len()) as u64))
    })
}

// ---- primitives that C calls -----------------------------------------------------------------------

macro_rules! primitives {
    ($($name:ident($($arg:ident),*) = $part:ident;)*) => {
        may_raise! { $(
            /// The program's primitive.
            $name($($arg: Value),*) = $part;
        )* }
        $(
            extern "C" fn $part($($arg: Value),*) -> Answer {
                answer(|m| built_in(m, stringify!($name), &[$($arg),*]))
            }
        )*
    };
}

primitives! {
    caml_ba_blit(from, to) = blit;
    caml_ba_change_layout(array, layout) = change_layout;
    caml_ba_create(kind, layout, dims) = create;
    caml_ba_dim(array, n) = dim;
    caml_ba_dim_1(array) = dim_1;
    caml_ba_dim_2(array) = dim_2;
    caml_ba_dim_3(array) = dim_3;
    caml_ba_fill(array, v) = fill;
    caml_ba_get_1(array, i) = get_1;
    caml_ba_get_2(array, i, j) = get_2;
    caml_ba_get_3(array, i, j, k) = get_3;
    caml_ba_get_generic(array, indices) = get_generic;
    caml_ba_kind(array) = kind;
    caml_ba_layout(array) = layout;
    caml_ba_num_dims(array) = num_dims;
    caml_ba_reshape(array, dims) = reshape;
    caml_ba_set_1(array, i, v) = set_1;
    caml_ba_set_2(array, i, j, v) = set_2;
    caml_ba_set_3(array, i, j, k, v) = set_3;
    caml_ba_set_generic(array, indices, v) = set_generic;
    caml_ba_slice(array, indices) = slice;
    caml_ba_sub(array, from, len) = sub;
}
