//! `caml/signals.h`: blocking sections, pending actions.

use std::ffi::c_int;
use std::sync::atomic::AtomicI32;

use spelter_heap::raw::Value;
use spelter_interp::{Machine, Raise};

use super::callback::{as_result, returned};
use super::rooted;
use crate::activation::{leave_machine, take_machine};
use crate::arch::{may_raise, may_return_exception};
use crate::call::{Answer, UNIT, answer, answer_outside, with_machine};

may_raise! {
    /// Handles signals, then lets other threads run OCaml until `caml_leave_blocking_section`.
    caml_enter_blocking_section() = enter_blocking_section;
    /// Runs signal handlers and finalisers that are due.
    caml_process_pending_actions() = process_pending_actions;
    /// The same; an exception is returned, marked by its second bit.
    caml_process_pending_actions_exn() = process_pending_actions_exn;
    /// Does collection work that is due, and returns the value, which may have moved.
    caml_check_urgent_gc(v: Value) = check_urgent_gc;
}

may_return_exception! {
    /// As `caml_process_pending_actions`; an exception is returned (OCaml 5.3).
    caml_process_pending_actions_res() = process_pending_actions_res;
}

/// The answer of `f`, which runs the program, if actions are pending.
fn if_pending(f: impl FnOnce(&mut Machine) -> Result<Value, Raise>) -> Answer {
    match with_machine(|m| m.has_pending_actions()) {
        true => answer_outside(f),
        false => UNIT,
    }
}

extern "C" fn enter_blocking_section() -> Answer {
    let answer = if_pending(|m| m.process_pending_signals().map(|()| Value::UNIT));
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
    if_pending(|m| m.run_pending().map(|()| Value::UNIT))
}

extern "C" fn process_pending_actions_exn() -> Answer {
    if_pending(|m| m.run_pending().map(|()| Value::UNIT).or_else(|raise| returned(m, raise)))
}

extern "C" fn process_pending_actions_res() -> Answer {
    as_result(process_pending_actions_exn())
}

/// Whether actions are pending.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_check_pending_actions() -> c_int {
    with_machine(|m| c_int::from(m.has_pending_actions()))
}

/// OCaml 4's flag for pending actions, which C reads before it calls `caml_process_pending_actions`. It is always set,
/// since that function is quick if there are none.
#[unsafe(no_mangle)]
pub static caml_something_to_do: AtomicI32 = AtomicI32::new(1);

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
    with_machine(|m| m.ocaml_signal(number) as c_int)
}

/// The system's number of a signal.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_convert_signal_number(number: c_int) -> c_int {
    with_machine(|m| m.system_signal(number.into()) as c_int)
}
