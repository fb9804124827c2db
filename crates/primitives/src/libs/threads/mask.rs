//! `Thread.sigmask` and `Thread.wait_signal`: the signals of the running thread.

use std::time::Duration;

use spelter_interp::{Machine, Res, Slot, Val, prims};

use crate::ffi;
use crate::io::wait;
use crate::libs::unix::args::choice;
use crate::libs::unix::signals::{COMMANDS, new_list, signals};
use crate::runtime::sync::check;

/// How long a wait for signals lasts before it checks for an interrupt.
const CHECK_INTERVAL: Duration = Duration::from_millis(2);

fn sigmask(m: &mut Machine, [command, set]: [Slot; 2]) -> Res<'_> {
    let (how, set) = (choice(m, command, &COMMANDS)?, signals(m, set)?);
    let outcome = m.blocking(|| ffi::process::set_mask(how, &set))?;
    let old = check(outcome, "Thread.sigmask")?;
    // Signals that have just been unblocked are handled now.
    m.process_pending_actions()?;
    new_list(m, old)
}

fn wait_signal(m: &mut Machine, [set]: [Slot; 1]) -> Res<'_> {
    let set = signals(m, set)?;
    let outcome = wait::blocking(m, |waiter| {
        waiter
            .try_until(|| ffi::process::wait_for_while(&set, CHECK_INTERVAL), || ffi::process::wait_for(&set))
    })?;
    m.check_interrupt()?;
    let signal = check(outcome, "Thread.wait_signal")?;
    Ok(Val::from_int(m.ocaml_signal(signal)))
}

prims! {
    "caml_thread_sigmask" P2 sigmask => before(V5_4),
    "caml_wait_signal" P1 wait_signal => before(V5_4),
}
