//! `caml/fail.h` of OCaml 5.3: exceptions as values, which C raises later, or returns.

use std::ffi::{c_char, c_int};

use spelter_heap::raw::Value;

use super::fail;
use crate::arch::may_raise;
use crate::call::{Answer, value_raised};

may_raise! {
    /// An exception with one argument.
    caml_exception_with_arg(constructor: Value, argument: Value) = with_arg;
    /// An exception with several.
    caml_exception_with_args(constructor: Value, count: c_int, arguments: *const Value) = with_args;
    /// An exception with a string.
    caml_exception_with_string(constructor: Value, s: *const c_char) = with_string;
    /// `Failure`.
    caml_exception_failure(s: *const c_char) = failure;
    /// `Failure` with a string of the heap.
    caml_exception_failure_value(s: Value) = failure_value;
    /// `Invalid_argument`.
    caml_exception_invalid_argument(s: *const c_char) = invalid_argument;
    /// `Invalid_argument` with a string of the heap.
    caml_exception_invalid_argument_value(s: Value) = invalid_argument_value;
    /// `Invalid_argument "index out of bounds"`.
    caml_exception_array_bound_error() = array_bound_error;
    /// `Out_of_memory`.
    caml_exception_out_of_memory() = out_of_memory;
    /// `Stack_overflow`.
    caml_exception_stack_overflow() = stack_overflow;
    /// `Not_found`.
    caml_exception_not_found() = not_found;
    /// `End_of_file`.
    caml_exception_end_of_file() = end_of_file;
    /// `Division_by_zero`.
    caml_exception_zero_divide() = zero_divide;
    /// `Sys_blocked_io`.
    caml_exception_sys_blocked_io() = sys_blocked_io;
    /// `Sys_error` with a string of the heap.
    caml_exception_sys_error(s: Value) = sys_error;
}

/// An exception without arguments: the constructor itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_exception_constant(constructor: Value) -> Value {
    constructor
}

/// Parts that answer with the exceptions which those of `fail` raise.
macro_rules! values_of {
    ($($part:ident($($arg:ident: $of:ty),*) = $raise:ident;)*) => { $(
        unsafe extern "C" fn $part($($arg: $of),*) -> Answer {
            #[allow(unused_unsafe, reason = "some take nothing that could be wrong")]
            // SAFETY: C's arguments.
            value_raised(unsafe { fail::$raise($($arg),*) })
        }
    )* };
}

values_of! {
    with_arg(constructor: Value, argument: Value) = raise_with_arg;
    with_args(constructor: Value, count: c_int, arguments: *const Value) = raise_with_args;
    with_string(constructor: Value, s: *const c_char) = raise_with_string;
    failure(s: *const c_char) = failwith;
    failure_value(s: Value) = failwith_value;
    invalid_argument(s: *const c_char) = invalid_argument;
    invalid_argument_value(s: Value) = invalid_argument_value;
    array_bound_error() = array_bound_error;
    out_of_memory() = raise_out_of_memory;
    stack_overflow() = raise_stack_overflow;
    not_found() = raise_not_found;
    end_of_file() = raise_end_of_file;
    zero_divide() = raise_zero_divide;
    sys_blocked_io() = raise_sys_blocked_io;
    sys_error(s: Value) = raise_sys_error;
}
