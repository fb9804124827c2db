//! `caml/sys.h`: the system's errors, the program's arguments and end.

use std::ffi::c_int;

use spelter_heap::raw::Value;
use spelter_interp::Raise;
use spelter_primitives::foreign;

use super::{built_in, errno};
use crate::arch::may_raise;
use crate::call::{Answer, answer, answer_outside};

may_raise! {
    /// Raises `Sys_error` for `errno`, with what it concerns (1 if nothing).
    caml_sys_error(what: Value) = sys_error;
    /// The same; `Sys_blocked_io` if the operation would block.
    caml_sys_io_error(what: Value) = sys_io_error;
    /// Replaces the program's arguments.
    caml_sys_modify_argv(arguments: Value) = sys_modify_argv;
    /// Ends the program with the code of an OCaml integer.
    caml_sys_exit(code: Value) = sys_exit;
    /// Ends the program with a code (OCaml 5).
    caml_do_exit(code: c_int) = do_exit;
}

/// What C's macro `NO_ARG` stands for.
const NO_ARG: Value = Value::UNIT;

/// `Sys_error` for an error's number.
unsafe fn error(number: c_int, what: Value) -> Raise {
    let mut message = Vec::new();
    if what != NO_ARG {
        // SAFETY: a string of the program.
        message.extend(unsafe { what.bytes() });
        message.extend(b": ");
    }
    message.extend(foreign::error_text(number).into_bytes());
    Raise::Sys(message)
}

unsafe extern "C" fn sys_error(what: Value) -> Answer {
    let number = errno();
    // SAFETY: C's argument.
    answer(|_| Err(unsafe { error(number, what) }))
}

unsafe extern "C" fn sys_io_error(what: Value) -> Answer {
    match errno() {
        libc::EAGAIN => answer(|_| Err(Raise::BlockedIo)),
        // SAFETY: C's argument.
        number => answer(|_| Err(unsafe { error(number, what) })),
    }
}

extern "C" fn sys_modify_argv(arguments: Value) -> Answer {
    answer_outside(|m| built_in(m, "caml_sys_modify_argv", &[arguments]))
}

extern "C" fn sys_exit(code: Value) -> Answer {
    answer_outside(|m| built_in(m, "caml_sys_exit", &[code]))
}

extern "C" fn do_exit(code: c_int) -> Answer {
    sys_exit(Value::int(code.into()))
}
