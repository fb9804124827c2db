//! The nursery: one area of memory, allocated from the top down.

use crate::pages::{POISON, fill, no_memory};
use crate::value::{Header, MAX_YOUNG_WOSIZE, Value};
use std::alloc::{Layout, alloc, dealloc};

/// The smallest nursery in words: room for a few blocks of the largest size.
pub(crate) const MIN_NURSERY_WORDS: usize = 8 * (MAX_YOUNG_WOSIZE + 1);

/// The largest nursery in words, as in OCaml.
const MAX_NURSERY_WORDS: usize = 1 << 28;

/// The number of words of a nursery in use at the start: they fit into a second-level cache along with other data.
const FIRST_WORDS: usize = 16 << 10;

/// If a collection costs more than one in this many of the words allocated before it, a larger part of the nursery is
/// used.
const MAX_COST: usize = 8;

/// The allocation pointers of the nursery. `start <= floor <= limit`, `ptr <= top <= end`.
pub struct Young {
    /// The header of the block allocated last. The next block ends here.
    pub ptr: *mut u64,
    /// The lowest address that a header may have. Raised to `end` when work is due, so that the
    /// next allocation takes the slow path.
    pub limit: *mut u64,
    /// Where `ptr` was after the last collection. Below `end` only in torture mode, in which allocation continues
    /// downwards after a collection, so that stale pointers find poison.
    pub(crate) top: *mut u64,
    /// The lowest address in use: allocation stays above it. It starts near the end, and moves down while many blocks
    /// survive, so that a program whose blocks die soon stays within the processor's cache and never touches the rest
    /// of the nursery.
    pub(crate) floor: *mut u64,
    /// The number of words that would be above `floor` if memory were not scarce.
    wanted: usize,
    /// The allocation.
    memory: *mut u64,
    start: *mut u64,
    pub(crate) end: *mut u64,
    /// From `start` to `end`.
    bytes: usize,
    /// The full nurseries of a heap that never collects: the allocations, and the words of each nursery.
    pub(crate) spent: Vec<(*mut u64, usize)>,
}

/// With up to a page of the system's more, so that a nursery can end where one does: its end is what programs touch first.
fn layout(words: usize) -> Layout {
    Layout::array::<u64>(words + SYSTEM_PAGE / 8).unwrap_or_else(|_| no_memory(words))
}

/// The usual size of the system's pages, in bytes.
const SYSTEM_PAGE: usize = 4 << 10;

impl Young {
    /// A nursery of about `words` words, if the system has memory for it.
    pub(crate) fn try_new(words: usize) -> Option<Young> {
        let words = words.clamp(MIN_NURSERY_WORDS, MAX_NURSERY_WORDS);
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc(layout(words)) }.cast::<u64>();
        if memory.is_null() {
            return None;
        }
        let spare = (memory.addr() + 8 * words).next_multiple_of(SYSTEM_PAGE) - (memory.addr() + 8 * words);
        // SAFETY: within the allocation, whose layout has so much more.
        let (start, end) = unsafe { (memory.byte_add(spare), memory.byte_add(spare).add(words)) };
        Some(Young {
            memory,
            ptr: end,
            limit: start,
            top: end,
            floor: start,
            wanted: words,
            start,
            end,
            bytes: 8 * words,
            spent: Vec::new(),
        })
    }

    /// The lowest address.
    pub(crate) fn start(&self) -> *mut u64 {
        self.start
    }

    /// Begins with a small part of the nursery.
    pub(crate) fn begin_small(&mut self) {
        self.set_part(FIRST_WORDS);
    }

    fn set_part(&mut self, words: usize) {
        self.wanted = words.min(self.words());
        self.open(self.wanted);
    }

    /// The number of words that should be used.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Allows the use of `words` words.
    pub(crate) fn open(&mut self, words: usize) {
        // SAFETY: within the nursery.
        self.floor = unsafe { self.end.sub(words.min(self.words())) };
    }

    /// Adapts the part in use to the cost of a collection, in words moved or scanned, relative to the words allocated
    /// before it: a high cost doubles the part, and a cost near the total quadruples it. A high cost of the `first`
    /// collection says little, since a program's initial data survives.
    pub(crate) fn adapt(&mut self, cost: usize, first: bool) {
        let used = self.used();
        let factor = match cost {
            _ if cost > used / 4 * 3 => 4,
            _ if cost > used / MAX_COST && !first => 2,
            _ => return,
        };
        if self.wanted < self.words() {
            self.set_part(factor * self.wanted);
        }
    }

    pub(crate) fn new(words: usize) -> Young {
        Young::try_new(words).unwrap_or_else(|| no_memory(words))
    }

    pub(crate) fn words(&self) -> usize {
        (self.end as usize - self.start as usize) / 8
    }
    /// The words of all its memory.
    pub(crate) fn held_words(&self) -> usize {
        self.words() + self.spent.iter().map(|(_, words)| words).sum::<usize>()
    }
    /// The words allocated since the last collection.
    pub(crate) fn used(&self) -> usize {
        (self.top as usize - self.ptr as usize) / 8
    }
    /// The number of free words, whether `limit` permits their use or not.
    pub fn free_words(&self) -> usize {
        (self.ptr as usize).saturating_sub(self.floor as usize) / 8
    }

    #[inline(always)]
    pub(crate) fn contains(&self, v: Value) -> bool {
        (v.bits() as usize).wrapping_sub(self.start as usize) < self.bytes
    }

    /// A block of 1 to [`MAX_YOUNG_WOSIZE`] uninitialised fields, or `None` if `limit` is reached.
    #[inline(always)]
    pub(crate) fn alloc(&mut self, wosize: usize, tag: u8) -> Option<Value> {
        debug_assert!((1..=MAX_YOUNG_WOSIZE).contains(&wosize));
        let p = self.ptr.wrapping_sub(wosize + 1);
        if p < self.limit {
            return None;
        }
        self.ptr = p;
        // SAFETY: between `limit` and the old `ptr` there is room for header and fields.
        unsafe {
            *p = Header::new(wosize, tag).bits();
            Some(Value::from_ptr(p.add(1)))
        }
    }

    /// Forgets all blocks. The caller sets `limit`.
    pub(crate) fn clear(&mut self, torture: bool) {
        if torture {
            // SAFETY: no live block is left here.
            unsafe { fill(self.ptr, self.used(), POISON) };
        }
        if !torture || self.free_words() < 2 * (MAX_YOUNG_WOSIZE + 1) {
            self.ptr = self.end;
        }
        self.top = self.ptr;
    }

    /// Continues in a fresh nursery, and keeps the full one. Does nothing if there is no memory for that.
    pub(crate) fn extend(&mut self) {
        let room = self.spent.try_reserve(1).is_ok();
        let Some(fresh) = Young::try_new(self.words()).filter(|_| room) else { return };
        let mut old = std::mem::replace(self, fresh);
        self.spent = std::mem::take(&mut old.spent);
        self.spent.push((old.memory, old.words()));
        // It is in `spent` now.
        old.memory = std::ptr::null_mut();
    }
}

impl Drop for Young {
    fn drop(&mut self) {
        if !self.memory.is_null() {
            // SAFETY: allocated with this layout in `new`.
            unsafe { dealloc(self.memory.cast(), layout(self.words())) }
        }
        for &(memory, words) in &self.spent {
            // SAFETY: allocated with this layout in `new`, then moved here by `extend`.
            unsafe { dealloc(memory.cast(), layout(words)) }
        }
    }
}
