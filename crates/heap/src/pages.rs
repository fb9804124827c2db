//! The old generation's memory: pages divided into cells of one size, and separately allocated large blocks.
//!
//! A page belongs to a *size class*; its cells are free (a blue header, then the address of the next free cell of the
//! page, or 0) or hold a block, which may be a few words smaller than the cell. Blocks above [`MAX_CELL`] words are
//! allocated singly. Cells are carved out of a page a few at a time, on demand, so that the unused part of a fresh page
//! from the system is never touched.
//!
//! Pinned blocks have a few separate classes, which compaction skips.
//!
//! While sweeping, a class keeps its unswept pages in a separate table (`unswept`). Cells are only allocated from swept
//! pages, so a block allocated during sweeping is simply white.

use crate::account::Account;
use crate::custom::Dead;
use crate::page_table::PageTable;
use crate::stock::Stock;
use crate::system::{PAGE_WORDS, drop_content, map_pages, page_layout, unmap_page};
use crate::value::{Colour, Header, Value};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr;
use std::sync::Arc;

/// The largest cell in words, header included.
pub(crate) const MAX_CELL: usize = 512;
/// The word that fills freed memory in torture mode. It is even, so it looks like a pointer, and not a canonical
/// address, so following it faults.
pub(crate) const POISON: u64 = 0xDEAD_F9EE_DEAD_F9EE;
/// The minimum number of empty pages kept for reuse, whatever the size of the heap.
const MIN_RESERVE: usize = 16;

/// What a page and a large block take in bytes, their entries in tables included.
pub(crate) const PAGE_COST: usize = 8 * PAGE_WORDS + 512;
pub(crate) const LARGE_COST: usize = 128;

/// The number of pages released between two checks whether the rest can wait.
const PAGES_AT_ONCE: usize = 64;

/// Blocks larger than this are released in parts of this size.
const PART_WORDS: usize = 1 << 19;

/// The number of words that are carved into cells at a time, unless one cell is larger.
const CARVED_WORDS: usize = 512;

/// Cell sizes: exact up to 16 words, then eight steps to each doubling, so that at most an eighth of a cell is wasted.
const fn cell_sizes() -> ([u16; CLASSES], [u8; MAX_CELL + 1]) {
    let mut sizes = [0; CLASSES];
    let mut class_of = [0; MAX_CELL + 1];
    let (mut class, mut size, mut words) = (0, 2, 0);
    while class < CLASSES {
        sizes[class] = size as u16;
        while words <= size {
            class_of[words] = class as u8;
            words += 1;
        }
        let mut step = 1;
        while step * 16 <= size {
            step *= 2;
        }
        size += step;
        class += 1;
    }
    (sizes, class_of)
}
/// The number of cell sizes.
pub(crate) const CLASSES: usize = 55;
const CELLS: ([u16; CLASSES], [u8; MAX_CELL + 1]) = cell_sizes();
static CLASS_OF: [u8; MAX_CELL + 1] = CELLS.1;
const _: () = assert!(CELLS.0[CLASSES - 1] as usize == MAX_CELL);

/// The classes of pinned blocks come after the others; their cells are powers of two.
const PINNED_CLASSES: usize = MAX_CELL.ilog2() as usize;

/// One page. Its free list is here unless it is its class's current page.
pub(crate) struct Page {
    pub(crate) base: *mut u64,
    pub(crate) cell: usize,
    /// The first free cell, or null.
    pub(crate) free_list: *mut u64,
    /// The length of that list.
    pub(crate) free: usize,
    /// The number of cells that have been carved; the rest of the page has none yet.
    carved: usize,
}

impl Page {
    fn new(base: *mut u64, cell: usize) -> Page {
        Page { base, cell, free_list: ptr::null_mut(), free: 0, carved: 0 }
    }
    /// The number of cells that have been carved.
    pub(crate) fn cells(&self) -> usize {
        self.carved
    }
    /// The number of cells that the page can have.
    pub(crate) fn capacity(&self) -> usize {
        PAGE_WORDS / self.cell
    }
    /// The number of blocks that can be added.
    pub(crate) fn room(&self) -> usize {
        self.capacity() - self.live()
    }
    /// Carves some cells, and returns whether there was room for any.
    pub(crate) fn carve(&mut self) -> bool {
        let from = self.carved;
        self.carved = (from + (CARVED_WORDS / self.cell).max(1)).min(self.capacity());
        for i in (from..self.carved).rev() {
            // SAFETY: nothing refers to a cell that was not one before.
            unsafe { self.push_free(self.cell_at(i)) };
        }
        self.carved > from
    }
    pub(crate) fn cell_at(&self, i: usize) -> *mut u64 {
        debug_assert!(i < self.cells());
        // SAFETY: within the page.
        unsafe { self.base.add(i * self.cell) }
    }
    pub(crate) fn live(&self) -> usize {
        self.cells() - self.free
    }
    /// Adds a cell to the front of the free list.
    ///
    /// # Safety
    /// `cell` is a cell of this page that nothing refers to.
    pub(crate) unsafe fn push_free(&mut self, cell: *mut u64) {
        // SAFETY: a cell has at least two words.
        unsafe {
            *cell = Header::new(self.cell - 1, 0).with_colour(Colour::Blue).bits();
            *cell.add(1) = self.free_list as u64;
        }
        self.free_list = cell;
        self.free += 1;
    }
}

/// The pages of one cell size.
pub(crate) struct Class {
    pub(crate) cell: usize,
    /// The free list of `current`.
    pub(crate) free_list: *mut u64,
    pub(crate) current: Option<Page>,
    /// Swept pages with free cells.
    pub(crate) open: Vec<Page>,
    /// Swept pages without free cells.
    pub(crate) full: Vec<Page>,
    /// Pages that have not been swept yet.
    pub(crate) unswept: Vec<Page>,
}

impl Class {
    /// Puts the current page back among the others, with an exact count of its free cells.
    pub(crate) fn retire_current(&mut self, stock: &mut Stock) {
        let Some(mut page) = self.current.take() else { return };
        page.free_list = std::mem::replace(&mut self.free_list, ptr::null_mut());
        page.free = 0;
        let mut cell = page.free_list;
        while !cell.is_null() {
            page.free += 1;
            // SAFETY: word 1 of a free cell links to the next one.
            cell = unsafe { *cell.add(1) } as *mut u64;
        }
        self.file(page, stock);
    }
    /// Adds a swept page to the table of pages with room, or to that of full pages.
    pub(crate) fn file(&mut self, page: Page, stock: &mut Stock) {
        let table = if page.room() > 0 { &mut self.open } else { &mut self.full };
        stock.reserve(table, 1);
        table.push(page);
    }
    /// Makes room for one more page in each table: collections move pages between the tables.
    fn make_room(&mut self) -> bool {
        let all =
            usize::from(self.current.is_some()) + self.open.len() + self.full.len() + self.unswept.len() + 1;
        [&mut self.open, &mut self.full, &mut self.unswept].into_iter().all(|table| has_room(table, all))
    }
    pub(crate) fn pages(&self) -> impl Iterator<Item = &Page> {
        self.current.iter().chain(&self.open).chain(&self.full).chain(&self.unswept)
    }
}

/// Makes room for `all` entries in a table, and returns whether there was memory for that.
fn has_room<T>(table: &mut Vec<T>, all: usize) -> bool {
    table.capacity() >= all || table.try_reserve(all - table.len()).is_ok()
}

/// A block with a separate allocation.
pub(crate) struct Large {
    /// The address of the header.
    pub(crate) base: *mut u64,
    /// The words allocated; truncation may have made the block smaller.
    pub(crate) words: usize,
}

impl Large {
    pub(crate) fn contains(&self, v: Value) -> bool {
        (self.base as u64..self.base as u64 + 8 * self.words as u64).contains(&v.bits())
    }
}

/// Cells in a row: the first header, the words between two, how many.
pub(crate) type Row = (*mut u64, usize, usize);

/// All memory of the old generation.
pub(crate) struct Pages {
    pub(crate) classes: Vec<Class>,
    pub(crate) large: Vec<Large>,
    pub(crate) large_unswept: Vec<Large>,
    /// The large block that is being released in parts, and how many of its words remain.
    dying: Option<(Large, usize)>,
    /// Empty pages, of no class yet.
    pub(crate) reserve: Vec<*mut u64>,
    /// Pages in classes.
    pub(crate) page_count: usize,
    pub(crate) large_words: usize,
    /// The largest number of words ever held.
    pub(crate) top_words: usize,
    pub(crate) poison: bool,
    /// What remains to be done for the dead custom blocks that sweeping has found.
    pub(crate) dead: Dead,
    /// Live words seen by the current sweep.
    pub(crate) swept_live: usize,
    /// Normally empty, but with room for a row for each page and each large block: [`Pages::list_rows`] must work when
    /// there is no memory left.
    rows: Vec<Row>,
    /// The reserve for when there is no memory left.
    pub(crate) stock: Stock,
    /// Tells pointers to blocks from others, if there are any.
    table: Option<Box<PageTable>>,
    /// Limits what may be added, except during a minor collection, for which memory has been set aside.
    account: Arc<Account>,
}

impl Pages {
    pub(crate) fn new(poison: bool, account: Arc<Account>) -> Pages {
        let class = |cell: usize| Class {
            cell,
            free_list: ptr::null_mut(),
            current: None,
            open: Vec::new(),
            full: Vec::new(),
            unswept: Vec::new(),
        };
        let pinned = (1..=PINNED_CLASSES).map(|log| 1 << log);
        Pages {
            classes: CELLS.0.iter().map(|&cell| cell as usize).chain(pinned).map(class).collect(),
            large: Vec::new(),
            large_unswept: Vec::new(),
            dying: None,
            reserve: Vec::new(),
            page_count: 0,
            large_words: 0,
            top_words: 0,
            poison,
            dead: Dead::default(),
            swept_live: 0,
            rows: Vec::new(),
            stock: Stock::default(),
            table: None,
            account,
        }
    }

    /// From now on, values may be pointers to anything outside the heap.
    pub(crate) fn allow_naked_pointers(&mut self) {
        let mut table = PageTable::default();
        for page in self.classes.iter().flat_map(Class::pages) {
            table.add_page(page.base);
        }
        self.large.iter().chain(&self.large_unswept).for_each(|large| table.add_large(large));
        self.table = Some(Box::new(table));
    }

    /// Whether values may be pointers to anything.
    #[inline(always)]
    pub(crate) fn has_naked_pointers(&self) -> bool {
        self.table.is_some()
    }

    /// Whether a pointer, not into the nursery, must not be followed.
    #[inline(always)]
    pub(crate) fn is_naked(&self, v: Value) -> bool {
        self.has_naked_pointers() && self.looks_naked(v)
    }

    #[cold]
    #[inline(never)]
    fn looks_naked(&self, v: Value) -> bool {
        self.table.as_ref().is_some_and(|table| !table.contains(v))
    }

    /// The words held from the system, the reserve excluded.
    pub(crate) fn words(&self) -> usize {
        self.page_count * PAGE_WORDS + self.large_words
    }

    /// A cell for a block of `whsize` words, header included, or null if the system has no memory
    /// left. The content is undefined.
    #[inline]
    pub(crate) fn alloc_cell(&mut self, whsize: usize) -> *mut u64 {
        self.alloc_in(CLASS_OF[whsize] as usize)
    }

    /// As [`Pages::alloc_cell`], for a block whose address never changes.
    pub(crate) fn alloc_pinned_cell(&mut self, whsize: usize) -> *mut u64 {
        self.alloc_in(CLASSES - 1 + whsize.next_power_of_two().ilog2() as usize)
    }

    /// The classes whose blocks may move.
    pub(crate) fn movable_classes(&self) -> std::ops::Range<usize> {
        0..CLASSES
    }

    #[inline]
    fn alloc_in(&mut self, c: usize) -> *mut u64 {
        let class = &mut self.classes[c];
        let cell = class.free_list;
        if cell.is_null() {
            return self.alloc_cell_slow(c);
        }
        // SAFETY: word 1 of a free cell links to the next one.
        class.free_list = unsafe { *cell.add(1) } as *mut u64;
        cell
    }

    #[cold]
    fn alloc_cell_slow(&mut self, c: usize) -> *mut u64 {
        if let Some(page) = &mut self.classes[c].current
            && page.carve()
        {
            self.classes[c].free_list = std::mem::replace(&mut page.free_list, ptr::null_mut());
            return self.alloc_in(c);
        }
        self.classes[c].retire_current(&mut self.stock);
        if self.classes[c].open.is_empty() {
            // Rather than growing, sweep a few pages of the class that are due anyway.
            for _ in 0..8 {
                let Some(page) = self.classes[c].unswept.pop() else { break };
                self.sweep_page(c, page);
                if !self.classes[c].open.is_empty() {
                    break;
                }
            }
        }
        let Some(mut page) = self.classes[c].open.pop().or_else(|| self.affordable_page(c)) else {
            return ptr::null_mut();
        };
        if page.free == 0 {
            page.carve();
        }
        let class = &mut self.classes[c];
        class.free_list = std::mem::replace(&mut page.free_list, ptr::null_mut());
        class.current = Some(page);
        // An open page has room.
        self.alloc_in(c)
    }

    /// The number of pages and large blocks.
    fn listed(&self) -> usize {
        self.page_count + self.large.len() + self.large_unswept.len()
    }

    /// Makes room for the rows of `more` further pages or blocks. Returns how many there is room for.
    pub(crate) fn room_for_rows(&mut self, more: usize) -> usize {
        let all = self.listed() + more;
        if self.rows.capacity() < all {
            // If this fails, there may still be room for some.
            let _ = self.rows.try_reserve(all.saturating_sub(self.rows.len()));
        }
        self.rows.capacity().saturating_sub(self.listed())
    }

    /// Lists the rows of cells that may hold blocks, and returns their number.
    pub(crate) fn list_rows(&mut self) -> usize {
        let mut rows = std::mem::take(&mut self.rows);
        self.stock.reserve(&mut rows, self.listed());
        rows.extend(
            self.classes.iter().flat_map(Class::pages).map(|page| (page.base, page.cell, page.cells())),
        );
        rows.extend(self.large.iter().chain(&self.large_unswept).map(|large| (large.base, 0, 1)));
        self.rows = rows;
        self.rows.len()
    }

    /// A row that [`Pages::list_rows`] has listed.
    pub(crate) fn row(&self, i: usize) -> Row {
        self.rows[i]
    }

    /// Clears the list of rows.
    pub(crate) fn forget_rows(&mut self) {
        self.rows.clear();
    }

    fn affordable_page(&mut self, c: usize) -> Option<Page> {
        if !self.stock.open {
            if !self.account.allows(PAGE_COST) {
                return None;
            }
            self.account.take(PAGE_COST);
        }
        self.new_page(c)
    }

    pub(crate) fn new_page(&mut self, c: usize) -> Option<Page> {
        let listed = self.room_for_rows(1) > 0 && self.classes[c].make_room();
        if !listed && !self.stock.open {
            return None;
        }
        if self.reserve.is_empty() {
            map_pages(&mut self.reserve);
        }
        let base = self.reserve.pop().or_else(|| self.stock.page())?;
        self.page_count += 1;
        self.top_words = self.top_words.max(self.words());
        if let Some(table) = &mut self.table {
            table.add_page(base);
        }
        Some(Page::new(base, self.classes[c].cell))
    }

    /// Takes back a page without blocks.
    pub(crate) fn release(&mut self, page: Page) {
        self.page_count -= 1;
        if let Some(table) = &mut self.table {
            table.remove_page(page.base);
        }
        self.stock.reserve(&mut self.reserve, 1);
        self.reserve.push(page.base);
    }

    /// Pages in classes, and empty ones.
    pub(crate) fn mapped_pages(&self) -> usize {
        self.page_count + self.reserve.len()
    }

    /// What remains of the large block that is being released.
    pub(crate) fn dying_words(&self) -> usize {
        self.dying.as_ref().map_or(0, |(large, _)| large.words)
    }

    /// The words of empty pages.
    pub(crate) fn reserve_words(&self) -> usize {
        self.reserve.len() * PAGE_WORDS
    }

    /// Takes an empty page.
    pub(crate) fn take_reserve(&mut self) -> Option<*mut u64> {
        self.reserve.pop()
    }

    /// Returns at most `most` pages to the system, keeping a reserve. This is slow: it should not happen in a pause
    /// that has emptied many pages.
    pub(crate) fn trim_reserve(&mut self, most: usize) {
        self.unmap_reserve(most, MIN_RESERVE + self.page_count / 8);
    }

    /// Returns some empty pages to the system, in about a millisecond. The result tells whether there may be more.
    pub(crate) fn drop_some_reserve(&mut self) -> bool {
        let before = self.reserve.len();
        self.unmap_reserve(PAGES_AT_ONCE, 0);
        before > self.reserve.len() && !self.reserve.is_empty()
    }

    fn unmap_reserve(&mut self, most: usize, keep: usize) {
        let excess = self.reserve.len().saturating_sub(keep).min(most);
        for _ in 0..excess {
            let Some(base) = self.reserve.pop() else { return };
            // SAFETY: it was mapped; nothing refers to it.
            if !unsafe { unmap_page(base) } {
                self.reserve.push(base);
                return;
            }
        }
    }

    /// Allocates a large block, zeroed; null if that fails.
    pub(crate) fn alloc_large(&mut self, whsize: usize) -> *mut u64 {
        let Ok(layout) = Layout::array::<u64>(whsize) else { return ptr::null_mut() };
        let bytes = layout.size() + LARGE_COST;
        if !self.account.allows(bytes) {
            return ptr::null_mut();
        }
        let all = self.large.len() + self.large_unswept.len() + 1;
        // A sweep moves blocks from one table to the other.
        if !has_room(&mut self.large, all)
            || !has_room(&mut self.large_unswept, all)
            || self.room_for_rows(1) == 0
        {
            return ptr::null_mut();
        }
        // SAFETY: at least the header.
        let base = unsafe { alloc_zeroed(layout) }.cast::<u64>();
        if !base.is_null() {
            self.account.take(bytes);
            self.large_words += whsize;
            self.top_words = self.top_words.max(self.words());
            let large = Large { base, words: whsize };
            if let Some(table) = &mut self.table {
                table.add_large(&large);
            }
            self.large.push(large);
        }
        base
    }

    /// Finalises a custom block.
    ///
    /// # Safety
    /// As for [`Dead::bury`].
    pub(crate) unsafe fn bury(&mut self, v: Value) {
        self.stock.reserve(&mut self.dead.boxes, 1);
        // SAFETY: same contract.
        unsafe { self.dead.bury(v) }
    }

    /// Releases the memory of a block. Very large blocks are released in parts, by [`Pages::free_dying`], since that
    /// takes the system some time.
    ///
    /// # Safety
    /// Nothing refers to the block.
    pub(crate) unsafe fn free_large(&mut self, large: Large) {
        self.large_words -= large.words;
        if let Some(table) = &mut self.table {
            table.remove_large(&large);
        }
        if large.words > PART_WORDS && !self.poison && self.dying.is_none() {
            let left = large.words;
            self.dying = Some((large, left));
            return;
        }
        // SAFETY: same contract.
        unsafe { self.free_whole(large) }
    }

    /// Releases a part of the dying large block. Returns whether there was one.
    pub(crate) fn free_dying(&mut self) -> bool {
        let Some((large, left)) = self.dying.take() else { return false };
        // SAFETY: nothing refers to the block. The allocation itself remains until the content of all its parts has
        // been dropped.
        unsafe {
            if left > PART_WORDS && drop_content(large.base.add(left - PART_WORDS), PART_WORDS) {
                self.dying = Some((large, left - PART_WORDS));
            } else {
                self.free_whole(large);
            }
        }
        true
    }

    /// # Safety
    /// Nothing refers to the block.
    unsafe fn free_whole(&mut self, large: Large) {
        let layout = Layout::array::<u64>(large.words).expect("the layout of the allocation");
        // SAFETY: allocated with this layout.
        unsafe {
            if self.poison {
                fill(large.base, large.words, POISON);
            }
            dealloc(large.base.cast(), layout)
        }
    }

    /// # Safety
    /// The cell holds no block.
    #[inline]
    pub(crate) unsafe fn poison_cell(&self, cell: *mut u64, words: usize) {
        if self.poison {
            // SAFETY: within the cell.
            unsafe { fill(cell, words, POISON) }
        }
    }

    /// The number of blocks in a page.
    pub(crate) fn live_cells(&self, page: &Page) -> usize {
        (0..page.cells())
            // SAFETY: every cell begins with a header.
            .filter(|&i| Header::from_bits(unsafe { *page.cell_at(i) }).colour() != Colour::Blue)
            .count()
    }

    /// The headers of all blocks, including dead ones that have not been swept.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = *mut u64> {
        let small = self.classes.iter().flat_map(Class::pages).flat_map(|page| {
            (0..page.cells()).map(|i| page.cell_at(i)).filter(|&cell| {
                // SAFETY: every cell begins with a header.
                Header::from_bits(unsafe { *cell }).colour() != Colour::Blue
            })
        });
        small.chain(self.large.iter().chain(&self.large_unswept).map(|l| l.base))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let used = self.classes.iter().flat_map(|class| class.pages().map(|page| page.base));
        for base in used.chain(self.reserve.iter().copied()) {
            // SAFETY: the heap is dropped, and all its blocks with it.
            unsafe { self.stock.bury(base) };
        }
        let dying = self.dying.iter().map(|(large, _)| large);
        for large in self.large.iter().chain(&self.large_unswept).chain(dying) {
            let layout = Layout::array::<u64>(large.words).expect("the layout of the allocation");
            // SAFETY: the heap is dropped, and all its blocks with it.
            unsafe { dealloc(large.base.cast(), layout) }
        }
    }
}

/// # Safety
/// `words` words at `p` may be overwritten.
pub(crate) unsafe fn fill(p: *mut u64, words: usize, with: u64) {
    for i in 0..words {
        // SAFETY: by contract.
        unsafe { *p.add(i) = with }
    }
}

/// Ends the process for lack of memory without which the collector cannot continue.
pub(crate) fn no_memory(words: usize) -> ! {
    handle_alloc_error(Layout::array::<u64>(words).unwrap_or(page_layout()))
}
