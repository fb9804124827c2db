//! The exported functions, a file for each of OCaml's headers (`runtime/caml/*.h`), whose names and contracts they have.
//!
//! Every function is called by C, in a thread that has the machine unless it says otherwise, with values that the
//! collector knows or that nothing has been allocated since.
#![allow(clippy::missing_safety_doc, reason = "the contract is C's, stated above")]
#![allow(unreachable_pub, reason = "the linker reaches them")]

mod address_class;
mod alloc;
pub(crate) mod bigarray;
mod callback;
mod custom;
mod exceptions;
mod fail;
mod gc_ctrl;
mod hash;
mod intext;
pub(crate) mod io;
mod marshal;
mod md5;
mod memory;
mod misc;
mod mlvalues;
mod printexc;
pub(crate) mod roots;
mod signals;
mod sys;
mod threads;
mod unix;
mod weak;

pub(crate) use alloc::set_atoms;

use std::ffi::{CStr, c_char, c_int};

use spelter_heap::raw::{MAX_YOUNG_WOSIZE, Value};
use spelter_interp::{Machine, Raise, Slot};

use crate::state;

/// The bytes of C's string.
///
/// # Safety
/// It ends with a NUL, and lives as long as the result is used.
unsafe fn text<'a>(s: *const c_char) -> &'a [u8] {
    // SAFETY: by contract.
    unsafe { CStr::from_ptr(s) }.to_bytes()
}

/// C's `len` items from an address, which may be null if there are none.
///
/// # Safety
/// The items are there, and stay as they are while the result is used.
unsafe fn items<'a, T>(first: *const T, len: usize) -> &'a [T] {
    match len {
        0 => &[],
        // SAFETY: by contract.
        _ => unsafe { std::slice::from_raw_parts(first, len) },
    }
}

/// `errno`
fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Allocates a block of any size whose fields are `()` or 0.
fn new_block(m: &mut Machine, wosize: usize, tag: u8) -> Result<Value, Raise> {
    // SAFETY: C keeps its values where `roots` finds them.
    unsafe {
        let (heap, roots) = m.heap_and_roots();
        let v = heap.alloc(roots, wosize, tag)?;
        if wosize > MAX_YOUNG_WOSIZE {
            state::note_collections(heap.quick_stats().major_collections);
        }
        Ok(v)
    }
}

/// Allocates a string.
fn new_string(m: &mut Machine, bytes: &[u8]) -> Result<Value, Raise> {
    // SAFETY: as above; the string has just been allocated.
    unsafe {
        let (heap, roots) = m.heap_and_roots();
        let v = heap.alloc_string(roots, bytes.len())?;
        v.bytes_mut().copy_from_slice(bytes);
        Ok(v)
    }
}

/// Runs `f` with a value in a slot, where the collector finds it.
fn rooted<T>(
    m: &mut Machine,
    v: Value,
    f: impl FnOnce(&mut Machine, Slot) -> Result<T, Raise>,
) -> Result<T, Raise> {
    let mark = m.mark();
    // SAFETY: a value of the program.
    let s = unsafe { m.push_value(v) }?;
    let result = f(m, s);
    m.release(mark);
    result
}

/// Calls a built-in primitive.
fn built_in(m: &mut Machine, name: &str, arguments: &[Value]) -> Result<Value, Raise> {
    let mark = m.mark();
    let mut call = || {
        // SAFETY: values of the program.
        let slots: Result<Vec<_>, Raise> = arguments.iter().map(|v| unsafe { m.push_value(*v) }).collect();
        // SAFETY: the arguments are in slots.
        unsafe { Ok(m.call_built_in(name, &slots?)?.raw()) }
    };
    let result = call();
    m.release(mark);
    result
}
