//! Errands: what other threads of the host ask a machine to do. It does so at its next safe point, or at the start of its
//! next call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Machine;
use crate::prim::Raise;
use crate::threads::interrupt::Calls;

/// Something to be done; again, if it fails.
type Errand = Box<dyn FnMut(&mut Machine) -> Result<(), Raise> + Send>;

/// The errands of a machine, first come, first done.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: AtomicBool,
    errands: Mutex<Vec<Errand>>,
}

impl Queue {
    fn errands(&self) -> MutexGuard<'_, Vec<Errand>> {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets another thread ask a machine to do something.
#[derive(Clone)]
pub struct ErrandSender(Arc<Calls>);

impl ErrandSender {
    /// Asks for `errand`. What raises is tried again.
    ///
    /// # Safety
    /// It keeps the contract of [`Prim`](crate::Prim), and releases the slots that it pushes.
    pub unsafe fn send(&self, errand: impl FnMut(&mut Machine) -> Result<(), Raise> + Send + 'static) {
        let queue = &self.0.errands;
        let mut errands = queue.errands();
        errands.push(Box::new(errand));
        queue.waiting.store(true, Ordering::Release);
        drop(errands);
        self.0.announce();
    }
}

impl std::fmt::Debug for ErrandSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ErrandSender")
    }
}

impl Machine {
    /// What other threads use to ask this machine for something.
    pub fn errand_sender(&self) -> ErrandSender {
        ErrandSender(Arc::clone(&self.calls))
    }

    /// Does what other threads have asked for. The registers are saved, or no code runs.
    ///
    /// # Errors
    /// What an errand raises. It stays the first one.
    #[inline]
    pub fn run_errands(&mut self) -> Result<(), Raise> {
        if self.has_errands() { self.run_waiting_errands() } else { Ok(()) }
    }

    /// Whether other threads have asked for something.
    #[inline]
    pub fn has_errands(&self) -> bool {
        self.calls.errands.waiting.load(Ordering::Acquire)
    }

    #[cold]
    fn run_waiting_errands(&mut self) -> Result<(), Raise> {
        let calls = Arc::clone(&self.calls);
        loop {
            let mut errands = calls.errands.errands();
            if errands.is_empty() {
                calls.errands.waiting.store(false, Ordering::Release);
                return Ok(());
            }
            let mut errand = errands.remove(0);
            drop(errands);
            if let Err(raise) = errand(self) {
                calls.errands.errands().insert(0, errand);
                self.request_action();
                return Err(raise);
            }
        }
    }
}
