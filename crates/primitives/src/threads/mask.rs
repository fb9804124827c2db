//! `Thread.sigmask` and `Thread.wait_signal`: the signals of the running thread.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use spelter_interp::signals::{NSIG, ocaml_signal, system_signal};
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use super::check;

/// The signals in a list of OCaml's numbers. Those that the system does not have are left out, as C's `sigaddset` does.
pub(crate) fn decode(m: &Machine, list: Slot) -> Result<SigSet, Raise> {
    m.list_len(list)?;
    let mut set = SigSet::empty();
    let mut rest = m.val(list);
    while rest.is_block() {
        let number = system_signal(rest.field(0)?.int()?);
        if let Some(signal) = i32::try_from(number).ok().and_then(|n| Signal::try_from(n).ok()) {
            set.add(signal);
        }
        rest = rest.field(1)?;
    }
    Ok(set)
}

/// A list of OCaml's numbers, largest system number first.
pub(crate) fn encode<'m>(m: &'m mut Machine, set: &SigSet) -> Res<'m> {
    let numbers = (1..NSIG as i32).rev().filter(|n| Signal::try_from(*n).is_ok_and(|s| set.contains(s)));
    m.new_list(numbers.map(ocaml_signal), |_, n| Ok(Val::from_int(n)))
}

fn sigmask(m: &mut Machine, [how, signals]: [Slot; 2]) -> Res<'_> {
    const HOW: [SigmaskHow; 3] = [SigmaskHow::SIG_SETMASK, SigmaskHow::SIG_BLOCK, SigmaskHow::SIG_UNBLOCK];
    let how = *HOW.get(m.index(how)?).ok_or_else(|| Raise::invalid("Thread.sigmask"))?;
    let set = decode(m, signals)?;
    let old = m.blocking(move || set.thread_swap_mask(how))?;
    check(old.map(drop), "Thread.sigmask")?;
    // Those that were held back and are no longer are due now.
    m.process_pending_actions()?;
    encode(m, &old.unwrap_or_else(|_| SigSet::empty()))
}

fn wait_signal(m: &mut Machine, [signals]: [Slot; 1]) -> Res<'_> {
    let set = decode(m, signals)?;
    let signal: Result<Signal, Errno> = m.blocking(move || set.wait())?;
    match signal {
        Ok(signal) => Ok(Val::from_int(ocaml_signal(signal as i32))),
        Err(e) => check(Err(e), "Thread.wait_signal").map(|()| crate::UNIT),
    }
}

prims! {
    "caml_thread_sigmask" P2 sigmask,
    "caml_wait_signal" P1 wait_signal,
}
