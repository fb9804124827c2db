//! Signal handlers (`signals.c`, `signals_byt.c`).
//!
//! The system-level handlers are signal-hook's, shared by all machines of the process: each machine's flags are set.
//!
//! In a machine that is the whole process, the system itself ignores an ignored signal, or takes its default action, so
//! that programs started by this one inherit ignored signals. A guest must not change signals for others in the
//! process: once it has handled a signal, its handler takes the default action, and a handler that does nothing ignores
//! it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::errno::Errno;
use signal_hook::SigId;
use signal_hook::consts::FORBIDDEN;
use spelter_interp::threads::signals::{Mask, NSIG};
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use crate::ffi;
use crate::ffi::sys::Disposition;
use crate::io::channels::Io;
use crate::io::errors::sys_error;

/// What happens when a signal arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Default,
    Ignore,
    Handle,
}

/// The arrangement for a signal.
#[derive(Clone, Copy)]
struct Arranged {
    action: Action,
    /// The registration with signal-hook.
    id: Option<SigId>,
    /// Signal-hook's own handler, which it installs only once, saved while another disposition replaces it.
    aside: Option<Disposition>,
}

/// The arrangements of this machine, by signal.
#[derive(Default)]
struct Installed(HashMap<i32, Arranged>);

impl Drop for Installed {
    fn drop(&mut self) {
        for id in self.0.values().filter_map(|arranged| arranged.id) {
            signal_hook::low_level::unregister(id);
        }
    }
}

/// Sets the action for a signal; returns the previous one.
fn set_action(m: &mut Machine, signal: i32, action: Action) -> Result<Action, Raise> {
    let before = m.ext::<Installed>().0.get(&signal).copied();
    let old = match before {
        Some(arranged) => arranged.action,
        None if ffi::sys::is_ignored(signal) => Action::Ignore,
        None => Action::Default,
    };
    if [libc::SIGKILL, libc::SIGSTOP].contains(&signal) {
        return Err(sys_error(Errno::EINVAL));
    }
    if old == action {
        return Ok(old);
    }
    let aside = before.and_then(|arranged| arranged.aside);
    let flags = m.signals().flags(signal);
    let arranged = match m.ext::<Io>().fds.owns_process {
        true => arrange(signal, action, aside, flags, before.and_then(|arranged| arranged.id)),
        false => arrange_as_guest(signal, action, flags),
    };
    let arranged =
        arranged.map_err(|e| sys_error(Errno::from_raw(e.raw_os_error().unwrap_or(libc::EINVAL))))?;
    if let Some(id) = before.and_then(|arranged| arranged.id) {
        signal_hook::low_level::unregister(id);
    }
    m.ext::<Installed>().0.insert(signal, arranged);
    Ok(old)
}

/// The flags of a signal, and of the machine.
type Flags = [Arc<AtomicBool>; 2];

fn arrange(
    signal: i32,
    action: Action,
    aside: Option<Disposition>,
    flags: Flags,
    handled: Option<SigId>,
) -> Result<Arranged, io::Error> {
    match action {
        Action::Handle => {
            if aside.is_none() && [libc::SIGSEGV, libc::SIGBUS].contains(&signal) {
                // Rust has handlers for these, which signal-hook would call, and which end the process.
                Disposition::exchange(signal, false)?;
            }
            let id = ffi::sys::watch(signal, flags, aside)?;
            Ok(Arranged { action, id: Some(id), aside: None })
        }
        Action::Default | Action::Ignore => {
            let present = Disposition::exchange(signal, action == Action::Ignore)?;
            Ok(Arranged { action, id: None, aside: aside.or(handled.map(|_| present)) })
        }
    }
}

fn arrange_as_guest(signal: i32, action: Action, flags: Flags) -> Result<Arranged, io::Error> {
    if FORBIDDEN.contains(&signal) {
        // The rest of these report errors of the process itself.
        return Err(Errno::EINVAL.into());
    }
    let id = match action {
        Action::Default => {
            signal_hook::flag::register_conditional_default(signal, Arc::new(AtomicBool::new(true)))
        }
        Action::Ignore => signal_hook::flag::register(signal, Arc::default()),
        Action::Handle => ffi::sys::watch(signal, flags, None),
    };
    Ok(Arranged { action, id: Some(id?), aside: None })
}

/// Watches the host's signal with this name, until the program sets its own action for it; returns its number.
///
/// # Errors
/// When there is no signal with this name, with or without `SIG`, or it cannot be handled.
pub(crate) fn watch_for_host(m: &mut Machine, name: &str) -> io::Result<i32> {
    let full = if name.starts_with("SIG") { name.to_owned() } else { format!("SIG{name}") };
    let signal: nix::sys::signal::Signal = full.parse()?;
    let signal = signal as i32;
    if FORBIDDEN.contains(&signal) {
        return Err(Errno::EINVAL.into());
    }
    let id = ffi::sys::watch(signal, m.signals().flags(signal), None)?;
    // The program does not expect the signal, so its system calls should not fail.
    ffi::sys::restart_calls(signal);
    let arranged = Arranged { action: Action::Default, id: Some(id), aside: None };
    if let Some(before) = m.ext::<Installed>().0.insert(signal, arranged)
        && let Some(id) = before.id
    {
        signal_hook::low_level::unregister(id);
    }
    Ok(signal)
}

/// Records the action for a signal without telling the system, for a guest that gets no signals; returns the previous
/// one.
fn record_action(m: &mut Machine, signal: i32, action: Action) -> Result<Action, Raise> {
    if [libc::SIGKILL, libc::SIGSTOP].contains(&signal) {
        return Err(sys_error(Errno::EINVAL));
    }
    let recorded = Arranged { action, id: None, aside: None };
    let before = m.ext::<Installed>().0.insert(signal, recorded);
    Ok(before.map_or(Action::Default, |arranged| arranged.action))
}

fn install_signal_handler(m: &mut Machine, args: [Slot; 2]) -> Res<'_> {
    install_with(m, args, set_action)
}

/// `caml_install_signal_handler` of a guest that gets no signals: the handlers are never called.
pub(crate) fn record_signal_handler(m: &mut Machine, args: [Slot; 2]) -> Res<'_> {
    install_with(m, args, record_action)
}

fn install_with(
    m: &mut Machine,
    [number, action]: [Slot; 2],
    set_action: fn(&mut Machine, i32, Action) -> Result<Action, Raise>,
) -> Res<'_> {
    // C takes the number as a 32-bit int.
    let signal = m.system_signal(i64::from(m.int(number)? as i32));
    let first = i32::from(m.behaviour().signal_0_is_refused);
    let signal = match i32::try_from(signal) {
        Ok(n) if (first..NSIG as i32).contains(&n) => n,
        _ => return Err(Raise::invalid("Sys.signal: unavailable signal")),
    };
    let wanted = match m.val(action).int() {
        Ok(0) => Action::Default,
        Ok(1) => Action::Ignore,
        _ => Action::Handle,
    };
    let handler = if wanted == Action::Handle { Some(m.push_field(action, 0)?) } else { None };
    if handler.is_some() {
        m.reserve_signal_handlers()?;
    }
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

fn sys_convert_signal_number(m: &mut Machine, [number]: [Slot; 1]) -> Res<'_> {
    let number = i64::from(m.int(number)? as i32);
    Ok(Val::from_int(m.system_signal(number)))
}

fn sys_rev_convert_signal_number(m: &mut Machine, [number]: [Slot; 1]) -> Res<'_> {
    let number = m.int(number)? as i32;
    Ok(Val::from_int(m.ocaml_signal(number)))
}

/// A poll that the compiler inserts, or `Sys.poll_actions`.
fn process_pending_actions_with_root(m: &mut Machine, [root]: [Slot; 1]) -> Res<'_> {
    m.process_pending_actions()?;
    Ok(m.val(root))
}

/// Tells a machine how to block signals and to ask whether they are blocked.
pub(crate) fn init(m: &mut Machine) {
    m.set_signal_mask(Mask { block: ffi::sys::block, is_blocked: ffi::sys::is_blocked });
}

prims! {
    "caml_install_signal_handler" P2 install_signal_handler,
    "caml_sys_convert_signal_number" P1 sys_convert_signal_number => since(V5_4),
    "caml_sys_rev_convert_signal_number" P1 sys_rev_convert_signal_number => since(V5_4),
    "caml_process_pending_actions_with_root" P1 process_pending_actions_with_root => since(V5_3),
}
