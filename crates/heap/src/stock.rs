//! Reserves for when the system has no memory left: a collection must never need memory that it cannot get.
//!
//! A minor collection may have to move everything in the nursery. So the pages needed in the worst case are mapped
//! before the nursery is opened, and only as much of the nursery is opened as there are pages for. These pages are only
//! used when the system provides no others; until then they are not touched, and take only address space. Some memory
//! is also reserved for the tables that list pages and blocks.
//!
//! When some of the reserve has been used, the heap is [exhausted](Heap::exhausted), until a collection has freed
//! enough to replace it. Meanwhile an allocation fails when the part of the nursery covered by the reserve has no room.

use crate::heap::{Heap, Mode};
use crate::pages::{CLASSES, Pages, no_memory};
use crate::system::{BATCH, PAGE_WORDS};
use crate::system::{map_some, unmap_page, unmap_pages};

/// The minimum memory reserved for tables, in bytes.
const FUND: usize = 256 << 10;
/// The bytes reserved for each page of the heap: three times what the tables hold for it, as they grow by doubling.
const FUND_PER_PAGE: usize = 256;

/// When memory has run out, a collection helps only if it leaves at least one in this many words free.
const SCARCE: usize = 16;

/// The reserves of a heap.
#[derive(Default)]
pub(crate) struct Stock {
    /// Pages that have not been touched.
    pages: Vec<*mut u64>,
    /// Memory from the allocator.
    fund: Vec<u8>,
    /// Something has been taken from here since it was last complete.
    pub(crate) touched: bool,
    /// A minor collection is under way: it may take from here.
    pub(crate) open: bool,
}

/// The number of pages that this many nursery words need in the worst case: cells and the ends of pages waste less than
/// a quarter, and each class may start a new page.
pub(crate) fn pages_for(words: usize) -> usize {
    (words + words / 4).div_ceil(PAGE_WORDS) + CLASSES
}

/// The number of nursery words for which this many pages suffice.
pub(crate) fn words_for(pages: usize) -> usize {
    pages.saturating_sub(CLASSES) * PAGE_WORDS * 4 / 5
}

impl Stock {
    /// Takes a page of the heap that is being dropped, to return them all to the system together.
    ///
    /// # Safety
    /// It was mapped, and nothing refers to it.
    pub(crate) unsafe fn bury(&mut self, page: *mut u64) {
        match self.pages.try_reserve(1) {
            Ok(()) => self.pages.push(page),
            Err(_) => {
                // SAFETY: by contract.
                unsafe { unmap_page(page) };
            }
        }
    }

    /// Takes a page, during a minor collection only.
    pub(crate) fn page(&mut self) -> Option<*mut u64> {
        let page = if self.open { self.pages.pop() } else { None };
        self.touched |= page.is_some();
        page
    }

    /// Makes room in a table without which the collector cannot continue.
    #[inline(always)]
    pub(crate) fn reserve<T>(&mut self, table: &mut Vec<T>, more: usize) {
        if table.capacity() - table.len() < more {
            self.grow(table, more);
        }
    }

    #[cold]
    fn grow<T>(&mut self, table: &mut Vec<T>, more: usize) {
        if table.try_reserve(more).is_err() {
            self.touched = true;
            self.fund = Vec::new();
            if table.try_reserve(more).is_err() && table.try_reserve_exact(more).is_err() {
                no_memory(more * size_of::<T>() / 8);
            }
        }
    }

    /// What it takes besides the pages, which are only touched when they are needed.
    pub(crate) fn bytes(&self) -> usize {
        self.fund.capacity() + self.pages.capacity() * size_of::<*mut u64>()
    }

    fn restock_fund(&mut self, pages: usize) -> bool {
        let bytes = FUND + FUND_PER_PAGE * pages;
        if self.fund.capacity() < bytes / 2 {
            self.fund = Vec::new();
            return self.fund.try_reserve_exact(bytes).is_ok();
        }
        true
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        // SAFETY: they were mapped, and nothing refers to them.
        unsafe { unmap_pages(&mut self.pages) };
    }
}

impl Pages {
    /// Fills the reserve, up to `wanted` pages. Returns how many pages can be used.
    fn restock(&mut self, wanted: usize) -> usize {
        let have = self.stock.pages.len();
        if have == 0 && self.page_count == 0 && self.reserve.is_empty() {
            self.map_first(wanted);
        }
        let have = self.stock.pages.len();
        if have < wanted && !map_some(&mut self.stock.pages, wanted - have) {
            while self.stock.pages.len() < wanted && self.take_reserve_into_stock() {}
            while self.stock.pages.len() < wanted && map_some(&mut self.stock.pages, 1) {}
        }
        let rows = self.room_for_rows(wanted);
        let mut complete =
            self.stock.pages.len() >= wanted && rows >= wanted && self.stock.restock_fund(self.page_count);
        if self.stock.touched && complete && self.is_scarce() {
            complete = false;
        }
        if !complete {
            // The code that handles the exhaustion needs some memory.
            self.stock.fund = Vec::new();
        }
        self.stock.touched = !complete;
        self.stock.pages.len().min(rows)
    }

    /// Maps the reserve of a new heap, and the pages that it will use first, together: for a small program, asking the
    /// system takes longer than much of the rest.
    fn map_first(&mut self, wanted: usize) {
        if self.reserve.try_reserve(BATCH).is_ok() && map_some(&mut self.stock.pages, wanted + BATCH) {
            let lowest = self.stock.pages.drain(wanted..);
            self.reserve.extend(lowest);
        }
    }

    /// Whether so little is free that the next collection would soon be due, and would free as little.
    fn is_scarce(&self) -> bool {
        let free = self.words().saturating_sub(self.swept_live) + self.reserve_words();
        free < self.words() / SCARCE
    }

    fn take_reserve_into_stock(&mut self) -> bool {
        if self.stock.pages.try_reserve(1).is_err() {
            return false;
        }
        let page = self.take_reserve();
        self.stock.pages.extend(page);
        page.is_some()
    }
}

impl Heap {
    /// Opens the part of the empty nursery that the reserve guarantees can be emptied again.
    pub(crate) fn restock(&mut self) {
        if self.config.mode != Mode::Plain {
            self.set_aside_nothing();
            return;
        }
        let mut words = self.young.wanted().min(self.most_young);
        // In the worst case all young blocks wait in this table.
        let waiting = words / 2;
        if self.promoted.capacity() < waiting && self.promoted.try_reserve_exact(waiting).is_err() {
            words = 2 * self.promoted.capacity();
        }
        let words = self.set_aside(words);
        let pages = self.old.restock(pages_for(words));
        self.young.open(words.min(words_for(pages)));
        self.state();
    }
}
