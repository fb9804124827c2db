//! Arguments of primitives: paths, descriptors, flags, choices.

use std::ffi::CString;

use nix::errno::Errno;
use spelter_interp::{Machine, Raise, Slot, Val, fallible};

use super::errors::{check, unix_error};
use crate::io::channels::Io;
use crate::io::fds::{Fd, File};

/// An `int` as C takes it.
pub(crate) fn int(m: &Machine, s: Slot) -> Result<i32, Raise> {
    Ok(m.int(s)? as i32)
}

/// A string that can be a path.
pub(crate) fn path(m: &mut Machine, s: Slot, call: &str) -> Result<CString, Raise> {
    c_string(m, s, Errno::ENOENT, call)
}

/// A string that C can take.
pub(crate) fn c_string(m: &mut Machine, s: Slot, otherwise: Errno, call: &str) -> Result<CString, Raise> {
    let bytes = m.bytes(s)?;
    fallible::afford(bytes.len().saturating_mul(4))?;
    match CString::new(bytes) {
        Ok(text) => Ok(text),
        Err(_) => Err(unix_error(m, otherwise, call, Some(s))),
    }
}

/// An array of strings that C can take.
pub(super) fn c_strings(m: &mut Machine, array: Slot, call: &str) -> Result<Vec<CString>, Raise> {
    let mark = m.mark();
    let mut strings = Vec::new();
    for i in 0..m.val(array).wosize()? {
        let s = m.push_field(array, i)?;
        let string = c_string(m, s, Errno::EINVAL, call)?;
        fallible::push(&mut strings, string)?;
        m.release(mark);
    }
    Ok(strings)
}

/// The descriptor with this number, if the program has it.
pub(super) fn find_fd(m: &mut Machine, s: Slot) -> Result<Result<Fd, Errno>, Raise> {
    let number = int(m, s)?;
    Ok(m.ext::<Io>().fds.get(number))
}

/// The descriptor with this number.
pub(super) fn fd(m: &mut Machine, s: Slot, call: &str) -> Result<Fd, Raise> {
    let found = find_fd(m, s)?;
    check(m, call, None, found)
}

/// The file with this number, whoever knows it.
pub(super) fn file(m: &mut Machine, s: Slot, call: &str) -> Result<File, Raise> {
    let number = int(m, s)?;
    let found = m.ext::<Io>().fds.file(number);
    check(m, call, None, found)
}

/// The flags for a list of constant constructors, combined; `table` has the flag of each constructor.
pub(crate) fn flags(m: &Machine, list: Slot, table: &[i32]) -> Result<i32, Raise> {
    m.list_len(list)?;
    let mut all = 0;
    let mut list = m.val(list);
    while list.is_block() {
        all |= of_table(list.field(0)?, table)?;
        list = list.field(1)?;
    }
    Ok(all)
}

/// The entry of `table` for a constant constructor.
pub(crate) fn choice<T: Copy>(m: &Machine, s: Slot, table: &[T]) -> Result<T, Raise> {
    of_table(m.val(s), table)
}

/// The entry of `table` for a constant constructor.
pub(super) fn of_table<T: Copy>(v: Val<'_>, table: &[T]) -> Result<T, Raise> {
    table.get(v.int()? as usize).copied().ok_or_else(Raise::bounds)
}

/// The optional boolean in a slot.
pub(super) fn option_bool(m: &Machine, s: Slot) -> Result<Option<bool>, Raise> {
    let v = m.val(s);
    Ok(if v.is_block() { Some(v.field(0)?.int()? != 0) } else { None })
}

/// The argument `?cloexec`, false if it is not given.
pub(super) fn cloexec(m: &Machine, s: Slot) -> Result<bool, Raise> {
    Ok(option_bool(m, s)?.unwrap_or(false))
}

/// Fails with `EPERM` for a guest in a host, which may not change the whole process.
pub(super) fn need_process(m: &mut Machine, call: &str, arg: Option<Slot>) -> Result<(), Raise> {
    match m.ext::<Io>().fds.owns_process {
        true => Ok(()),
        false => Err(unix_error(m, Errno::EPERM, call, arg)),
    }
}
