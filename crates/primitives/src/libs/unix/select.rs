//! Waiting for descriptors (`select.c`).

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{FD_SETSIZE, timeval};
use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible, prims};

use super::errors::{unix_error, wait};
use crate::io::channels::Io;
use crate::io::fds::Fd;

/// A descriptor to wait for.
struct Waiting {
    /// Its number in the program.
    number: i64,
    /// The system's number, unless the system does not know the file, which is always ready; a program that is the whole
    /// process may use any number.
    raw: Result<Option<RawFd>, Errno>,
    /// Keeps it open.
    _fd: Option<Fd>,
}

/// The descriptors in a list. Numbers that do not fit into a set are a separate error.
fn descriptors(m: &mut Machine, list: Slot) -> Result<Vec<Waiting>, Raise> {
    let len = m.list_len(list)?;
    // Later copies take more memory than the list.
    fallible::afford(len.saturating_mul(64))?;
    let mut numbers = fallible::with_capacity(len)?;
    let mut list = m.val(list);
    while list.is_block() {
        numbers.push(list.field(0)?.int()?);
        list = list.field(1)?;
    }
    let fds = &mut m.ext::<Io>().fds;
    let settable = |n: RawFd| if (0..FD_SETSIZE as i32).contains(&n) { Ok(n) } else { Err(Errno::EINVAL) };
    let find = |number: i64| {
        let n = i32::try_from(number).map_err(|_| Errno::EINVAL).and_then(settable);
        let fd = n.ok().and_then(|n| fds.get(n).ok());
        let raw = match &fd {
            Some(fd) => settable(fd.as_fd().as_raw_fd()).map(Some),
            None if n.is_ok_and(|n| fds.memory(n).is_some()) => Ok(None),
            None if fds.owns_process => n.map(Some),
            None => n.and(Err(Errno::EBADF)),
        };
        Waiting { number, raw, _fd: fd }
    };
    Ok(numbers.into_iter().map(find).collect())
}

fn select(m: &mut Machine, [readable, writable, exceptional, timeout]: [Slot; 4]) -> Res<'_> {
    let lists = [descriptors(m, readable)?, descriptors(m, writable)?, descriptors(m, exceptional)?];
    let has = |e: Errno| lists.iter().flatten().any(|fd| fd.raw == Err(e));
    if has(Errno::EINVAL) {
        return Err(unix_error(m, Errno::EINVAL, "select", None));
    }
    let bad = has(Errno::EBADF);
    let timeout = m.float(timeout)?;
    let whole = timeout as i32;
    let micros = (1e6 * (timeout - f64::from(whole))) as i64;
    let is_ready = |list: &[Waiting]| list.iter().any(|fd| fd.raw == Ok(None));
    let until = match timeout {
        _ if is_ready(&lists[0]) || is_ready(&lists[1]) => Some(timeval { tv_sec: 0, tv_usec: 0 }),
        ..0.0 => None,
        _ => Some(timeval { tv_sec: whole.into(), tv_usec: micros }),
    };
    let raw = |i: usize| -> Vec<RawFd> { lists[i].iter().filter_map(|fd| fd.raw.ok().flatten()).collect() };
    let sets = [raw(0), raw(1), raw(2)];
    let time =
        until.map(|until| Duration::new(until.tv_sec.max(0) as u64, 1000 * until.tv_usec.max(0) as u32));
    let ready = wait(m, "select", None, |waiter| match bad {
        true => Err(Errno::EBADF),
        false => waiter.select([&sets[0], &sets[1], &sets[2]], time, until),
    })?;
    let mut result = Vec::new();
    for (i, (list, ready)) in lists.iter().zip(ready).enumerate() {
        let mut ready = ready.into_iter();
        let is_ready = |fd: &&Waiting| match fd.raw {
            // There are no exceptional conditions.
            Ok(None) => i < 2,
            _ => ready.next() == Some(true),
        };
        let mut members: Vec<i64> = list.iter().filter(is_ready).map(|fd| fd.number).collect();
        // As OCaml returns them.
        members.reverse();
        result.push(m.push(|m| m.new_list(members, |_, number| Ok(Val::from_int(number))))?);
    }
    m.new_block(0, &result)
}

prims! {
    since(V5_0) with "caml_" {
        "unix_select" P4 select,
    }
}
