//! `caml/fail.h`: raising exceptions.

use std::ffi::{c_char, c_int};

use spelter_heap::raw::Value;
use spelter_interp::{Machine, Raise, Slot};

use super::text;
use crate::arch::may_raise;
use crate::call::{Answer, answer, raising};

may_raise! {
    /// Raises an exception value.
    caml_raise(exception: Value) = raise;
    /// Raises an exception without arguments.
    caml_raise_constant(constructor: Value) = raise;
    /// Raises an exception with one argument.
    caml_raise_with_arg(constructor: Value, argument: Value) = raise_with_arg;
    /// Raises an exception with several.
    caml_raise_with_args(constructor: Value, count: c_int, arguments: *const Value) = raise_with_args;
    /// Raises an exception with a string.
    caml_raise_with_string(constructor: Value, s: *const c_char) = raise_with_string;
    /// Raises `Failure`.
    caml_failwith(s: *const c_char) = failwith;
    /// Raises `Failure` with a string of the heap.
    caml_failwith_value(s: Value) = failwith_value;
    /// Raises `Invalid_argument`.
    caml_invalid_argument(s: *const c_char) = invalid_argument;
    /// Raises `Invalid_argument` with a string of the heap.
    caml_invalid_argument_value(s: Value) = invalid_argument_value;
    /// Raises `Invalid_argument "index out of bounds"`.
    caml_array_bound_error() = array_bound_error;
    /// Raises `Out_of_memory`.
    caml_raise_out_of_memory() = raise_out_of_memory;
    /// Raises `Stack_overflow`.
    caml_raise_stack_overflow() = raise_stack_overflow;
    /// Raises `Not_found`.
    caml_raise_not_found() = raise_not_found;
    /// Raises `End_of_file`.
    caml_raise_end_of_file() = raise_end_of_file;
    /// Raises `Division_by_zero`.
    caml_raise_zero_divide() = raise_zero_divide;
    /// Raises `Sys_blocked_io`.
    caml_raise_sys_blocked_io() = raise_sys_blocked_io;
    /// Raises `Sys_error` with a string of the heap.
    caml_raise_sys_error(s: Value) = raise_sys_error;
    /// Raises what a function whose name ends in `_exn` returned, if it is an exception; else returns it.
    caml_raise_if_exception(result: Value) = raise_if_exception;
}

/// Raises an exception with these arguments, which are in slots.
fn raise_block(
    m: &mut Machine,
    constructor: Value,
    arguments: impl FnOnce(&mut Machine) -> Result<Vec<Slot>, Raise>,
) -> Raise {
    let mark = m.mark();
    let build = |m: &mut Machine| {
        // SAFETY: a value of the program.
        let mut fields = vec![unsafe { m.push_value(constructor) }?];
        fields.extend(arguments(m)?);
        let exception = m.new_block(0, &fields)?.raw();
        // SAFETY: just allocated.
        let s = unsafe { m.push_value(exception) }?;
        Ok(m.set_exn(s))
    };
    let raise = build(m).unwrap_or_else(|raise| raise);
    m.release(mark);
    raise
}

extern "C" fn raise(exception: Value) -> Answer {
    // SAFETY: a value of the program; nothing is allocated before it is raised.
    raising(|m| unsafe { m.set_exn_value(exception) })
}

extern "C" fn raise_if_exception(result: Value) -> Answer {
    match exception_in(result) {
        Some(exception) => raise(exception),
        None => Answer { value: result, left: 0 },
    }
}

/// The exception in the result of a function whose name ends in `_exn`: its second bit marks it.
pub(super) fn exception_in(result: Value) -> Option<Value> {
    (result.bits() & 3 == 2).then(|| Value::from_bits(result.bits() & !3))
}

/// The result of such a function for an exception.
pub(super) fn as_exception(exception: Value) -> Value {
    Value::from_bits(exception.bits() | 2)
}

pub(super) extern "C" fn raise_with_arg(constructor: Value, argument: Value) -> Answer {
    // SAFETY: a value of the program.
    answer(|m| Err(raise_block(m, constructor, |m| Ok(vec![unsafe { m.push_value(argument) }?]))))
}

pub(super) unsafe extern "C" fn raise_with_args(
    constructor: Value,
    count: c_int,
    arguments: *const Value,
) -> Answer {
    answer(|m| {
        Err(raise_block(m, constructor, |m| {
            // SAFETY: C's array of values.
            (0..count as usize).map(|i| unsafe { m.push_value(*arguments.add(i)) }).collect()
        }))
    })
}

pub(super) unsafe extern "C" fn raise_with_string(constructor: Value, s: *const c_char) -> Answer {
    // SAFETY: C's string.
    answer(|m| Err(raise_block(m, constructor, |m| Ok(vec![m.push(|m| m.new_string(unsafe { text(s) }))?]))))
}

/// Raises a predefined exception with a message, whose bytes need not be text.
pub(super) fn with_message(message: &[u8], to_raise: fn(String) -> Raise) -> Answer {
    match std::str::from_utf8(message) {
        Ok(text) => raising(|_| to_raise(text.to_owned())),
        Err(_) => answer(|m| Err(with_bytes(m, message, to_raise))),
    }
}

/// The constructor is taken from an exception that has it.
fn with_bytes(m: &mut Machine, message: &[u8], to_raise: fn(String) -> Raise) -> Raise {
    let mark = m.mark();
    let sample = m.push_exception(to_raise(String::new()));
    let constructor = m.val(sample).field(0).map(|v| v.raw());
    let raise = match constructor {
        Ok(constructor) => raise_block(m, constructor, |m| Ok(vec![m.push(|m| m.new_string(message))?])),
        Err(wrong) => wrong.into(),
    };
    m.release(mark);
    raise
}

pub(super) unsafe extern "C" fn failwith(s: *const c_char) -> Answer {
    // SAFETY: C's string.
    with_message(unsafe { text(s) }, Raise::failure)
}

pub(super) unsafe extern "C" fn failwith_value(s: Value) -> Answer {
    // SAFETY: a string of the program, which may move meanwhile.
    let message = unsafe { s.bytes() }.to_vec();
    with_message(&message, Raise::failure)
}

pub(super) unsafe extern "C" fn invalid_argument(s: *const c_char) -> Answer {
    // SAFETY: C's string.
    with_message(unsafe { text(s) }, Raise::invalid)
}

pub(super) unsafe extern "C" fn invalid_argument_value(s: Value) -> Answer {
    // SAFETY: a string of the program, which may move meanwhile.
    let message = unsafe { s.bytes() }.to_vec();
    with_message(&message, Raise::invalid)
}

pub(super) extern "C" fn array_bound_error() -> Answer {
    raising(|_| Raise::bounds())
}

pub(super) extern "C" fn raise_out_of_memory() -> Answer {
    raising(|_| Raise::OutOfMemory)
}

pub(super) extern "C" fn raise_stack_overflow() -> Answer {
    raising(|_| Raise::StackOverflow)
}

pub(super) extern "C" fn raise_not_found() -> Answer {
    raising(|_| Raise::NotFound)
}

pub(super) extern "C" fn raise_end_of_file() -> Answer {
    raising(|_| Raise::EndOfFile)
}

pub(super) extern "C" fn raise_zero_divide() -> Answer {
    raising(|_| Raise::DivisionByZero)
}

pub(super) extern "C" fn raise_sys_blocked_io() -> Answer {
    raising(|_| Raise::BlockedIo)
}

pub(super) unsafe extern "C" fn raise_sys_error(s: Value) -> Answer {
    // SAFETY: a string of the program.
    raising(|_| Raise::Sys(unsafe { s.bytes() }.to_vec()))
}

/// Ends the process: the thread does not hold the runtime (OCaml 5).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_bad_caml_state() -> ! {
    crate::misuse::no_lock_held()
}
