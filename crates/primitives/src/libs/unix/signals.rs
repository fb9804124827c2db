//! Signals (`kill.c`, `signals.c`). `Sys.signal` sets handlers.

use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use spelter_interp::{Machine, Raise, Res, Slot, Val, fallible, prims};

use super::args::{choice, int};
use super::errors::{check, unix_error};
use crate::UNIT;
use crate::ffi;
use crate::io::wait;

/// The system's number for a signal number that C would take as an `int`.
fn signal_of(m: &Machine, number: i64) -> i32 {
    m.system_signal(i64::from(number as i32)) as i32
}

fn kill(m: &mut Machine, [pid, signal]: [Slot; 2]) -> Res<'_> {
    let (pid, signal) = (int(m, pid)?, signal_of(m, m.int(signal)?));
    check(m, "kill", None, ffi::process::kill(pid, signal))?;
    // The handler of a signal that the program sends to itself runs before anything else.
    m.process_pending_actions()?;
    Ok(UNIT)
}

/// The signals in a list, by the system's numbers.
pub(crate) fn signals(m: &Machine, list: Slot) -> Result<Vec<i32>, Raise> {
    let mut all = fallible::with_capacity(m.list_len(list)?)?;
    let mut list = m.val(list);
    while list.is_block() {
        all.push(signal_of(m, list.field(0)?.int()?));
        list = list.field(1)?;
    }
    Ok(all)
}

/// The list of these signals, the largest of the system's numbers first.
pub(crate) fn new_list(m: &mut Machine, mut signals: Vec<i32>) -> Res<'_> {
    signals.sort_unstable();
    signals.dedup();
    m.new_list(signals.into_iter().rev(), |m, signal| Ok(Val::from_int(m.ocaml_signal(signal))))
}

/// In the order of `Unix.sigprocmask_command`'s constructors.
pub(crate) const COMMANDS: [i32; 3] = [libc::SIG_SETMASK, libc::SIG_BLOCK, libc::SIG_UNBLOCK];

fn sigprocmask(m: &mut Machine, [command, set]: [Slot; 2]) -> Res<'_> {
    let (how, set) = (choice(m, command, &COMMANDS)?, signals(m, set)?);
    let outcome = m.blocking(|| ffi::process::set_mask(how, &set))?;
    // Signals that arrived earlier and are no longer blocked are handled now.
    m.request_action();
    m.process_pending_actions()?;
    let old = check(m, "sigprocmask", None, outcome)?;
    new_list(m, old)
}

fn sigpending(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    let mut all = check(m, "sigpending", None, ffi::process::held_back())?;
    all.extend(m.signals().pending());
    new_list(m, all)
}

fn sigsuspend(m: &mut Machine, [set]: [Slot; 1]) -> Res<'_> {
    let set = signals(m, set)?;
    match wait::blocking(m, |waiter| waiter.suspend(&set))? {
        Errno::EINTR => {
            m.check_interrupt()?;
            Ok(UNIT)
        }
        e => Err(unix_error(m, e, "sigsuspend", None)),
    }
}

/// How long a wait for signals lasts before it checks for an interrupt.
const CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// Waits for one of the signals in a list; returns the system's number.
pub(crate) fn wait_for(m: &mut Machine, set: Slot) -> Result<Result<i32, Errno>, Raise> {
    let set = signals(m, set)?;
    let outcome = wait::blocking(m, |waiter| {
        waiter
            .try_until(|| ffi::process::wait_for_while(&set, CHECK_INTERVAL), || ffi::process::wait_for(&set))
    })?;
    m.check_interrupt()?;
    Ok(outcome)
}

fn sigwait(m: &mut Machine, [set]: [Slot; 1]) -> Res<'_> {
    let outcome = wait_for(m, set)?;
    let signal = check(m, "sigwait", None, outcome)?;
    Ok(Val::from_int(m.ocaml_signal(signal)))
}

prims! {
    since(V5_0) with "caml_" {
        "unix_kill" P2 kill,
        "unix_sigprocmask" P2 sigprocmask,
        "unix_sigpending" P1 sigpending,
        "unix_sigsuspend" P1 sigsuspend,
    }
    "caml_unix_sigwait" P1 sigwait => since(V5_4),
}
