//! Where what is safe here meets what the machine cannot know to be: functions that are given the machine while it runs
//! code become known to it through these doors.

use std::sync::Arc;

use spelter_interp::Machine;
use spelter_interp::debugger::Debugger;
use spelter_interp::signals::HostHandler;

use crate::{LIBRARIES, PRIMITIVES, bigarray};

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

/// Has the host's handler called when its signal has come.
///
/// # Safety
/// The handler keeps the contract of [`Prim`](spelter_interp::Prim).
pub(crate) unsafe fn host_signal(m: &mut Machine, signal: i32, handler: HostHandler) {
    // SAFETY: the caller's promise.
    unsafe { m.set_host_signal(signal, Arc::clone(&handler)) };
}
