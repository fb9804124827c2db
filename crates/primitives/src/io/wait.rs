//! Interruptible waits for the system.
//!
//! If no interrupt is possible (no interrupt handle for the call exists; or another thread waits of a program that is the
//! whole process), each of these functions is the plain system call. Otherwise they wait in `poll`, for the descriptor
//! and for the machine's wake-up (in other threads than the host's, one that only dropping the machine uses), and make
//! the call when it will not block: with `MSG_DONTWAIT` or `RWF_NOWAIT` where available, since another process may use
//! the descriptor first. Non-blocking descriptors, and regular files, which `poll` always reports as ready, use the
//! plain call.
//!
//! An interrupted call fails with `EINTR`, as if a signal had arrived; processing pending actions, which is required
//! after a signal, then reports the interrupt.

use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::stat::{Mode, fstat};
use nix::sys::termios::{LocalFlags, SpecialCharacterIndices, tcgetattr};
use nix::sys::time::TimeSpec;
use nix::unistd;
use spelter_interp::{Interruption, Machine, Raise, Wake};

use crate::ffi;
use crate::io::channels::Io;

/// A descriptor that becomes readable when the waiting thread must check for interrupts and signals.
pub(crate) struct WakeUp {
    reader: UnixStream,
    writer: UnixStream,
}

impl WakeUp {
    fn new() -> std::io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(WakeUp { reader, writer })
    }

    /// Resets it for the next wake-up.
    fn clear(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.reader).read(&mut bytes), Ok(n) if n == bytes.len()) {}
    }
}

impl Wake for WakeUp {
    fn wake(&self) {
        // If the pipe is full, it is readable already.
        let _ = (&self.writer).write(&[0]);
    }
}

/// The wake-up of a machine, made when first needed.
#[derive(Default)]
pub(crate) struct OwnWakeUp(Option<Arc<WakeUp>>);

impl OwnWakeUp {
    fn of(m: &mut Machine) -> Option<Arc<WakeUp>> {
        if m.ext::<OwnWakeUp>().0.is_none() {
            m.ext::<OwnWakeUp>().0 = Some(new_wake_up(m)?);
        }
        m.ext::<OwnWakeUp>().0.clone()
    }
}

/// Wake-ups for threads other than the host's, which nothing but the end of the machine wakes: those not in use.
#[derive(Default)]
struct SpareWakeUps(Vec<Arc<WakeUp>>);

/// A new wake-up, whose descriptors the program does not see.
fn new_wake_up(m: &mut Machine) -> Option<Arc<WakeUp>> {
    // If no descriptor is available, waits cannot be woken.
    let wake_up = Arc::new(WakeUp::new().ok()?);
    let user: Weak<WakeUp> = Arc::downgrade(&wake_up);
    for end in [&wake_up.reader, &wake_up.writer] {
        let number = std::os::fd::AsRawFd::as_raw_fd(end);
        m.ext::<Io>().fds.hide(number, user.clone());
    }
    Some(wake_up)
}

/// After `fork`, in the child: stops sharing the parent's wake-up.
pub(crate) fn after_fork(m: &mut Machine) {
    m.ext::<OwnWakeUp>().0 = None;
    m.ext::<SpareWakeUps>().0.clear();
}

/// What a blocking section uses to wait.
pub(crate) struct Waiter(Option<(Arc<WakeUp>, Interruption)>);

fn waiter(m: &mut Machine) -> Waiter {
    let home = m.is_home();
    // If the program is the whole process, its other threads end with that.
    if if home { !m.may_be_interrupted() } else { m.ext::<Io>().fds.owns_process } {
        return Waiter(None);
    }
    let interruption = m.interruption();
    let wake_up = match home {
        true => OwnWakeUp::of(m),
        false => m.ext::<SpareWakeUps>().0.pop().or_else(|| new_wake_up(m)),
    };
    Waiter(wake_up.map(|wake_up| (wake_up, interruption)))
}

/// Keeps the wake-up of a wait that has ended for the next one.
fn keep(m: &mut Machine, waiter: Waiter) {
    if let Waiter(Some((wake_up, _))) = waiter
        && !m.is_home()
    {
        m.ext::<SpareWakeUps>().0.push(wake_up);
    }
}

/// A blocking section ([`Machine::blocking`]) that an interrupt ends.
///
/// # Errors
/// The exception of a signal handler; then `f` has not run.
pub(crate) fn blocking<T>(m: &mut Machine, f: impl FnOnce(&Waiter) -> T + Send) -> Result<T, Raise> {
    let waiter = waiter(m);
    let result = m.blocking(|| waiter.section(f));
    keep(m, waiter);
    result
}

/// As [`blocking`], without processing signals first ([`Machine::blocking_no_pending`]).
pub(crate) fn blocking_no_pending<T>(m: &mut Machine, f: impl FnOnce(&Waiter) -> T + Send) -> T {
    let waiter = waiter(m);
    let result = m.blocking_no_pending(|| waiter.section(f));
    keep(m, waiter);
    result
}

/// Runs an operation that cannot be woken in a separate thread. After an interrupt the operation continues alone, and
/// its result is dropped.
///
/// # Errors
/// The exception of a signal handler, or [`Raise::Interrupted`].
pub(crate) fn elsewhere<T: Send + 'static>(
    m: &mut Machine,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Raise> {
    let Waiter(Some((wake_up, interruption))) = waiter(m) else { return m.blocking(f) };
    let job = Arc::new(Mutex::new(None));
    let (theirs, waker) = (Arc::clone(&job), Arc::clone(&wake_up));
    // If the system has no more threads, report that as lack of memory.
    let started = std::thread::Builder::new().name("spelter wait".to_owned()).spawn(move || {
        let result = f();
        *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        waker.wake();
    });
    started.map_err(|_| Raise::OutOfMemory)?;
    let waiter = Waiter(Some((wake_up, interruption)));
    loop {
        let result = m.blocking(|| {
            waiter.section(|waiter| {
                loop {
                    if let Some(result) = job.lock().unwrap_or_else(PoisonError::into_inner).take() {
                        return Some(result);
                    }
                    match waiter.woken(None) {
                        Ok(()) => {}
                        Err(_) => return None,
                    }
                }
            })
        })?;
        // A signal or an interrupt. After a signal its handler runs, and the operation continues.
        match result {
            Some(result) => return Ok(result),
            None => m.process_pending_actions()?,
        }
    }
}

/// `open`. For files that may wait for a peer, it runs in a separate thread.
///
/// # Errors
/// As [`elsewhere`].
pub(crate) fn open(
    m: &mut Machine,
    path: CString,
    flags: OFlag,
    mode: Mode,
) -> Result<Result<OwnedFd, Errno>, Raise> {
    let call = move || nix::fcntl::open(path.as_c_str(), flags, mode);
    if !m.may_be_interrupted() || flags.contains(OFlag::O_NONBLOCK) {
        return m.blocking(call);
    }
    elsewhere(m, call)
}

/// How a descriptor is read and written without waiting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A socket, and whether its bytes come in a stream.
    Socket {
        stream: bool,
    },
    Pipe,
    /// A terminal, for instance.
    Device,
}

/// The operation on a descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
    Accept,
}

/// The number of bytes that a pipe takes at once if it is ready.
const PIPE_BUF: usize = 4096;
/// The same for a terminal.
const DEVICE_BUF: usize = 256;

/// The time at which a wait ends, if any.
type Deadline = Option<Instant>;

impl Waiter {
    fn section<T>(&self, f: impl FnOnce(&Waiter) -> T) -> T {
        match &self.0 {
            Some((wake_up, interruption)) => interruption.woken(wake_up, || f(self)),
            None => f(self),
        }
    }

    /// Whether there is an interrupt or a signal to process.
    fn interrupted(&self) -> bool {
        self.0.as_ref().is_some_and(|(_, interruption)| interruption.is_due())
    }

    /// How to use a descriptor; `None` if the plain call does not block, or fails at once.
    fn kind(&self, fd: impl AsFd, way: Way) -> Option<Kind> {
        self.0.as_ref()?;
        let socket_option = |name| ffi::net::option::<i32>(&fd, libc::SOL_SOCKET, name).ok();
        let kind = match fstat(&fd).ok()?.st_mode & libc::S_IFMT {
            libc::S_IFSOCK => Kind::Socket { stream: socket_option(libc::SO_TYPE)? == libc::SOCK_STREAM },
            libc::S_IFIFO => Kind::Pipe,
            libc::S_IFCHR => Kind::Device,
            _ => return None,
        };
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL).ok()?);
        let closed = match (kind, way) {
            (Kind::Socket { .. }, Way::Accept) => socket_option(libc::SO_ACCEPTCONN)? == 0,
            (Kind::Socket { .. }, Way::In) => socket_option(libc::SO_ACCEPTCONN)? != 0,
            (Kind::Socket { .. }, Way::Out) => false,
            (_, Way::Accept) => true,
            (_, Way::In) => flags & OFlag::O_ACCMODE == OFlag::O_WRONLY,
            (_, Way::Out) => flags & OFlag::O_ACCMODE == OFlag::O_RDONLY,
        };
        if closed || flags.contains(OFlag::O_NONBLOCK) {
            return None;
        }
        // A terminal with a read timeout does not become ready when that expires.
        let is_timed = kind == Kind::Device
            && tcgetattr(&fd).is_ok_and(|settings| {
                !settings.local_flags.contains(LocalFlags::ICANON)
                    && settings.control_chars[SpecialCharacterIndices::VMIN as usize] == 0
            });
        (!is_timed || way != Way::In).then_some(kind)
    }

    /// Waits until a descriptor is ready or the deadline has passed; returns whether it is ready.
    fn ready(&self, fd: BorrowedFd<'_>, events: PollFlags, until: Deadline) -> Result<bool, Errno> {
        self.poll(Some((fd, events)), until)
    }

    /// Waits until the deadline, or forever.
    fn pause(&self, until: Deadline) -> Result<(), Errno> {
        self.poll(None, until).map(drop)
    }

    /// Waits until it is woken, for whatever reason, or the deadline has passed.
    fn woken(&self, until: Deadline) -> Result<(), Errno> {
        let Some((wake_up, interruption)) = &self.0 else { return Ok(()) };
        let mut fds = [PollFd::new(wake_up.reader.as_fd(), PollFlags::POLLIN)];
        self.poll_once(&mut fds, until)?;
        wake_up.clear();
        if interruption.is_due() { Err(Errno::EINTR) } else { Ok(()) }
    }

    /// Polls once; repeats after a signal that does not concern the machine.
    fn poll_once(&self, fds: &mut [PollFd<'_>], until: Deadline) -> Result<i32, Errno> {
        loop {
            let left =
                until.map(|until| TimeSpec::from_duration(until.saturating_duration_since(Instant::now())));
            match ppoll(fds, left, None) {
                Err(Errno::EINTR) if !self.is_called() => {}
                outcome => return outcome,
            }
        }
    }

    fn is_called(&self) -> bool {
        self.0.as_ref().is_none_or(|(_, interruption)| interruption.is_called())
    }

    fn poll(&self, wanted: Option<(BorrowedFd<'_>, PollFlags)>, until: Deadline) -> Result<bool, Errno> {
        let wake_up = self.0.as_ref().map(|(wake_up, _)| wake_up);
        loop {
            if self.interrupted() {
                return Err(Errno::EINTR);
            }
            let own = wake_up.map(|wake_up| PollFd::new(wake_up.reader.as_fd(), PollFlags::POLLIN));
            let other = wanted.map(|(fd, events)| PollFd::new(fd, events));
            let mut fds: Vec<PollFd<'_>> = own.into_iter().chain(other).collect();
            let ready = self.poll_once(&mut fds, until)?;
            if ready == 0 {
                return Ok(false);
            }
            if wanted.is_some() && fds.last().is_some_and(|fd| fd.any() != Some(false)) {
                return Ok(true);
            }
            wake_up.iter().for_each(|wake_up| wake_up.clear());
        }
    }

    // ---- descriptors -------------------------------------------------------------------------------

    /// The deadline of an operation on a socket, from this socket option.
    fn deadline(kind: Kind, fd: impl AsFd, option: i32) -> Deadline {
        if !matches!(kind, Kind::Socket { .. }) {
            return None;
        }
        let limit = ffi::net::option::<libc::timeval>(fd, libc::SOL_SOCKET, option).ok()?;
        let limit = Duration::new(limit.tv_sec as u64, 1000 * limit.tv_usec as u32);
        (!limit.is_zero()).then(|| Instant::now() + limit)
    }

    /// Waits until `f` succeeds, which does not wait itself: it fails with `EAGAIN` instead.
    fn until_ready<T>(
        &self,
        fd: BorrowedFd<'_>,
        events: PollFlags,
        until: Deadline,
        mut f: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let mut pause = Pause::default();
        loop {
            if !self.ready(fd, events, until)? {
                return Err(Errno::EAGAIN);
            }
            match f() {
                // Another process was faster, or the receiver is not ready.
                Err(Errno::EAGAIN) => self.pause(Some(pause.next()))?,
                outcome => return outcome,
            }
        }
    }

    /// `read`
    pub(crate) fn read(&self, fd: impl AsFd, into: &mut [u8]) -> Result<usize, Errno> {
        let fd = fd.as_fd();
        let Some(kind) = self.kind(fd, Way::In).filter(|_| !into.is_empty()) else {
            return unistd::read(fd, into);
        };
        let until = Self::deadline(kind, fd, libc::SO_RCVTIMEO);
        self.until_ready(fd, PollFlags::POLLIN, until, || match kind {
            Kind::Socket { .. } => ffi::net::recv(fd, into, libc::MSG_DONTWAIT),
            Kind::Pipe | Kind::Device => match ffi::sys::read_now(fd, into) {
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => unistd::read(fd, into),
                outcome => outcome,
            },
        })
    }

    /// `write`: all bytes, unless a signal or an interrupt comes in between.
    pub(crate) fn write(&self, fd: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
        let fd = fd.as_fd();
        let Some(kind) = self.kind(fd, Way::Out).filter(|_| !bytes.is_empty()) else {
            return unistd::write(fd, bytes);
        };
        self.put(fd, kind, bytes, |bytes| match kind {
            Kind::Socket { .. } => ffi::net::send(fd, bytes, libc::MSG_DONTWAIT),
            Kind::Pipe | Kind::Device => match ffi::sys::write_now(fd, bytes) {
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                    let most = if kind == Kind::Pipe { PIPE_BUF } else { DEVICE_BUF };
                    unistd::write(fd, &bytes[..bytes.len().min(most)])
                }
                outcome => outcome,
            },
        })
    }

    /// Writes everything, or a whole message, with a function that writes as much as it can without waiting.
    fn put(
        &self,
        fd: BorrowedFd<'_>,
        kind: Kind,
        bytes: &[u8],
        mut f: impl FnMut(&[u8]) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let until = Self::deadline(kind, fd, libc::SO_SNDTIMEO);
        let mut written = 0;
        loop {
            match self.until_ready(fd, PollFlags::POLLOUT, until, || f(&bytes[written..])) {
                Ok(n) => written += n,
                Err(_) if written > 0 => return Ok(written),
                Err(e) => return Err(e),
            }
            if written >= bytes.len() || matches!(kind, Kind::Socket { stream: false }) {
                return Ok(written);
            }
        }
    }

    /// Receives from a socket; `f` gets the flags to add.
    pub(crate) fn receive<T>(
        &self,
        fd: impl AsFd,
        flags: i32,
        mut f: impl FnMut(i32) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let fd = fd.as_fd();
        // Receiving out-of-band data never waits.
        match self.kind(fd, Way::In).filter(|_| flags & libc::MSG_OOB == 0) {
            Some(kind @ Kind::Socket { .. }) => {
                let until = Self::deadline(kind, fd, libc::SO_RCVTIMEO);
                self.until_ready(fd, PollFlags::POLLIN, until, || f(flags | libc::MSG_DONTWAIT))
            }
            _ => f(flags),
        }
    }

    /// Sends to a socket; `f` gets the flags to add.
    pub(crate) fn send(
        &self,
        fd: impl AsFd,
        bytes: &[u8],
        flags: i32,
        mut f: impl FnMut(&[u8], i32) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let fd = fd.as_fd();
        match self.kind(fd, Way::Out) {
            Some(kind @ Kind::Socket { .. }) => {
                self.put(fd, kind, bytes, |bytes| f(bytes, flags | libc::MSG_DONTWAIT))
            }
            _ => f(bytes, flags),
        }
    }

    /// `accept`
    pub(crate) fn accept(&self, fd: impl AsFd, cloexec: bool) -> Result<(OwnedFd, Vec<u8>), Errno> {
        let fd = fd.as_fd();
        match self.kind(fd, Way::Accept) {
            Some(kind) => {
                let until = Self::deadline(kind, fd, libc::SO_RCVTIMEO);
                self.until_ready(fd, PollFlags::POLLIN, until, || ffi::net::accept(fd, cloexec))
            }
            None => ffi::net::accept(fd, cloexec),
        }
    }

    /// `connect`
    pub(crate) fn connect(&self, fd: impl AsFd, address: &[u8]) -> Result<(), Errno> {
        let fd = fd.as_fd();
        let Some(kind) = self.kind(fd, Way::Out) else { return ffi::net::connect(fd, address) };
        let until = Self::deadline(kind, fd, libc::SO_SNDTIMEO);
        let mut pause = Pause::default();
        loop {
            match without_blocking(fd, || ffi::net::connect(fd, address)) {
                Err(Errno::EINPROGRESS) => break,
                // The queue of the local socket's peer is full, and the system does not report when that changes.
                Err(Errno::EAGAIN) if until.is_none_or(|until| Instant::now() < until) => {
                    self.pause(Some(pause.next()))?;
                }
                outcome => return outcome,
            }
        }
        if !self.ready(fd, PollFlags::POLLOUT, until)? {
            return Err(Errno::EINPROGRESS);
        }
        match ffi::net::option::<i32>(fd, libc::SOL_SOCKET, libc::SO_ERROR)? {
            0 => Ok(()),
            e => Err(Errno::from_raw(e)),
        }
    }

    /// `select`: returns which descriptors are ready, of those to read, to write, and to watch for exceptional
    /// conditions.
    pub(crate) fn select(
        &self,
        fds: [&[i32]; 3],
        timeout: Option<Duration>,
        exact: Option<libc::timeval>,
    ) -> Result<[Vec<bool>; 3], Errno> {
        let Some((wake_up, _)) = &self.0 else { return ffi::sys::select(fds, exact) };
        let own = std::os::fd::AsRawFd::as_raw_fd(&wake_up.reader);
        // If the wake-up's number does not fit into a set, `select` returns from time to time, to check for interrupts.
        let fits = own < libc::FD_SETSIZE as i32;
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let readable: Vec<i32> = fds[0].iter().copied().chain(fits.then_some(own)).collect();
        loop {
            if self.interrupted() {
                return Err(Errno::EINTR);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let now = if fits { left } else { Some(left.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)) };
            let now = now.map(|now| {
                let micros = now.as_nanos().div_ceil(1000) as i64;
                libc::timeval { tv_sec: micros / 1_000_000, tv_usec: micros % 1_000_000 }
            });
            let mut ready = match ffi::sys::select([&readable, fds[1], fds[2]], now) {
                Err(Errno::EINTR) if !self.is_called() => continue,
                outcome => outcome?,
            };
            let woken = fits && ready[0].pop() == Some(true);
            if ready.iter().flatten().any(|ready| *ready) || left.is_some_and(|left| left.is_zero()) {
                return Ok(ready);
            }
            if woken {
                wake_up.clear();
            } else if fits && until.is_none() {
                return Ok(ready);
            }
        }
    }

    // ---- others ------------------------------------------------------------------------------------

    /// Sleeps. If that is cut short, `left` is the remaining time.
    pub(crate) fn sleep(&self, left: &mut libc::timespec) -> Result<(), Errno> {
        if self.0.is_none() {
            return ffi::process::sleep(left);
        }
        let wanted = Duration::new(left.tv_sec as u64, left.tv_nsec as u32);
        let Some(until) = Instant::now().checked_add(wanted) else { return self.pause(None) };
        let outcome = self.pause(Some(until));
        let remains = until.saturating_duration_since(Instant::now());
        *left = libc::timespec { tv_sec: remains.as_secs() as _, tv_nsec: remains.subsec_nanos().into() };
        outcome
    }

    /// Waits for a signal, with the given signals blocked.
    pub(crate) fn suspend(&self, signals: &[i32]) -> Errno {
        let Some((wake_up, _)) = &self.0 else { return ffi::process::suspend(signals) };
        while !self.interrupted() {
            match ffi::process::suspend_until(wake_up.reader.as_fd(), signals) {
                Ok(()) => wake_up.clear(),
                Err(e) => return e,
            }
        }
        Errno::EINTR
    }

    /// Calls `f` until it succeeds: at once, then after longer and longer pauses. Only if this may be interrupted;
    /// otherwise `wait` waits.
    pub(crate) fn try_until<T>(
        &self,
        mut f: impl FnMut() -> Result<Option<T>, Errno>,
        wait: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        if self.0.is_none() {
            return wait();
        }
        let mut pause = Pause::default();
        loop {
            if let Some(result) = f()? {
                return Ok(result);
            }
            self.pause(Some(pause.next()))?;
        }
    }
}

/// The longest time between two checks of something that cannot be polled.
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// Longer and longer pauses.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Pause(Duration::from_micros(100))
    }
}

impl Pause {
    /// The end of the next pause.
    fn next(&mut self) -> Instant {
        let now = self.0;
        self.0 = (2 * now).min(LONGEST_PAUSE);
        Instant::now() + now
    }
}

/// Makes a system call on a descriptor that is made non-blocking for its duration.
fn without_blocking<T>(fd: BorrowedFd<'_>, f: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let outcome = f();
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    outcome
}
