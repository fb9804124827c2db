//! `caml/threads.h`: threads that C has made. (`caml_acquire_runtime_system` and `caml_release_runtime_system` are macros
//! for functions of `caml/signals.h`.)

use std::ffi::c_int;

use crate::guests;

/// Makes the running thread, which C has made, one of the program's, without the runtime; it gets that by
/// `caml_leave_blocking_section`. Returns 0 if the thread is one already, or the program does not use threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_c_thread_register() -> c_int {
    guests::register().into()
}

/// Ends that, for a thread without the runtime. Returns 0 if it is not registered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_c_thread_unregister() -> c_int {
    guests::unregister().into()
}
