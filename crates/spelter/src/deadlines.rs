//! Time limits of calls: one thread of the process stops each call whose time is used up.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{io, thread};

use spelter_interp::{InterruptHandle, Limit};

/// The calls with a time limit, by when it ends and in which order they began.
#[derive(Default)]
struct Calls {
    ends: BTreeMap<(Instant, u64), InterruptHandle>,
    begun: u64,
    watched: bool,
}

static CALLS: Mutex<Calls> = Mutex::new(Calls { ends: BTreeMap::new(), begun: 0, watched: false });
/// Notified when an earlier end than before has been added.
static EARLIER: Condvar = Condvar::new();

fn calls() -> MutexGuard<'static, Calls> {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call with a time limit, until this is dropped.
pub(crate) struct Deadline((Instant, u64));

impl Deadline {
    /// Stops the call of this handle at `end`.
    ///
    /// # Errors
    /// When the thread that does so cannot be started.
    pub(crate) fn new(handle: InterruptHandle, end: Instant) -> io::Result<Self> {
        let mut calls = calls();
        if !calls.watched {
            thread::Builder::new().name("spelter deadlines".to_owned()).spawn(watch)?;
            calls.watched = true;
        }
        calls.begun += 1;
        let key = (end, calls.begun);
        calls.ends.insert(key, handle);
        if calls.ends.first_key_value().is_some_and(|(first, _)| *first == key) {
            EARLIER.notify_one();
        }
        Ok(Deadline(key))
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        calls().ends.remove(&self.0);
    }
}

fn watch() {
    let mut calls = calls();
    loop {
        let now = Instant::now();
        let next = calls.ends.first_key_value().map(|(key, _)| key.0);
        match next {
            Some(end) if end <= now => {
                if let Some((_, handle)) = calls.ends.pop_first() {
                    handle.exceed(Limit::Time);
                }
            }
            Some(end) => {
                let waited = EARLIER.wait_timeout(calls, end - now);
                calls = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            None => calls = EARLIER.wait(calls).unwrap_or_else(PoisonError::into_inner),
        }
    }
}
