//! System errors, reported as OCaml's runtime does (`caml_sys_error`).

use std::fmt::Arguments;
use std::io::Write;

use nix::errno::Errno;
use spelter_interp::Raise;

/// Prints a line on the process's stderr. A failure to write must not stop the program, nor panic in a finaliser.
pub(crate) fn complain(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The system's text for an error, as C's `strerror` returns it.
pub(crate) fn strerror(e: Errno) -> String {
    error_text(e as i32)
}

/// The same for an error number, which may be unknown to the system.
pub(crate) fn error_text(number: i32) -> String {
    let text = std::io::Error::from_raw_os_error(number).to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

pub(crate) fn sys_error(e: Errno) -> Raise {
    Raise::Sys(strerror(e).into_bytes())
}
