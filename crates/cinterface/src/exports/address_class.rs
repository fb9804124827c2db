//! `caml/address_class.h` of OCaml 4: C's memory as part of the heap. That cannot be: each function reports a failure, as
//! OCaml's does when there is no memory. None needs the runtime.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

/// Declares an area of C's memory to hold values: fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_page_table_add(_kind: c_int, _start: *mut c_void, _end: *mut c_void) -> c_int {
    FAILURE
}

/// Ends that: fails, since there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_page_table_remove(
    _kind: c_int,
    _start: *mut c_void,
    _end: *mut c_void,
) -> c_int {
    FAILURE
}

/// Memory for a part of the heap: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_alloc_for_heap(_bytes: usize) -> *mut c_char {
    ptr::null_mut()
}

/// Makes such memory a part of the heap: fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_add_to_heap(_memory: *mut c_char) -> c_int {
    FAILURE
}

/// The colour of the headers in it: white, like those of C's blocks outside the heap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_allocation_color(_header: *mut c_void) -> usize {
    0
}

/// The words allocated in the old generation since its last cycle: C may add to it, to make the next one come sooner.
#[unsafe(no_mangle)]
pub static mut caml_allocated_words: usize = 0;

/// How C's functions say that they failed.
const FAILURE: c_int = -1;
