//! Collections on request. Everything that the program still wants is in the machine's roots whenever a
//! primitive runs, which is what each of these relies on.

use std::panic::resume_unwind;

use crate::Machine;
use crate::code::install::DEAD_AT_ONCE;
use crate::prim::Raise;

impl Machine {
    /// Empties the nursery.
    pub fn collect_minor(&mut self) {
        // SAFETY: see the module.
        unsafe { self.heap.minor(&mut self.roots) };
        self.resume_heap_panic();
    }

    /// Lets a panic in what the collector dropped go on, now that the collection is over.
    pub(crate) fn resume_heap_panic(&mut self) {
        if let Some(panic) = self.heap.take_panic() {
            resume_unwind(panic);
        }
    }

    /// Does about `words` words of major collection, beginning one if none is under way.
    pub fn collect_slice(&mut self, words: usize) {
        // SAFETY: see the module.
        unsafe { self.heap.major_slice(&mut self.roots, words) };
        self.resume_heap_panic();
        self.free_some_units();
    }

    /// Completes the major collection under way, or a whole one if none is. Where the host's call is to stop, the rest is
    /// left for later.
    pub fn collect_major(&mut self) {
        // SAFETY: see the module.
        unsafe { self.heap.finish_major_in_steps(&mut self.roots) };
        self.free_all_units();
    }

    /// A whole major collection that begins now. Where the host's call is to stop, the rest is left for later.
    pub fn collect_full(&mut self) {
        // SAFETY: see the module.
        unsafe { self.heap.full_major_in_steps(&mut self.roots) };
        self.free_all_units();
    }

    /// As [`Machine::collect_major`], complete whatever else is wanted.
    pub(crate) fn complete_major(&mut self) {
        // SAFETY: see the module.
        unsafe { self.heap.finish_major(&mut self.roots) };
        self.free_all_units();
    }

    /// A whole major collection, then a compaction.
    pub fn compact(&mut self) {
        // SAFETY: see the module.
        unsafe { self.heap.compact(&mut self.roots) };
        self.free_all_units();
    }

    /// Collects all garbage: full major collections until finalisers leave no more, as `Gc.full_major`.
    ///
    /// # Errors
    /// What a finaliser raised.
    pub fn full_major(&mut self) -> Result<(), Raise> {
        let _call = self.begin_call();
        for _ in 0..3 {
            self.heed_interrupt()?;
            self.collect_full();
            self.heed_interrupt()?;
            self.run_finalisers()?;
        }
        Ok(())
    }

    fn free_all_units(&mut self) {
        self.resume_heap_panic();
        self.free_dead_units(usize::MAX);
        self.run_unload_callbacks();
    }

    /// Frees some of the units that the collector has found dead, and asks for another safe point if that leaves some.
    pub(crate) fn free_some_units(&mut self) {
        if !self.free_dead_units(DEAD_AT_ONCE) {
            self.request_action();
        }
        self.run_unload_callbacks();
    }

    /// Gives the nursery another size, in words.
    pub fn set_nursery_words(&mut self, words: usize) {
        // SAFETY: see the module.
        unsafe { self.heap.set_nursery_words(&mut self.roots, words) };
    }

    /// Words left in the nursery.
    pub fn nursery_free(&mut self) -> usize {
        // SAFETY: its pointers are only looked at.
        unsafe { self.heap.young_mut() }.free_words()
    }

    /// Words of the stack in use.
    pub fn stack_depth(&self) -> usize {
        self.roots.thread.stack.depth()
    }

    /// Words in use of all threads' stacks (`caml_stack_usage`).
    pub fn stack_usage(&self) -> usize {
        let suspended = self.roots.threads.suspended().map(|(_, thread)| thread.stack.depth());
        self.stack_depth() + suspended.sum::<usize>()
    }
}
