//! The channels of a machine: the heap blocks that represent them, the threads that use them, and their system calls.
//!
//! In the heap, a channel is represented by one or more [`Handle`]s, since `flush_all` makes new ones. When the last
//! handle dies, the channel is removed from the list and its descriptor left open, as in OCaml; but an output channel
//! with unflushed bytes stays listed, so that `at_exit` flushes it.
//!
//! A primitive has exclusive use of its channel ([`lock`]) until it returns, also while it waits for the system; only
//! closing and queries do not lock. The buffer is never borrowed during a system call: bytes to write are taken out,
//! bytes read arrive in a spare buffer.

use std::any::Any;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use nix::errno::Errno;
use nix::unistd::{self, Whence};
use spelter_heap::raw::CustomOps;
use spelter_interp::prim::custom::Behaviour;
use spelter_interp::{
    Charge, Interrupted, Interruption, Limit, Machine, OutOfMemory, Raise, Res, Slot, Val, Wake, WrongType,
    fallible,
};

use crate::io::channel::{BUFFER_SIZE, Channel, Put};
use crate::io::errors::{Stderr, sys_error};
use crate::io::fds::{Fd, Fds, File};
use crate::io::memory::Memory;
use crate::io::wait::{self, Waiter};

/// The descriptors and channels of one machine.
pub struct Io {
    /// The descriptors that the program may use.
    pub fds: Fds,
    /// Where the runtime's own messages go.
    pub(crate) stderr: Stderr,
    /// Whether the runtime warns about misuse.
    pub warnings: Rc<Warnings>,
    channels: Rc<RefCell<Channels>>,
    /// A buffer to read into, of [`BUFFER_SIZE`] bytes.
    spare: Option<Vec<u8>>,
}

impl Default for Io {
    fn default() -> Self {
        let stderr = Stderr::default();
        let warnings = Rc::new(Warnings { stderr: stderr.clone(), ..Warnings::default() });
        Io { fds: Fds::default(), stderr, warnings, channels: Rc::default(), spare: None }
    }
}

/// Applies the machine's parameters that concern channels.
pub(crate) fn init(m: &mut Machine) {
    let warnings = m.params().warnings;
    m.ext::<Io>().warnings.enabled.set(warnings);
}

/// All listed channels, oldest first.
#[derive(Default)]
struct Channels {
    next: u64,
    open: BTreeMap<u64, Rc<Shared>>,
}

/// A channel, shared by its handles.
pub(crate) struct Shared {
    /// The descriptor's number, -1 once closed.
    pub(crate) fd: Cell<i32>,
    pub(crate) buffer: RefCell<Channel>,
    /// How many heap blocks represent this channel.
    handles: Cell<usize>,
    /// The thread that is using it.
    user: Cell<Option<u64>>,
    /// How many threads wait to use it.
    waiting: Cell<usize>,
    changes: Arc<Changes>,
    /// Counts the buffer and the name towards the heap's limit.
    _charge: Charge,
    pub(crate) name_charge: Cell<Option<Charge>>,
}

/// Wakes threads that wait for a channel, so that they check it again.
#[derive(Default)]
struct Changes {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Changes {
    fn count(&self) -> u64 {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    fn wait(&self, seen: u64, interruption: &Interruption) -> Result<(), Interrupted> {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(count, |count| *count == seen && !interruption.is_due());
        let count = waited.unwrap_or_else(PoisonError::into_inner);
        if *count == seen { Err(Interrupted) } else { Ok(()) }
    }
}

impl Wake for Changes {
    fn wake(&self) {
        // Taking the lock ensures that no thread is between its check and its wait.
        let _ = self.count();
        self.changed.notify_all();
    }
}

/// Runtime warnings (`Sys.enable_runtime_warnings`), on stderr.
#[derive(Default)]
pub struct Warnings {
    /// Whether they are printed.
    pub enabled: Cell<bool>,
    introduced: Cell<bool>,
    stderr: Stderr,
}

impl Warnings {
    fn warn(&self, text: std::fmt::Arguments<'_>) {
        if self.enabled.get() {
            if !self.introduced.replace(true) {
                self.stderr.print(b"[ocaml] (use Sys.enable_runtime_warnings to control these warnings)\n");
            }
            self.stderr.print(format!("[ocaml] {text}\n").as_bytes());
        }
    }
}

/// The data of a channel's heap block. To C it is the channel: its address is in the first word of the payload. Some
/// libraries in C read the descriptor, which comes first in OCaml's own `struct channel`.
#[repr(C)]
pub struct Handle {
    /// The descriptor, -1 once this handle has been closed.
    fd: Cell<i32>,
    number: u64,
    channel: Rc<Shared>,
    channels: Rc<RefCell<Channels>>,
    warnings: Rc<Warnings>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.channel.handles.update(|n| n - 1);
        if self.channel.handles.get() > 0 {
            return;
        }
        let buffer = self.channel.buffer.borrow();
        let unflushed = buffer.is_unflushed();
        // A name may be long: it is only formatted if the warning is printed.
        if let (Some(name), true, true) =
            (&buffer.name, self.channel.fd.get() != -1, self.warnings.enabled.get())
        {
            let name = String::from_utf8_lossy(name);
            self.warnings.warn(format_args!("channel opened on file '{name}' dies without being closed"));
            if unflushed {
                self.warnings.warn(format_args!("(moreover, it has unflushed data)"));
            }
        }
        if !unflushed {
            self.channels.borrow_mut().open.remove(&self.number);
        }
    }
}

fn number(v: Val<'_>) -> u64 {
    v.external::<Handle>().map_or(0, |h| h.number)
}

/// Channels are ordered and hashed by age; OCaml uses the address.
static CHANNEL: CustomOps = CustomOps::new(
    c"_chan",
    &Behaviour {
        compare: Some(|_, a, b| Ok(number(a).cmp(&number(b)).into())),
        compare_ext: None,
        hash: Some(|_, v| Ok(number(v) as i64)),
        serialize: None,
        deserialize: None,
        size: None,
        fixed_length: None,
    },
)
.owning()
.counting();

// ---- from slots to channels, and back --------------------------------------------------------------

/// The channel in a slot, for queries only.
#[inline]
pub(crate) fn channel(m: &Machine, s: Slot) -> Result<&Rc<Shared>, Raise> {
    Ok(&handle(m, s)?.channel)
}

#[inline]
fn handle(m: &Machine, s: Slot) -> Result<&Handle, Raise> {
    Ok(m.val(s).external::<Handle>().map_err(|_| WrongType { expected: "a channel" })?)
}

/// The buffer of the channel in a slot, for operations without a system call; `None` if another thread is using the
/// channel.
#[inline]
pub(crate) fn idle(m: &Machine, s: Slot) -> Result<Option<&RefCell<Channel>>, Raise> {
    let channel = channel(m, s)?;
    let idle = channel.user.get().is_none_or(|user| user == m.current_thread());
    Ok(idle.then_some(&channel.buffer))
}

/// A channel of which the running thread has exclusive use.
pub(crate) struct Locked {
    channel: Rc<Shared>,
    /// False if the thread had it before: a signal handler may use a channel in the middle of another operation on it.
    taken: bool,
}

impl Deref for Locked {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.channel
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if self.taken {
            self.channel.user.set(None);
            if self.channel.waiting.get() > 0 {
                self.channel.changes.note();
            }
        }
    }
}

/// Waits until no other thread uses the channel in a slot, and locks it.
///
/// # Errors
/// The exception of a signal handler that ran meanwhile.
pub(crate) fn lock(m: &mut Machine, s: Slot) -> Result<Locked, Raise> {
    let channel = Rc::clone(channel(m, s)?);
    lock_channel(m, channel)
}

fn lock_channel(m: &mut Machine, channel: Rc<Shared>) -> Result<Locked, Raise> {
    let me = m.current_thread();
    while channel.user.get().is_some_and(|user| user != me) {
        let changes = Arc::clone(&channel.changes);
        let seen = changes.count();
        channel.waiting.update(|n| n + 1);
        let waited = m.blocking_on(&changes, |interruption| changes.wait(seen, interruption));
        channel.waiting.update(|n| n - 1);
        waited?;
    }
    let taken = channel.user.replace(Some(me)).is_none();
    Ok(Locked { channel, taken })
}

/// After `fork`, in the child: unlocks the channels that other threads were using.
pub(crate) fn free_all(m: &mut Machine) {
    let me = m.current_thread();
    for channel in m.ext::<Io>().channels.borrow().open.values() {
        channel.waiting.set(0);
        if channel.user.get() != Some(me) {
            channel.user.set(None);
        }
    }
}

impl Handle {
    /// Waits until no other thread uses the channel, and locks it. The errors are those of [`lock`].
    pub(crate) fn lock(&self, m: &mut Machine) -> Result<Locked, Raise> {
        lock_channel(m, Rc::clone(&self.channel))
    }

    /// The same until [`Handle::unlock`]. The thread may use the channel meanwhile.
    ///
    /// # Errors
    /// The exception of a signal handler that ran meanwhile.
    pub fn lock_for_long(&self, m: &mut Machine) -> Result<(), Raise> {
        self.lock(m).map(std::mem::forget)
    }

    /// Ends that.
    pub fn unlock(&self) {
        drop(Locked { channel: Rc::clone(&self.channel), taken: true });
    }
}

/// Another block for a channel.
pub(crate) fn another<'m>(m: &'m mut Machine, handle: &Handle) -> Res<'m> {
    new_handle(m, handle.number, Rc::clone(&handle.channel))
}

fn new_handle(m: &mut Machine, number: u64, channel: Rc<Shared>) -> Res<'_> {
    let io = m.ext::<Io>();
    let (channels, warnings) = (Rc::clone(&io.channels), Rc::clone(&io.warnings));
    channel.handles.update(|n| n + 1);
    let fd = channel.fd.clone();
    let handle: Box<dyn Any> = Box::new(Handle { fd, number, channel, channels, warnings });
    m.new_external(&CHANNEL, handle, BUFFER_SIZE)
}

/// A new channel on descriptor `fd`, which `make` creates from the descriptor's position.
pub(crate) fn new_channel(m: &mut Machine, fd: i32, make: fn(i64) -> Channel) -> Res<'_> {
    let offset = match m.ext::<Io>().fds.file(fd) {
        Ok(File::System(fd)) => m.blocking_no_pending(|| unistd::lseek(fd, 0, Whence::SeekCur)).ok(),
        Ok(File::Memory(memory)) => memory.position().ok(),
        Err(_) => None,
    };
    fallible::afford(0)?;
    let charge = m.charge(BUFFER_SIZE)?;
    let buffer = make(offset.unwrap_or(-1));
    let channel = Rc::new(Shared {
        fd: Cell::new(fd),
        buffer: RefCell::new(buffer),
        handles: Cell::new(0),
        user: Cell::new(None),
        waiting: Cell::new(0),
        changes: Arc::default(),
        _charge: charge,
        name_charge: Cell::new(None),
    });
    let io = m.ext::<Io>();
    let mut channels = io.channels.borrow_mut();
    let number = channels.next;
    channels.next += 1;
    channels.open.insert(number, Rc::clone(&channel));
    drop(channels);
    new_handle(m, number, channel)
}

/// Writes the unflushed bytes of all channels on files that the system does not know, as far as these take them. No code
/// of the program runs.
pub fn flush_memory(m: &mut Machine) {
    let io = m.ext::<Io>();
    let channels = io.channels.borrow();
    for channel in channels.open.values().filter(|channel| channel.user.get().is_none()) {
        let Some(memory) = io.fds.memory(channel.fd.get()) else { continue };
        let mut buffer = channel.buffer.borrow_mut();
        while buffer.is_unflushed() {
            let Some(waiting) = buffer.take_waiting() else { break };
            let n = memory.write(&waiting).unwrap_or(0);
            if n == 0 {
                buffer.written(waiting, 0);
                break;
            }
            buffer.written(waiting, n);
        }
    }
}

/// A list of all channels that are open for writing.
pub(crate) fn outputs(m: &mut Machine) -> Res<'_> {
    let channels = m.ext::<Io>().channels.borrow();
    let outputs = channels.open.iter().filter(|(_, c)| c.buffer.borrow().is_output());
    let outputs = fallible::collect(outputs.map(|(number, c)| (*number, Rc::clone(c))));
    drop(channels);
    let mut outputs: Vec<(u64, Rc<Shared>)> = outputs?;
    if m.behaviour().newest_channel_first {
        outputs.reverse();
    }
    m.new_list(outputs, |m, (number, channel)| new_handle(m, number, channel))
}

// ---- system calls, with signal handlers in between -------------------------------------------------

/// Why a system call did not succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// A signal interrupted it; try again.
    Interrupted,
    /// The call's error.
    Errno(Errno),
    /// There is no memory for a buffer.
    OutOfMemory,
    /// The host has not granted the file: what would grant it.
    NotGranted(&'static str),
}

impl From<OutOfMemory> for Stop {
    fn from(_: OutOfMemory) -> Self {
        Stop::OutOfMemory
    }
}

impl From<Errno> for Stop {
    fn from(e: Errno) -> Self {
        if e == Errno::EINTR { Stop::Interrupted } else { Stop::Errno(e) }
    }
}

impl From<Stop> for Raise {
    #[cold]
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Errno(Errno::EAGAIN) => Raise::BlockedIo,
            Stop::Errno(e) => sys_error(e),
            Stop::Interrupted => sys_error(Errno::EINTR),
            Stop::OutOfMemory => Raise::OutOfMemory,
            Stop::NotGranted(help) => Raise::Sys(format!("not granted ({help})").into_bytes()),
        }
    }
}

/// The file behind a channel's descriptor, in an operation that may block.
enum Reached<'a> {
    System(&'a Waiter, Fd),
    Memory(&'a Memory),
}

/// An operation on the file behind a channel's descriptor.
fn system<T>(
    m: &mut Machine,
    channel: &Shared,
    f: impl FnOnce(Reached<'_>) -> Result<T, Stop> + Send,
) -> Result<T, Stop> {
    match m.ext::<Io>().fds.file(channel.fd.get())? {
        File::System(fd) => wait::blocking_no_pending(m, |waiter| f(Reached::System(waiter, fd))),
        File::Memory(memory) => m.blocking_no_pending(|| f(Reached::Memory(&memory))),
    }
}

/// Calls `f` until no signal interrupts it. Signal handlers run first, and after each interruption.
fn retry<T>(m: &mut Machine, mut f: impl FnMut(&mut Machine) -> Result<T, Stop>) -> Result<T, Raise> {
    loop {
        m.process_pending_actions()?;
        match f(m) {
            Err(Stop::Interrupted) => {}
            r => return Ok(r?),
        }
    }
}

/// Tries once to write the unflushed bytes, which makes room for at least one byte. Returns whether all are written.
pub(crate) fn flush_partial(m: &mut Machine, channel: &Shared) -> Result<bool, Raise> {
    retry(m, |m| write_waiting(m, channel))
}

fn write_waiting(m: &mut Machine, channel: &Shared) -> Result<bool, Stop> {
    if m.heap().account().is_limited()
        && let Some(memory) = m.ext::<Io>().fds.memory(channel.fd.get())
    {
        memory.make_room(m, BUFFER_SIZE).map_err(|_| Stop::OutOfMemory)?;
    }
    let Some(waiting) = channel.buffer.borrow_mut().take_waiting() else { return Ok(true) };
    let outcome = system(m, channel, |file| match file {
        Reached::System(waiter, fd) => match waiter.write(&fd, &waiting) {
            // A pipe takes short writes whole or not at all: try a single byte.
            Err(Errno::EAGAIN) if waiting.len() > 1 => Ok(unistd::write(fd, &waiting[..1])?),
            written => Ok(written?),
        },
        Reached::Memory(memory) => memory.write(&waiting),
    });
    let mut buffer = channel.buffer.borrow_mut();
    let all = buffer.written(waiting, *outcome.as_ref().unwrap_or(&0));
    if let Err(Stop::Errno(Errno::EBADF | Errno::EPIPE | Errno::ECONNRESET)) = outcome
        && m.behaviour().lost_output_is_dropped
    {
        buffer.discard();
    }
    if outcome.is_err() && m.exceeded() == Some(Limit::Output) {
        // It would stop each later call, too.
        buffer.discard();
    }
    outcome.map(|_| all)
}

/// Writes all unflushed bytes, unless a signal handler closes the channel meanwhile.
pub(crate) fn flush_until_closed(m: &mut Machine, channel: &Shared) -> Result<(), Raise> {
    let closed = |channel: &Shared| channel.fd.get() == -1;
    while !retry(m, |m| if closed(channel) { Ok(true) } else { write_waiting(m, channel) })? {}
    Ok(())
}

/// Writes all unflushed bytes.
pub(crate) fn flush_all(m: &mut Machine, channel: &Shared) -> Result<(), Raise> {
    while !flush_partial(m, channel)? {}
    Ok(())
}

/// Writes all unflushed bytes of a channel that is to leave none.
#[inline]
pub(crate) fn flush_if_unbuffered(m: &mut Machine, channel: &Shared) -> Result<(), Raise> {
    if channel.buffer.borrow().is_buffered() { Ok(()) } else { flush_all(m, channel) }
}

/// The buffer of a channel, with the memory that it may need, to put bytes there.
pub(crate) fn with_room(channel: &Shared) -> Result<RefMut<'_, Channel>, OutOfMemory> {
    let mut buffer = channel.buffer.borrow_mut();
    if buffer.is_output() {
        buffer.reserve()?;
    }
    Ok(buffer)
}

/// Writes bytes that are not in the heap.
pub(crate) fn put_all(m: &mut Machine, channel: &Shared, mut bytes: &[u8]) -> Result<(), Raise> {
    while !bytes.is_empty() {
        let put = with_room(channel)?.put(bytes);
        match put {
            Put::All | Put::AllUnbuffered => break,
            Put::Full(n) => {
                bytes = &bytes[n..];
                flush_partial(m, channel)?;
            }
        }
    }
    Ok(())
}

/// Reads once, at most `len` bytes, and passes on a buffer that starts with the bytes, and their number.
fn read<T>(
    m: &mut Machine,
    channel: &Shared,
    len: usize,
    f: impl FnOnce(&mut Channel, &mut Vec<u8>, usize) -> T,
) -> Result<T, Stop> {
    let mut spare = match m.ext::<Io>().spare.take() {
        Some(spare) => spare,
        None => fallible::filled(0, BUFFER_SIZE)?,
    };
    let outcome = system(m, channel, |file| match file {
        Reached::System(waiter, fd) => Ok(waiter.read(fd, &mut spare[..len])?),
        Reached::Memory(memory) => memory.read(&mut spare[..len]),
    });
    let result = outcome.map(|n| f(&mut channel.buffer.borrow_mut(), &mut spare, n));
    if spare.len() == BUFFER_SIZE {
        m.ext::<Io>().spare = Some(spare);
    }
    result
}

/// Reads once into the buffer, which must have been consumed, and returns the number of bytes. At the end of the file
/// that is 0; the buffer is then empty, or unchanged if the caller treats the end as an error.
fn refill(m: &mut Machine, channel: &Shared, end_is_error: bool) -> Result<usize, Stop> {
    read(m, channel, BUFFER_SIZE, |buffer, bytes, n| {
        if n > 0 || !end_is_error {
            buffer.refill(bytes, n);
        }
        n
    })
}

/// Makes bytes available, at least one unless the file ends, and returns how many are.
pub(crate) fn fill(m: &mut Machine, channel: &Shared) -> Result<usize, Raise> {
    match channel.buffer.borrow().available().len() {
        0 => {}
        n => return Ok(n),
    }
    retry(m, |m| refill(m, channel, false))
}

/// Reads bytes to memory outside the heap, until `into` is full or the file ends.
pub(crate) fn get_all(m: &mut Machine, channel: &Shared, mut into: &mut [u8]) -> Result<usize, Raise> {
    let wanted = into.len();
    while !into.is_empty() {
        let n = fill(m, channel)?.min(into.len());
        if n == 0 {
            break;
        }
        let (now, rest) = into.split_at_mut(n);
        let mut buffer = channel.buffer.borrow_mut();
        now.copy_from_slice(&buffer.available()[..n]);
        buffer.consume(n);
        into = rest;
    }
    Ok(wanted - into.len())
}

/// The next byte.
pub(crate) fn get_byte(m: &mut Machine, channel: &Shared) -> Result<u8, Raise> {
    loop {
        let byte = channel.buffer.borrow_mut().next_byte();
        if let Some(b) = byte {
            return Ok(b);
        }
        if retry(m, |m| refill(m, channel, true))? == 0 {
            return Err(Raise::EndOfFile);
        }
    }
}

/// Buffers until a line is complete. Returns its length with the newline; or the negated number of buffered bytes, if
/// the file ends or the buffer is full before a newline.
pub(crate) fn scan_line(m: &mut Machine, channel: &Shared) -> Result<i64, Raise> {
    let mut scanned = 0;
    loop {
        let mut buffer = channel.buffer.borrow_mut();
        if let Some(len) = buffer.find_line(scanned) {
            return Ok(len as i64);
        }
        let room = buffer.make_room();
        scanned = BUFFER_SIZE - room;
        drop(buffer);
        let n = if room == 0 { 0 } else { retry(m, |m| read_more(m, channel, room))? };
        if n == 0 {
            return Ok(-(scanned as i64));
        }
        // A signal handler may have read from the channel meanwhile.
        scanned = scanned.min(channel.buffer.borrow().available().len());
    }
}

/// Reads once, at most `room` bytes after the buffered ones. Returns the number of bytes read.
fn read_more(m: &mut Machine, channel: &Shared, room: usize) -> Result<usize, Stop> {
    channel.buffer.borrow_mut().reserve()?;
    read(m, channel, room, |buffer, bytes, n| {
        buffer.make_room();
        buffer.append(&bytes[..n]);
        n
    })
}

/// The file's size.
pub(crate) fn size(m: &mut Machine, channel: &Shared) -> Result<i64, Stop> {
    let offset = channel.buffer.borrow().offset();
    system(m, channel, |file| {
        let fd = match file {
            Reached::System(_, fd) => fd,
            Reached::Memory(memory) => return memory.size(),
        };
        let offset = if offset == -1 { unistd::lseek(&fd, 0, Whence::SeekCur)? } else { offset };
        let end = unistd::lseek(&fd, 0, Whence::SeekEnd)?;
        match unistd::lseek(fd, offset, Whence::SeekSet)? {
            position if position == offset => Ok(end),
            _ => Err(Stop::Errno(Errno::EINVAL)),
        }
    })
}

/// Moves a channel's descriptor.
fn lseek(m: &mut Machine, channel: &Shared, dest: i64) -> Result<(), Stop> {
    let position = system(m, channel, |file| match file {
        Reached::System(_, fd) => Ok(unistd::lseek(fd, dest, Whence::SeekSet)?),
        Reached::Memory(memory) => memory.seek(dest),
    });
    // C's lseek returns -1 when it fails, and OCaml before 5.2 only checks whether it returns `dest`. Some devices move to
    // another position than requested.
    match position {
        Err(Stop::Errno(_)) if dest == -1 && !m.behaviour().seeks_before_start_fail => Ok(()),
        Err(stop) => Err(stop),
        Ok(position) if position == dest => Ok(()),
        Ok(_) => Err(Stop::Errno(Errno::EINVAL)),
    }
}

/// Writes the unflushed bytes, and moves to `dest`.
pub(crate) fn seek_out(m: &mut Machine, channel: &Shared, dest: i64) -> Result<(), Raise> {
    flush_all(m, channel)?;
    lseek(m, channel, dest)?;
    channel.buffer.borrow_mut().moved_out(dest);
    Ok(())
}

/// Moves to `dest`: within the buffer if it lies there.
pub(crate) fn seek_in(m: &mut Machine, channel: &Shared, dest: i64) -> Result<(), Raise> {
    if !channel.buffer.borrow_mut().seek_within(dest) {
        lseek(m, channel, dest)?;
        channel.buffer.borrow_mut().moved_in(dest);
    }
    Ok(())
}

/// Closes the channel in a slot, even if another thread is using it. Closing it twice is allowed.
pub(crate) fn close(m: &mut Machine, s: Slot) -> Result<(), Raise> {
    let handle = handle(m, s)?;
    handle.fd.set(-1);
    let channel = Rc::clone(&handle.channel);
    channel.buffer.borrow_mut().close(m.behaviour().closed_channel);
    match channel.fd.replace(-1) {
        -1 => Ok(()),
        fd => {
            let taken = m.ext::<Io>().fds.take(fd).map_err(sys_error)?;
            m.blocking_no_pending(|| taken.close()).map_err(sys_error)
        }
    }
}
