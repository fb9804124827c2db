//! `caml/roots.h`: roots that a library finds by a function of its own.

use std::ffi::{c_int, c_void};
use std::ptr;

use spelter_heap::raw::Value;
use spelter_interp::prim::foreign::Show;

use crate::state;

/// OCaml 4's action on a root: its value, and where it is.
type Action = unsafe extern "C" fn(v: Value, root: *mut Value);
/// OCaml 5's.
type ActionWithData = unsafe extern "C" fn(data: *mut c_void, v: Value, root: *mut Value);

/// OCaml 4's hook.
type Hook = unsafe extern "C" fn(action: Action);
/// OCaml 5's.
type HookWithData =
    unsafe extern "C" fn(action: ActionWithData, flags: c_int, data: *mut c_void, state: *mut u64);

/// The library's function (null without one), which passes each of its roots to an action. Libraries that set it call
/// the one that they found there, too.
#[unsafe(no_mangle)]
pub static mut caml_scan_roots_hook: *mut c_void = ptr::null_mut();

/// What OCaml 4's action does, while the hook runs: it has no data of its own.
static mut SHOW: *mut c_void = ptr::null_mut();

unsafe extern "C" fn show_root(_: Value, root: *mut Value) {
    // SAFETY: set by `scan`, for which the hook runs.
    unsafe { show_root_with(SHOW, Value::UNIT, root) }
}

unsafe extern "C" fn show_root_with(data: *mut c_void, _: Value, root: *mut Value) {
    // SAFETY: the data are what `scan` passes; a variable of C.
    unsafe { (*data.cast::<Show<'_>>())(std::slice::from_raw_parts_mut(root, 1)) }
}

/// Shows the roots that only the library's function finds.
pub(crate) fn scan(mut show: Show<'_>) {
    // SAFETY: the hook is a function of the version's type.
    unsafe {
        if caml_scan_roots_hook.is_null() {
            return;
        }
        let data: *mut c_void = (&raw mut show).cast();
        if state::has_threads() {
            let hook = std::mem::transmute::<*mut c_void, HookWithData>(caml_scan_roots_hook);
            hook(show_root_with, 0, data, state::address());
        } else {
            SHOW = data;
            std::mem::transmute::<*mut c_void, Hook>(caml_scan_roots_hook)(show_root);
        }
    }
}
