//! System errors, reported as OCaml's runtime does (`caml_sys_error`).

use std::cell::RefCell;
use std::fmt::Arguments;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;

use nix::errno::Errno;
use spelter_interp::{Machine, Raise};

use crate::io::channels::Io;
use crate::io::memory::Memory;

/// Prints a line on the machine's stderr.
pub(crate) fn complain(m: &mut Machine, line: Arguments<'_>) {
    m.ext::<Io>().stderr.print(format!("{line}\n").as_bytes());
}

/// The stderr of a machine, to which its runtime writes: the process's, or another.
#[derive(Clone, Default)]
pub(crate) struct Stderr(Rc<RefCell<Option<Arc<Memory>>>>);

impl Stderr {
    /// Uses another one than the process's from now on.
    pub(crate) fn set(&self, other: Arc<Memory>) {
        *self.0.borrow_mut() = Some(other);
    }

    /// Writes a message. A failure to write must not stop the program, nor panic in a finaliser.
    pub(crate) fn print(&self, message: &[u8]) {
        match &*self.0.borrow() {
            None => drop(std::io::stderr().write_all(message)),
            Some(memory) => {
                let mut rest = message;
                while let Ok(n @ 1..) = memory.write(rest) {
                    rest = &rest[n.min(rest.len())..];
                    if rest.is_empty() {
                        break;
                    }
                }
            }
        }
    }
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
