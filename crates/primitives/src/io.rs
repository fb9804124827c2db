//! Channels (`io.c`), and the digest of what one gives (`md5.c`).
//!
//! A channel in the heap is a [`Handle`]: several may stand for one channel, as `flush_all` makes new ones. When the
//! last handle dies, the channel is forgotten, its descriptor left open as OCaml leaves it; but an output
//! channel that holds unwritten bytes stays listed, so that `at_exit` flushes it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use md5::{Digest, Md5};
use nix::errno::Errno;
use spelter_heap::raw::CustomOps;
use spelter_interp::boxed::Behaviour;
use spelter_interp::{Machine, Raise, Res, Slot, Val, WrongType, prims};

use crate::UNIT;

use crate::channel::{BUFFER_SIZE, Channel, Found, Put, Stop};
use crate::fds::Fds;

/// What one machine knows of the outside world: its descriptors and its channels.
#[derive(Default)]
pub struct Io {
    /// The descriptors that the program may use.
    pub fds: Fds,
    /// Whether the runtime warns about misuse.
    pub warnings: Rc<Warnings>,
    channels: Rc<RefCell<Channels>>,
}

/// Takes over what concerns channels from the machine's parameters.
pub(crate) fn init(m: &mut Machine) {
    let warnings = m.params.warnings;
    m.ext::<Io>().warnings.enabled.set(warnings);
}

/// All channels that have not been forgotten, oldest first.
#[derive(Default)]
struct Channels {
    next: u64,
    open: BTreeMap<u64, Shared>,
}

/// A channel, shared by its handles.
pub(crate) type Shared = Rc<RefCell<Channel>>;

/// Runtime warnings (`Sys.enable_runtime_warnings`), on stderr.
#[derive(Default)]
pub struct Warnings {
    /// Whether they are wanted.
    pub enabled: Cell<bool>,
    introduced: Cell<bool>,
}

impl Warnings {
    fn warn(&self, text: &str) {
        if self.enabled.get() {
            if !self.introduced.replace(true) {
                eprintln!("[ocaml] (use Sys.enable_runtime_warnings to control these warnings)");
            }
            eprintln!("[ocaml] {text}");
        }
    }
}

/// What a channel's block in the heap owns.
struct Handle {
    number: u64,
    channel: Shared,
    channels: Rc<RefCell<Channels>>,
    warnings: Rc<Warnings>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut channel = self.channel.borrow_mut();
        channel.handles -= 1;
        if channel.handles > 0 {
            return;
        }
        let unflushed = channel.is_unflushed();
        if let (Some(name), true) = (&channel.name, channel.fd() != -1) {
            let name = String::from_utf8_lossy(name);
            self.warnings.warn(&format!("channel opened on file '{name}' dies without being closed"));
            if unflushed {
                self.warnings.warn("(moreover, it has unflushed data)");
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

/// Channels are ordered and hashed by age, where OCaml takes the address.
static CHANNEL: CustomOps = CustomOps {
    name: "_chan",
    finalize: None,
    behaviour: &Behaviour {
        compare: Some(|a, b| number(a).cmp(&number(b)).into()),
        compare_ext: None,
        hash: Some(|v| number(v) as i64),
        serialize: None,
        deserialize: None,
        fixed_length: None,
    },
};

// ---- errors ----------------------------------------------------------------------------------------

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

impl From<Stop> for Raise {
    #[cold]
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::EndOfFile => Raise::EndOfFile,
            Stop::Errno(Errno::EAGAIN) => Raise::BlockedIo,
            Stop::Errno(e) => sys_error(e),
            Stop::Interrupted => sys_error(Errno::EINTR),
        }
    }
}

// ---- from slots to channels, and back --------------------------------------------------------------

#[inline]
fn channel(m: &Machine, s: Slot) -> Result<&Shared, Raise> {
    let handle = m.val(s).external::<Handle>().map_err(|_| WrongType { expected: "a channel" })?;
    Ok(&handle.channel)
}

/// The channel in a slot, shared, so that it can be used while the machine is.
pub(crate) fn shared(m: &Machine, s: Slot) -> Result<Shared, Raise> {
    Ok(Rc::clone(channel(m, s)?))
}

fn new_handle(m: &mut Machine, number: u64, channel: Shared) -> Res<'_> {
    let io = m.ext::<Io>();
    let (channels, warnings) = (Rc::clone(&io.channels), Rc::clone(&io.warnings));
    channel.borrow_mut().handles += 1;
    let handle: Box<dyn Any> = Box::new(Handle { number, channel, channels, warnings });
    m.new_external(&CHANNEL, handle, BUFFER_SIZE)
}

fn new_channel(m: &mut Machine, fd: i32, open: fn(i32, Found) -> Channel) -> Res<'_> {
    let found = m.ext::<Io>().fds.get(fd);
    let channel = m.blocking_no_pending(|| open(fd, found));
    let channel = Rc::new(RefCell::new(channel));
    let io = m.ext::<Io>();
    let mut channels = io.channels.borrow_mut();
    let number = channels.next;
    channels.next += 1;
    channels.open.insert(number, Rc::clone(&channel));
    drop(channels);
    new_handle(m, number, channel)
}

// ---- system calls, with signal handlers in between -------------------------------------------------

/// Lets a channel work on its descriptor, in a blocking section.
fn block<T>(m: &mut Machine, channel: &Shared, f: impl FnOnce(&mut Channel, Found) -> T + Send) -> T {
    let mut channel = channel.borrow_mut();
    let found = m.ext::<Io>().fds.get(channel.fd());
    let channel = &mut *channel;
    m.blocking_no_pending(move || f(channel, found))
}

/// Tries `f` until no signal interrupts it. Handlers run first, and after each interruption.
fn retry<T>(
    m: &mut Machine,
    channel: &Shared,
    f: fn(&mut Channel, Found) -> Result<T, Stop>,
) -> Result<T, Raise> {
    loop {
        m.process_pending_actions()?;
        match block(m, channel, f) {
            Err(Stop::Interrupted) => {}
            r => return Ok(r?),
        }
    }
}

fn flush_partial(m: &mut Machine, channel: &Shared) -> Result<bool, Raise> {
    retry(m, channel, Channel::flush_partial)
}

/// Writes all that waits.
pub(crate) fn flush_all(m: &mut Machine, channel: &Shared) -> Result<(), Raise> {
    while !flush_partial(m, channel)? {}
    Ok(())
}

/// Writes bytes that are not in the heap.
pub(crate) fn put_all(m: &mut Machine, channel: &Shared, mut bytes: &[u8]) -> Result<(), Raise> {
    while !bytes.is_empty() {
        let put = channel.borrow_mut().put(bytes);
        match put {
            Put::All => break,
            Put::Full(n) => {
                bytes = &bytes[n..];
                flush_partial(m, channel)?;
            }
        }
    }
    Ok(())
}

/// Makes bytes available, at least one unless the file ends. How many are.
fn fill(m: &mut Machine, channel: &Shared) -> Result<usize, Raise> {
    match channel.borrow().available().len() {
        0 => {}
        n => return Ok(n),
    }
    retry(m, channel, Channel::refill)
}

/// Reads bytes that do not go to the heap, as many as there are.
pub(crate) fn get_all(m: &mut Machine, channel: &Shared, mut into: &mut [u8]) -> Result<usize, Raise> {
    let wanted = into.len();
    while !into.is_empty() {
        let n = fill(m, channel)?.min(into.len());
        if n == 0 {
            break;
        }
        let (now, rest) = into.split_at_mut(n);
        let mut channel = channel.borrow_mut();
        now.copy_from_slice(&channel.available()[..n]);
        channel.consume(n);
        into = rest;
    }
    Ok(wanted - into.len())
}

fn get_byte(m: &mut Machine, channel: &Shared) -> Result<u8, Raise> {
    loop {
        let byte = channel.borrow_mut().next_byte();
        if let Some(b) = byte {
            return Ok(b);
        }
        retry(m, channel, Channel::refill_some)?;
    }
}

// ---- opening and closing ---------------------------------------------------------------------------

pub(crate) fn open_descriptor_in(m: &mut Machine, [fd]: [Slot; 1]) -> Res<'_> {
    let fd = m.int(fd)? as i32;
    new_channel(m, fd, Channel::input)
}

pub(crate) fn open_descriptor_out(m: &mut Machine, [fd]: [Slot; 1]) -> Res<'_> {
    let fd = m.int(fd)? as i32;
    new_channel(m, fd, Channel::output)
}

fn set_channel_name(m: &mut Machine, [chan, name]: [Slot; 2]) -> Res<'_> {
    let name = m.bytes(name)?;
    // C keeps it as a C string, up to the first NUL.
    let name = name.split(|b| *b == 0).next().filter(|_| !name.is_empty()).map(<[u8]>::to_vec);
    channel(m, chan)?.borrow_mut().name = name;
    Ok(UNIT)
}

fn out_channels_list(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let channels = m.ext::<Io>().channels.borrow();
    let outputs: Vec<(u64, Shared)> = channels
        .open
        .iter()
        .filter(|(_, c)| c.borrow().is_output())
        .map(|(number, c)| (*number, Rc::clone(c)))
        .collect();
    drop(channels);
    m.new_list(outputs, |m, (number, channel)| new_handle(m, number, channel))
}

fn channel_descriptor(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    match channel(m, chan)?.borrow().fd() {
        -1 => Err(sys_error(Errno::EBADF)),
        fd => Ok(Val::from_int(fd.into())),
    }
}

fn close_channel(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let channel = shared(m, chan)?;
    let fd = channel.borrow_mut().close();
    if fd != -1 {
        let taken = m.ext::<Io>().fds.take(fd).map_err(sys_error)?;
        m.blocking_no_pending(|| taken.close()).map_err(sys_error)?;
    }
    Ok(UNIT)
}

fn size(m: &mut Machine, chan: Slot) -> Result<i64, Raise> {
    let channel = shared(m, chan)?;
    m.process_pending_actions()?;
    let size = block(m, &channel, |channel, fd| channel.size(fd));
    // These errors are never Sys_blocked_io, nor is the call tried again.
    size.map_err(|stop| match stop {
        Stop::Errno(e) => sys_error(e),
        stop => stop.into(),
    })
}

/// A position as an `int`, where it is one.
fn position<'m>(pos: i64) -> Res<'m> {
    if pos > (1 << 62) - 1 { Err(sys_error(Errno::EOVERFLOW)) } else { Ok(Val::from_int(pos)) }
}

fn channel_size(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    position(size(m, chan)?)
}

fn channel_size_64(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let size = size(m, chan)?;
    m.new_int64(size)
}

/// Text and binary mode are the same here.
fn set_binary_mode(m: &mut Machine, [chan, _mode]: [Slot; 2]) -> Res<'_> {
    channel(m, chan)?;
    Ok(UNIT)
}

// ---- output ----------------------------------------------------------------------------------------

fn flush(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let channel = shared(m, chan)?;
    // Programs flush at exit what they may have closed before: that must not raise.
    if channel.borrow().fd() != -1 {
        flush_all(m, &channel)?;
    }
    Ok(UNIT)
}

fn output_char(m: &mut Machine, [chan, c]: [Slot; 2]) -> Res<'_> {
    let byte = m.int(c)? as u8;
    while !channel(m, chan)?.borrow_mut().put_byte(byte) {
        let channel = shared(m, chan)?;
        flush_partial(m, &channel)?;
    }
    Ok(UNIT)
}

fn output_int(m: &mut Machine, [chan, i]: [Slot; 2]) -> Res<'_> {
    let word = (m.int(i)? as u32).to_be_bytes();
    let channel = shared(m, chan)?;
    for byte in word {
        while !channel.borrow_mut().put_byte(byte) {
            flush_partial(m, &channel)?;
        }
    }
    Ok(UNIT)
}

fn output_bytes(m: &mut Machine, [chan, bytes, start, len]: [Slot; 4]) -> Res<'_> {
    let (mut start, len) = (m.index(start)?, m.index(len)?);
    let end = start.checked_add(len).ok_or_else(Raise::bounds)?;
    while start < end {
        let waiting = m.bytes(bytes)?.get(start..end).ok_or_else(Raise::bounds)?;
        let put = channel(m, chan)?.borrow_mut().put(waiting);
        match put {
            Put::All => break,
            Put::Full(n) => {
                start += n;
                let channel = shared(m, chan)?;
                flush_partial(m, &channel)?;
            }
        }
    }
    Ok(UNIT)
}

fn seek_out_to<'m>(m: &'m mut Machine, chan: Slot, dest: i64) -> Res<'m> {
    let channel = shared(m, chan)?;
    flush_all(m, &channel)?;
    block(m, &channel, |channel, fd| channel.seek_out(fd, dest))?;
    Ok(UNIT)
}

fn seek_out(m: &mut Machine, [chan, dest]: [Slot; 2]) -> Res<'_> {
    let dest = m.int(dest)?;
    seek_out_to(m, chan, dest)
}

fn seek_out_64(m: &mut Machine, [chan, dest]: [Slot; 2]) -> Res<'_> {
    let dest = m.int64(dest)?;
    seek_out_to(m, chan, dest)
}

fn pos_out(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    position(channel(m, chan)?.borrow().pos_out())
}

fn pos_out_64(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let pos = channel(m, chan)?.borrow().pos_out();
    m.new_int64(pos)
}

// ---- input -----------------------------------------------------------------------------------------

fn input_char(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let buffered = channel(m, chan)?.borrow_mut().next_byte();
    let byte = match buffered {
        Some(b) => b,
        None => {
            let channel = shared(m, chan)?;
            get_byte(m, &channel)?
        }
    };
    Ok(Val::from_int(byte.into()))
}

fn input_int(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let channel = shared(m, chan)?;
    let mut word = [0; 4];
    for byte in &mut word {
        *byte = get_byte(m, &channel)?;
    }
    Ok(Val::from_int(i32::from_be_bytes(word).into()))
}

fn input(m: &mut Machine, [chan, bytes, start, len]: [Slot; 4]) -> Res<'_> {
    let (start, len) = (m.index(start)?, m.index(len)?);
    let end = start.checked_add(len).ok_or_else(Raise::bounds)?;
    if end > m.bytes(bytes)?.len() {
        return Err(Raise::bounds());
    }
    m.process_pending_actions()?;
    if len == 0 {
        return Ok(Val::from_int(0));
    }
    let channel = shared(m, chan)?;
    let n = fill(m, &channel)?.min(len);
    let mut channel = channel.borrow_mut();
    m.bytes_mut(bytes)?[start..start + n].copy_from_slice(&channel.available()[..n]);
    channel.consume(n);
    Ok(Val::from_int(n as i64))
}

fn seek_in_to<'m>(m: &'m mut Machine, chan: Slot, dest: i64) -> Res<'m> {
    let channel = shared(m, chan)?;
    block(m, &channel, |channel, fd| channel.seek_in(fd, dest))?;
    Ok(UNIT)
}

fn seek_in(m: &mut Machine, [chan, dest]: [Slot; 2]) -> Res<'_> {
    let dest = m.int(dest)?;
    seek_in_to(m, chan, dest)
}

fn seek_in_64(m: &mut Machine, [chan, dest]: [Slot; 2]) -> Res<'_> {
    let dest = m.int64(dest)?;
    seek_in_to(m, chan, dest)
}

fn pos_in(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    position(channel(m, chan)?.borrow().pos_in())
}

fn pos_in_64(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let pos = channel(m, chan)?.borrow().pos_in();
    m.new_int64(pos)
}

fn input_scan_line(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let channel = shared(m, chan)?;
    Ok(Val::from_int(retry(m, &channel, Channel::scan_line)?))
}

// ---- others ----------------------------------------------------------------------------------------

fn terminfo_rows(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let fd = channel(m, chan)?.borrow().fd();
    let rows = m.ext::<Io>().fds.get(fd).ok().and_then(crate::cdoor_sys::terminal_rows);
    Ok(Val::from_int(rows.map_or(-1, i64::from)))
}

/// Whether a channel's descriptor is a terminal (`caml_sys_isatty`).
pub(crate) fn is_terminal(m: &mut Machine, chan: Slot) -> Result<bool, Raise> {
    let fd = channel(m, chan)?.borrow().fd();
    Ok(m.ext::<Io>().fds.get(fd).is_ok_and(|fd| nix::unistd::isatty(fd).unwrap_or(false)))
}

fn md5_chan(m: &mut Machine, [chan, len]: [Slot; 2]) -> Res<'_> {
    // A negative length asks for all there is.
    let len = m.int(len)?;
    let channel = shared(m, chan)?;
    let mut left = usize::try_from(len).ok();
    let mut digest = Md5::new();
    while left != Some(0) {
        let n = fill(m, &channel)?.min(left.unwrap_or(usize::MAX));
        if n == 0 {
            match left {
                None => break,
                Some(_) => return Err(Raise::EndOfFile),
            }
        }
        let mut channel = channel.borrow_mut();
        digest.update(&channel.available()[..n]);
        channel.consume(n);
        left = left.map(|l| l - n);
    }
    m.new_string(&digest.finalize())
}

prims! {
    "caml_ml_open_descriptor_in" P1 open_descriptor_in,
    "caml_ml_open_descriptor_out" P1 open_descriptor_out,
    "caml_ml_set_channel_name" P2 set_channel_name,
    "caml_ml_out_channels_list" P1 out_channels_list,
    "caml_channel_descriptor" P1 channel_descriptor,
    "caml_ml_close_channel" P1 close_channel,
    "caml_ml_channel_size" P1 channel_size,
    "caml_ml_channel_size_64" P1 channel_size_64,
    "caml_ml_set_binary_mode" P2 set_binary_mode,
    "caml_ml_flush" P1 flush,
    "caml_ml_output_char" P2 output_char,
    "caml_ml_output_int" P2 output_int,
    "caml_ml_output_bytes" P4 output_bytes,
    "caml_ml_output" P4 output_bytes,
    "caml_ml_seek_out" P2 seek_out,
    "caml_ml_seek_out_64" P2 seek_out_64,
    "caml_ml_pos_out" P1 pos_out,
    "caml_ml_pos_out_64" P1 pos_out_64,
    "caml_ml_input_char" P1 input_char,
    "caml_ml_input_int" P1 input_int,
    "caml_ml_input" P4 input,
    "caml_ml_seek_in" P2 seek_in,
    "caml_ml_seek_in_64" P2 seek_in_64,
    "caml_ml_pos_in" P1 pos_in,
    "caml_ml_pos_in_64" P1 pos_in_64,
    "caml_ml_input_scan_line" P1 input_scan_line,
    "caml_terminfo_rows" P1 terminfo_rows,
    "caml_md5_chan" P2 md5_chan,
}
