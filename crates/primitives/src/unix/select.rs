//! Waiting for descriptors (`select.c`).

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc::FD_SETSIZE;
use nix::sys::select::{FdSet, select as sys_select};
use nix::sys::time::TimeVal;
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use super::errors::{block, unix_error};
use crate::channels::Io;
use crate::fds::Fd;

/// A number, and the descriptor that it stands for.
type Numbered = (i64, Result<Fd, Errno>);

/// The descriptors in a list, each with its number in the program. Numbers that no set can hold are an error of their
/// own.
fn descriptors(m: &mut Machine, list: Slot) -> Result<Vec<Numbered>, Raise> {
    m.list_len(list)?;
    let mut numbers = Vec::new();
    let mut list = m.val(list);
    while list.is_block() {
        numbers.push(list.field(0)?.int()?);
        list = list.field(1)?;
    }
    let fds = &mut m.ext::<Io>().fds;
    let find = |number: i64| match i32::try_from(number) {
        Ok(n) if (0..FD_SETSIZE as i32).contains(&n) => fds.get(n),
        _ => Err(Errno::EINVAL),
    };
    let found = numbers.iter().copied().map(find).collect::<Vec<_>>();
    Ok(numbers.into_iter().zip(found).collect())
}

/// The set of some descriptors.
fn set(fds: &[(i64, Fd)]) -> Result<FdSet<'_>, Errno> {
    let mut set = FdSet::new();
    for (_, fd) in fds {
        let fd = fd.as_fd();
        if fd.as_raw_fd() >= FD_SETSIZE as i32 {
            return Err(Errno::EINVAL);
        }
        set.insert(fd);
    }
    Ok(set)
}

/// The numbers of those that are in the set, the last one first, as OCaml gives them.
fn members(fds: &[(i64, Fd)], set: &FdSet<'_>) -> Vec<i64> {
    fds.iter().rev().filter(|(_, fd)| set.contains(fd.as_fd())).map(|(number, _)| *number).collect()
}

fn select(m: &mut Machine, [readable, writable, exceptional, timeout]: [Slot; 4]) -> Res<'_> {
    let lists = [descriptors(m, readable)?, descriptors(m, writable)?, descriptors(m, exceptional)?];
    let has = |e: Errno| lists.iter().flatten().any(|(_, fd)| fd.as_ref().err() == Some(&e));
    let bad = has(Errno::EBADF);
    if has(Errno::EINVAL) {
        return Err(unix_error(m, Errno::EINVAL, "select", None));
    }
    let timeout = m.float(timeout)?;
    let whole = timeout as i32;
    let mut timeout = (timeout >= 0.0 || timeout.is_nan())
        .then(|| TimeVal::new(whole.into(), (1e6 * (timeout - f64::from(whole))) as i64));
    let wait = || {
        if bad {
            return Err(Errno::EBADF);
        }
        let [r, w, e] =
            lists.map(|list| list.into_iter().filter_map(|(n, fd)| Some((n, fd.ok()?))).collect::<Vec<_>>());
        let (mut rs, mut ws, mut es) = (set(&r)?, set(&w)?, set(&e)?);
        sys_select(None, &mut rs, &mut ws, &mut es, timeout.as_mut())?;
        Ok([members(&r, &rs), members(&w, &ws), members(&e, &es)])
    };
    let ready = block(m, "select", None, wait)?;
    let mut result = Vec::new();
    for numbers in ready {
        result.push(m.push(|m| m.new_list(numbers, |_, number| Ok(Val::from_int(number))))?);
    }
    m.new_block(0, &result)
}

prims! {
    "unix_select" P4 select,
}
