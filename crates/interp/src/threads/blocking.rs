//! Blocking sections (`caml_enter_blocking_section`): system calls that may take long, during which the machine is
//! not in use.

use std::sync::Arc;

use crate::Machine;
use crate::prim::Raise;
use crate::threads::interrupt::{Interrupted, Interruption, Wake};

impl Machine {
    /// Runs `f`, which may block, without the machine: signals that came before are handled first, and other threads
    /// of the program may run meanwhile. What `f` needs it takes along; what it gives is looked at afterwards, with
    /// slots valid as before.
    ///
    /// A system call that a signal interrupts is `f`'s to report (`EINTR`): call [`Machine::process_pending_actions`],
    /// then try again or raise, as OCaml's own primitive does.
    ///
    /// # Errors
    /// What a signal handler raised: `f` has not run then.
    pub fn blocking<T>(&mut self, f: impl FnOnce() -> T + Send) -> Result<T, Raise> {
        self.process_pending_signals()?;
        Ok(self.blocking_no_pending(f))
    }

    /// As [`Machine::blocking`], for what waits until `waker` wakes it, or a thing happens: where somebody may interrupt the
    /// call, the waker does that too, and `f` finds out by what it is given.
    ///
    /// # Errors
    /// What a signal handler raised: `f` has not run then. [`Raise::Interrupted`] when `f` says so.
    pub fn blocking_on<T: Send>(
        &mut self,
        waker: &Arc<impl Wake + 'static>,
        f: impl FnOnce(&Interruption) -> Result<T, Interrupted> + Send,
    ) -> Result<T, Raise> {
        let interruption = self.interruption();
        let outcome = self.blocking(|| interruption.woken(waker, || f(&interruption)))?;
        outcome.map_err(|Interrupted| {
            self.request_action();
            Raise::Interrupted
        })
    }

    /// As [`Machine::blocking`], without a look at signals first, where OCaml's primitive takes none
    /// (`caml_enter_blocking_section_no_pending`).
    pub fn blocking_no_pending<T>(&mut self, f: impl FnOnce() -> T + Send) -> T {
        let result = if self.is_alone() { f() } else { self.without_machine(f) };
        // What has come meanwhile may be this thread's to handle, though another one that has it blocked looked first.
        if self.signals.pending().next().is_some() {
            self.request_action();
        }
        result
    }
}
