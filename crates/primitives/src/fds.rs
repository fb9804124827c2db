//! The descriptors of one machine: a program sees numbers, as C does, but can use only those that its
//! machine opened, was given, or that are the standard three. Any other number is a bad descriptor.

use std::collections::HashMap;
use std::io::{Stderr, Stdin, Stdout};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd;

/// Descriptors by number.
pub struct Fds {
    /// Those that this machine owns. One of the host's given as 0, 1 or 2 stands before the process's own.
    owned: HashMap<i32, OwnedFd>,
    /// Which of the process's own standard descriptors the program has closed.
    closed: [bool; 3],
    stdin: Stdin,
    stdout: Stdout,
    stderr: Stderr,
    /// Whether closing 0, 1 or 2 closes the process's own: right for a machine that is the whole process, wrong
    /// for a guest in a host.
    pub owns_process: bool,
}

impl Default for Fds {
    fn default() -> Self {
        Fds {
            owned: HashMap::new(),
            closed: [false; 3],
            stdin: std::io::stdin(),
            stdout: std::io::stdout(),
            stderr: std::io::stderr(),
            owns_process: false,
        }
    }
}

impl Fds {
    /// Takes over a descriptor; gives the number by which the program knows it, which is the process's.
    pub fn insert(&mut self, fd: OwnedFd) -> i32 {
        let number = fd.as_raw_fd();
        self.owned.insert(number, fd);
        number
    }

    /// Lets the program see `fd` as descriptor `number`, such as a pipe of the host's as standard output.
    pub fn redirect(&mut self, number: i32, fd: OwnedFd) {
        self.owned.insert(number, fd);
    }

    /// The descriptor of this number.
    ///
    /// # Errors
    /// `EBADF` when the machine has none.
    #[inline]
    pub fn get(&self, number: i32) -> Result<BorrowedFd<'_>, Errno> {
        if let Some(fd) = self.owned.get(&number) {
            return Ok(fd.as_fd());
        }
        match (number, self.closed) {
            (0, [false, _, _]) => Ok(self.stdin.as_fd()),
            (1, [_, false, _]) => Ok(self.stdout.as_fd()),
            (2, [_, _, false]) => Ok(self.stderr.as_fd()),
            _ => Err(Errno::EBADF),
        }
    }

    /// Closes it.
    ///
    /// # Errors
    /// What `close` says; `EBADF` when the machine has none.
    pub fn close(&mut self, number: i32) -> Result<(), Errno> {
        if let Some(fd) = self.owned.remove(&number) {
            return unistd::close(fd);
        }
        match usize::try_from(number).ok().and_then(|n| self.closed.get_mut(n)) {
            Some(closed @ false) => {
                *closed = true;
                if self.owns_process { unistd::close(number) } else { Ok(()) }
            }
            _ => Err(Errno::EBADF),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_descriptors() {
        let mut fds = Fds::default();
        assert!(fds.get(1).is_ok());
        assert_eq!(fds.get(77).unwrap_err(), Errno::EBADF);
        let (r, w) = std::io::pipe().unwrap();
        let (r, w) = (fds.insert(r.into()), fds.insert(w.into()));
        assert_eq!(unistd::write(fds.get(w).unwrap(), b"hi").unwrap(), 2);
        let mut buf = [0; 8];
        assert_eq!(unistd::read(fds.get(r).unwrap(), &mut buf).unwrap(), 2);
        fds.close(w).unwrap();
        assert_eq!(fds.close(w), Err(Errno::EBADF));
        fds.close(2).unwrap();
        assert!(fds.get(2).is_err() && fds.get(1).is_ok());
    }
}
