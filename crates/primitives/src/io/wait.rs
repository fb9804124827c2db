//! Waiting for the system so that an interrupt ends it.
//!
//! Where nobody can interrupt (no handle to the call has been made, or another thread of the program waits), each of
//! these is the plain system call. Else they wait in `poll`, for what they want and for the machine's own wake-up, and
//! make the call when it will not block: with `MSG_DONTWAIT` or `RWF_NOWAIT` where there is one, as somebody else may come first.
//! Descriptors that do not block, and regular files, which `poll` takes for ready, are left to the plain call.
//!
//! What is interrupted fails with `EINTR`, as if a signal had come; whoever looks at pending actions then, as is due after a
//! signal, learns why.

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

/// A descriptor that is ready to be read when the host's thread is to look around.
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

    /// Makes it wait for the next.
    fn clear(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.reader).read(&mut bytes), Ok(n) if n == bytes.len()) {}
    }
}

impl Wake for WakeUp {
    fn wake(&self) {
        // Where it is full, it is ready.
        let _ = (&self.writer).write(&[0]);
    }
}

/// A machine's own, made when first needed.
#[derive(Default)]
pub(crate) struct OwnWakeUp(Option<Arc<WakeUp>>);

impl OwnWakeUp {
    fn of(m: &mut Machine) -> Option<Arc<WakeUp>> {
        if m.ext::<OwnWakeUp>().0.is_none() {
            // Without descriptors, what waits cannot be woken.
            let wake_up = Arc::new(WakeUp::new().ok()?);
            let user: Weak<WakeUp> = Arc::downgrade(&wake_up);
            for end in [&wake_up.reader, &wake_up.writer] {
                let number = std::os::fd::AsRawFd::as_raw_fd(end);
                m.ext::<Io>().fds.hide(number, user.clone());
            }
            m.ext::<OwnWakeUp>().0 = Some(wake_up);
        }
        m.ext::<OwnWakeUp>().0.clone()
    }
}

/// After `fork`, in the child: what wakes the parent does not wake it.
pub(crate) fn after_fork(m: &mut Machine) {
    m.ext::<OwnWakeUp>().0 = None;
}

/// What a blocking section waits with.
pub(crate) struct Waiter(Option<(Arc<WakeUp>, Interruption)>);

fn waiter(m: &mut Machine) -> Waiter {
    if !m.may_be_interrupted() {
        return Waiter(None);
    }
    let interruption = m.interruption();
    Waiter(OwnWakeUp::of(m).map(|wake_up| (wake_up, interruption)))
}

/// A blocking section ([`Machine::blocking`]) that an interrupt ends.
///
/// # Errors
/// What a signal handler raised: `f` has not run then.
pub(crate) fn blocking<T>(m: &mut Machine, f: impl FnOnce(&Waiter) -> T + Send) -> Result<T, Raise> {
    let waiter = waiter(m);
    m.blocking(|| waiter.section(f))
}

/// The same without a look at signals first ([`Machine::blocking_no_pending`]).
pub(crate) fn blocking_no_pending<T>(m: &mut Machine, f: impl FnOnce(&Waiter) -> T + Send) -> T {
    let waiter = waiter(m);
    m.blocking_no_pending(|| waiter.section(f))
}

/// Does in a thread of its own what nothing but its end wakes. An interrupt leaves it to itself, and what it gives is
/// dropped.
///
/// # Errors
/// What a signal handler raised, or [`Raise::Interrupted`].
pub(crate) fn elsewhere<T: Send + 'static>(
    m: &mut Machine,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Raise> {
    let Waiter(Some((wake_up, interruption))) = waiter(m) else { return m.blocking(f) };
    let job = Arc::new(Mutex::new(None));
    let (theirs, waker) = (Arc::clone(&job), Arc::clone(&wake_up));
    // Where the system has no more threads, it is as if memory lacked.
    let started = std::thread::Builder::new().spawn(move || {
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
        // A signal or an interrupt; the former's handler runs, and what has been begun goes on.
        match result {
            Some(result) => return Ok(result),
            None => m.process_pending_actions()?,
        }
    }
}

/// `open`: of what may keep it waiting for somebody at the other end, elsewhere.
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

/// What is to be done with a descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
    Accept,
}

/// The most that a pipe takes at once if it takes anything.
const PIPE_BUF: usize = 4096;
/// The same of a terminal.
const DEVICE_BUF: usize = 256;

/// Ends at a time, or never.
type Deadline = Option<Instant>;

impl Waiter {
    fn section<T>(&self, f: impl FnOnce(&Waiter) -> T) -> T {
        match &self.0 {
            Some((wake_up, interruption)) => interruption.woken(wake_up, || f(self)),
            None => f(self),
        }
    }

    /// Whether an interrupt, or a signal, is to be looked at.
    fn interrupted(&self) -> bool {
        self.0.as_ref().is_some_and(|(_, interruption)| interruption.is_due())
    }

    /// How to go about a descriptor; nothing where the plain call will do, or fails at once.
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
        // A terminal that gives nothing after a while is not ready for that.
        let is_timed = kind == Kind::Device
            && tcgetattr(&fd).is_ok_and(|settings| {
                !settings.local_flags.contains(LocalFlags::ICANON)
                    && settings.control_chars[SpecialCharacterIndices::VMIN as usize] == 0
            });
        (!is_timed || way != Way::In).then_some(kind)
    }

    /// Waits until a descriptor is ready, or the time has come: true if it is ready.
    fn ready(&self, fd: BorrowedFd<'_>, events: PollFlags, until: Deadline) -> Result<bool, Errno> {
        self.poll(Some((fd, events)), until)
    }

    /// Waits until the time has come, or for ever.
    fn pause(&self, until: Deadline) -> Result<(), Errno> {
        self.poll(None, until).map(drop)
    }

    /// Waits until it is woken, for whatever reason, or the time has come.
    fn woken(&self, until: Deadline) -> Result<(), Errno> {
        let Some((wake_up, interruption)) = &self.0 else { return Ok(()) };
        let mut fds = [PollFd::new(wake_up.reader.as_fd(), PollFlags::POLLIN)];
        self.poll_once(&mut fds, until)?;
        wake_up.clear();
        if interruption.is_due() { Err(Errno::EINTR) } else { Ok(()) }
    }

    /// Once; a signal that is none of the machine's does not count.
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

    /// When a socket gives up, by its option of that name.
    fn deadline(kind: Kind, fd: impl AsFd, option: i32) -> Deadline {
        if !matches!(kind, Kind::Socket { .. }) {
            return None;
        }
        let limit = ffi::net::option::<libc::timeval>(fd, libc::SOL_SOCKET, option).ok()?;
        let limit = Duration::new(limit.tv_sec as u64, 1000 * limit.tv_usec as u32);
        (!limit.is_zero()).then(|| Instant::now() + limit)
    }

    /// Waits until `f`, which does not, has something; what it says when it has not is `EAGAIN`.
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
                // Somebody else came first, or it is the receiver who is not ready.
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

    /// `write`: all of the bytes, unless a signal or an interrupt comes in between.
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

    /// Writes all, or a whole message, by what writes as much as it can without waiting.
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

    /// What receives from a socket; `f` is told which flags to add.
    pub(crate) fn receive<T>(
        &self,
        fd: impl AsFd,
        flags: i32,
        mut f: impl FnMut(i32) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let fd = fd.as_fd();
        // Data out of band are there or not.
        match self.kind(fd, Way::In).filter(|_| flags & libc::MSG_OOB == 0) {
            Some(kind @ Kind::Socket { .. }) => {
                let until = Self::deadline(kind, fd, libc::SO_RCVTIMEO);
                self.until_ready(fd, PollFlags::POLLIN, until, || f(flags | libc::MSG_DONTWAIT))
            }
            _ => f(flags),
        }
    }

    /// What sends to a socket; `f` is told which flags to add.
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
                // The other side of a local socket has as many as it wants: it does not tell when that changes.
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

    /// `select`: which are ready, of those to be read, to be written, and to be looked at for what is exceptional.
    pub(crate) fn select(
        &self,
        fds: [&[i32]; 3],
        timeout: Option<Duration>,
        exact: Option<libc::timeval>,
    ) -> Result<[Vec<bool>; 3], Errno> {
        let Some((wake_up, _)) = &self.0 else { return ffi::sys::select(fds, exact) };
        let own = std::os::fd::AsRawFd::as_raw_fd(&wake_up.reader);
        // It has to be one that a set can hold, or else is asked after now and then.
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

    /// Sleeps; where that is cut short, `left` is what remains.
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

    /// Waits for a signal while those given are held back.
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

    /// Tries `f` until it has something: at once, then after ever longer pauses. Only where it may be interrupted;
    /// else `wait` waits.
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

/// The longest time between two looks at what tells nobody of itself.
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// Ever longer pauses.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Pause(Duration::from_micros(100))
    }
}

impl Pause {
    /// When the next one ends.
    fn next(&mut self) -> Instant {
        let now = self.0;
        self.0 = (2 * now).min(LONGEST_PAUSE);
        Instant::now() + now
    }
}

/// Makes a system call on a descriptor that does not block meanwhile.
fn without_blocking<T>(fd: BorrowedFd<'_>, f: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let outcome = f();
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    outcome
}
