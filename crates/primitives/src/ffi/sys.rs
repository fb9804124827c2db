//! The door to the C library for system calls that neither std nor nix offer safely.

use std::any::Any;
use std::ffi::{CStr, OsString, c_int};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

// SAFETY: POSIX's declaration, in <signal.h>.
unsafe extern "C" {
    fn siginterrupt(signal: c_int, flag: c_int) -> c_int;
}

/// Takes over an open descriptor of the process's.
pub(crate) fn adopt(number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: asks for flags; any number may be asked about.
    Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // SAFETY: it is open (just asked), and its owner is whoever calls: nothing else in the process has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `dup2` onto a number that has an owner, who keeps it.
pub(crate) fn dup_onto(from: impl AsFd, onto: impl AsFd, cloexec: bool) -> Result<(), Errno> {
    dup3(from.as_fd(), onto.as_fd().as_raw_fd(), cloexec)
}

/// `dup2` to a number that has no owner yet.
pub(crate) fn dup_at(from: impl AsFd, number: i32, cloexec: bool) -> Result<OwnedFd, Errno> {
    dup3(from.as_fd(), number, cloexec)?;
    // SAFETY: just opened under this number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn dup3(from: BorrowedFd<'_>, to: i32, cloexec: bool) -> Result<(), Errno> {
    if from.as_raw_fd() == to {
        return Ok(());
    }
    let flags = if cloexec { libc::O_CLOEXEC } else { 0 };
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::dup3(from.as_raw_fd(), to, flags) }).map(drop)
}

/// Waits until one of these is ready: `select`, which the system alone knows to answer about numbers that stand for nothing.
/// Says which are, of those to be read, to be written, and to be looked at for what is exceptional.
///
/// # Panics
/// When a number is not one that a set can hold.
pub(crate) fn select(
    fds: [&[RawFd]; 3],
    mut timeout: Option<libc::timeval>,
) -> Result<[Vec<bool>; 3], Errno> {
    let mut sets = fds.map(|fds| {
        assert!(fds.iter().all(|fd| (0..libc::FD_SETSIZE as i32).contains(fd)), "a number in a set");
        let mut set = MaybeUninit::<libc::fd_set>::uninit();
        // SAFETY: the first call fills the set; the others' numbers have just been looked at.
        unsafe {
            libc::FD_ZERO(set.as_mut_ptr());
            for fd in fds {
                libc::FD_SET(*fd, set.as_mut_ptr());
            }
            set.assume_init()
        }
    });
    let end = fds.iter().flat_map(|fds| fds.iter()).max().map_or(0, |largest| largest + 1);
    let until = timeout.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
    let [r, w, e] = &mut sets;
    // SAFETY: three sets and a time, or null.
    Errno::result(unsafe { libc::select(end, r, w, e, until) })?;
    let ready = |i: usize| -> Vec<bool> {
        // SAFETY: a set, and numbers that it can hold.
        fds[i].iter().map(|fd| unsafe { libc::FD_ISSET(*fd, &sets[i]) }).collect()
    };
    Ok([ready(0), ready(1), ready(2)])
}

/// `read` that fails with `EAGAIN` where it would have to wait; where the system cannot tell, with `EOPNOTSUPP`.
pub(crate) fn read_now(fd: impl AsFd, into: &mut [u8]) -> Result<usize, Errno> {
    let fd = fd.as_fd().as_raw_fd();
    let part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: one part, of bytes that are written, and its length; -1 is the present position.
    let n = Errno::result(unsafe { libc::preadv2(fd, &part, 1, -1, libc::RWF_NOWAIT) })?;
    Ok(n as usize)
}

/// `write`, likewise: as much as there is room for.
pub(crate) fn write_now(fd: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    let fd = fd.as_fd().as_raw_fd();
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one part, of bytes that are only read, and its length; -1 is the present position.
    let n = Errno::result(unsafe { libc::pwritev2(fd, &part, 1, -1, libc::RWF_NOWAIT) })?;
    Ok(n as usize)
}

/// How many rows a terminal has.
pub(crate) fn terminal_rows(fd: impl AsFd) -> Option<u16> {
    let mut size = MaybeUninit::<libc::winsize>::uninit();
    // SAFETY: this request writes a `winsize` where it succeeds, and nothing where it fails.
    unsafe {
        let done = libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr());
        (done == 0).then(|| size.assume_init().ws_row)
    }
}

/// C's `system`: the wait status of the command. Meanwhile the caller ignores SIGINT and SIGQUIT, which is what
/// `std::process` cannot do.
pub(crate) fn system(command: &CStr) -> Result<i32, Errno> {
    // SAFETY: a C string.
    Errno::result(unsafe { libc::system(command.as_ptr()) })
}

/// What the system does when a signal comes.
#[derive(Clone, Copy)]
pub(crate) struct Disposition(libc::sigaction);

impl Disposition {
    /// Has a signal ignored, or gives it its default action. What the system did before is given back.
    pub(crate) fn exchange(signal: i32, ignore: bool) -> Result<Self, Errno> {
        // SAFETY: numbers, and a set of signals, of which none is a right one.
        let mut new = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
        new.sa_sigaction = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
        Disposition(new).install(signal)
    }

    fn install(&self, signal: i32) -> Result<Self, Errno> {
        let mut old = self.0;
        // SAFETY: two actions, the second of which is written. The first is one without a handler, or was there before.
        Errno::result(unsafe { libc::sigaction(signal, &self.0, &mut old) })?;
        Ok(Disposition(old))
    }
}

/// Sets the flags, in order, whenever the signal comes. A system call that it interrupts fails with `EINTR`, so
/// that the program's handler runs before the call is tried again. `aside` is the handler of signal-hook's that is to be
/// put back.
pub(crate) fn watch(
    signal: i32,
    flags: [Arc<AtomicBool>; 2],
    aside: Option<Disposition>,
) -> Result<signal_hook::SigId, std::io::Error> {
    let set = move || flags.iter().for_each(|flag| flag.store(true, Ordering::SeqCst));
    // SAFETY: storing to an atomic is all that the action does, which a signal handler may, whatever the signal.
    let id = unsafe { signal_hook_registry::register_signal_unchecked(signal, set) }?;
    if let Some(handler) = aside {
        handler.install(signal)?;
    }
    // SAFETY: changes a flag of the handler that has just been installed.
    unsafe { siginterrupt(signal, 1) };
    Ok(id)
}

/// Has system calls go on that a watched signal interrupts, those that can.
pub(crate) fn restart_calls(signal: i32) {
    // SAFETY: changes a flag of the signal's present handler.
    unsafe { siginterrupt(signal, 0) };
}

/// Whether the process ignores a signal.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action, this writes the present one where it succeeds.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// The mask of the calling thread as it was, which it will be again.
struct Blocked(libc::sigset_t);

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: a mask that the system wrote.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// Blocks a signal in the calling thread until what this gives is dropped.
pub(crate) fn block(signal: i32) -> Box<dyn Any> {
    let (mut set, mut old) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: the first call makes the set an empty one, and the third writes the old one; the second fails for a
    // number that is no signal's.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), old.as_mut_ptr());
        Box::new(Blocked(old.assume_init()))
    }
}

/// Whether the calling thread has blocked a signal.
pub(crate) fn is_blocked(signal: i32) -> bool {
    let mut set = MaybeUninit::uninit();
    // SAFETY: without a new set, the present one is written.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
        libc::sigismember(set.as_ptr(), signal) == 1
    }
}

/// The value of a variable of the environment, which is struck from it.
pub(crate) fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    // SAFETY: asked for before the program starts, when no other thread of it reads the environment.
    unsafe { std::env::remove_var(name) };
    Some(value)
}
