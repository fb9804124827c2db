//! Options of sockets (`sockopt.c`).

use nix::errno::Errno;
use nix::libc::{self, IPPROTO_IPV6, IPPROTO_TCP, SOL_SOCKET};
use spelter_interp::{Machine, Res, Slot, Val, prims};

use super::args::{choice, fd, int};
use super::errors::{check, new_error, unix_error};
use crate::UNIT;
use crate::boolean;
use crate::ffi::net::{option, set_option};

/// The type of an option's value: the constructors of `SO.opt_type` in unix.ml.
#[derive(Clone, Copy)]
enum Type {
    Bool,
    Int,
    Linger,
    Timeval,
    Error,
}

const TYPES: [Type; 5] = [Type::Bool, Type::Int, Type::Linger, Type::Timeval, Type::Error];

impl Type {
    /// The level and number of each option, in the order of the options' constructors.
    fn options(self) -> &'static [(i32, i32)] {
        match self {
            Type::Bool => &[
                (SOL_SOCKET, libc::SO_DEBUG),
                (SOL_SOCKET, libc::SO_BROADCAST),
                (SOL_SOCKET, libc::SO_REUSEADDR),
                (SOL_SOCKET, libc::SO_KEEPALIVE),
                (SOL_SOCKET, libc::SO_DONTROUTE),
                (SOL_SOCKET, libc::SO_OOBINLINE),
                (SOL_SOCKET, libc::SO_ACCEPTCONN),
                (IPPROTO_TCP, libc::TCP_NODELAY),
                (IPPROTO_IPV6, libc::IPV6_V6ONLY),
                (SOL_SOCKET, libc::SO_REUSEPORT),
            ],
            Type::Int => &[
                (SOL_SOCKET, libc::SO_SNDBUF),
                (SOL_SOCKET, libc::SO_RCVBUF),
                (SOL_SOCKET, libc::SO_ERROR),
                (SOL_SOCKET, libc::SO_TYPE),
                (SOL_SOCKET, libc::SO_RCVLOWAT),
                (SOL_SOCKET, libc::SO_SNDLOWAT),
            ],
            Type::Linger => &[(SOL_SOCKET, libc::SO_LINGER)],
            Type::Timeval => &[(SOL_SOCKET, libc::SO_RCVTIMEO), (SOL_SOCKET, libc::SO_SNDTIMEO)],
            Type::Error => &[(SOL_SOCKET, libc::SO_ERROR)],
        }
    }

    /// The suffix of `getsockopt` or `setsockopt` in an error.
    fn suffix(self) -> &'static str {
        match self {
            Type::Bool => "",
            Type::Int => "_int",
            Type::Linger => "_optint",
            Type::Timeval => "_float",
            Type::Error => "_error",
        }
    }
}

fn getsockopt(m: &mut Machine, [ty, s, which]: [Slot; 3]) -> Res<'_> {
    let ty = choice(m, ty, &TYPES)?;
    let (level, number) = choice(m, which, ty.options())?;
    let call = format!("getsockopt{}", ty.suffix());
    let fd = fd(m, s, &call)?;
    match ty {
        Type::Bool => Ok(boolean(check(m, &call, None, option::<i32>(fd, level, number))? != 0)),
        Type::Int => Ok(Val::from_int(check(m, &call, None, option::<i32>(fd, level, number))?.into())),
        Type::Linger => {
            let linger: libc::linger = check(m, &call, None, option(fd, level, number))?;
            if linger.l_onoff == 0 {
                return Ok(UNIT);
            }
            let seconds = m.push_int(linger.l_linger.into());
            m.new_some(seconds)
        }
        Type::Timeval => {
            let time: libc::timeval = check(m, &call, None, option(fd, level, number))?;
            m.new_float(time.tv_sec as f64 + time.tv_usec as f64 / 1e6)
        }
        Type::Error => {
            let error: i32 = check(m, &call, None, option(fd, level, number))?;
            if error == 0 {
                return Ok(UNIT);
            }
            let error = m.push(|m| new_error(m, Errno::from_raw(error)))?;
            m.new_some(error)
        }
    }
}

fn setsockopt(m: &mut Machine, [ty, s, which, value]: [Slot; 4]) -> Res<'_> {
    let ty = choice(m, ty, &TYPES)?;
    let (level, number) = choice(m, which, ty.options())?;
    let call = format!("setsockopt{}", ty.suffix());
    let fd = fd(m, s, &call)?;
    let outcome = match ty {
        Type::Bool | Type::Int => set_option(fd, level, number, int(m, value)?),
        Type::Linger => {
            let seconds = match m.val(value).is_block() {
                true => Some(m.val(value).field(0)?.int()? as i32),
                false => None,
            };
            let linger =
                libc::linger { l_onoff: seconds.is_some().into(), l_linger: seconds.unwrap_or_default() };
            set_option(fd, level, number, linger)
        }
        Type::Timeval => {
            let seconds = m.float(value)?;
            let whole = seconds as i32;
            let micros = (1e6 * (seconds - f64::from(whole))) as i64;
            set_option(fd, level, number, libc::timeval { tv_sec: whole.into(), tv_usec: micros })
        }
        Type::Error => return Err(unix_error(m, Errno::EINVAL, &call, None)),
    };
    check(m, &call, None, outcome)?;
    Ok(UNIT)
}

prims! {
    since(V5_0) with "caml_" {
        "unix_getsockopt" P3 getsockopt,
        "unix_setsockopt" P4 setsockopt,
    }
}
