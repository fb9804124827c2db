//! Blocking sections (`caml_enter_blocking_section`): system calls that may take long, during which the machine is
//! not in use.

use crate::Machine;
use crate::prim::Raise;

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

    /// The same without a look at signals first, where OCaml's primitive takes none
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
