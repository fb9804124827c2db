//! `Thread.sigmask` and `Thread.wait_signal`: the signals of the running thread. From 5.4 on they are functions of
//! `Unix`.

use spelter_interp::{Machine, Res, Slot, Val, prims};

use crate::ffi;
use crate::libs::unix::args::choice;
use crate::libs::unix::signals::{COMMANDS, new_list, signals, wait_for};
use crate::runtime::sync::check;

fn sigmask(m: &mut Machine, [command, set]: [Slot; 2]) -> Res<'_> {
    let (how, set) = (choice(m, command, &COMMANDS)?, signals(m, set)?);
    let outcome = m.blocking(|| ffi::process::set_mask(how, &set))?;
    let old = check(outcome, "Thread.sigmask")?;
    // Signals that have just been unblocked are handled now.
    m.process_pending_actions()?;
    new_list(m, old)
}

fn wait_signal(m: &mut Machine, [set]: [Slot; 1]) -> Res<'_> {
    let outcome = wait_for(m, set)?;
    let signal = check(outcome, "Thread.wait_signal")?;
    Ok(Val::from_int(m.ocaml_signal(signal)))
}

prims! {
    "caml_thread_sigmask" P2 sigmask => before(V5_4),
    "caml_wait_signal" P1 wait_signal => before(V5_4),
}
