//! How an activation of the machine ends.

use std::ops::ControlFlow;

/// Why the machine stopped. Only the functions below create one, so that a handler cannot stop by accident.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    /// `STOP`: the result is in the machine's `accu`.
    Stop,
    /// An exception for which this activation has no trap: it is in the machine's `exn`.
    Exception,
    /// The program asked to exit, or cannot continue: see the machine's `leaving`.
    Leave,
    /// Not an end: the quick form of a handler gives up. It has changed nothing that the full form reads.
    Slow,
    /// Not an end: run the instruction that a debugger's cover hides, with the registers as they are.
    Covered,
}

/// Proof that a handler stopped for a reason.
pub(crate) struct Done(Exit);

impl Done {
    pub(crate) fn exit(self) -> Exit {
        self.0
    }
}

/// What a handler returns: continue with the instruction at `pc`, or stop.
pub(crate) type Flow = ControlFlow<Done>;

/// Continue.
pub(crate) const NEXT: Flow = ControlFlow::Continue(());

pub(crate) fn stop() -> Flow {
    ControlFlow::Break(Done(Exit::Stop))
}

pub(crate) fn uncaught() -> Flow {
    ControlFlow::Break(Done(Exit::Exception))
}

pub(crate) fn leave() -> Flow {
    ControlFlow::Break(Done(Exit::Leave))
}

/// Returned by the quick form of a handler where it would have to call: see [`crate::exec::regs::Quick`].
pub(crate) const SLOW: Flow = ControlFlow::Break(Done(Exit::Slow));

pub(crate) fn uncover() -> Flow {
    ControlFlow::Break(Done(Exit::Covered))
}
