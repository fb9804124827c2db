//! The primitives on channels (`io.c`), and the digest of a channel's content (`md5.c`).

use md5::{Digest, Md5};
use nix::errno::Errno;
use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible, prims};

use crate::UNIT;
use crate::boolean;
use crate::io::channel::{Channel, Put};
use crate::io::channels::{self, Io, Shared, Stop, channel, idle, lock, new_channel};
use crate::io::errors::sys_error;
use crate::values::bigarray::array as elements;

// ---- opening and closing ---------------------------------------------------------------------------

pub(crate) fn open_descriptor_in(m: &mut Machine, [fd]: [Slot; 1]) -> Res<'_> {
    let fd = m.int(fd)? as i32;
    new_channel(m, fd, Channel::input)
}

pub(crate) fn open_descriptor_out(m: &mut Machine, [fd]: [Slot; 1]) -> Res<'_> {
    let fd = m.int(fd)? as i32;
    new_channel(m, fd, Channel::output)
}

/// The flags are those of C, and concern only Windows.
fn open_descriptor_in_with_flags(m: &mut Machine, [fd, _flags]: [Slot; 2]) -> Res<'_> {
    open_descriptor_in(m, [fd])
}

fn open_descriptor_out_with_flags(m: &mut Machine, [fd, _flags]: [Slot; 2]) -> Res<'_> {
    open_descriptor_out(m, [fd])
}

fn set_channel_name(m: &mut Machine, [chan, name]: [Slot; 2]) -> Res<'_> {
    let name = m.bytes(name)?;
    // C keeps it as a C string, up to the first NUL.
    let name = name.split(|b| *b == 0).next().filter(|_| !name.is_empty());
    let name = name.map(fallible::to_vec).transpose()?;
    let charge = m.charge(name.as_ref().map_or(0, Vec::len))?;
    let channel = channel(m, chan)?;
    channel.buffer.borrow_mut().name = name;
    channel.name_charge.set(Some(charge));
    Ok(UNIT)
}

fn out_channels_list(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    channels::outputs(m)
}

fn channel_descriptor(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    match channel(m, chan)?.fd.get() {
        -1 => Err(sys_error(Errno::EBADF)),
        fd => Ok(Val::from_int(fd.into())),
    }
}

fn close_channel(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    // `Dynlink` closes the file of a private load when it has hidden the names.
    m.settle_names()?;
    channels::close(m, chan)?;
    Ok(UNIT)
}

fn size(m: &mut Machine, chan: Slot) -> Result<i64, Raise> {
    let channel = lock(m, chan)?;
    m.process_pending_actions()?;
    // These errors are never Sys_blocked_io, nor is the call tried again.
    channels::size(m, &channel).map_err(|stop| match stop {
        Stop::Errno(e) => sys_error(e),
        stop => stop.into(),
    })
}

/// A position as an `int`, if it fits.
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

fn is_binary_mode(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    channel(m, chan)?;
    Ok(boolean(true))
}

fn set_buffered(m: &mut Machine, [chan, mode]: [Slot; 2]) -> Res<'_> {
    let buffered = m.bool(mode);
    let channel = lock(m, chan)?;
    channel.buffer.borrow_mut().set_buffered(buffered);
    if !buffered && channel.fd.get() != -1 {
        channels::flush_all(m, &channel)?;
    }
    Ok(UNIT)
}

fn is_buffered(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    Ok(boolean(channel(m, chan)?.buffer.borrow().is_buffered()))
}

// ---- output ----------------------------------------------------------------------------------------

fn flush(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    // At exit programs flush channels that they may have closed before: that must not raise.
    if channel(m, chan)?.fd.get() != -1 {
        let channel = lock(m, chan)?;
        match m.behaviour().flush_ends_at_close {
            true => channels::flush_until_closed(m, &channel)?,
            false => channels::flush_all(m, &channel)?,
        }
    }
    Ok(UNIT)
}

fn put_byte(m: &mut Machine, channel: &Shared, byte: u8) -> Result<(), Raise> {
    while !channels::with_room(channel)?.put_byte(byte) {
        channels::flush_partial(m, channel)?;
    }
    Ok(())
}

fn output_char(m: &mut Machine, [chan, c]: [Slot; 2]) -> Res<'_> {
    let byte = m.int(c)? as u8;
    if !idle(m, chan)?.is_some_and(|buffer| buffer.borrow_mut().put_byte_only(byte)) {
        let channel = lock(m, chan)?;
        put_byte(m, &channel, byte)?;
        channels::flush_if_unbuffered(m, &channel)?;
    }
    Ok(UNIT)
}

fn output_int(m: &mut Machine, [chan, i]: [Slot; 2]) -> Res<'_> {
    let word = (m.int(i)? as u32).to_be_bytes();
    let channel = lock(m, chan)?;
    for byte in word {
        put_byte(m, &channel, byte)?;
    }
    channels::flush_if_unbuffered(m, &channel)?;
    Ok(UNIT)
}

fn output_bytes(m: &mut Machine, [chan, bytes, start, len]: [Slot; 4]) -> Res<'_> {
    let (mut start, len) = (m.index(start)?, m.int(len)?);
    // C's loop ends at once when the length is negative.
    let end = start.checked_add(len.max(0) as usize).ok_or_else(Raise::bounds)?;
    let channel = lock(m, chan)?;
    while start < end {
        let waiting = m.bytes(bytes)?.get(start..end).ok_or_else(Raise::bounds)?;
        let put = channels::with_room(&channel)?.put(waiting);
        match put {
            Put::All => return Ok(UNIT),
            Put::AllUnbuffered => break,
            Put::Full(n) => {
                start += n;
                channels::flush_partial(m, &channel)?;
            }
        }
    }
    channels::flush_if_unbuffered(m, &channel)?;
    Ok(UNIT)
}

/// Unlike the other operations, this one leaves bytes in the buffer of an unbuffered channel, as OCaml's does.
fn output_bigarray(m: &mut Machine, [chan, array, start, len]: [Slot; 4]) -> Res<'_> {
    let (mut start, len) = (m.index(start)?, m.int(len)?);
    let end = start.checked_add(len.max(0) as usize).ok_or_else(Raise::bounds)?;
    let channel = lock(m, chan)?;
    while start < end {
        let bytes = elements(m, array)?.bytes();
        let put = channels::with_room(&channel)?.put(bytes.get(start..end).ok_or_else(Raise::bounds)?);
        match put {
            Put::All | Put::AllUnbuffered => break,
            Put::Full(n) => {
                start += n;
                channels::flush_partial(m, &channel)?;
            }
        }
    }
    Ok(UNIT)
}

fn seek_out_to<'m>(m: &'m mut Machine, chan: Slot, dest: i64) -> Res<'m> {
    let channel = lock(m, chan)?;
    channels::seek_out(m, &channel, dest)?;
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
    position(channel(m, chan)?.buffer.borrow().pos_out())
}

fn pos_out_64(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let pos = channel(m, chan)?.buffer.borrow().pos_out();
    m.new_int64(pos)
}

// ---- input -----------------------------------------------------------------------------------------

fn input_char(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let buffered = idle(m, chan)?.and_then(|buffer| buffer.borrow_mut().next_byte());
    let byte = match buffered {
        Some(b) => b,
        None => {
            let channel = lock(m, chan)?;
            channels::get_byte(m, &channel)?
        }
    };
    Ok(Val::from_int(byte.into()))
}

fn input_int(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let channel = lock(m, chan)?;
    let mut word = [0; 4];
    for byte in &mut word {
        *byte = channels::get_byte(m, &channel)?;
    }
    Ok(Val::from_int(i32::from_be_bytes(word).into()))
}

fn input(m: &mut Machine, [chan, bytes, start, len]: [Slot; 4]) -> Res<'_> {
    let (start, len) = (m.index(start)?, m.index(len)?);
    let end = start.checked_add(len).ok_or_else(Raise::bounds)?;
    if end > m.bytes(bytes)?.len() {
        return Err(Raise::bounds());
    }
    let channel = lock(m, chan)?;
    m.process_pending_actions()?;
    if len == 0 {
        return Ok(Val::from_int(0));
    }
    let n = channels::fill(m, &channel)?.min(len);
    let mut buffer = channel.buffer.borrow_mut();
    m.bytes_mut(bytes)?[start..start + n].copy_from_slice(&buffer.available()[..n]);
    buffer.consume(n);
    Ok(Val::from_int(n as i64))
}

fn input_bigarray(m: &mut Machine, [chan, array, start, len]: [Slot; 4]) -> Res<'_> {
    let (start, len) = (m.index(start)?, m.index(len)?);
    let end = start.checked_add(len).ok_or_else(Raise::bounds)?;
    if end > elements(m, array)?.bytes().len() {
        return Err(Raise::bounds());
    }
    let channel = lock(m, chan)?;
    m.process_pending_actions()?;
    if len == 0 {
        return Ok(Val::from_int(0));
    }
    let n = channels::fill(m, &channel)?.min(len);
    let mut buffer = channel.buffer.borrow_mut();
    let place = m.elements_mut(array)?.get_mut(start..start + n).ok_or_else(Raise::bounds)?;
    place.copy_from_slice(&buffer.available()[..n]);
    buffer.consume(n);
    Ok(Val::from_int(n as i64))
}

fn seek_in_to<'m>(m: &'m mut Machine, chan: Slot, dest: i64) -> Res<'m> {
    let channel = lock(m, chan)?;
    channels::seek_in(m, &channel, dest)?;
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
    position(channel(m, chan)?.buffer.borrow().pos_in())
}

fn pos_in_64(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let pos = channel(m, chan)?.buffer.borrow().pos_in();
    m.new_int64(pos)
}

fn input_scan_line(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let channel = lock(m, chan)?;
    Ok(Val::from_int(channels::scan_line(m, &channel)?))
}

// ---- others ----------------------------------------------------------------------------------------

fn terminfo_rows(m: &mut Machine, [chan]: [Slot; 1]) -> Res<'_> {
    let fd = channel(m, chan)?.fd.get();
    let rows = m.ext::<Io>().fds.get(fd).ok().and_then(crate::ffi::sys::terminal_rows);
    Ok(Val::from_int(rows.map_or(-1, i64::from)))
}

/// Whether a channel's descriptor is a terminal (`caml_sys_isatty`).
pub(crate) fn is_terminal(m: &mut Machine, chan: Slot) -> Result<bool, Raise> {
    let fd = channel(m, chan)?.fd.get();
    Ok(m.ext::<Io>().fds.get(fd).is_ok_and(|fd| nix::unistd::isatty(fd).unwrap_or(false)))
}

fn md5_chan(m: &mut Machine, [chan, len]: [Slot; 2]) -> Res<'_> {
    // A negative length means up to the end of the file.
    let len = m.int(len)?;
    let channel = lock(m, chan)?;
    let mut left = usize::try_from(len).ok();
    let mut digest = Md5::new();
    while left != Some(0) {
        let n = channels::fill(m, &channel)?.min(left.unwrap_or(usize::MAX));
        if n == 0 {
            match left {
                None => break,
                Some(_) => return Err(Raise::EndOfFile),
            }
        }
        let mut buffer = channel.buffer.borrow_mut();
        digest.update(&buffer.available()[..n]);
        buffer.consume(n);
        left = left.map(|l| l - n);
    }
    m.new_string(&digest.finalize())
}

prims! {
    "caml_ml_open_descriptor_in" P1 open_descriptor_in,
    "caml_ml_open_descriptor_out" P1 open_descriptor_out,
    "caml_ml_open_descriptor_in_with_flags" P2 open_descriptor_in_with_flags => since(V5_1),
    "caml_ml_open_descriptor_out_with_flags" P2 open_descriptor_out_with_flags => since(V5_1),
    "caml_ml_set_channel_name" P2 set_channel_name,
    "caml_ml_out_channels_list" P1 out_channels_list,
    "caml_channel_descriptor" P1 channel_descriptor,
    "caml_ml_close_channel" P1 close_channel,
    "caml_ml_channel_size" P1 channel_size,
    "caml_ml_channel_size_64" P1 channel_size_64,
    "caml_ml_set_binary_mode" P2 set_binary_mode,
    "caml_ml_is_binary_mode" P1 is_binary_mode => since(V5_2),
    "caml_ml_set_buffered" P2 set_buffered => since(V4_14),
    "caml_ml_is_buffered" P1 is_buffered => since(V4_14),
    "caml_ml_flush" P1 flush,
    "caml_ml_output_char" P2 output_char,
    "caml_ml_output_int" P2 output_int,
    "caml_ml_output_bytes" P4 output_bytes,
    "caml_ml_output" P4 output_bytes,
    "caml_ml_output_bigarray" P4 output_bigarray => since(V5_2),
    "caml_ml_seek_out" P2 seek_out,
    "caml_ml_seek_out_64" P2 seek_out_64,
    "caml_ml_pos_out" P1 pos_out,
    "caml_ml_pos_out_64" P1 pos_out_64,
    "caml_ml_input_char" P1 input_char,
    "caml_ml_input_int" P1 input_int,
    "caml_ml_input" P4 input,
    "caml_ml_input_bigarray" P4 input_bigarray => since(V5_2),
    "caml_ml_seek_in" P2 seek_in,
    "caml_ml_seek_in_64" P2 seek_in_64,
    "caml_ml_pos_in" P1 pos_in,
    "caml_ml_pos_in_64" P1 pos_in_64,
    "caml_ml_input_scan_line" P1 input_scan_line,
    "caml_terminfo_rows" P1 terminfo_rows,
    "caml_md5_chan" P2 md5_chan,
}
