//! Memory outside the heap that counts towards its limit, [`Config::max_words`](crate::Config::max_words): what blocks
//! own, or what a client keeps for a program. It counts as long as it exists, whichever blocks refer to it.

use std::sync::Arc;

use crate::account::{Account, OnRefusal};
use crate::heap::{Heap, OutOfMemory};
use crate::pages::{LARGE_COST, PAGE_COST};
use crate::roots::Roots;

/// A number of bytes that count towards the limit until this is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Charge {
    pub(crate) fn new(account: Arc<Account>, bytes: usize) -> Charge {
        Charge { account, bytes }
    }

    /// How many bytes it counts.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.discharge(self.bytes);
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
            self.release_spare();
            if !self.may_charge(bytes) {
                if !self.account.allows(bytes) {
                    self.account.refuse();
                }
                return Err(OutOfMemory { words: bytes.div_ceil(8) });
            }
        }
        self.account.charge(bytes);
        Ok(Charge::new(Arc::clone(&self.account), bytes))
    }

    fn may_charge(&self, bytes: usize) -> bool {
        self.is_within_limit(bytes.div_ceil(8))
            && self.account.allows(bytes)
            && self.account.charged().checked_add(bytes).is_some()
    }

    /// Whether the limit allows `more` words, in the old generation or outside the heap.
    pub(crate) fn is_within_limit(&self, more: usize) -> bool {
        self.config.max_words.is_none_or(|max| {
            let words = self.old.words().saturating_add(self.account.charged().div_ceil(8));
            words.saturating_add(more) <= max
        })
    }

    /// The bytes outside the heap that count towards the limit.
    pub fn charged_bytes(&self) -> usize {
        self.account.charged()
    }

    /// The account of everything that counts towards [`Config::max_bytes`](crate::Config::max_bytes).
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Sets what is called when memory is refused because of [`Config::max_bytes`](crate::Config::max_bytes), at the first
    /// call only. It must not use the heap.
    pub fn on_refusal(&mut self, f: OnRefusal) {
        self.account.on_refusal(f);
    }

    /// The bytes that the heap itself holds, with those that emptying the nursery may take.
    fn own_bytes(&self) -> usize {
        let table = |entries: usize, bytes: usize| entries * bytes;
        let old = &self.old;
        8 * (old.large_words + old.dying_words() + self.young.held_words())
            + table(old.mapped_pages(), PAGE_COST)
            + table(old.large.len() + old.large_unswept.len(), LARGE_COST)
            + table(self.promoted.capacity() + self.remembered.capacity() + self.young_customs.capacity(), 8)
            + table(self.promoted_traced.capacity() + self.marked_traced.capacity(), 8)
            + self.marker.bytes()
            + self.ephemerons.bytes()
            + self.finals.bytes()
            + self.handles.bytes()
            + old.stock.bytes()
            + self.owned_bytes
            + self.client_bytes
            + self.set_aside
    }

    /// States in the account what is held now.
    pub(crate) fn state(&self) {
        if self.account.is_limited() {
            self.account.state(self.own_bytes());
        }
    }

    /// Frees what can be freed, for a client that needs memory which the limit does not leave it.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn relieve(&mut self, roots: &mut dyn Roots) {
        // SAFETY: same contract.
        unsafe { self.full_major(roots) };
        self.release_spare();
    }

    /// Returns memory to the system that the heap keeps only to save time, if there is a limit of all memory.
    pub(crate) fn release_spare(&mut self) {
        if self.account.is_limited() {
            while self.old.drop_some_reserve() {}
            while self.old.free_dying() {}
            self.state();
        }
    }
}
