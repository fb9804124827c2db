//! A thread that waits until another one calls it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use spelter_interp::{Interrupted, Machine, Raise, Wake};

/// A thread that waits for a lock or a condition.
pub(crate) struct Waiter {
    /// The thread's number.
    pub(super) thread: u64,
    /// Whether it has waited for the lock before, and another thread was faster.
    pub(super) has_lost: bool,
    /// The process in which the thread exists.
    process: u32,
    called: Mutex<bool>,
    changed: Condvar,
}

impl Waiter {
    pub(super) fn new(thread: u64, has_lost: bool) -> Arc<Waiter> {
        let process = std::process::id();
        Arc::new(Waiter { thread, has_lost, process, called: Mutex::default(), changed: Condvar::new() })
    }

    fn called(&self) -> MutexGuard<'_, bool> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the thread exists in this process.
    pub(super) fn exists(&self) -> bool {
        self.process == std::process::id()
    }

    /// Ends the wait.
    pub(super) fn call(&self) {
        *self.called() = true;
        self.changed.notify_one();
    }

    /// Makes the running thread wait until it is called. Signals are not handled.
    ///
    /// # Errors
    /// When it is interrupted.
    pub(super) fn wait(self: &Arc<Self>, m: &mut Machine) -> Result<(), Raise> {
        m.blocking_on_no_pending(self, |interruption| {
            let waited = self.changed.wait_while(self.called(), |called| !*called && !interruption.is_due());
            let called = waited.unwrap_or_else(PoisonError::into_inner);
            if *called { Ok(()) } else { Err(Interrupted) }
        })
    }

    #[cfg(test)]
    pub(super) fn is_called(&self) -> bool {
        *self.called()
    }
}

impl Wake for Waiter {
    fn wake(&self) {
        // Taking the lock ensures that the thread is not between its check and its wait.
        drop(self.called());
        self.changed.notify_one();
    }
}
