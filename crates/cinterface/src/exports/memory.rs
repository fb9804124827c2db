//! `caml/memory.h`: writing fields, roots, memory outside the heap.

use std::ffi::{c_char, c_void};
use std::ptr;

use spelter_heap::raw::{MAX_YOUNG_WOSIZE, Value};
use spelter_interp::{Raise, Release};

use super::alloc::expect_code;
use super::items;
use crate::arch::may_raise;
use crate::call::{Answer, answer, with_machine, with_machine_at_once};
use crate::misuse::misused;
use crate::{roots, state};

/// Writes a field.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_modify(field: *mut Value, v: Value) {
    // SAFETY: a field of a block: its address serves as that of a block whose first field it is.
    with_machine_at_once(|m| unsafe {
        m.heap_and_roots().0.modify(Value::from_ptr(field.cast()), 0, v);
    });
}

/// Writes a field of a block that has just been allocated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_initialize(field: *mut Value, v: Value) {
    with_machine_at_once(|m| {
        // SAFETY: as above.
        unsafe { m.heap_and_roots().0.initialize(Value::from_ptr(field.cast()), 0, v) }
    });
}

/// Makes a variable of C a root.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_register_global_root(variable: *mut Value) {
    roots::register(variable);
}

/// Ends that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_remove_global_root(variable: *mut Value) {
    roots::remove(variable);
}

/// Makes a variable of C a root, which changes only through `caml_modify_generational_global_root`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_register_generational_global_root(variable: *mut Value) {
    roots::register(variable);
}

/// Ends that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_remove_generational_global_root(variable: *mut Value) {
    roots::remove(variable);
}

/// Changes such a variable. The collector looks at all of them, so nothing has to be remembered; but while it marks, what
/// the variable held must be found.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_modify_generational_global_root(variable: *mut Value, v: Value) {
    with_machine(|m| {
        // SAFETY: a variable of C that holds a value.
        unsafe {
            m.heap_and_roots().0.before_root_change(ptr::read(variable));
            ptr::write(variable, v);
        }
    });
}

/// C's memory for `bytes` bytes; null if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_stat_alloc_noexc(bytes: usize) -> *mut c_void {
    // SAFETY: any size will do; C expects an address even for none.
    unsafe { libc::malloc(bytes.max(1)) }
}

/// Frees it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_stat_free(block: *mut c_void) {
    // SAFETY: it comes from these functions.
    unsafe { libc::free(block) }
}

/// Makes it larger or smaller; null if there is no memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_stat_resize_noexc(block: *mut c_void, bytes: usize) -> *mut c_void {
    // SAFETY: it comes from these functions.
    unsafe { libc::realloc(block, bytes.max(1)) }
}

/// Zeroed memory for `count` items; null if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_stat_calloc_noexc(count: usize, bytes: usize) -> *mut c_void {
    // SAFETY: any size will do.
    unsafe { libc::calloc(count.max(1), bytes.max(1)) }
}

/// A copy of C's string; null if there is no memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_stat_strdup_noexc(s: *const c_char) -> *mut c_char {
    // SAFETY: C's string.
    unsafe { libc::strdup(s) }
}

/// A copy of bytes in C's memory, with a NUL behind them if C wants a string. Null if there is no memory.
pub(super) fn c_copy(bytes: &[u8], with_nul: bool) -> *mut u8 {
    let len = bytes.len() + usize::from(with_nul);
    // SAFETY: as much memory as is written.
    unsafe {
        let copy: *mut u8 = caml_stat_alloc_noexc(len).cast();
        if !copy.is_null() {
            copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            if with_nul {
                *copy.add(bytes.len()) = 0;
            }
        }
        copy
    }
}

may_raise! {
    /// C's memory for `bytes` bytes.
    caml_stat_alloc(bytes: usize) = stat_alloc;
    /// Makes it larger or smaller.
    caml_stat_resize(block: *mut c_void, bytes: usize) = stat_resize;
    /// A copy of C's string.
    caml_stat_strdup(s: *const c_char) = stat_strdup;
    /// A copy of so many bytes, whose number is stored if there is a place for it.
    caml_stat_memdup(bytes: *const c_char, len: usize, len_out: *mut usize) = stat_memdup;
    /// Makes room for the block for which C's macro `Alloc_small` has moved `young_ptr`, and points that there. OCaml 4
    /// passes { wosize, flags, .. }, OCaml 5 { state, wosize, flags, .. }.
    caml_alloc_small_dispatch(first: usize, second: usize) = alloc_small_dispatch;
}

/// The state says that there is never any room ([`state::adopt`]), so this makes the block, which may become a closure.
/// What the flags ask for, to run what is pending, happens at the next safe point.
extern "C" fn alloc_small_dispatch(first: usize, second: usize) -> Answer {
    answer(|m| {
        let wosize = if m.dialect().release >= Release::V5_0 { second } else { first };
        if !(1..=MAX_YOUNG_WOSIZE).contains(&wosize) {
            misused(&format!("was called for a block of {wosize} words, which is no small one"));
        }
        expect_code(m);
        // SAFETY: C keeps its values where `roots` finds them, and fills the block before the next allocation.
        unsafe {
            let (heap, roots) = m.heap_and_roots();
            let v = heap.alloc_young(roots, wosize, 0)?;
            state::set(state::YOUNG_PTR, v.bits() - 8);
        }
        Ok(Value::UNIT)
    })
}

unsafe extern "C" fn stat_memdup(bytes: *const c_char, len: usize, len_out: *mut usize) -> Answer {
    // SAFETY: C's bytes, and its place for their number.
    unsafe {
        if !len_out.is_null() {
            *len_out = len;
        }
        allocated(c_copy(items(bytes.cast(), len), false).cast())
    }
}

/// What C allocated, or `Out_of_memory`.
fn allocated(block: *mut c_void) -> Answer {
    answer(|_| if block.is_null() { Err(Raise::OutOfMemory) } else { Ok(Value::from_ptr(block.cast())) })
}

unsafe extern "C" fn stat_alloc(bytes: usize) -> Answer {
    // SAFETY: any size will do.
    allocated(unsafe { caml_stat_alloc_noexc(bytes) })
}

unsafe extern "C" fn stat_resize(block: *mut c_void, bytes: usize) -> Answer {
    // SAFETY: C's block.
    allocated(unsafe { caml_stat_resize_noexc(block, bytes) })
}

unsafe extern "C" fn stat_strdup(s: *const c_char) -> Answer {
    // SAFETY: C's string.
    allocated(unsafe { libc::strdup(s) }.cast())
}

/// Collects the nursery.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_minor_collection() {
    with_machine(|m| m.collect_minor());
}

/// `mem` of `max` units of something outside the heap have been allocated: collect sooner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_adjust_gc_speed(mem: usize, max: usize) {
    with_machine(|m| {
        let bytes = super::custom::outside_bytes(mem, max);
        // SAFETY: it only counts.
        unsafe { m.heap_and_roots().0.hasten(bytes) };
    });
}

/// `bytes` outside the heap belong to a block that has been allocated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_alloc_dependent_memory(bytes: usize) {
    with_machine(|m| {
        // SAFETY: it only counts.
        unsafe { m.heap_and_roots().0.hasten(bytes) };
    });
}

/// They have been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_free_dependent_memory(_bytes: usize) {}
