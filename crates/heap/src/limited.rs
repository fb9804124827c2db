//! Heaps with a limit of all memory, [`Config::max_bytes`].
//!
//! Emptying the nursery takes memory, and must not fail. So whenever it is empty, as much of it is opened as there is room
//! to empty it again, in the worst case, and that room is set aside. What else is allocated until then is checked against
//! what remains. If the room is too small, a full collection is done; if that does not help, memory is refused.

use crate::account::{Account, SCARCE};
use crate::heap::{Config, Heap, Mode, OutOfMemory};
use crate::pages::{LARGE_COST, PAGE_COST};
use crate::stock::{pages_for, words_for};
use crate::system::BATCH;
use crate::young::MIN_NURSERY_WORDS;

/// The nursery may have one in this many bytes of all memory.
const NURSERY_SHARE: usize = 64;
/// The mark stack, and the remembered set, may each have one in this many.
const TABLE_SHARE: usize = 256;
/// A full collection is done when less than one in this many is free, so that primitives find some room.
const LOW: usize = 32;

/// Makes the heap's parts small enough for its limit.
pub(crate) fn fit(config: &mut Config) {
    let Some(bytes) = config.max_bytes else { return };
    config.nursery_words = config.nursery_words.min(bytes / NURSERY_SHARE / 8).max(MIN_NURSERY_WORDS);
    config.mark_stack_limit = config.mark_stack_limit.min(bytes / TABLE_SHARE / 16).max(1024);
}

/// The most slots that are remembered.
pub(crate) fn most_remembered(config: &Config) -> Option<usize> {
    config.max_bytes.map(|bytes| (bytes / TABLE_SHARE / 8).max(1024))
}

/// The bytes that emptying this many words of the nursery may take.
fn cost_of_emptying(words: usize) -> usize {
    // Pages are mapped several at a time.
    (pages_for(words) + BATCH) * PAGE_COST
}

impl Heap {
    /// A heap whose limit of all memory does not hold until [`Heap::enforce_limit`]: what its client cannot do without is
    /// allocated first, however low the limit is.
    pub fn not_limited_yet(config: Config) -> Heap {
        let bytes = config.max_bytes;
        let heap = Heap::with_account(config, Account::new(bytes.map(|_| usize::MAX)));
        debug_assert_eq!(heap.account.is_limited(), bytes.is_some());
        heap
    }

    /// Makes [`Config::max_bytes`] hold from the next minor collection on, which the client should do now.
    pub fn enforce_limit(&mut self) {
        self.account.limit_to(self.config.max_bytes);
    }

    /// Sets aside what emptying the nursery may take, and returns how many of `words` may be used.
    pub(crate) fn set_aside(&mut self, words: usize) -> usize {
        if !self.account.is_limited() {
            return words;
        }
        self.set_aside = 0;
        self.state();
        let scarce = self.config.max_bytes.unwrap_or(0) / SCARCE;
        if self.account.room() < cost_of_emptying(words) + scarce {
            self.release_spare();
        }
        let pages = (self.account.room() / PAGE_COST).saturating_sub(BATCH);
        let words = words.min(words_for(pages));
        self.overdrawn = words < MIN_NURSERY_WORDS;
        self.set_aside = if words > 0 { cost_of_emptying(words) } else { 0 };
        words
    }

    /// The same for a heap that empties its nursery at each allocation, or never.
    pub(crate) fn set_aside_nothing(&mut self) {
        if self.account.is_limited() {
            self.state();
            if self.account.room() == 0 {
                self.release_spare();
            }
            self.overdrawn = self.config.mode == Mode::Torture && self.account.room() == 0;
        }
    }

    /// Whether a full collection should be done because of the limit.
    pub(crate) fn is_low(&mut self) -> bool {
        let Some(bytes) = self.config.max_bytes else { return false };
        if self.account.room() < bytes / LOW {
            self.release_spare();
        }
        self.account.room() < bytes / LOW
    }

    /// After a full collection because the limit had been reached: refuses memory unless there is room again.
    pub(crate) fn check_overdrawn(&mut self) {
        self.overdrawn |= self.account.is_scarce();
        self.refuse_if_overdrawn();
    }

    /// Refuses memory if the limit leaves too little for the nursery: its client is about to give up.
    #[cold]
    pub fn refuse_if_overdrawn(&self) {
        if self.overdrawn && self.account.is_limited() {
            self.account.refuse();
        }
    }

    /// Takes `bytes` for a table that is about to grow by as much, and as much again while both are there.
    pub(crate) fn take_for_tables(&self, bytes: usize) -> Result<(), OutOfMemory> {
        if !self.account.is_limited() {
            return Ok(());
        }
        if !self.account.allows(2 * bytes) {
            self.account.refuse();
            return Err(OutOfMemory { words: bytes.div_ceil(8) });
        }
        self.account.take(bytes);
        Ok(())
    }

    /// Refuses memory if an allocation of `words` words in the old generation has failed because of the limit.
    #[cold]
    pub(crate) fn refuse_unless_affordable(&self, words: usize) {
        if !self.account.allows(words.saturating_mul(8).saturating_add(PAGE_COST.max(LARGE_COST))) {
            self.account.refuse();
        }
    }

    /// Whether there is room for another nursery of this size, beside the present one.
    pub(crate) fn may_have_nursery(&self, words: usize) -> bool {
        !self.account.is_limited() || words <= self.config.nursery_words && self.account.allows(8 * words)
    }
}
