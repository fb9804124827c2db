//! Compaction: empties sparsely filled pages into the free cells of fuller ones, and redirects every
//! reference to what has moved. Large blocks and pinned ones stay.

use crate::custom::is_traced;
use crate::ephemeron::DATA;
use crate::heap::{Cycle, Heap, Mode};
use crate::observe::Work;
use crate::pages::{Class, Page, Pages, no_memory};
use crate::roots::{Phase, Roots, Visitor};
use crate::stock::Stock;
use crate::system::PAGE_WORDS;
use crate::system::trim_allocator;
use crate::value::{Colour, Header, Value, tag};
use std::rc::Rc;

/// The value that replaces `v` after the move.
///
/// # Safety
/// The value was valid before.
pub(crate) unsafe fn forwarded(old: &Pages, v: Value) -> Value {
    if v.is_int() || old.is_naked(v) {
        return v;
    }
    // SAFETY: a moved block has left its new address; infix headers are as they were.
    unsafe {
        let outer = v.enclosing();
        if outer.header() != Header::MOVED {
            return v;
        }
        Value::from_bits(outer.field(0).bits() + (v.bits() - outer.bits()))
    }
}

impl Class {
    /// Chooses the pages to empty, so that as few pages as possible hold all blocks, and the pages that receive their
    /// blocks.
    fn choose(&mut self, stock: &mut Stock) -> (Vec<Page>, Vec<Page>) {
        let mut pages = std::mem::take(&mut self.open);
        pages.sort_unstable_by_key(|p| (std::cmp::Reverse(p.live()), p.base));
        let Some(first) = pages.first() else { return Default::default() };
        let live: usize = pages.iter().map(Page::live).sum();
        let kept = live.div_ceil(first.capacity());
        let mut sparse = Vec::new();
        stock.reserve(&mut sparse, pages.len() - kept);
        sparse.extend(pages.drain(kept..));
        (sparse, pages)
    }

    /// Moves all blocks from the sparse pages to the targets, which have room for them.
    ///
    /// # Safety
    /// The pages belong to this class; the caller redirects all references before it releases the sparse ones.
    unsafe fn evacuate(&mut self, sparse: &[Page], targets: Vec<Page>, stock: &mut Stock) {
        let mut targets = targets.into_iter();
        let mut target = targets.next();
        for page in sparse {
            for i in 0..page.cells() {
                let from = page.cell_at(i);
                // SAFETY: a cell begins with a header; the target's free cells are as large.
                unsafe {
                    let h = Header::from_bits(*from);
                    if h.colour() == Colour::Blue {
                        continue;
                    }
                    while target.as_ref().is_some_and(|p| p.room() == 0) {
                        stock.reserve(&mut self.full, 1);
                        self.full.extend(target.take());
                        target = targets.next();
                    }
                    let to = target.as_mut().expect("the pages kept have cells for all blocks").pop_free();
                    std::ptr::copy_nonoverlapping(from, to, h.whsize());
                    *from = Header::MOVED.bits();
                    *from.add(1) = to.add(1) as u64;
                }
            }
        }
        for page in target.into_iter().chain(targets) {
            self.file(page, stock);
        }
    }
}

impl Pages {
    /// In torture mode everything moves: chooses all pages of the class, and as many fresh ones as targets.
    fn choose_all(&mut self, c: usize) -> (Vec<Page>, Vec<Page>) {
        let pages = self.classes[c].open.len() + self.classes[c].full.len();
        let fresh = (0..pages).map(|_| self.new_page(c).unwrap_or_else(|| no_memory(PAGE_WORDS))).collect();
        let class = &mut self.classes[c];
        class.open.append(&mut class.full);
        (std::mem::take(&mut class.open), fresh)
    }

    /// Compacts the classes whose blocks may move; returns the pages left without blocks.
    ///
    /// # Safety
    /// Nothing is left to sweep, and the caller redirects all references.
    unsafe fn evacuate(&mut self) -> Vec<Page> {
        let mut vacated = Vec::new();
        for c in self.movable_classes() {
            self.classes[c].retire_current(&mut self.stock);
            debug_assert!(self.classes[c].unswept.is_empty());
            let (mut sparse, targets) =
                if self.poison { self.choose_all(c) } else { self.classes[c].choose(&mut self.stock) };
            // SAFETY: same contract.
            unsafe { self.classes[c].evacuate(&sparse, targets, &mut self.stock) };
            self.stock.reserve(&mut vacated, sparse.len());
            vacated.append(&mut sparse);
        }
        vacated
    }
}

impl Page {
    /// # Safety
    /// There is room.
    unsafe fn pop_free(&mut self) -> *mut u64 {
        if self.free == 0 {
            self.carve();
        }
        let cell = self.free_list;
        // SAFETY: word 1 of a free cell links to the next one.
        self.free_list = unsafe { *cell.add(1) } as *mut u64;
        self.free -= 1;
        cell
    }
}

impl Heap {
    /// A whole major collection, and then a compaction.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn compact(&mut self, roots: &mut dyn Roots) {
        // SAFETY: same contract.
        unsafe {
            self.full_major(roots);
            self.compact_live(roots);
        }
    }

    /// As [`Heap::compact`], but the roots may postpone it. Only the moving of blocks cannot be interrupted, as some
    /// blocks would be in two places. Returns whether it is done.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn compact_in_steps(&mut self, roots: &mut dyn Roots) -> bool {
        // SAFETY: same contract.
        unsafe {
            let complete = self.full_major_in_steps(roots) && !roots.cannot_wait();
            if complete {
                self.compact_live(roots);
            }
            complete
        }
    }

    /// Compacts after the collection.
    pub(crate) unsafe fn compact_live(&mut self, roots: &mut dyn Roots) {
        if self.config.mode == Mode::Never {
            return;
        }
        // SAFETY: same contract. After the collection the nursery is empty, and all old blocks are alive.
        unsafe {
            self.compaction_due = false;
            debug_assert!(self.cycle == Cycle::Idle && self.young.used() == 0);
            self.begin_work();
            self.begins(Work::Compact);
            self.begins(Work::Evacuate);
            let vacated = self.old.evacuate();
            self.ends(Work::Evacuate);
            self.begins(Work::Redirect);
            if !vacated.is_empty() {
                self.redirect(roots);
            }
            self.ends(Work::Redirect);
            self.begins(Work::Release);
            for page in vacated {
                for i in 0..page.cells() {
                    self.old.poison_cell(page.cell_at(i), page.cell);
                }
                self.old.release(page);
            }
            self.under_way = false;
            // The rest of the reserve goes back to the system later, a few pages at a time.
            while self.old.drop_some_reserve() && !roots.cannot_wait() {}
            self.shrink_tables();
            if self.config.mode != Mode::Torture {
                trim_allocator();
            }
            self.ends(Work::Release);
            self.ends(Work::Compact);
            self.counters.compactions += 1;
        }
    }

    /// Frees the unused capacity of tables that were once larger.
    fn shrink_tables(&mut self) {
        self.marker.shrink();
        self.remembered.shrink_to_fit();
        self.promoted.shrink_to(self.young.wanted() / 2);
        self.young_customs.shrink_to_fit();
        self.promoted_traced.shrink_to(self.traced);
        self.marked_traced.shrink_to(self.traced);
        self.handles.roots.shrink();
        self.handles.weaks.shrink();
        self.safe_roots.borrow_mut().shrink();
    }

    /// Redirects every reference to the new address of its target.
    unsafe fn redirect(&mut self, roots: &mut dyn Roots) {
        debug_assert!(self.remembered.is_empty() && self.ephemerons.remembered.is_empty());
        debug_assert!(self.young_customs.is_empty());
        roots.scan(&mut Visitor::new(self, Phase::Update));
        // SAFETY: all slots hold values that were valid before the move. Vacated pages are not among the blocks.
        unsafe {
            for header in self.old.blocks() {
                let h = Header::from_bits(*header);
                if h.tag() < tag::NO_SCAN {
                    let block = Value::from_ptr(header.add(1));
                    for i in 0..h.wosize() {
                        *block.field_ptr(i) = forwarded(&self.old, block.field(i));
                    }
                } else if h.tag() == tag::CUSTOM && is_traced(Value::from_ptr(header.add(1))) {
                    // The list has room for all of them.
                    self.marked_traced.push(Value::from_ptr(header.add(1)));
                }
            }
            while let Some(block) = self.marked_traced.pop() {
                self.trace(roots, block, Phase::Update);
            }
            for e in &mut self.ephemerons.all {
                *e = forwarded(&self.old, *e);
                for i in DATA..e.wosize() {
                    *e.field_ptr(i) = forwarded(&self.old, e.field(i));
                }
            }
            let handles = self.handles.roots.all().iter_mut().chain(self.handles.weaks.all());
            let finals =
                self.finals.first.iter_mut().chain(&mut self.finals.last).chain(&mut self.finals.due);
            let safe = Rc::clone(&self.safe_roots);
            let mut safe = safe.borrow_mut();
            let finals = finals.flat_map(|f| [&mut f.function, &mut f.value]);
            for slot in handles.chain(safe.all()).chain(&mut *self.shadow.all()).chain(finals) {
                *slot = forwarded(&self.old, *slot);
            }
        }
    }
}
