//! How an activation of the machine ends.

use std::ops::ControlFlow;

/// Why the machine stopped. Only the functions below make one, so that a handler cannot stop by accident.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    /// `STOP`: the result is in the machine's `accu`.
    Stop,
    /// An exception that this activation has no trap for: it is in the machine's `exn`.
    Exception,
    /// The program asked to exit, or cannot go on: see the machine's `leaving`.
    Leave,
    /// Not an end: the quick form of a handler gives up, and has changed nothing that its full form reads.
    Slow,
    /// Not an end: the instruction that a debugger has covered is to run, with the registers as they are.
    Covered,
}

/// The proof that a handler stopped for a reason.
pub(crate) struct Done(Exit);

impl Done {
    pub(crate) fn exit(self) -> Exit {
        self.0
    }
}

/// What a handler returns: go on with the instruction at `pc`, or stop.
pub(crate) type Flow = ControlFlow<Done>;

/// Go on.
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

/// What the quick form of a handler says where it would have to call: see [`crate::exec::regs::Quick`].
pub(crate) const SLOW: Flow = ControlFlow::Break(Done(Exit::Slow));

pub(crate) fn uncover() -> Flow {
    ControlFlow::Break(Done(Exit::Covered))
}
