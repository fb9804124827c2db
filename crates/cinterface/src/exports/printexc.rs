//! `caml/printexc.h`: exceptions as text.

use std::ffi::c_char;

use spelter_heap::raw::Value;

use super::memory;
use crate::arch::may_raise;
use crate::call::{Answer, answer_outside, with_machine};
use crate::guests;

may_raise! {
    /// Ends the program as an exception does that nothing handles.
    caml_fatal_uncaught_exception(exception: Value) = fatal_uncaught_exception;
}

extern "C" fn fatal_uncaught_exception(exception: Value) -> Answer {
    answer_outside(|m| {
        // SAFETY: a value of the program.
        let raise = unsafe { m.set_exn_value(exception) };
        Err(guests::report(m, raise))
    })
}

/// The text of an exception, in memory for `caml_stat_free`; null if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_format_exception(exception: Value) -> *mut c_char {
    let text = with_machine(|m| {
        let mark = m.mark();
        // SAFETY: a value of the program.
        let text = unsafe { m.push_value(exception) }
            .map(|s| spelter_primitives::printexc::format_exception(m, s))
            .unwrap_or_default();
        m.release(mark);
        text
    });
    memory::c_copy(&text, true).cast()
}
