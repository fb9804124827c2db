//! System calls that neither std nor nix offer safely.

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

/// Takes ownership of an open descriptor of the process.
pub(crate) fn adopt(number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: only reads flags; any number is allowed.
    Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // SAFETY: it is open (just checked), and the caller becomes its owner: nothing else in the process owns it.
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

/// `select`: waits until a descriptor is ready, and returns which are, of those to read, to write, and to watch for
/// exceptional conditions. Numbers that are not open descriptors are left to the system, which reports them.
///
/// # Panics
/// When a number does not fit into a set.
pub(crate) fn select(
    fds: [&[RawFd]; 3],
    mut timeout: Option<libc::timeval>,
) -> Result<[Vec<bool>; 3], Errno> {
    let mut sets = fds.map(|fds| {
        assert!(
            fds.iter().all(|fd| (0..libc::FD_SETSIZE as i32).contains(fd)),
            "a descriptor number that fits into a set"
        );
        let mut set = MaybeUninit::<libc::fd_set>::uninit();
        // SAFETY: the first call fills the set; the numbers for the others have just been checked.
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

/// `read`, but fails with `EAGAIN` instead of waiting, or with `EOPNOTSUPP` if the system cannot do that.
pub(crate) fn read_now(fd: impl AsFd, into: &mut [u8]) -> Result<usize, Errno> {
    let fd = fd.as_fd().as_raw_fd();
    let part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: one part, of bytes that are written, and its length; -1 means the current position.
    let n = Errno::result(unsafe { libc::preadv2(fd, &part, 1, -1, libc::RWF_NOWAIT) })?;
    Ok(n as usize)
}

/// `write`, in the same way: as much as there is room for.
pub(crate) fn write_now(fd: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    let fd = fd.as_fd().as_raw_fd();
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one part, of bytes that are only read, and its length; -1 means the current position.
    let n = Errno::result(unsafe { libc::pwritev2(fd, &part, 1, -1, libc::RWF_NOWAIT) })?;
    Ok(n as usize)
}

/// How many rows a terminal has.
pub(crate) fn terminal_rows(fd: impl AsFd) -> Option<u16> {
    let mut size = MaybeUninit::<libc::winsize>::uninit();
    // SAFETY: this request writes a `winsize` if it succeeds, and nothing if it fails.
    unsafe {
        let done = libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr());
        (done == 0).then(|| size.assume_init().ws_row)
    }
}

/// C's `system`: the wait status of the command. During the call, SIGINT and SIGQUIT are ignored, which `std::process`
/// cannot do.
pub(crate) fn system(command: &CStr) -> Result<i32, Errno> {
    // SAFETY: a C string.
    Errno::result(unsafe { libc::system(command.as_ptr()) })
}

/// What the system does when a signal arrives.
#[derive(Clone, Copy)]
pub(crate) struct Disposition(libc::sigaction);

impl Disposition {
    /// Makes the system ignore a signal or take its default action. Returns the previous disposition.
    pub(crate) fn exchange(signal: i32, ignore: bool) -> Result<Self, Errno> {
        // SAFETY: numbers, and a set of signals, for which empty is valid.
        let mut new = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
        new.sa_sigaction = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
        Disposition(new).install(signal)
    }

    fn install(&self, signal: i32) -> Result<Self, Errno> {
        let mut old = self.0;
        // SAFETY: two actions, the second of which is written. The first has no handler, or was installed before.
        Errno::result(unsafe { libc::sigaction(signal, &self.0, &mut old) })?;
        Ok(Disposition(old))
    }
}

/// Sets the flags, in order, whenever the signal arrives. A system call that it interrupts fails with `EINTR`, so that
/// the program's handler runs before the call is tried again. `aside` is the handler of signal-hook that must be
/// restored.
pub(crate) fn watch(
    signal: i32,
    flags: [Arc<AtomicBool>; 2],
    aside: Option<Disposition>,
) -> Result<signal_hook::SigId, std::io::Error> {
    let set = move || flags.iter().for_each(|flag| flag.store(true, Ordering::SeqCst));
    // SAFETY: the action only stores to atomics, which is allowed in the handler of any signal.
    let id = unsafe { signal_hook_registry::register_signal_unchecked(signal, set) }?;
    if let Some(handler) = aside {
        handler.install(signal)?;
    }
    // SAFETY: changes a flag of the handler that has just been installed.
    unsafe { siginterrupt(signal, 1) };
    Ok(id)
}

/// Makes system calls restart, if they can, when a watched signal interrupts them.
pub(crate) fn restart_calls(signal: i32) {
    // SAFETY: changes a flag of the signal's current handler.
    unsafe { siginterrupt(signal, 0) };
}

/// Whether the process ignores a signal.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action, this writes the current one if it succeeds.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// The previous signal mask of the calling thread, restored on drop.
struct Blocked(libc::sigset_t);

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: a mask that the system wrote.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// Blocks a signal in the calling thread until the result is dropped.
pub(crate) fn block(signal: i32) -> Box<dyn Any> {
    let (mut set, mut old) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: the first call initialises an empty set, the second fails for a number that is not a signal, and the
    // third writes the old set.
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
    // SAFETY: without a new set, the current one is written.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
        libc::sigismember(set.as_ptr(), signal) == 1
    }
}

/// Removes a variable from the environment, and returns its value.
pub(crate) fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    // SAFETY: called before the program starts, when no other thread of it reads the environment.
    unsafe { std::env::remove_var(name) };
    Some(value)
}
