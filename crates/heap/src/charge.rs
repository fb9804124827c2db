//! Memory outside the heap that counts towards its limit, [`Config::max_words`](crate::Config::max_words): what blocks own, or
//! what a client keeps for a program. It is counted for as long as it is there, whichever blocks lead to it.

use std::cell::Cell;
use std::rc::Rc;

use crate::heap::{Heap, OutOfMemory};
use crate::roots::Roots;

/// So many bytes, which count until this is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Rc<Cell<usize>>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.update(|bytes| bytes - self.bytes);
    }
}

impl Heap {
    /// Counts so many bytes towards the limit. May collect, to find out whether there is so much.
    ///
    /// # Errors
    /// When there is not, even after a full collection.
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

    /// Whether the limit allows the old generation, or what is outside, so many words more.
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
