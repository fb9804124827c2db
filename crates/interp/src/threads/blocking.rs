//! Blocking sections (`caml_enter_blocking_section`): system calls that may take long, during which the machine is not
//! in use.

use std::sync::Arc;

use crate::Machine;
use crate::prim::Raise;
use crate::threads::interrupt::{Interrupted, Interruption, Wake};
use crate::threads::master_lock::Call;

impl Machine {
    /// Runs `f`, which may block, without the machine. Signals that arrived before are handled first, and other threads
    /// of the program may run meanwhile. `f` captures what it needs; its result is processed afterwards, with all slots
    /// still valid.
    ///
    /// If a signal interrupts the system call, `f` must report that (`EINTR`): call
    /// [`Machine::process_pending_actions`], then retry or raise, as OCaml's own primitive does.
    ///
    /// # Errors
    /// What a signal handler raised. `f` has not run then.
    pub fn blocking<T>(&mut self, f: impl FnOnce() -> T + Send) -> Result<T, Raise> {
        self.process_pending_signals()?;
        Ok(self.blocking_no_pending(f))
    }

    /// Like [`Machine::blocking`], for a wait that ends when `waker` wakes it or an event happens. If the call can be
    /// interrupted, an interrupt wakes it, too; `f` detects that through its argument.
    ///
    /// # Errors
    /// What a signal handler raised; `f` has not run then. When `f` reports an interrupt: [`Raise::Interrupted`], or
    /// [`Raise::EndThread`] in a thread other than the host's.
    pub fn blocking_on<T: Send>(
        &mut self,
        waker: &Arc<impl Wake + 'static>,
        f: impl FnOnce(&Interruption) -> Result<T, Interrupted> + Send,
    ) -> Result<T, Raise> {
        let interruption = self.interruption();
        let outcome = self.blocking(|| interruption.woken(waker, || f(&interruption)))?;
        outcome.map_err(|Interrupted| self.cut_short())
    }

    /// Like [`Machine::blocking`], without handling signals first, for the cases where OCaml's primitive does not
    /// (`caml_enter_blocking_section_no_pending`).
    pub fn blocking_no_pending<T>(&mut self, f: impl FnOnce() -> T + Send) -> T {
        let result = if self.is_alone() { f() } else { self.without_machine(f) };
        self.notice_signals();
        result
    }

    /// What another thread can use to end a wait of the running one.
    pub fn expect_call(&self) -> Arc<Call> {
        Call::new(&self.roots.threads.lock, self.is_home())
    }

    /// Makes the running thread wait for its call. Other threads run meanwhile; signals are not handled.
    ///
    /// # Errors
    /// [`Raise::Interrupted`] when an interrupt ended the wait, [`Raise::EndThread`] when the host is dropping the machine.
    pub fn wait_for_call(&mut self, call: &Arc<Call>) -> Result<(), Raise> {
        if self.is_alone() {
            call.wait_alone(&self.interruption());
        } else {
            self.sleep(call);
        }
        self.notice_signals();
        if call.is_called() { Ok(()) } else { Err(self.cut_short()) }
    }

    pub(crate) fn notice_signals(&self) {
        // A signal that arrived meanwhile may be for this thread, even if another thread that blocks it saw it first.
        if !self.signals.pending().is_empty() {
            self.request_action();
        }
    }
}
