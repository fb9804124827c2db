//! Allocation by handlers: in the nursery, without a call if there is room.

use std::sync::atomic::Ordering;

use spelter_heap::raw::{MAX_YOUNG_WOSIZE, Value};

use crate::Machine;
use crate::inspect::memprof::AllocationSource;
use crate::prim::Raise;

impl Machine {
    /// A block in the nursery, or `None` when the nursery is full or the block is large.
    #[inline(always)]
    pub(crate) fn alloc_young(&mut self, wosize: usize, tag: u8) -> Option<Value> {
        if wosize > MAX_YOUNG_WOSIZE {
            return None;
        }
        // SAFETY: sizes in code are at least 1, and handlers fill each field before anything else.
        unsafe { self.heap.alloc_small(wosize, tag) }
    }

    /// Like `alloc_young`, after a collection, with the registers saved. Returns `None` when memory is exhausted; the
    /// exception is then recorded, to be raised.
    #[cold]
    #[inline(never)]
    pub(crate) fn alloc_slow(&mut self, wosize: usize, tag: u8) -> Option<Value> {
        // SAFETY: the saved registers are roots, and the handler fills the fields.
        let block = unsafe {
            if wosize <= MAX_YOUNG_WOSIZE {
                self.heap.make_room(&mut self.roots, wosize);
                if self.heap.is_sampling() {
                    return self.alloc_sampled(wosize, tag);
                }
                if self.heap.exhausted() { None } else { self.heap.alloc_small(wosize, tag) }
            } else {
                let block = self.heap.alloc_major(wosize, tag).ok();
                self.action.store(true, Ordering::Relaxed);
                if let Some(block) = block.filter(|_| self.heap.is_sampling()) {
                    self.sample_block(block, wosize, AllocationSource::Normal);
                }
                block
            }
        };
        if block.is_none() {
            self.heap.refuse_if_overdrawn();
            self.leave_exn(Raise::OutOfMemory);
        }
        block
    }

    /// Allocates a young block and samples it for `Gc.Memprof` if it is due.
    fn alloc_sampled(&mut self, wosize: usize, tag: u8) -> Option<Value> {
        let sampled = match self.sample_before(wosize) {
            Ok(sampled) => sampled,
            Err(raise) => {
                self.leave_exn(raise);
                return None;
            }
        };
        // SAFETY: the saved registers are roots, and the handler fills the fields.
        let block = unsafe {
            self.heap.make_room(&mut self.roots, wosize);
            if self.heap.exhausted() { None } else { self.heap.alloc_small(wosize, tag) }
        };
        match sampled {
            Some(id) => self.sampled_block(id, block),
            None => self.heap.draw_young_sample(),
        }
        if block.is_none() {
            self.heap.refuse_if_overdrawn();
            self.leave_exn(Raise::OutOfMemory);
        }
        block
    }
}
