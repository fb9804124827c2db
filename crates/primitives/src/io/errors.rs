//! What the system says went wrong, as OCaml's runtime says it (`caml_sys_error`).

use std::fmt::Arguments;
use std::io::Write;

use nix::errno::Errno;
use spelter_interp::Raise;

/// A line on the process's stderr. That nobody can read it is no reason to stop, nor to panic in a finaliser.
pub(crate) fn complain(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The system's text for an error, as C's `strerror` gives it.
pub(crate) fn strerror(e: Errno) -> String {
    error_text(e as i32)
}

/// The same for an error's number, whether the system has such an error or not.
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
