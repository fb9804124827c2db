//! A one-time event: the end of a thread.

use std::sync::{Condvar, Mutex, PoisonError};

use spelter_interp::{Interrupted, Interruption, Wake};

/// The event that other threads wait for.
#[derive(Default)]
pub(super) struct Event {
    happened: Mutex<bool>,
    changed: Condvar,
}

impl Event {
    /// Marks the event as having happened, and wakes the waiting threads.
    pub(super) fn trigger(&self) {
        *self.happened.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits until it has happened.
    pub(super) fn wait(&self, interruption: &Interruption) -> Result<(), Interrupted> {
        let happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(happened, |happened| !*happened && !interruption.is_due());
        let happened = waited.unwrap_or_else(PoisonError::into_inner);
        if *happened { Ok(()) } else { Err(Interrupted) }
    }
}

impl Wake for Event {
    fn wake(&self) {
        // Taking the lock ensures that no thread is between its check and its wait.
        drop(self.happened.lock());
        self.changed.notify_all();
    }
}
