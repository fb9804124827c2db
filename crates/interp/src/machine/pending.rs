//! Pending actions at safe points: interrupts, work of the collector, signal handlers and finalisers.

use std::sync::atomic::Ordering;

use spelter_heap::raw::Value;

use crate::Machine;
use crate::exec::regs::Regs;
use crate::prim::{Raise, Slot};

impl Machine {
    /// Whether an action is pending.
    #[inline(always)]
    pub(crate) fn action_due(&self) -> bool {
        self.action.load(Ordering::Relaxed)
    }

    /// Requests a check for pending actions at the next safe point.
    pub fn request_action(&self) {
        self.action.store(true, Ordering::Relaxed);
    }

    /// Runs at a function's entry, with the registers saved: grows the stack if needed, and runs pending actions.
    /// Returns false when that leaves an exception to be raised.
    #[cold]
    #[inline(never)]
    pub(crate) fn safe_point(&mut self) -> bool {
        if self.roots.thread.stack.sp < self.roots.thread.stack.threshold
            && let Err(raise) = self.ensure_stack(0)
        {
            let mark = self.mark();
            if self.behaviour.overflow_has_place {
                // OCaml takes the place for that of a call of C; the stack's reserve has room for it.
                let place = Regs::code_value(self.roots.thread.pc.wrapping_add(1));
                self.push_raw(place);
            }
            self.leave_exn(raise);
            self.release(mark);
            return false;
        }
        !self.action_due() || self.process_actions()
    }

    /// Runs pending actions, with the registers saved; they are unchanged afterwards. Returns false when a signal
    /// handler or a finaliser raised: the exception is then recorded.
    #[cold]
    #[inline(never)]
    pub(crate) fn process_actions(&mut self) -> bool {
        self.heap.account().settle();
        let outcome = self.in_event_frame(|m| m.run_pending().map_err(|raise| m.settle_exn(raise)));
        match outcome {
            Ok(()) => !self.pauses_here(false),
            Err(settled) => {
                self.pauses_here(true);
                self.leave_settled(settled);
                false
            }
        }
    }

    /// Runs `f` above an event frame, so that a backtrace shows where the code stopped. The saved registers are
    /// unchanged afterwards.
    pub(crate) fn in_event_frame<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let mark = self.mark();
        let t = &self.roots.thread;
        for v in [Value::int(t.extra as i64), t.env, Regs::code_value(t.pc), t.accu] {
            self.push_raw(v);
        }
        let result = f(self);
        let [extra, env, pc, accu] = [1, 2, 3, 4].map(|i| self.raw(Slot(mark + i)));
        let t = &mut self.roots.thread;
        (t.extra, t.env) = (extra.as_int() as usize, env);
        (t.pc, t.accu) = (Regs::code_address(pc), accu);
        self.release(mark);
        result
    }

    /// Runs pending collector work, signal handlers and finalisers now. Primitives call this where OCaml's do.
    ///
    /// # Errors
    /// What a handler or finaliser raised.
    pub fn run_pending(&mut self) -> Result<(), Raise> {
        self.take_action()?;
        self.check_ending()?;
        while self.heap.due() {
            // SAFETY: no handler runs; the registers are saved or not in use.
            unsafe { self.heap.poll(&mut self.roots) };
            self.resume_heap_panic();
            // Both the collection itself and a concurrent interrupt request a check.
            self.take_action()?;
            if self.heap.exhausted() {
                self.heap.refuse_if_overdrawn();
                return Err(Raise::OutOfMemory);
            }
        }
        self.run_errands()?;
        self.free_some_units();
        self.run_signals()?;
        self.run_tracker()?;
        self.run_finalisers()?;
        self.end_turn();
        Ok(())
    }

    /// Clears the flag for pending actions, and checks for an interrupt first. An interrupt that arrives from now on is
    /// seen next time: the flag is read before the request that it announces, and written after it.
    fn take_action(&mut self) -> Result<(), Raise> {
        self.action.swap(false, Ordering::AcqRel);
        self.memory_refused();
        self.stop_or_wait()
    }

    /// Runs the finalisers that the collector has found due, one at a time: a finaliser does not interrupt another.
    ///
    /// # Errors
    /// What a finaliser raised. Those after it stay due.
    pub fn run_finalisers(&mut self) -> Result<(), Raise> {
        if self.in_finaliser {
            return Ok(());
        }
        while let Some((f, v)) = self.heap.next_finaliser() {
            let mark = self.mark();
            let f = self.push_raw(f);
            let v = self.push_raw(v);
            self.in_finaliser = true;
            let outcome = self.call(f, &[v]).map(drop);
            self.in_finaliser = false;
            self.release(mark);
            if outcome.is_err() {
                self.request_action();
                return outcome;
            }
        }
        Ok(())
    }

    /// Lets finalisers run even while another is running (`Gc.finalise_release`).
    pub fn release_finalisers(&mut self) {
        self.in_finaliser = false;
    }
}
