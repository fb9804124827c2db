//! `Unix_error` (`unixsupport.c`), and the texts of errors (`errmsg.c`).

use nix::errno::Errno;
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use crate::io::channels::Stop;
use crate::io::errors::error_text;
use crate::io::wait::{self, Waiter};

/// In the order of `Unix.error`'s constant constructors. Two names share a number here, and the first is used.
const ERRORS: [Errno; 68] = [
    Errno::E2BIG,
    Errno::EACCES,
    Errno::EAGAIN,
    Errno::EBADF,
    Errno::EBUSY,
    Errno::ECHILD,
    Errno::EDEADLK,
    Errno::EDOM,
    Errno::EEXIST,
    Errno::EFAULT,
    Errno::EFBIG,
    Errno::EINTR,
    Errno::EINVAL,
    Errno::EIO,
    Errno::EISDIR,
    Errno::EMFILE,
    Errno::EMLINK,
    Errno::ENAMETOOLONG,
    Errno::ENFILE,
    Errno::ENODEV,
    Errno::ENOENT,
    Errno::ENOEXEC,
    Errno::ENOLCK,
    Errno::ENOMEM,
    Errno::ENOSPC,
    Errno::ENOSYS,
    Errno::ENOTDIR,
    Errno::ENOTEMPTY,
    Errno::ENOTTY,
    Errno::ENXIO,
    Errno::EPERM,
    Errno::EPIPE,
    Errno::ERANGE,
    Errno::EROFS,
    Errno::ESPIPE,
    Errno::ESRCH,
    Errno::EXDEV,
    Errno::EWOULDBLOCK,
    Errno::EINPROGRESS,
    Errno::EALREADY,
    Errno::ENOTSOCK,
    Errno::EDESTADDRREQ,
    Errno::EMSGSIZE,
    Errno::EPROTOTYPE,
    Errno::ENOPROTOOPT,
    Errno::EPROTONOSUPPORT,
    Errno::ESOCKTNOSUPPORT,
    Errno::EOPNOTSUPP,
    Errno::EPFNOSUPPORT,
    Errno::EAFNOSUPPORT,
    Errno::EADDRINUSE,
    Errno::EADDRNOTAVAIL,
    Errno::ENETDOWN,
    Errno::ENETUNREACH,
    Errno::ENETRESET,
    Errno::ECONNABORTED,
    Errno::ECONNRESET,
    Errno::ENOBUFS,
    Errno::EISCONN,
    Errno::ENOTCONN,
    Errno::ESHUTDOWN,
    Errno::ETOOMANYREFS,
    Errno::ETIMEDOUT,
    Errno::ECONNREFUSED,
    Errno::EHOSTDOWN,
    Errno::EHOSTUNREACH,
    Errno::ELOOP,
    Errno::EOVERFLOW,
];

/// The value of type `Unix.error` for an error: `EUNKNOWNERR` with its number, if OCaml has no name for it.
pub(super) fn new_error(m: &mut Machine, e: Errno) -> Res<'_> {
    new_error_of(m, e as i32)
}

/// The same for an error's number, which need not be one of the system's.
pub(crate) fn new_error_of(m: &mut Machine, number: i32) -> Res<'_> {
    if let Some(constructor) = ERRORS.iter().position(|known| *known as i32 == number) {
        return Ok(Val::from_int(constructor as i64));
    }
    let number = m.push_int(number.into());
    m.new_block(0, &[number])
}

/// The number of a `Unix.error`.
pub(crate) fn error_number(m: &Machine, error: Slot) -> Result<i32, Raise> {
    let error = m.val(error);
    Ok(match error.is_block() {
        true => error.field(0)?.int()? as i32,
        false => *ERRORS.get(error.int()? as usize).ok_or_else(Raise::bounds)? as i32,
    })
}

/// `Unix_error (e, call, arg)`
#[cold]
pub(crate) fn unix_error(m: &mut Machine, e: Errno, call: &str, arg: Option<Slot>) -> Raise {
    unix_error_of(m, e as i32, call.as_bytes(), arg)
}

/// The same for an error's number, and a name that may be any bytes.
#[cold]
pub(crate) fn unix_error_of(m: &mut Machine, number: i32, call: &[u8], arg: Option<Slot>) -> Raise {
    make(m, number, call, arg).unwrap_or_else(|raise| raise)
}

fn make(m: &mut Machine, number: i32, call: &[u8], arg: Option<Slot>) -> Result<Raise, Raise> {
    let mark = m.mark();
    let arg = match arg {
        Some(arg) => m.push_slot(arg),
        None => m.push(|m| m.new_string(b""))?,
    };
    let call = m.push(|m| m.new_string(call))?;
    let error = m.push(|m| new_error_of(m, number))?;
    let Some(id) = m.named_value("Unix.Unix_error") else {
        return Err(Raise::invalid("Exception Unix.Unix_error not initialized, please link unix.cma"));
    };
    let exn = m.push(|m| m.new_block(0, &[id, error, call, arg]))?;
    let raise = m.set_exn(exn);
    m.release(mark);
    Ok(raise)
}

/// The result of a system call; raises `Unix_error` if it failed.
pub(crate) fn check<T>(
    m: &mut Machine,
    call: &str,
    arg: Option<Slot>,
    outcome: Result<T, Errno>,
) -> Result<T, Raise> {
    outcome.map_err(|e| unix_error(m, e, call, arg))
}

/// An operation on a file that the system does not know.
pub(super) fn in_memory<T>(
    m: &mut Machine,
    call: &str,
    f: impl FnOnce() -> Result<T, Stop> + Send,
) -> Result<T, Raise> {
    let (e, why) = match m.blocking(f)? {
        Ok(result) => return Ok(result),
        Err(Stop::OutOfMemory) => return Err(Raise::OutOfMemory),
        Err(Stop::Interrupted) => (Errno::EINTR, None),
        Err(Stop::Errno(e)) => (e, None),
        Err(Stop::NotGranted(help)) => {
            let why = m.push(|m| m.new_string(format!("not granted ({help})").as_bytes()))?;
            (Errno::EPERM, Some(why))
        }
    };
    Err(unix_error(m, e, call, why))
}

/// A system call that may block, with its result as in [`check`].
pub(super) fn block<T>(
    m: &mut Machine,
    call: &str,
    arg: Option<Slot>,
    f: impl FnOnce() -> Result<T, Errno> + Send,
) -> Result<T, Raise> {
    let outcome = m.blocking(f)?;
    check(m, call, arg, outcome)
}

/// A system call that may block for long and can be interrupted.
pub(super) fn wait<T>(
    m: &mut Machine,
    call: &str,
    arg: Option<Slot>,
    f: impl FnOnce(&Waiter) -> Result<T, Errno> + Send,
) -> Result<T, Raise> {
    let outcome = wait::blocking(m, f)?;
    if matches!(outcome, Err(Errno::EINTR)) {
        m.check_interrupt()?;
    }
    check(m, call, arg, outcome)
}

fn error_message(m: &mut Machine, [error]: [Slot; 1]) -> Res<'_> {
    let text = error_text(error_number(m, error)?);
    m.new_string(text.as_bytes())
}

prims! {
    since(V5_0) with "caml_" {
        "unix_error_message" P1 error_message,
    }
}
