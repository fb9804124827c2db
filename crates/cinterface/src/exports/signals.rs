//! `caml/signals.h`: blocking sections, pending actions.

use std::ffi::c_int;

use spelter_heap::raw::Value;

use super::rooted;
use crate::arch::may_raise;
use crate::call::{Answer, answer, leave_machine, outside_c, take_machine};

may_raise! {
    /// Handles signals, then lets other threads run OCaml until `caml_leave_blocking_section`.
    caml_enter_blocking_section() = enter_blocking_section;
    /// Runs signal handlers and finalisers that are due.
    caml_process_pending_actions() = process_pending_actions;
    /// Does collection work that is due, and returns the value, which may have moved.
    caml_check_urgent_gc(v: Value) = check_urgent_gc;
}

extern "C" fn enter_blocking_section() -> Answer {
    let handled = outside_c(|m| m.process_pending_signals());
    let answer = answer(|_| handled.map(|()| Value::UNIT));
    if answer.left == 0 {
        leave_machine();
    }
    answer
}

/// The same without handling signals.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_enter_blocking_section_no_pending() {
    leave_machine();
}

/// Waits until the thread may run OCaml again. `errno` is kept.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_leave_blocking_section() {
    // SAFETY: the thread's own variable.
    unsafe {
        let errno = *libc::__errno_location();
        take_machine();
        *libc::__errno_location() = errno;
    }
}

extern "C" fn process_pending_actions() -> Answer {
    let done = outside_c(|m| m.process_pending_actions());
    answer(|_| done.map(|()| Value::UNIT))
}

extern "C" fn check_urgent_gc(v: Value) -> Answer {
    answer(|m| {
        rooted(m, v, |m, s| {
            m.collect_if_due();
            Ok(m.val(s).raw())
        })
    })
}

/// The number of a signal for OCaml's programs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_rev_convert_signal_number(number: c_int) -> c_int {
    crate::call::with_machine(|m| m.ocaml_signal(number) as c_int)
}

/// The system's number of a signal.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_convert_signal_number(number: c_int) -> c_int {
    crate::call::with_machine(|m| m.system_signal(number.into()) as c_int)
}
