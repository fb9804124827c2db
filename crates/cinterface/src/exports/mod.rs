//! The exported functions, a file for each of OCaml's headers (`runtime/caml/*.h`), whose names and contracts they have.
//!
//! Every function is called by C, in a thread that has the machine unless it says otherwise, with values that the
//! collector knows or that nothing has been allocated since.
#![allow(clippy::missing_safety_doc, reason = "the contract is C's, stated above")]
#![allow(unreachable_pub, reason = "the linker reaches them")]

mod alloc;
pub(crate) mod bigarray;
mod callback;
mod custom;
mod fail;
mod intext;
mod memory;
mod mlvalues;
mod signals;

use std::ffi::{CStr, c_char};

use spelter_heap::raw::{Header, Value};
use spelter_interp::{Machine, Raise};

/// The addresses of the blocks that C's `Atom` names in OCaml 4.
pub(crate) fn atoms() -> std::ops::Range<*const Header> {
    let table = &alloc::caml_atom_table;
    table[1..].as_ptr_range().start..table.as_ptr_range().end.wrapping_add(1)
}

/// The bytes of C's string.
///
/// # Safety
/// It ends with a NUL, and lives as long as the result is used.
unsafe fn text<'a>(s: *const c_char) -> &'a [u8] {
    // SAFETY: by contract.
    unsafe { CStr::from_ptr(s) }.to_bytes()
}

/// Allocates a block of any size whose fields are `()` or 0.
fn new_block(m: &mut Machine, wosize: usize, tag: u8) -> Result<Value, Raise> {
    // SAFETY: C keeps its values where `roots` finds them.
    unsafe {
        let (heap, roots) = m.heap_and_roots();
        Ok(heap.alloc(roots, wosize, tag)?)
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
    f: impl FnOnce(&mut Machine, spelter_interp::Slot) -> Result<T, Raise>,
) -> Result<T, Raise> {
    let mark = m.mark();
    // SAFETY: a value of the program.
    let s = unsafe { m.push_value(v) }?;
    let result = f(m, s);
    m.release(mark);
    result
}
