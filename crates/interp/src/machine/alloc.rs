//! What handlers allocate: in the nursery without a call where there is room.

use std::sync::atomic::Ordering;

use spelter_heap::raw::{MAX_YOUNG_WOSIZE, Value};

use crate::Machine;
use crate::inspect::memprof::AllocationSource;
use crate::prim::Raise;

impl Machine {
    /// A block in the nursery, or nothing when it is full or the block is large.
    #[inline(always)]
    pub(crate) fn alloc_young(&mut self, wosize: usize, tag: u8) -> Option<Value> {
        if wosize > MAX_YOUNG_WOSIZE {
            return None;
        }
        // SAFETY: sizes in code are at least 1, and handlers fill each field before anything else.
        unsafe { self.heap.alloc_small(wosize, tag) }
    }

    /// The same after collecting, with the registers saved. Nothing when memory is exhausted: the exception is
    /// left to be raised.
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
            self.leave_exn(Raise::OutOfMemory);
        }
        block
    }

    /// A young block, on which samples may fall.
    fn alloc_sampled(&mut self, wosize: usize, tag: u8) -> Option<Value> {
        let sampled = match self.sample_before(wosize) {
            Ok(sampled) => sampled,
            Err(raise) => {
                self.leave_exn(raise);
                return None;
            }
        };
        // SAFETY: as above.
        let block = unsafe {
            self.heap.make_room(&mut self.roots, wosize);
            if self.heap.exhausted() { None } else { self.heap.alloc_small(wosize, tag) }
        };
        match sampled {
            Some(id) => self.sampled_block(id, block),
            None => self.heap.draw_young_sample(),
        }
        if block.is_none() {
            self.leave_exn(Raise::OutOfMemory);
        }
        block
    }
}
