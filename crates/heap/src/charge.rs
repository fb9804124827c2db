//! Memory outside the heap that counts towards its limit, [`Config::max_words`](crate::Config::max_words): what blocks
//! own, or what a client keeps for a program. It counts as long as it exists, whichever blocks refer to it.

use std::cell::Cell;
use std::rc::Rc;

use crate::heap::{Heap, OutOfMemory};
use crate::roots::Roots;

/// A number of bytes that count towards the limit until this is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Rc<Cell<usize>>,
    bytes: usize,
}

impl Charge {
    /// How many bytes it counts.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.update(|bytes| bytes - self.bytes);
    }
}

impl Heap {
    /// Counts `bytes` towards the limit. May collect, to find out whether the limit allows them.
    ///
    /// # Errors
    /// When the limit does not allow them, even after a full collection.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn charge(&mut self, roots: &mut dyn Roots, bytes: usize) -> Result<Charge, OutOfMemory> {
        if !self.may_charge(bytes) {
            // SAFETY: same contract.
            unsafe { self.full_major(roots) };
            if !self.may_charge(bytes) {
                return Err(OutOfMemory { words: bytes.div_ceil(8) });
            }
        }
        self.charged.update(|all| all + bytes);
        Ok(Charge { account: Rc::clone(&self.charged), bytes })
    }

    fn may_charge(&self, bytes: usize) -> bool {
        self.is_within_limit(bytes.div_ceil(8)) && self.charged.get().checked_add(bytes).is_some()
    }

    /// Whether the limit allows `more` words, in the old generation or outside the heap.
    pub(crate) fn is_within_limit(&self, more: usize) -> bool {
        self.config.max_words.is_none_or(|max| {
            let words = self.old.words().saturating_add(self.charged.get().div_ceil(8));
            words.saturating_add(more) <= max
        })
    }

    /// The bytes outside the heap that count towards the limit.
    pub fn charged_bytes(&self) -> usize {
        self.charged.get()
    }
}
