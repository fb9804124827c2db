//! Collections on request. All of them rely on this: whenever a primitive runs, every value that the program still
//! needs is in the machine's roots.

use std::panic::resume_unwind;

use spelter_heap::{Charge, Observer};

use crate::Machine;
use crate::code::install::DEAD_AT_ONCE;
use crate::machine::stack::INITIAL_WORDS;
use crate::prim::Raise;
use crate::threads::interrupt::Limit;

impl Machine {
    /// Empties the nursery.
    pub fn collect_minor(&mut self) {
        // SAFETY: see the module.
        unsafe { self.heap.minor(&mut self.roots) };
        self.resume_heap_panic();
    }

    /// Does the collection work that is due.
    pub fn collect_if_due(&mut self) {
        if self.heap.due() {
            // SAFETY: see the module.
            unsafe { self.heap.poll(&mut self.roots) };
            self.resume_heap_panic();
        }
    }

    /// Resumes a panic in something that the collector dropped, now that the collection is over.
    pub(crate) fn resume_heap_panic(&mut self) {
        if let Some(panic) = self.heap.take_panic() {
            resume_unwind(panic);
        }
    }

    /// Does about `words` words of major collection, and begins one if none is in progress. If the host's call is to
    /// stop, the rest is left for later.
    pub fn collect_slice(&mut self, words: usize) {
        // SAFETY: see the module.
        unsafe { self.heap.major_in_steps(&mut self.roots, words) };
        self.resume_heap_panic();
        self.free_some_units();
    }

    /// Completes the major collection in progress, or runs a whole one if there is none. If the host's call is to stop,
    /// the rest is left for later.
    pub fn collect_major(&mut self) {
        // SAFETY: see the module.
        unsafe { self.heap.finish_major_in_steps(&mut self.roots) };
        self.free_all_units();
    }

    /// Runs a whole major collection that begins now. If the host's call is to stop, the rest is left for later.
    pub fn collect_full(&mut self) {
        // SAFETY: see the module.
        unsafe { self.heap.full_major_in_steps(&mut self.roots) };
        self.free_all_units();
    }

    /// Completes the major collection in progress, compacts if asked to, and begins the next one, which sees what is
    /// reachable now. If the host's call is to stop, the rest is left for later.
    pub fn collect_and_begin(&mut self, compact: bool) {
        let from_start = self.behaviour.collects_from_start;
        // SAFETY: see the module.
        unsafe { self.heap.major_after_major(&mut self.roots, compact, from_start) };
        self.free_all_units();
    }

    /// Like [`Machine::collect_major`], and returns whether the collection is complete.
    pub(crate) fn complete_major(&mut self) -> bool {
        // SAFETY: see the module.
        let complete = unsafe { self.heap.finish_major_in_steps(&mut self.roots) };
        self.free_all_units();
        complete
    }

    /// Runs a whole major collection, then a compaction. If the host's call is to stop, the steps that have not begun
    /// are skipped.
    pub fn compact(&mut self) {
        // SAFETY: see the module.
        unsafe { self.heap.compact_in_steps(&mut self.roots) };
        self.roots.kept.shrink();
        self.free_all_units();
    }

    /// Collects all garbage: runs full major collections until finalisers create no more, as `Gc.full_major` does.
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

    /// Counts memory outside the heap that a program owns towards the host's heap limit, until the returned charge is
    /// dropped. May collect to find out whether the limit allows it.
    ///
    /// # Errors
    /// When the limit does not allow it.
    pub fn charge(&mut self, bytes: usize) -> Result<Charge, Raise> {
        // SAFETY: see the module.
        Ok(unsafe { self.heap.charge(&mut self.roots, bytes) }?)
    }

    /// Counts memory that the machine is about to take for good, and that its roots state
    /// ([`Roots::held_bytes`](spelter_heap::raw::Roots::held_bytes)), towards the limit of all memory. May collect.
    ///
    /// # Errors
    /// When the limit does not allow it.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Raise> {
        drop(self.charge(bytes)?);
        self.heap.account().take(bytes);
        Ok(())
    }

    /// Calls `grow`, which makes a stack larger, and once more after a collection if the limit of all memory is in the way.
    #[inline]
    pub(crate) fn grow_stack(
        &mut self,
        mut grow: impl FnMut(&mut Self) -> Result<(), Raise>,
    ) -> Result<(), Raise> {
        match grow(self) {
            Err(Raise::OutOfMemory) if self.heap.account().is_limited() => {
                // Twice the stack is what it may have asked for.
                drop(self.charge(2 * self.roots.thread.stack.bytes())?);
                let grown = grow(self);
                if let Err(Raise::OutOfMemory) = grown {
                    self.heap.account().refuse();
                }
                grown
            }
            grown => grown,
        }
    }

    /// Calls `f`, which may need memory while it runs, and if the limit of all memory does not leave it enough, once more
    /// after a full collection.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn with_room<T>(&mut self, mut f: impl FnMut(&mut Self) -> Result<T, Raise>) -> Result<T, Raise> {
        match f(self) {
            Err(Raise::OutOfMemory) if self.heap.account().take_denied() => {
                // SAFETY: see the module.
                unsafe { self.heap.relieve(&mut self.roots) };
                self.free_all_units();
                self.heap.account().settle();
                f(self)
            }
            outcome => outcome,
        }
    }

    /// Ends the call if a primitive has not got the memory that it needed while it ran. Whether the call has exceeded the
    /// limit of all memory.
    pub fn memory_refused(&self) -> bool {
        let account = self.heap.account();
        if account.take_denied() {
            account.refuse();
        }
        self.exceeded() == Some(Limit::Memory)
    }

    /// Makes the machine usable again after a call that exceeded the limit of all memory: frees what the call held. If
    /// that is not enough because finalisers are due, forgets them: they may need memory to run.
    pub fn recover_memory(&mut self) {
        if !self.has_fibers() {
            self.roots.thread.stack.shrink();
        }
        self.heap.account().settle();
        // SAFETY: see the module.
        unsafe {
            self.heap.relieve(&mut self.roots);
            while self.heap.account().is_scarce() && self.heap.forget_due_finalisers() {
                self.heap.relieve(&mut self.roots);
            }
        }
        self.free_all_units();
    }

    fn free_all_units(&mut self) {
        self.resume_heap_panic();
        self.free_dead_units(usize::MAX);
        self.run_unload_callbacks();
    }

    /// Frees some of the units that the collector has found dead, and requests another safe point if some are left.
    pub(crate) fn free_some_units(&mut self) {
        if !self.free_dead_units(DEAD_AT_ONCE) {
            self.request_action();
        }
        self.run_unload_callbacks();
    }

    /// Sets the size of the nursery, in words.
    pub fn set_nursery_words(&mut self, words: usize) {
        // SAFETY: see the module.
        unsafe { self.heap.set_nursery_words(&mut self.roots, words) };
        if let Some(loader) = self.loader() {
            (loader.nursery_moved)(self.heap.nursery());
        }
    }

    /// From now on, limits the part of the nursery in use, whatever its size, to what can be emptied in a few
    /// milliseconds, or to its initial size if that is larger.
    pub fn keep_nursery_short(&mut self) {
        self.heap.keep_nursery_short();
    }

    /// Sets who observes collections. Its workers are domains, numbered by their indices.
    pub fn observe_collections(&mut self, observer: Option<Box<dyn Observer>>) {
        self.heap.set_observer(observer);
        self.heap.tell_turn(self.domain_index());
    }

    /// Words left in the nursery.
    pub fn nursery_free(&mut self) -> usize {
        // SAFETY: its pointers are only read.
        unsafe { self.heap.young_mut() }.free_words()
    }

    /// Words of the running fiber's stack in use.
    pub fn stack_depth(&self) -> usize {
        self.roots.thread.stack_depths().0
    }

    /// Words in use on the stacks of all threads (`caml_stack_usage`).
    pub fn stack_usage(&self) -> usize {
        let suspended = self.roots.threads.suspended().map(|(_, thread)| thread.stack.depth());
        self.stack_depth() + suspended.sum::<usize>()
    }

    /// Words of the stacks of all threads and fibers, as OCaml 5 would have allocated them: it doubles a stack that is
    /// full.
    pub fn stacks_words(&self) -> usize {
        /// Words beside a stack.
        const RECORD: usize = 12;
        let threads = self.roots.threads.suspended().map(|(_, thread)| thread).chain([&self.roots.thread]);
        let size = |depth: usize| depth.next_power_of_two().max(INITIAL_WORDS) + RECORD;
        let first = threads.map(|thread| size(thread.stack_depths().1));
        first.sum::<usize>() + self.fiber_stack_words(RECORD)
    }
}
