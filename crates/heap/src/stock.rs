//! What is put by for the day when the system has no memory left: a collection must never need what it cannot get.
//!
//! A minor collection may have to move all that the nursery holds. So the pages that takes at worst are mapped before the
//! nursery is opened, and as much of the nursery is opened as there are pages for. They are only used when the system gives
//! no others; until then nobody touches them, and they cost nothing but addresses. And some memory is put by for
//! the tables that list pages and blocks.
//!
//! When some of this has been used, the heap is [exhausted](Heap::exhausted), until a collection has freed enough to
//! replace it. What is asked for meanwhile fails when the nursery has no room that is sure to be safe.

use crate::heap::{Heap, Mode};
use crate::pages::{CLASSES, Pages, no_memory};
use crate::system::PAGE_WORDS;
use crate::system::{map_some, unmap_page};

/// The least memory that is put by for tables, in bytes.
const FUND: usize = 256 << 10;
/// The bytes that are put by for each page of the heap: those that tables have about it, thrice, as they grow by doubling.
const FUND_PER_PAGE: usize = 256;

/// When memory has run out, a collection must leave one word in so many free, or it has not helped.
const SCARCE: usize = 16;

/// What is put by.
#[derive(Default)]
pub(crate) struct Stock {
    /// Pages that nobody has touched.
    pages: Vec<*mut u64>,
    /// Memory of the allocator's.
    fund: Vec<u8>,
    /// Something has been taken from here since it was last complete.
    pub(crate) touched: bool,
    /// A minor collection is under way: it may take from here.
    pub(crate) open: bool,
}

/// The pages that so many words of the nursery take at worst: cells and the ends of pages waste less than a quarter, and
/// each class may begin a page.
fn pages_for(words: usize) -> usize {
    (words + words / 4).div_ceil(PAGE_WORDS) + CLASSES
}

/// The words that have room in so many pages.
fn words_for(pages: usize) -> usize {
    pages.saturating_sub(CLASSES) * PAGE_WORDS * 4 / 5
}

impl Stock {
    /// A page, in a minor collection.
    pub(crate) fn page(&mut self) -> Option<*mut u64> {
        let page = if self.open { self.pages.pop() } else { None };
        self.touched |= page.is_some();
        page
    }

    /// Makes room in a table without which the collector cannot go on.
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

    fn put_by_fund(&mut self, pages: usize) -> bool {
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
        for &page in &self.pages {
            // SAFETY: it was mapped, and nobody uses it.
            unsafe { unmap_page(page) };
        }
    }
}

impl Pages {
    /// Puts by so many pages, and what else is needed. How many pages there are then.
    fn put_by(&mut self, wanted: usize) -> usize {
        let have = self.stock.pages.len();
        if have < wanted && !map_some(&mut self.stock.pages, wanted - have) {
            while self.stock.pages.len() < wanted && self.take_reserve_into_stock() {}
            while self.stock.pages.len() < wanted && map_some(&mut self.stock.pages, 1) {}
        }
        let mut complete = self.stock.pages.len() >= wanted && self.stock.put_by_fund(self.page_count);
        if self.stock.touched && complete && self.is_scarce() {
            complete = false;
        }
        if !complete {
            // Whoever is told needs some memory to go on with.
            self.stock.fund = Vec::new();
        }
        self.stock.touched = !complete;
        self.stock.pages.len()
    }

    /// Whether so little is free that the next collection would soon be due again, and find as little.
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
    /// Opens as much of the empty nursery as can be emptied again whatever happens.
    pub(crate) fn put_by(&mut self) {
        if self.config.mode != Mode::Plain {
            return;
        }
        let mut words = self.young.wanted();
        // All that is young may wait in this table.
        let waiting = words / 2;
        if self.promoted.capacity() < waiting && self.promoted.try_reserve_exact(waiting).is_err() {
            words = 2 * self.promoted.capacity();
        }
        let pages = self.old.put_by(pages_for(words));
        self.young.open(words.min(words_for(pages)));
    }
}
