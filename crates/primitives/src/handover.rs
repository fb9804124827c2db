//! Registers with a machine the functions of this crate that it calls while it runs code. The machine cannot check that
//! they keep its contract, so registering them is unsafe.

use std::io;

use spelter_interp::inspect::debugger::Debugger;
use spelter_interp::threads::signals::HostHandler;
use spelter_interp::{Machine, Screen};

use crate::LIBRARIES;
use crate::PRIMITIVES;
use crate::runtime::signals;
use crate::values::bigarray;

/// Registers all primitives.
pub(crate) fn primitives(m: &mut Machine) {
    // SAFETY: the functions of this crate do not move the machine, and use only the slots that they pushed or were
    // given; those that read a big array check its operations first.
    unsafe {
        m.add_families(&PRIMITIVES);
        for library in LIBRARIES {
            m.add_library(*library);
        }
        m.add_custom(&bigarray::BIGARRAY);
    }
}

/// Replaces primitives by others of this crate.
pub(crate) fn screen(m: &mut Machine, screen: Screen) {
    // SAFETY: as in `primitives`; none of the primitives in `world::grants` is compiled to an instruction.
    unsafe { m.set_screen(screen) };
}

/// Attaches a debugger of this crate to a machine.
pub(crate) fn debugger(m: &mut Machine, debugger: Box<dyn Debugger>) {
    // SAFETY: debuggers of this crate do not move the machine, and use only the slots that they pushed or were given.
    unsafe { m.attach_debugger(debugger) };
}

/// Calls `handler` at the next safe point after a signal has arrived, until the program sets its own behaviour for the
/// signal. The program sees the default action in place until then. System calls that the signal interrupts are
/// restarted, except those that never are (`select`, `sleep`). A machine has at most one such signal.
///
/// # Errors
/// When there is no signal with this name, with or without `SIG`, or it cannot be handled.
///
/// # Safety
/// The handler keeps the contract of [`Prim`](spelter_interp::Prim).
pub unsafe fn handle_for_host(m: &mut Machine, name: &str, handler: HostHandler) -> io::Result<()> {
    let signal = signals::watch_for_host(m, name)?;
    // SAFETY: same contract.
    unsafe { m.set_host_signal(signal, handler) };
    Ok(())
}
