//! A thread that waits until another one calls it.

use std::rc::Rc;
use std::sync::Arc;

use spelter_interp::{Call, Machine, Raise};

/// A thread that waits for a lock or a condition.
pub(crate) struct Waiter {
    /// The thread's number.
    pub(super) thread: u64,
    /// Whether it has waited for the lock before, and another thread was faster.
    pub(super) has_lost: bool,
    /// The process in which the thread exists.
    process: u32,
    call: Arc<Call>,
}

impl Waiter {
    /// For the running thread, if `thread` is its number.
    pub(super) fn new(m: &Machine, thread: u64, has_lost: bool) -> Rc<Waiter> {
        Rc::new(Waiter { thread, has_lost, process: std::process::id(), call: m.expect_call() })
    }

    /// Whether the thread exists: in a child process, it does not.
    pub(super) fn exists(&self) -> bool {
        self.process == std::process::id()
    }

    /// Ends the wait.
    pub(super) fn call(&self) {
        if self.exists() {
            self.call.call();
        }
    }

    /// Makes the running thread wait until it is called. Signals are not handled.
    ///
    /// # Errors
    /// When it is interrupted.
    pub(super) fn wait(&self, m: &mut Machine) -> Result<(), Raise> {
        m.wait_for_call(&self.call)
    }

    #[cfg(test)]
    pub(super) fn is_called(&self) -> bool {
        self.call.is_called()
    }
}
