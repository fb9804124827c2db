//! Open files (`open.c`, `close.c`, `read.c`, `write.c`, `lseek.c`, `truncate.c`, `ftruncate.c`, `fsync.c`).

use std::ffi::CString;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{self, Whence};
use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible, prims};

use super::args::{choice, file, flags, int, path};
use super::errors::{block, check, in_memory, unix_error, wait as wait_for};
use crate::UNIT;
use crate::io::channels::Io;
use crate::io::fds::File;
use crate::io::wait;

/// How much is read or written at once.
pub(super) const BUFFER_SIZE: usize = 65536;

/// The largest `int`.
pub(super) const MAX_INT: i64 = (1 << 62) - 1;

/// Flags in addition to the system's.
const CLOEXEC: i32 = 1;
const KEEPEXEC: i32 = 2;

/// In the order of `Unix.open_flag`'s constructors.
pub(crate) const OPEN_FLAGS: [i32; 15] = [
    libc::O_RDONLY,
    libc::O_WRONLY,
    libc::O_RDWR,
    libc::O_NONBLOCK,
    libc::O_APPEND,
    libc::O_CREAT,
    libc::O_TRUNC,
    libc::O_EXCL,
    libc::O_NOCTTY,
    libc::O_DSYNC,
    libc::O_SYNC,
    libc::O_RSYNC,
    0,
    0,
    0,
];
const CLOEXEC_FLAGS: [i32; 15] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, CLOEXEC, KEEPEXEC];

fn unix_open(m: &mut Machine, [name, how, perm]: [Slot; 3]) -> Res<'_> {
    let p = path(m, name, "open")?;
    let mut wanted = OFlag::from_bits_retain(flags(m, how, &OPEN_FLAGS)?);
    if flags(m, how, &CLOEXEC_FLAGS)? & CLOEXEC != 0 {
        wanted |= OFlag::O_CLOEXEC;
    }
    let mode = Mode::from_bits_retain(int(m, perm)? as libc::mode_t);
    let outcome = wait::open(m, p, wanted, mode)?;
    let fd = check(m, "open", Some(name), outcome)?;
    let number = m.ext::<Io>().fds.insert(fd);
    Ok(Val::from_int(number.into()))
}

fn close(m: &mut Machine, [fd]: [Slot; 1]) -> Res<'_> {
    let fd = int(m, fd)?;
    m.process_pending_actions()?;
    let taken = m.ext::<Io>().fds.take(fd);
    let outcome = taken.and_then(|taken| m.blocking_no_pending(|| taken.close()));
    check(m, "close", None, outcome)?;
    Ok(UNIT)
}

/// The part of a string that a primitive gets as `start` and `len`, which come from the program and are checked.
pub(super) fn part(m: &Machine, bytes: Slot, start: Slot, len: Slot) -> Result<(usize, usize), Raise> {
    let (start, len) = (m.index(start)?, m.index(len)?);
    let fits = start.checked_add(len).is_some_and(|end| m.bytes(bytes).is_ok_and(|b| end <= b.len()));
    if fits { Ok((start, len)) } else { Err(Raise::bounds()) }
}

fn read(m: &mut Machine, [f, into, start, len]: [Slot; 4]) -> Res<'_> {
    let (start, len) = part(m, into, start, len)?;
    let file = file(m, f, "read")?;
    let mut buffer = fallible::filled(0, len.min(BUFFER_SIZE))?;
    let n = match file {
        File::System(fd) => wait_for(m, "read", None, |waiter| waiter.read(fd, &mut buffer))?,
        File::Memory(memory) => in_memory(m, "read", || memory.read(&mut buffer))?,
    };
    m.bytes_mut(into)?[start..start + n].copy_from_slice(&buffer[..n]);
    Ok(Val::from_int(n as i64))
}

fn write(m: &mut Machine, [f, from, start, len]: [Slot; 4]) -> Res<'_> {
    let (mut start, mut len) = part(m, from, start, len)?;
    let mut written = 0;
    while len > 0 {
        let file = file(m, f, "write")?;
        let bytes = fallible::to_vec(&m.bytes(from)?[start..start + len.min(BUFFER_SIZE)])?;
        let outcome = match file {
            File::System(fd) => wait::blocking(m, |waiter| waiter.write(fd, &bytes))?,
            File::Memory(memory) => Ok(in_memory(m, "write", || memory.write(&bytes))?),
        };
        let n = match outcome {
            Err(Errno::EAGAIN) if written > 0 => break,
            Err(Errno::EINTR) => {
                m.check_interrupt()?;
                return Err(unix_error(m, Errno::EINTR, "write", None));
            }
            n => check(m, "write", None, n)?,
        };
        written += n;
        start += n;
        len -= n;
    }
    Ok(Val::from_int(written as i64))
}

fn single_write(m: &mut Machine, [f, from, start, len]: [Slot; 4]) -> Res<'_> {
    let (start, len) = part(m, from, start, len)?;
    if len == 0 {
        return Ok(Val::from_int(0));
    }
    let file = file(m, f, "single_write")?;
    let bytes = fallible::to_vec(&m.bytes(from)?[start..start + len.min(BUFFER_SIZE)])?;
    let n = match file {
        File::System(fd) => wait_for(m, "single_write", None, |waiter| waiter.write(fd, &bytes))?,
        File::Memory(memory) => in_memory(m, "single_write", || memory.write(&bytes))?,
    };
    Ok(Val::from_int(n as i64))
}

// ---- big arrays ------------------------------------------------------------------------------------

/// How much is read into a big array, or written from it, at once. As other threads may use the array meanwhile, the
/// system gets a copy, which is this large at most.
const BIGARRAY_BUFFER_SIZE: usize = 1 << 24;

/// As [`part`], of the bytes of a big array.
fn bigarray_part(m: &Machine, array: Slot, start: Slot, len: Slot) -> Result<(usize, usize), Raise> {
    let (start, len) = (m.index(start)?, m.index(len)?);
    let size = m.numbers(array)?.bytes().len();
    if start.checked_add(len).is_some_and(|end| end <= size) {
        Ok((start, len))
    } else {
        Err(Raise::bounds())
    }
}

fn read_bigarray(m: &mut Machine, [f, into, start, len]: [Slot; 4]) -> Res<'_> {
    let (start, len) = bigarray_part(m, into, start, len)?;
    let file = file(m, f, "read_bigarray")?;
    let mut buffer = fallible::filled(0, len.min(BIGARRAY_BUFFER_SIZE))?;
    let n = match file {
        File::System(fd) => wait_for(m, "read_bigarray", None, |waiter| waiter.read(fd, &mut buffer))?,
        File::Memory(memory) => in_memory(m, "read_bigarray", || memory.read(&mut buffer))?,
    };
    let place = m.elements_mut(into)?.get_mut(start..start + n).ok_or_else(Raise::bounds)?;
    place.copy_from_slice(&buffer[..n]);
    Ok(Val::from_int(n as i64))
}

fn write_bigarray(m: &mut Machine, [f, from, start, len, single]: [Slot; 5]) -> Res<'_> {
    let (mut start, mut len) = bigarray_part(m, from, start, len)?;
    let single = m.bool(single);
    let mut written = 0;
    while len > 0 {
        let file = file(m, f, "write_bigarray")?;
        let piece = start..start + len.min(BIGARRAY_BUFFER_SIZE);
        // A C library may have destroyed the array meanwhile.
        let bytes = fallible::to_vec(m.numbers(from)?.bytes().get(piece).ok_or_else(Raise::bounds)?)?;
        let outcome = match file {
            File::System(fd) => wait::blocking(m, |waiter| waiter.write(fd, &bytes))?,
            File::Memory(memory) => Ok(in_memory(m, "write_bigarray", || memory.write(&bytes))?),
        };
        let n = match outcome {
            Err(Errno::EAGAIN) if written > 0 => break,
            Err(Errno::EINTR) => {
                m.check_interrupt()?;
                return Err(unix_error(m, Errno::EINTR, "write_bigarray", None));
            }
            n => check(m, "write_bigarray", None, n)?,
        };
        written += n;
        start += n;
        len -= n;
        if single {
            break;
        }
    }
    Ok(Val::from_int(written as i64))
}

// ---- positions -------------------------------------------------------------------------------------

const WHENCE: [Whence; 3] = [Whence::SeekSet, Whence::SeekCur, Whence::SeekEnd];

fn seek(m: &mut Machine, f: Slot, offset: i64, whence: Slot) -> Result<i64, Raise> {
    let whence = choice(m, whence, &WHENCE)?;
    match file(m, f, "lseek")? {
        File::System(fd) => block(m, "lseek", None, || unistd::lseek(fd, offset, whence)),
        File::Memory(memory) => in_memory(m, "lseek", || {
            let from = match whence {
                Whence::SeekCur => memory.position()?,
                Whence::SeekEnd => memory.size()?,
                _ => 0,
            };
            memory.seek(from.checked_add(offset).ok_or(Errno::EOVERFLOW)?)
        }),
    }
}

fn lseek(m: &mut Machine, [f, offset, whence]: [Slot; 3]) -> Res<'_> {
    let at = seek(m, f, m.int(offset)?, whence)?;
    if at > MAX_INT {
        return Err(unix_error(m, Errno::EOVERFLOW, "lseek", None));
    }
    Ok(Val::from_int(at))
}

fn lseek_64(m: &mut Machine, [f, offset, whence]: [Slot; 3]) -> Res<'_> {
    let at = seek(m, f, m.int64(offset)?, whence)?;
    m.new_int64(at)
}

fn cut(m: &mut Machine, name: Slot, len: i64) -> Res<'_> {
    let p: CString = path(m, name, "truncate")?;
    block(m, "truncate", Some(name), || unistd::truncate(p.as_c_str(), len))?;
    Ok(UNIT)
}

fn truncate(m: &mut Machine, [name, len]: [Slot; 2]) -> Res<'_> {
    cut(m, name, m.int(len)?)
}

fn truncate_64(m: &mut Machine, [name, len]: [Slot; 2]) -> Res<'_> {
    cut(m, name, m.int64(len)?)
}

fn cut_open(m: &mut Machine, f: Slot, len: i64) -> Res<'_> {
    match file(m, f, "ftruncate")? {
        File::System(fd) => block(m, "ftruncate", None, || unistd::ftruncate(fd, len))?,
        File::Memory(memory) => in_memory(m, "ftruncate", || memory.set_size(len))?,
    }
    Ok(UNIT)
}

fn ftruncate(m: &mut Machine, [f, len]: [Slot; 2]) -> Res<'_> {
    cut_open(m, f, m.int(len)?)
}

fn ftruncate_64(m: &mut Machine, [f, len]: [Slot; 2]) -> Res<'_> {
    cut_open(m, f, m.int64(len)?)
}

fn fsync(m: &mut Machine, [f]: [Slot; 1]) -> Res<'_> {
    match file(m, f, "fsync")? {
        File::System(fd) => block(m, "fsync", None, || unistd::fsync(fd))?,
        File::Memory(memory) => in_memory(m, "fsync", || memory.sync())?,
    }
    Ok(UNIT)
}

prims! {
    since(V5_0) with "caml_" {
        "unix_open" P3 unix_open,
        "unix_close" P1 close,
        "unix_read" P4 read,
        "unix_write" P4 write,
        "unix_single_write" P4 single_write,
        "unix_lseek" P3 lseek,
        "unix_lseek_64" P3 lseek_64,
        "unix_truncate" P2 truncate,
        "unix_truncate_64" P2 truncate_64,
        "unix_ftruncate" P2 ftruncate,
        "unix_ftruncate_64" P2 ftruncate_64,
        "unix_fsync" P1 fsync,
    }
    "caml_unix_read_bigarray" P4 read_bigarray => since(V5_2),
    "caml_unix_write_bigarray" P5 write_bigarray => since(V5_2),
}
