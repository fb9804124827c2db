//! `Thread.sigmask` and `Thread.wait_signal`: the signals of the running thread.

use spelter_interp::signals::ocaml_signal;
use spelter_interp::{Machine, Res, Slot, Val, prims};

use super::check;
use crate::cdoor_process;
use crate::unix::args::choice;
use crate::unix::signals::{COMMANDS, new_list, signals};

fn sigmask(m: &mut Machine, [command, set]: [Slot; 2]) -> Res<'_> {
    let (how, set) = (choice(m, command, &COMMANDS)?, signals(m, set)?);
    let outcome = m.blocking(|| cdoor_process::set_mask(how, &set))?;
    let old = check(outcome, "Thread.sigmask")?;
    // Those that were held back and are no longer are due now.
    m.process_pending_actions()?;
    new_list(m, old)
}

fn wait_signal(m: &mut Machine, [set]: [Slot; 1]) -> Res<'_> {
    let set = signals(m, set)?;
    let outcome = m.blocking(|| cdoor_process::wait_for(&set))?;
    let signal = check(outcome, "Thread.wait_signal")?;
    Ok(Val::from_int(ocaml_signal(signal)))
}

prims! {
    "caml_thread_sigmask" P2 sigmask,
    "caml_wait_signal" P1 wait_signal,
}
