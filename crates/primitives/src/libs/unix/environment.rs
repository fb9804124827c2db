//! The environment (`envir.c`, `putenv.c`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use spelter_interp::{Machine, Res, Slot, fallible, prims};

use super::args::need_process;
use super::errors::unix_error;
use crate::UNIT;
use crate::ffi;

/// The variables, each `name=value`.
pub(super) fn variables() -> impl Iterator<Item = Vec<u8>> {
    std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
}

fn environment_unsafe(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    // The memory for a copy, which is made first.
    let all: usize = std::env::vars_os().map(|(name, value)| name.len() + value.len() + 64).sum();
    fallible::afford(all.saturating_mul(2))?;
    m.new_array(variables(), |m, variable| m.new_string(&variable))
}

fn environment(m: &mut Machine, unit: [Slot; 1]) -> Res<'_> {
    if ffi::process::is_privileged() { Ok(m.atom(0)) } else { environment_unsafe(m, unit) }
}

fn putenv(m: &mut Machine, [name, value]: [Slot; 2]) -> Res<'_> {
    need_process(m, "putenv", Some(name))?;
    // The memory for the variable, and for temporary copies.
    fallible::afford((m.bytes(name)?.len() + m.bytes(value)?.len()).saturating_mul(4))?;
    let text = [m.bytes(name)?, b"=", m.bytes(value)?].concat();
    // A `=` in the name ends it.
    let end = text.iter().position(|byte| *byte == b'=').unwrap_or(0);
    if end == 0 || text.contains(&0) {
        return Err(unix_error(m, Errno::EINVAL, "putenv", Some(name)));
    }
    let (name, value) = (&text[..end], &text[end + 1..]);
    ffi::process::set_variable(OsStr::from_bytes(name), OsStr::from_bytes(value));
    Ok(UNIT)
}

fn unsetenv(m: &mut Machine, [name]: [Slot; 1]) -> Res<'_> {
    need_process(m, "unsetenv", Some(name))?;
    let variable = fallible::to_vec(m.bytes(name)?)?;
    if variable.is_empty() || variable.iter().any(|byte| matches!(byte, 0 | b'=')) {
        return Err(unix_error(m, Errno::EINVAL, "unsetenv", Some(name)));
    }
    ffi::process::remove_variable(OsStr::from_bytes(&variable));
    Ok(UNIT)
}

prims! {
    since(V5_0) with "caml_" {
        "unix_environment" P1 environment,
        "unix_environment_unsafe" P1 environment_unsafe,
        "unix_putenv" P2 putenv,
    }
    "caml_unix_unsetenv" P1 unsetenv => since(V5_5),
}
