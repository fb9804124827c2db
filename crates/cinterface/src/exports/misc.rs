//! `caml/misc.h`: messages of the runtime.

use std::ffi::{c_char, c_int};
use std::io::Write;

use crate::activation::running_machine;
use crate::arch::{VaList, variadic};
use crate::call::{Answer, UNIT};
use crate::format::format;

variadic! {
    /// Ends the process with a message on stderr. Needs no runtime.
    caml_fatal_error(format: *const c_char; ...) = fatal_error
}

variadic! {
    /// Prints a message on stderr if the program runs with this level of `OCAMLRUNPARAM`'s `v`.
    caml_gc_message(level: c_int, format: *const c_char; ...) = gc_message
}

unsafe extern "C" fn fatal_error(message: *const c_char, arguments: *const VaList) -> Answer {
    let mut text = b"Fatal error: ".to_vec();
    // SAFETY: C's arguments.
    text.extend(unsafe { format(message, arguments) });
    text.push(b'\n');
    // If stderr cannot be written, there is nowhere to report it.
    let _ = std::io::stderr().write_all(&text);
    std::process::abort()
}

unsafe extern "C" fn gc_message(level: c_int, message: *const c_char, arguments: *const VaList) -> Answer {
    let wanted = running_machine().is_some_and(|m| m.params().verbose_gc as c_int & level != 0);
    if wanted {
        // SAFETY: C's arguments.
        let _ = std::io::stderr().write_all(&unsafe { format(message, arguments) });
    }
    UNIT
}
