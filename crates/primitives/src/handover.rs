//! Where what is safe here meets what the machine cannot know to be: functions that are given the machine while it runs
//! code become known to it through these doors.

use std::io;

use spelter_interp::Machine;
use spelter_interp::inspect::debugger::Debugger;
use spelter_interp::threads::signals::HostHandler;

use crate::LIBRARIES;
use crate::PRIMITIVES;
use crate::runtime::signals;
use crate::values::bigarray;

/// Makes all primitives known.
pub(crate) fn primitives(m: &mut Machine) {
    // SAFETY: the functions of this crate leave the machine where it is, and use no slots but their own and those that
    // they were given; what reads a big array looks at its operations first.
    unsafe {
        m.add_families(&PRIMITIVES);
        for library in LIBRARIES {
            m.add_library(*library);
        }
        m.add_custom(&bigarray::BIGARRAY);
    }
}

/// Puts the machine under a debugger of this crate's.
pub(crate) fn debugger(m: &mut Machine, debugger: Box<dyn Debugger>) {
    // SAFETY: as above.
    unsafe { m.attach_debugger(debugger) };
}

/// Has `handler` called at the next safe point after a signal has come, for as long as the program leaves the signal alone:
/// once it has made arrangements of its own, the signal is the program's. To it, the default action seems to be in
/// place. System calls that the signal interrupts go on, but for those that never do (`select`, `sleep`). There is one
/// such signal.
///
/// # Errors
/// When there is no signal of that name, with or without `SIG`, or it cannot be handled.
///
/// # Safety
/// The handler keeps the contract of [`Prim`](spelter_interp::Prim).
pub unsafe fn handle_for_host(m: &mut Machine, name: &str, handler: HostHandler) -> io::Result<()> {
    let signal = signals::watch_for_host(m, name)?;
    // SAFETY: the caller's promise.
    unsafe { m.set_host_signal(signal, handler) };
    Ok(())
}
