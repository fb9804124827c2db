//! An event that happens once: a thread's end.

use std::sync::{Condvar, Mutex, PoisonError};

use spelter_interp::{Interrupted, Interruption, Wake};

/// What others wait for.
#[derive(Default)]
pub(super) struct Event {
    happened: Mutex<bool>,
    changed: Condvar,
}

impl Event {
    /// It happens now.
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
        // Whoever is about to wait has looked before, or waits by then.
        drop(self.happened.lock());
        self.changed.notify_all();
    }
}
