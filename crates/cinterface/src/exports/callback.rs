//! `caml/callback.h`: calling OCaml from C.

use std::ffi::c_int;

use spelter_heap::raw::Value;
use spelter_interp::{Machine, Raise};

use super::fail::{as_exception, exception_in};
use super::items;
use crate::arch::{may_raise, may_return_exception};
use crate::call::{Answer, RETURNED, answer_called};

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

may_return_exception! {
    /// Calls a closure; an exception is returned (OCaml 5.3).
    caml_callback_res(f: Value, a: Value) = callback_res;
    /// The same, with two arguments.
    caml_callback2_res(f: Value, a: Value, b: Value) = callback2_res;
    /// The same, with three arguments.
    caml_callback3_res(f: Value, a: Value, b: Value, c: Value) = callback3_res;
    /// The same, with any number of arguments.
    caml_callbackN_res(f: Value, count: c_int, arguments: *const Value) = callback_n_res;
}

/// The answer of a call whose exceptions are raised.
#[inline]
fn raising(f: Value, arguments: &[Value]) -> Answer {
    // SAFETY: values of the program.
    answer_called(|m| unsafe { m.call_closure(f, arguments) })
}

/// The answer of a call whose exceptions are returned. What is not an exception leaves C.
#[inline]
fn returning(f: Value, arguments: &[Value]) -> Answer {
    // SAFETY: values of the program.
    answer_called(|m| unsafe { m.call_closure(f, arguments) }.or_else(|raise| returned(m, raise)))
}

/// The same, of a function that returns a `caml_result`.
fn returning_result(f: Value, arguments: &[Value]) -> Answer {
    as_result(returning(f, arguments))
}

/// Returns an exception to C.
pub(super) fn returned(m: &mut Machine, raise: Raise) -> Result<Value, Raise> {
    // SAFETY: nothing is allocated before C has the exception.
    unsafe { m.exception_value(raise) }.map(as_exception)
}

/// The same answer for a function that returns a `caml_result`.
pub(super) fn as_result(answer: Answer) -> Answer {
    match exception_in(answer.value) {
        Some(exception) if answer.left == 0 => Answer { value: exception, left: RETURNED },
        _ => answer,
    }
}

/// The values in C's array, which are copied before anything moves.
///
/// # Safety
/// C's array, of so many values.
unsafe fn array<'a>(count: c_int, values: *const Value) -> &'a [Value] {
    // SAFETY: by contract.
    unsafe { items(values, count.max(0) as usize) }
}

/// Defines the Rust parts for one, two, three and any number of arguments, by how they answer.
macro_rules! by_count {
    ($($answer:ident: $one:ident $two:ident $three:ident $many:ident;)*) => { $(
        extern "C" fn $one(f: Value, a: Value) -> Answer {
            $answer(f, &[a])
        }

        extern "C" fn $two(f: Value, a: Value, b: Value) -> Answer {
            $answer(f, &[a, b])
        }

        extern "C" fn $three(f: Value, a: Value, b: Value, c: Value) -> Answer {
            $answer(f, &[a, b, c])
        }

        unsafe extern "C" fn $many(f: Value, count: c_int, arguments: *const Value) -> Answer {
            // SAFETY: C's array.
            $answer(f, unsafe { array(count, arguments) })
        }
    )* };
}

by_count! {
    raising: callback callback2 callback3 callback_n;
    returning: callback_exn callback2_exn callback3_exn callback_n_exn;
    returning_result: callback_res callback2_res callback3_res callback_n_res;
}
