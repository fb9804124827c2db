//! The descriptors of one machine. A program uses numbers, as in C, but only those that its machine opened or was
//! given, and the standard three. Any other number is a bad descriptor, unless the machine is the whole process: then
//! the program can also use the descriptors that the process inherited.

use std::collections::{BTreeMap, HashMap};
use std::io::{Stderr, Stdin, Stdout};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd;

use crate::ffi;
use crate::io::memory::Memory;

/// The file behind a number.
#[derive(Debug)]
enum Open {
    Owned(OwnedFd),
    /// The process's own standard input.
    Stdin(Stdin),
    Stdout(Stdout),
    Stderr(Stderr),
}

/// A descriptor in use: it stays open as long as this exists, even if the program closes its number meanwhile.
#[derive(Clone, Debug)]
pub struct Fd(Arc<Open>);

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &*self.0 {
            Open::Owned(fd) => fd.as_fd(),
            Open::Stdin(stdin) => stdin.as_fd(),
            Open::Stdout(stdout) => stdout.as_fd(),
            Open::Stderr(stderr) => stderr.as_fd(),
        }
    }
}

impl Fd {
    fn owned(fd: OwnedFd) -> Self {
        Fd(Arc::new(Open::Owned(fd)))
    }

    fn is_owned(&self) -> bool {
        matches!(*self.0, Open::Owned(_))
    }
}

/// A file in use, by whoever knows it.
pub(crate) enum File {
    System(Fd),
    Memory(Arc<Memory>),
}

/// Descriptors by number. Most machines have few, which are found sooner in a tree than by a hash.
pub struct Fds {
    open: BTreeMap<i32, Fd>,
    /// Files that the system does not know, by number.
    memory: BTreeMap<i32, Arc<Memory>>,
    /// Numbers that parts of this library use themselves, each hidden while its user lives.
    hidden: HashMap<i32, Weak<dyn Send + Sync>>,
    /// Descriptors that the program closed while a system call was using them: the system's number is not free yet.
    closing: HashMap<i32, Weak<Open>>,
    /// Whether the machine is the whole process: then closing 0, 1 or 2 closes the process's own descriptor, and
    /// inherited descriptors can be used. Must be false for a guest in a host.
    pub owns_process: bool,
    /// As many descriptors the program can have, if that is limited.
    pub(crate) most: Option<usize>,
}

impl Default for Fds {
    fn default() -> Self {
        let standard =
            [Open::Stdin(std::io::stdin()), Open::Stdout(std::io::stdout()), Open::Stderr(std::io::stderr())];
        let open = (0..).zip(standard).map(|(number, open)| (number, Fd(Arc::new(open)))).collect();
        Fds { open, ..Fds::none() }
    }
}

impl Fds {
    /// No descriptors.
    pub(crate) fn none() -> Fds {
        Fds {
            open: BTreeMap::new(),
            memory: BTreeMap::new(),
            hidden: HashMap::new(),
            closing: HashMap::new(),
            owns_process: false,
            most: None,
        }
    }

    /// Checks that the program can have one descriptor more.
    ///
    /// # Errors
    /// `EMFILE` when it cannot.
    pub(crate) fn check_room(&self) -> Result<(), Errno> {
        match self.most.is_some_and(|most| self.open.len() + self.memory.len() >= most) {
            true => Err(Errno::EMFILE),
            false => Ok(()),
        }
    }

    /// Makes a file that the system does not know the program's descriptor `number`.
    pub(crate) fn set_memory(&mut self, number: i32, file: Arc<Memory>) {
        self.open.remove(&number);
        self.memory.insert(number, file);
    }

    /// Adds a file that the system does not know; returns its number.
    pub(crate) fn insert_memory(&mut self, file: Arc<Memory>) -> i32 {
        let number = self.free_number();
        self.memory.insert(number, file);
        number
    }

    /// The file with this number, if it is one that the system does not know.
    pub(crate) fn memory(&self, number: i32) -> Option<Arc<Memory>> {
        self.memory.get(&number).cloned()
    }

    /// The file with this number, whoever knows it.
    ///
    /// # Errors
    /// `EBADF` when the machine has none.
    #[inline]
    pub(crate) fn file(&mut self, number: i32) -> Result<File, Errno> {
        match self.open.get(&number) {
            Some(fd) => Ok(File::System(fd.clone())),
            None => match self.memory(number) {
                Some(memory) => Ok(File::Memory(memory)),
                None => self.inherited(number).map(File::System),
            },
        }
    }

    fn is_taken(&self, number: i32) -> bool {
        self.open.contains_key(&number) || self.memory.contains_key(&number)
    }

    fn free_number(&self) -> i32 {
        (3..).find(|n| !self.is_taken(*n)).expect("there are more numbers than descriptors")
    }

    /// Takes ownership of a descriptor; returns its number for the program, which is the process's number unless that
    /// is taken.
    pub fn insert(&mut self, fd: OwnedFd) -> i32 {
        let mut number = fd.as_raw_fd();
        if self.owns_process {
            self.forget_closed(number);
        }
        if self.is_taken(number) {
            number = self.free_number();
        }
        self.open.insert(number, Fd::owned(fd));
        number
    }

    /// Forgets a number that the system has given to another file: a library in C has closed it.
    fn forget_closed(&mut self, number: i32) {
        if self.open.get(&number).is_some_and(|old| old.as_fd().as_raw_fd() == number) {
            // Its owner would close the other file.
            std::mem::forget(self.open.remove(&number));
        }
    }

    /// Makes `fd` the program's descriptor `number`: for example a pipe of the host as standard output.
    pub fn redirect(&mut self, number: i32, fd: OwnedFd) {
        self.memory.remove(&number);
        self.open.insert(number, Fd::owned(fd));
    }

    /// The descriptor with this number.
    ///
    /// # Errors
    /// `EBADF` when the machine has none.
    #[inline]
    pub fn get(&mut self, number: i32) -> Result<Fd, Errno> {
        match self.open.get(&number) {
            Some(fd) => Ok(fd.clone()),
            None => self.inherited(number),
        }
    }

    #[cold]
    fn inherited(&mut self, number: i32) -> Result<Fd, Errno> {
        if !self.owns_process || self.is_hidden(number) || self.closing(number).is_some() {
            return Err(Errno::EBADF);
        }
        let fd = Fd::owned(ffi::sys::adopt(number)?);
        self.open.insert(number, fd.clone());
        Ok(fd)
    }

    /// Removes a number from the program's descriptors; the result owns the file, to close it.
    ///
    /// # Errors
    /// `EBADF` when the machine has none.
    pub fn take(&mut self, number: i32) -> Result<Taken, Errno> {
        if self.memory.remove(&number).is_some() {
            return Ok(Taken::Nothing);
        }
        let fd = self.get(number)?;
        self.open.remove(&number);
        Ok(match Arc::try_unwrap(fd.0) {
            Ok(Open::Owned(fd)) => Taken::Owned(fd),
            Ok(_) if self.owns_process => Taken::Standard(number),
            // The process's own three can be closed at any time, since they have no owner.
            Err(in_use) if self.owns_process && !matches!(*in_use, Open::Owned(_)) => Taken::Standard(number),
            Ok(_) => Taken::Nothing,
            Err(in_use) => {
                self.closing.insert(number, Arc::downgrade(&in_use));
                Taken::Nothing
            }
        })
    }

    fn closing(&self, number: i32) -> Option<Fd> {
        self.closing.get(&number).and_then(Weak::upgrade).map(Fd)
    }

    /// Closes it.
    ///
    /// # Errors
    /// The error of `close`; `EBADF` when the machine has no such descriptor.
    pub fn close(&mut self, number: i32) -> Result<(), Errno> {
        self.take(number)?.close()
    }

    /// Another number for the file of `from` (`dup`).
    ///
    /// # Errors
    /// The system's error; `EBADF` when the machine has no `from`.
    pub(crate) fn dup(&mut self, from: i32, cloexec: bool) -> Result<i32, Errno> {
        let file = self.file(from)?;
        self.check_room()?;
        Ok(match file {
            File::System(fd) => {
                let new = dup(&fd, cloexec)?;
                self.insert(new)
            }
            File::Memory(memory) => self.insert_memory(memory),
        })
    }

    /// Makes `to` refer to the file of `from`, replacing its previous file (`dup2`).
    ///
    /// # Errors
    /// The system's error; `EBADF` when the machine has no `from`.
    pub fn dup_onto(&mut self, from: i32, to: i32, cloexec: bool) -> Result<(), Errno> {
        let source = self.file(from)?;
        if !self.is_taken(to) {
            self.check_room()?;
        }
        let source = match source {
            File::System(fd) => fd,
            File::Memory(_) if to < 0 => return Err(Errno::EBADF),
            File::Memory(memory) => {
                if self.open.contains_key(&to) {
                    self.take(to)?.close()?;
                }
                self.set_memory(to, memory);
                return Ok(());
            }
        };
        if let Some(closing) = self.closing(to) {
            self.open.insert(to, closing);
        }
        match self.get(to) {
            // The owner of the number stays the same.
            Ok(target) if self.owns_process || target.is_owned() => {
                ffi::sys::dup_onto(&source, &target, cloexec)
            }
            Err(_) if to < 0 || self.is_hidden(to) => Err(Errno::EBADF),
            Err(_) if self.owns_process => {
                let fd = ffi::sys::dup_at(&source, to, cloexec)?;
                self.redirect(to, fd);
                Ok(())
            }
            // The number may belong to the host: it changes only for the program.
            _ => {
                let fd = dup(&source, cloexec)?;
                self.redirect(to, fd);
                Ok(())
            }
        }
    }

    /// Hides a number that this library uses from the program of a machine that is the whole process, while its user
    /// lives.
    pub(crate) fn hide(&mut self, number: i32, user: Weak<dyn Send + Sync>) {
        self.hidden.insert(number, user);
    }

    fn is_hidden(&self, number: i32) -> bool {
        self.hidden.get(&number).is_some_and(|user| user.strong_count() > 0)
    }
}

/// Another descriptor for the same file.
pub(crate) fn dup(fd: &Fd, cloexec: bool) -> Result<OwnedFd, Errno> {
    let how = if cloexec { FcntlArg::F_DUPFD_CLOEXEC(0) } else { FcntlArg::F_DUPFD(0) };
    let number = fcntl(fd, how)?;
    ffi::sys::adopt(number)
}

/// The file behind a number that the program has given up.
pub enum Taken {
    /// A descriptor without other users.
    Owned(OwnedFd),
    /// One of the process's own three, which must be closed.
    Standard(i32),
    /// Nothing to close, or not yet.
    Nothing,
}

impl Taken {
    /// Closes it, if there is something to close.
    ///
    /// # Errors
    /// The error of `close`.
    pub fn close(self) -> Result<(), Errno> {
        match self {
            Taken::Owned(fd) => unistd::close(fd),
            Taken::Standard(number) => unistd::close(number),
            Taken::Nothing => Ok(()),
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
        let host = r.as_raw_fd();
        assert_eq!(fds.get(host).unwrap_err(), Errno::EBADF);
        let (r, w) = (fds.insert(r.into()), fds.insert(w.into()));
        assert_eq!(unistd::write(fds.get(w).unwrap(), b"hi").unwrap(), 2);
        let mut buf = [0; 8];
        assert_eq!(unistd::read(fds.get(r).unwrap(), &mut buf).unwrap(), 2);
        fds.close(w).unwrap();
        assert_eq!(fds.close(w), Err(Errno::EBADF));
        fds.close(2).unwrap();
        assert_eq!(fds.get(2).unwrap_err(), Errno::EBADF);
        assert!(fds.get(1).is_ok());
    }

    #[test]
    fn a_descriptor_in_use_outlives_its_number() {
        let mut fds = Fds::default();
        let (r, w) = std::io::pipe().unwrap();
        let (r, w) = (fds.insert(r.into()), fds.insert(w.into()));
        let in_use = fds.get(w).unwrap();
        fds.close(w).unwrap();
        assert_eq!(unistd::write(&in_use, b"x"), Ok(1));
        drop(in_use);
        let mut buf = [0; 8];
        let r = fds.get(r).unwrap();
        assert_eq!((unistd::read(&r, &mut buf), unistd::read(&r, &mut buf)), (Ok(1), Ok(0)));
    }

    #[test]
    fn a_number_that_is_being_closed_can_be_reused() {
        let mut fds = Fds { owns_process: true, ..Fds::default() };
        let (r, w) = std::io::pipe().unwrap();
        let (other_r, other_w) = std::io::pipe().unwrap();
        let [r, w, other_r, other_w] =
            [r.into(), w.into(), other_r.into(), other_w.into()].map(|fd: OwnedFd| fds.insert(fd));
        let in_use = fds.get(w).unwrap();
        fds.close(w).unwrap();
        assert_eq!(fds.get(w).unwrap_err(), Errno::EBADF, "the number is still open in the system");
        fds.dup_onto(other_w, w, true).unwrap();
        drop(in_use);
        assert_eq!(unistd::write(fds.get(w).unwrap(), b"x"), Ok(1));
        let mut buf = [0; 8];
        assert_eq!(unistd::read(fds.get(other_r).unwrap(), &mut buf), Ok(1));
        assert_eq!(unistd::read(fds.get(r).unwrap(), &mut buf), Ok(0), "the previous file is closed");
    }

    #[test]
    fn a_process_uses_what_it_inherited() {
        let mut fds = Fds { owns_process: true, ..Fds::default() };
        let (r, w) = std::io::pipe().unwrap();
        let (r, w) = (fds.insert(r.into()), std::os::fd::IntoRawFd::into_raw_fd(w));
        assert_eq!(unistd::write(fds.get(w).unwrap(), b"x"), Ok(1));
        fds.close(w).unwrap();
        let (r, mut buf) = (fds.get(r).unwrap(), [0; 8]);
        assert_eq!((unistd::read(&r, &mut buf), unistd::read(&r, &mut buf)), (Ok(1), Ok(0)));
    }

    #[test]
    fn a_guest_cannot_replace_the_hosts_descriptors() {
        let mut fds = Fds::default();
        let (r, w) = std::io::pipe().unwrap();
        let (host, _host_end) = std::io::pipe().unwrap();
        let host = host.as_raw_fd();
        let (_, w) = (fds.insert(r.into()), fds.insert(w.into()));
        for to in [1, host] {
            fds.dup_onto(w, to, true).unwrap();
            assert_ne!(fds.get(to).unwrap().as_fd().as_raw_fd(), to);
            assert_eq!(unistd::write(fds.get(to).unwrap(), b"x"), Ok(1));
        }
        assert_eq!(fds.dup_onto(w, -1, true), Err(Errno::EBADF));
    }
}
