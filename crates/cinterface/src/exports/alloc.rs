//! `caml/alloc.h`: allocation.

use std::ffi::{c_char, c_int};
use std::ptr;

use spelter_heap::Heap;
use spelter_heap::raw::{COperations, CustomOps, Header, MAX_YOUNG_WOSIZE, Value, find_foreign_kind, tag};
use spelter_interp::Machine;
use spelter_interp::prim::bigarray::hidden_words;

use super::{custom, items, new_block, new_string, rooted, text};
use crate::arch::{VaList, may_raise, variadic};
use crate::call::{Answer, answer, with_machine_at_once};
use crate::roots::Block;
use crate::state;

may_raise! {
    /// A block whose fields are `()` (0 where they are not scanned).
    caml_alloc(wosize: usize, tag: c_int) = alloc;
    /// A block of up to 256 fields, which the caller fills before anything else is allocated.
    caml_alloc_small(wosize: usize, tag: c_int) = alloc_small;
    /// A block in the old generation, which the caller fills with `caml_initialize`.
    caml_alloc_shr(wosize: usize, tag: c_int) = alloc;
    /// A block with tag 0.
    caml_alloc_tuple(wosize: usize) = alloc_tuple;
    /// An array of floats.
    caml_alloc_float_array(len: usize) = alloc_float_array;
    /// A string of `len` bytes.
    caml_alloc_string(len: usize) = alloc_string;
    /// A string with these bytes.
    caml_alloc_initialized_string(len: usize, bytes: *const c_char) = alloc_initialized_string;
    /// A string with the bytes of C's.
    caml_copy_string(s: *const c_char) = copy_string;
    /// A boxed float.
    caml_copy_double(f: f64) = copy_double;
    /// A boxed integer.
    caml_copy_int32(i: i32) = copy_int32;
    /// A boxed integer.
    caml_copy_int64(i: i64) = copy_int64;
    /// A boxed integer.
    caml_copy_nativeint(i: isize) = copy_nativeint;
    /// An array of strings, from an array of C's that ends with null.
    caml_copy_string_array(strings: *const *const c_char) = copy_string_array;
    /// An array of what `f` makes of each element of an array of C's, which ends with null.
    caml_alloc_array(f: unsafe extern "C" fn(*const c_char) -> Value, array: *const *const c_char) = alloc_array;
    /// `Some v`.
    caml_alloc_some(v: Value) = alloc_some;
    /// A block for `let rec`, to be filled by `caml_update_dummy`.
    caml_alloc_dummy(size: Value) = alloc_dummy;
    /// The same, of floats.
    caml_alloc_dummy_float(size: Value) = alloc_dummy;
    /// Fills a block that `caml_alloc_dummy` made with the content of another.
    caml_update_dummy(dummy: Value, content: Value) = update_dummy;
    /// A custom block. `mem` of `max` bytes outside the heap belong to it, which makes collections come sooner.
    caml_alloc_custom(ops: *const COperations, bytes: usize, mem: usize, max: usize) = alloc_custom;
    /// The same, with bytes only.
    caml_alloc_custom_mem(ops: *const COperations, bytes: usize, mem: usize) = alloc_custom_mem;
    /// A custom block with a finaliser only.
    caml_alloc_final(words: usize, f: unsafe extern "C" fn(Value), mem: usize, max: usize) = alloc_final;
}

variadic! {
    /// A string formatted as by C's `printf`.
    caml_alloc_sprintf(format: *const c_char; ...) = alloc_sprintf
}

unsafe extern "C" fn alloc_sprintf(format: *const c_char, arguments: *const VaList) -> Answer {
    // SAFETY: C's arguments.
    answer(|m| new_string(m, &unsafe { crate::format::format(format, arguments) }))
}

extern "C" fn alloc(wosize: usize, tag: c_int) -> Answer {
    answer(|m| {
        if tag as u8 == tag::CLOSURE {
            expect_code(m);
        }
        new_block(m, wosize, tag as u8)
    })
}

/// C makes a closure: in front of its environment may be the addresses of C's code, with OCaml 5, too. The collector is
/// told, since it looks at these words: in closures of ours they look like integers.
pub(super) fn expect_code(m: &mut Machine) {
    // SAFETY: this changes nothing but the collector's care.
    unsafe { m.heap_and_roots() }.0.allow_naked_pointers();
}

/// A young block, if there is room for it at once. Functions that make small blocks begin with it; the rest of each is
/// a function of its own, so that registers are saved only there.
#[inline(always)]
fn young(wosize: usize, tag: u8) -> Option<Value> {
    if !(1..=MAX_YOUNG_WOSIZE).contains(&wosize) {
        return None;
    }
    // SAFETY: C, or the caller, fills the block before the next allocation.
    with_machine_at_once(|m| unsafe { m.heap_and_roots().0.alloc_small(wosize, tag) })
}

/// The answer of a function that has made a block.
#[inline(always)]
fn made(value: Value) -> Answer {
    Answer { value, left: 0 }
}

extern "C" fn alloc_small(wosize: usize, tag: c_int) -> Answer {
    match young(wosize, tag as u8) {
        Some(v) if tag as u8 != tag::CLOSURE => made(v),
        _ => alloc_small_slowly(wosize, tag),
    }
}

#[inline(never)]
extern "C" fn alloc_small_slowly(wosize: usize, tag: c_int) -> Answer {
    answer(|m| {
        if tag as u8 == tag::CLOSURE {
            expect_code(m);
        }
        if wosize == 0 || wosize > MAX_YOUNG_WOSIZE {
            return new_block(m, wosize, tag as u8);
        }
        // SAFETY: C keeps its values where `roots` finds them, and fills the block before the next allocation.
        unsafe {
            let (heap, roots) = m.heap_and_roots();
            Ok(heap.alloc_young(roots, wosize, tag as u8)?)
        }
    })
}

extern "C" fn alloc_tuple(wosize: usize) -> Answer {
    let Some(value) = young(wosize, 0) else {
        return alloc(wosize, 0);
    };
    for i in 0..wosize {
        // SAFETY: just allocated.
        unsafe { value.set_word(i, Value::UNIT.bits()) };
    }
    made(value)
}

extern "C" fn alloc_float_array(len: usize) -> Answer {
    alloc(len, if len == 0 { 0 } else { c_int::from(tag::DOUBLE_ARRAY) })
}

extern "C" fn alloc_string(len: usize) -> Answer {
    let Some(value) = young(len / 8 + 1, tag::STRING) else {
        return alloc_string_slowly(len);
    };
    // SAFETY: just allocated, with as many words as the padding needs. C fills the rest.
    unsafe { value.set_string_padding(len) };
    made(value)
}

#[inline(never)]
extern "C" fn alloc_string_slowly(len: usize) -> Answer {
    answer(|m| {
        // SAFETY: C keeps its values where `roots` finds them.
        unsafe {
            let (heap, roots) = m.heap_and_roots();
            Ok(heap.alloc_string(roots, len)?)
        }
    })
}

unsafe extern "C" fn alloc_initialized_string(len: usize, bytes: *const c_char) -> Answer {
    // SAFETY: C's bytes; they may not lie in the heap, where they could move.
    string_of(unsafe { items(bytes.cast(), len) })
}

unsafe extern "C" fn copy_string(s: *const c_char) -> Answer {
    // SAFETY: as above.
    string_of(unsafe { text(s) })
}

/// A string with these bytes.
fn string_of(bytes: &[u8]) -> Answer {
    let Some(value) = young(bytes.len() / 8 + 1, tag::STRING) else {
        return answer(|m| new_string(m, bytes));
    };
    // SAFETY: just allocated, with as many words as the bytes and the padding need.
    unsafe {
        value.set_string_padding(bytes.len());
        value.bytes_mut().copy_from_slice(bytes);
    }
    made(value)
}

extern "C" fn copy_double(f: f64) -> Answer {
    let Some(value) = young(1, tag::DOUBLE) else {
        return copy_double_slowly(f);
    };
    // SAFETY: just allocated.
    unsafe { value.set_double_field(0, f) };
    made(value)
}

#[inline(never)]
extern "C" fn copy_double_slowly(f: f64) -> Answer {
    answer(|m| {
        // SAFETY: C keeps its values where `roots` finds them.
        unsafe {
            let (heap, roots) = m.heap_and_roots();
            Ok(heap.alloc_double(roots, f)?)
        }
    })
}

extern "C" fn copy_int32(i: i32) -> Answer {
    answer(|m| Ok(m.new_int32(i)?.raw()))
}

extern "C" fn copy_int64(i: i64) -> Answer {
    answer(|m| Ok(m.new_int64(i)?.raw()))
}

extern "C" fn copy_nativeint(i: isize) -> Answer {
    answer(|m| Ok(m.new_nativeint(i as i64)?.raw()))
}

/// The length of an array of C's that ends with null.
unsafe fn len_of(array: *const *const c_char) -> usize {
    // SAFETY: by contract.
    (0..).take_while(|i| unsafe { !(*array.add(*i)).is_null() }).count()
}

unsafe extern "C" fn copy_string_array(strings: *const *const c_char) -> Answer {
    answer(|m| {
        if strings.is_null() {
            return new_block(m, 0, 0);
        }
        // SAFETY: C's array.
        let len = unsafe { len_of(strings) };
        // SAFETY: C's strings.
        let all: Vec<&[u8]> = (0..len).map(|i| unsafe { text(*strings.add(i)) }).collect();
        Ok(m.new_array(all, |m, bytes| m.new_string(bytes))?.raw())
    })
}

/// `f` is C's, and may raise: nothing is owned here while it runs, and what is needed is in a root block as of C's.
unsafe extern "C" fn alloc_array(
    f: unsafe extern "C" fn(*const c_char) -> Value,
    array: *const *const c_char,
) -> Answer {
    // SAFETY: C's array; the block of roots is popped before this function returns, or by whoever leaves C.
    unsafe {
        let len = len_of(array);
        let made = alloc(len, 0);
        if made.left != 0 || len == 0 {
            return made;
        }
        let mut result = made.value;
        let mut block = Block::new(state::local_roots(), &raw mut result, 1);
        state::set_local_roots(&raw mut block);
        for i in 0..len {
            let v = f(*array.add(i));
            super::memory::caml_modify(ptr::read_volatile(&raw const result).field_ptr(i), v);
        }
        state::set_local_roots(block.next());
        Answer { value: ptr::read_volatile(&raw const result), left: 0 }
    }
}

extern "C" fn alloc_some(v: Value) -> Answer {
    answer(|m| rooted(m, v, |m, s| Ok(m.new_some(s)?.raw())))
}

extern "C" fn alloc_dummy(size: Value) -> Answer {
    answer(|m| new_block(m, size.as_int() as usize, 0))
}

extern "C" fn update_dummy(dummy: Value, content: Value) -> Answer {
    answer(|m| {
        let mark = m.mark();
        // SAFETY: values of the program.
        let filled = unsafe {
            m.push_value(dummy)
                .and_then(|dummy| m.push_value(content).and_then(|content| m.update_dummy(dummy, content)))
        };
        m.release(mark);
        filled.map(|()| Value::UNIT)
    })
}

/// The block whose kind C describes at `ops`.
#[inline(always)]
unsafe fn new_custom(ops: *const COperations, bytes: usize, outside: usize) -> Answer {
    // Nothing needs to be done when such a block dies.
    if outside == 0
        && find_foreign_kind(ops).is_some_and(|kind| !kind.is_mourned())
        && let Some(value) = young(1 + bytes.div_ceil(8), tag::CUSTOM)
    {
        // SAFETY: just allocated. C fills the rest.
        unsafe { value.set_word(0, ops as u64) };
        return made(value);
    }
    // SAFETY: by contract.
    unsafe { new_custom_slowly(ops, bytes, outside) }
}

#[inline(never)]
unsafe extern "C" fn new_custom_slowly(ops: *const COperations, bytes: usize, outside: usize) -> Answer {
    answer(|m| {
        // SAFETY: the library's operations live as long as the process, and C keeps its values where `roots` finds them.
        unsafe {
            let kind: &'static CustomOps = match find_foreign_kind(ops) {
                Some(kind) => kind,
                None => custom::describe(ops),
            };
            let (heap, roots) = m.heap_and_roots();
            let v = heap.alloc_custom(roots, kind, bytes.div_ceil(8) + hidden_words(kind), 0)?;
            if outside > 0 {
                heap.hasten(outside);
            }
            Ok(v)
        }
    })
}

unsafe extern "C" fn alloc_custom(ops: *const COperations, bytes: usize, mem: usize, max: usize) -> Answer {
    // SAFETY: C's arguments.
    unsafe { new_custom(ops, bytes, custom::outside_bytes(mem, max)) }
}

unsafe extern "C" fn alloc_custom_mem(ops: *const COperations, bytes: usize, mem: usize) -> Answer {
    // SAFETY: C's arguments.
    unsafe { new_custom(ops, bytes, mem) }
}

unsafe extern "C" fn alloc_final(
    words: usize,
    f: unsafe extern "C" fn(Value),
    mem: usize,
    max: usize,
) -> Answer {
    // `words` counts word 0, too.
    // SAFETY: C's arguments; the operations live for ever.
    unsafe { alloc_custom(custom::final_operations(f), words.saturating_sub(1) * 8, mem, max) }
}

/// OCaml 4's `Atom`: the address of the headers of all empty blocks, by tag.
#[unsafe(no_mangle)]
pub static mut caml_atom_table: *const Header = ptr::null();

/// Lets C's `Atom` name the heap's empty blocks.
pub(crate) fn set_atoms(heap: &Heap) {
    let first = heap.atom(0).as_ptr().cast_const().cast::<Header>();
    // SAFETY: this thread has the machine.
    unsafe { caml_atom_table = first.wrapping_sub(1) };
}

/// OCaml 5's `Atom`: the empty block with a tag.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_atom(tag: c_int) -> Value {
    crate::call::with_machine(|m| {
        // SAFETY: an empty block is never moved.
        unsafe { m.heap_and_roots() }.0.atom(tag as u8)
    })
}
