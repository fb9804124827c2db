//! The pace of the major collection.
//!
//! The user sets [`Config::space_overhead`](crate::Config::space_overhead): the number of words of garbage allowed for
//! each 100 words of live data. There cannot be more garbage than was allocated since the last collection, so time is
//! measured in allocated words:
//!
//! ```text
//! allowance = live data at the end of the last cycle × space_overhead / 100
//!
//! allocated since then:  0 ──────────── allowance/2 ────────────── allowance
//!                          nothing to do │  mark, then sweep, evenly │ all done
//! ```
//!
//! Nothing is done during the first half of the allowance. Over the second half the work of a cycle (each live word to
//! be marked, each word of the heap to be swept) is done in proportion: when a third of that half is allocated, a third
//! of the work should be done, and a slice makes up the difference. So slices are short and follow minor collections,
//! and no floating-point history is needed.
//!
//! Bytes that blocks hold outside the heap count as words, eight bytes each, both as allocation and as live data: a
//! client that creates and drops large external data speeds up the collector, so that its garbage is freed soon.
//!
//! A small heap would be collected far too often; so an allowance is never below [`MIN_ALLOWANCE`].

/// The minimum allowance in words. Half of it exceeds the buffers of a program that opens no files, so a program that
/// only prints something and exits never collects.
const MIN_ALLOWANCE: usize = 96 << 10;
/// The minimum number of words allocated between two slices, if no minor collection comes first.
const SLICE_STEP: usize = 8 << 10;

pub(crate) struct Pace {
    pub(crate) space_overhead: u32,
    /// Words alive when the last cycle ended, outside ones included.
    live: usize,
    /// Words allocated in the old generation, or outside, since the last cycle ended.
    allocated: usize,
    /// `allocated` at the last slice.
    at_last_slice: usize,
    /// Work done in this cycle, and the total expected.
    done: usize,
    expected: usize,
    pub(crate) outside_bytes: usize,
}

impl Pace {
    pub(crate) fn new(space_overhead: u32) -> Pace {
        Pace {
            space_overhead: space_overhead.max(1),
            live: 0,
            allocated: 0,
            at_last_slice: 0,
            done: 0,
            expected: 0,
            outside_bytes: 0,
        }
    }

    fn allowance(&self) -> usize {
        // In u128, since neither factor has a useful bound.
        let words = self.live as u128 * u128::from(self.space_overhead) / 100;
        usize::try_from(words).unwrap_or(usize::MAX).max(MIN_ALLOWANCE)
    }

    pub(crate) fn allocated(&mut self, words: usize) {
        self.allocated = self.allocated.saturating_add(words);
    }
    pub(crate) fn outside_added(&mut self, bytes: usize) {
        self.outside_bytes = self.outside_bytes.saturating_add(bytes);
        self.allocated = self.allocated.saturating_add(bytes.div_ceil(8));
    }
    pub(crate) fn outside_removed(&mut self, bytes: usize) {
        self.outside_bytes = self.outside_bytes.saturating_sub(bytes);
    }

    /// Whether a new cycle should begin.
    pub(crate) fn cycle_due(&self) -> bool {
        self.allocated >= self.allowance() / 2
    }
    /// Whether a slice is due before the next minor collection.
    pub(crate) fn slice_due(&self) -> bool {
        self.allocated - self.at_last_slice >= SLICE_STEP && self.cycle_due()
    }

    pub(crate) fn cycle_started(&mut self, heap_words: usize) {
        self.done = 0;
        self.expected = heap_words + self.live.min(heap_words);
    }
    /// The work that the next slice should do.
    pub(crate) fn slice_words(&mut self) -> usize {
        self.at_last_slice = self.allocated;
        let half = self.allowance() / 2;
        let past = self.allocated.saturating_sub(half);
        if past >= half {
            return usize::MAX;
        }
        let target = self.expected as u128 * past as u128 / half as u128;
        (target as usize).saturating_sub(self.done)
    }
    pub(crate) fn worked(&mut self, words: usize) {
        self.done += words;
    }
    pub(crate) fn cycle_ended(&mut self, live_words: usize) {
        self.live = live_words.saturating_add(self.outside_bytes / 8);
        self.allocated = 0;
        self.at_last_slice = 0;
    }
}
