//! An event that happens once: a thread's end.

use std::sync::{Condvar, Mutex, PoisonError};

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
    pub(super) fn wait(&self) {
        let happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(happened, |happened| !*happened);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}
