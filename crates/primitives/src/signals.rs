//! Signal handlers (`signals.c`, `signals_byt.c`).
//!
//! The system-level handlers are signal-hook's, shared by all machines of the process: each machine's flags are
//! set. Once a signal has been handled, its default action is taken from within that handler, and ignoring it
//! is a handler that does nothing; programs that this one starts get the default action then.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::errno::Errno;
use signal_hook::SigId;
use signal_hook::consts::FORBIDDEN;
use spelter_interp::signals::{Mask, NSIG, system_signal};
use spelter_interp::{Machine, Raise, Res, Slot, prims};

use crate::cdoor_sys;
use crate::errors::sys_error;

/// What happens when a signal comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Default,
    Ignore,
    Handle,
}

/// What this machine has arranged for, by signal.
#[derive(Default)]
struct Installed(HashMap<i32, (Action, SigId)>);

impl Drop for Installed {
    fn drop(&mut self) {
        for (_, id) in self.0.values() {
            signal_hook::low_level::unregister(*id);
        }
    }
}

/// Arranges for an action; gives the one before.
fn set_action(m: &mut Machine, signal: i32, action: Action) -> Result<Action, Raise> {
    let before = m.ext::<Installed>().0.get(&signal).copied();
    let old = match before {
        Some((action, _)) => action,
        None if cdoor_sys::is_ignored(signal) => Action::Ignore,
        None => Action::Default,
    };
    if [libc::SIGKILL, libc::SIGSTOP].contains(&signal) {
        return Err(sys_error(Errno::EINVAL));
    }
    if old == action {
        return Ok(old);
    }
    if FORBIDDEN.contains(&signal) {
        // The rest of these say that this process itself has gone wrong.
        return Err(sys_error(Errno::EINVAL));
    }
    let id = match action {
        Action::Default => {
            signal_hook::flag::register_conditional_default(signal, Arc::new(AtomicBool::new(true)))
        }
        Action::Ignore => signal_hook::flag::register(signal, Arc::default()),
        Action::Handle => cdoor_sys::watch(signal, m.signals.flags(signal)),
    };
    let id = id.map_err(|e| sys_error(Errno::from_raw(e.raw_os_error().unwrap_or(libc::EINVAL))))?;
    if let Some((_, id)) = before {
        signal_hook::low_level::unregister(id);
    }
    m.ext::<Installed>().0.insert(signal, (action, id));
    Ok(old)
}

/// Gives a signal its default action, whatever the process was started with: Rust's start-up code ignores SIGPIPE,
/// OCaml programs expect to die of it.
///
/// # Errors
/// When the system refuses.
pub fn restore_default(m: &mut Machine, signal: i32) -> Result<(), Raise> {
    set_action(m, signal, Action::Default).map(drop)
}

fn install_signal_handler(m: &mut Machine, [number, action]: [Slot; 2]) -> Res<'_> {
    // C takes the number as a 32-bit int.
    let signal = system_signal(i64::from(m.int(number)? as i32));
    let signal = match i32::try_from(signal) {
        Ok(n) if (0..NSIG as i32).contains(&n) => n,
        _ => return Err(Raise::invalid("Sys.signal: unavailable signal")),
    };
    let wanted = match m.val(action).int() {
        Ok(0) => Action::Default,
        Ok(1) => Action::Ignore,
        _ => Action::Handle,
    };
    let handler = if wanted == Action::Handle { Some(m.push_field(action, 0)?) } else { None };
    let old_handler = m.signal_handler(signal);
    let old = match set_action(m, signal, wanted)? {
        Action::Default => m.push_int(0),
        Action::Ignore => m.push_int(1),
        Action::Handle => match old_handler {
            Some(f) => m.push(|m| m.new_block(0, &[f]))?,
            None => m.push_int(0),
        },
    };
    if let Some(f) = handler {
        m.set_signal_handler(signal, f);
    }
    m.process_pending_actions()?;
    Ok(m.val(old))
}

/// Tells a machine how signals are blocked.
pub(crate) fn init(m: &mut Machine) {
    m.signals.mask = Some(Mask { block: cdoor_sys::block, is_blocked: cdoor_sys::is_blocked });
}

prims! {
    "caml_install_signal_handler" P2 install_signal_handler,
}
