//! Libraries that break the rules of OCaml's C interface.

use std::ffi::{c_int, c_void};

use crate::library;

/// Ends the process, since a library has called an exported function wrongly: `how` follows the function's name.
#[cold]
pub(crate) fn misused(how: &str) -> ! {
    eprintln!("Fatal error: {} {how}", called().as_deref().unwrap_or("a function of OCaml's runtime"));
    std::process::abort()
}

/// Ends the process as OCaml 5 does when a thread calls one of its functions without holding the runtime.
#[cold]
pub(crate) fn no_lock_held() -> ! {
    eprintln!("Fatal error: no domain lock held");
    std::process::abort()
}

// SAFETY: as the unwinder of Rust's standard library declares them.
unsafe extern "C" {
    fn _Unwind_Backtrace(
        visit: unsafe extern "C" fn(frame: *mut c_void, data: *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
}

/// Continue with the next frame, and stop: results of the unwinder's visitor.
const CONTINUE: c_int = 0;
const STOP: c_int = 4;

/// The exported function that C has called: the innermost function on the stack that the system knows by name.
fn called() -> Option<String> {
    let mut name: Option<String> = None;
    // SAFETY: the visitor gets the address of `name`.
    unsafe { _Unwind_Backtrace(visit, (&raw mut name).cast()) };
    name
}

unsafe extern "C" fn visit(frame: *mut c_void, data: *mut c_void) -> c_int {
    // SAFETY: the unwinder's frame; the data are what `called` passes.
    let (address, name) = unsafe { (_Unwind_GetIP(frame), &mut *data.cast::<Option<String>>()) };
    // It may be a return address behind the function's last instruction.
    *name = library::symbol_of(address.wrapping_sub(1));
    if name.is_some() { STOP } else { CONTINUE }
}
