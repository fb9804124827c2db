//! `caml/callback.h` and `caml/printexc.h`: calling OCaml from C.

use std::ffi::{c_char, c_int};

use spelter_heap::raw::Value;
use spelter_interp::Raise;

use crate::arch::may_raise;
use crate::call::{Answer, answer, outside_c, with_machine};

may_raise! {
    /// Calls a closure.
    caml_callback(f: Value, a: Value) = callback;
    /// Calls a closure with two arguments.
    caml_callback2(f: Value, a: Value, b: Value) = callback2;
    /// Calls a closure with three arguments.
    caml_callback3(f: Value, a: Value, b: Value, c: Value) = callback3;
    /// Calls a closure with any number of arguments.
    caml_callbackN(f: Value, count: c_int, arguments: *const Value) = callback_n;
    /// Calls a closure; an exception is returned, marked by its second bit.
    caml_callback_exn(f: Value, a: Value) = callback_exn;
    /// The same, with two arguments.
    caml_callback2_exn(f: Value, a: Value, b: Value) = callback2_exn;
    /// The same, with three arguments.
    caml_callback3_exn(f: Value, a: Value, b: Value, c: Value) = callback3_exn;
    /// The same, with any number of arguments.
    caml_callbackN_exn(f: Value, count: c_int, arguments: *const Value) = callback_n_exn;
}

/// Calls a closure. C does not run meanwhile.
fn apply(f: Value, arguments: &[Value]) -> Result<Value, Raise> {
    outside_c(|m| {
        let mark = m.mark();
        let mut call = || {
            // SAFETY: values of the program.
            unsafe {
                let f = m.push_value(f)?;
                let slots: Result<Vec<_>, Raise> = arguments.iter().map(|v| m.push_value(*v)).collect();
                Ok(m.call(f, &slots?)?.raw())
            }
        };
        let result = call();
        m.release(mark);
        result
    })
}

/// The answer of a call whose exceptions are raised.
fn raising(f: Value, arguments: &[Value]) -> Answer {
    let result = apply(f, arguments);
    answer(|_| result)
}

/// The answer of a call whose exceptions are returned. What is not an exception leaves C.
fn returning(f: Value, arguments: &[Value]) -> Answer {
    let result = apply(f, arguments);
    answer(|m| match result {
        Ok(v) => Ok(v),
        // SAFETY: nothing is allocated before C has the exception.
        Err(raise) => unsafe { m.exception_value(raise) }.map(|v| Value::from_bits(v.bits() | 2)),
    })
}

extern "C" fn callback(f: Value, a: Value) -> Answer {
    raising(f, &[a])
}

extern "C" fn callback2(f: Value, a: Value, b: Value) -> Answer {
    raising(f, &[a, b])
}

extern "C" fn callback3(f: Value, a: Value, b: Value, c: Value) -> Answer {
    raising(f, &[a, b, c])
}

unsafe extern "C" fn callback_n(f: Value, count: c_int, arguments: *const Value) -> Answer {
    // SAFETY: C's array of values, which are copied before anything moves.
    raising(f, unsafe { std::slice::from_raw_parts(arguments, count.max(0) as usize) })
}

extern "C" fn callback_exn(f: Value, a: Value) -> Answer {
    returning(f, &[a])
}

extern "C" fn callback2_exn(f: Value, a: Value, b: Value) -> Answer {
    returning(f, &[a, b])
}

extern "C" fn callback3_exn(f: Value, a: Value, b: Value, c: Value) -> Answer {
    returning(f, &[a, b, c])
}

unsafe extern "C" fn callback_n_exn(f: Value, count: c_int, arguments: *const Value) -> Answer {
    // SAFETY: as above.
    returning(f, unsafe { std::slice::from_raw_parts(arguments, count.max(0) as usize) })
}

/// The text of an exception, in memory for `caml_stat_free`.
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
    // SAFETY: as much memory as is written.
    unsafe {
        let copy = libc::malloc(text.len() + 1).cast::<u8>();
        if !copy.is_null() {
            copy.copy_from_nonoverlapping(text.as_ptr(), text.len());
            *copy.add(text.len()) = 0;
        }
        copy.cast()
    }
}
