//! The minor collection: moves the reachable blocks out of the nursery, and discards the rest.
//!
//! The roots are those of the client, the rooted handles, the remembered set and the finalisers' tables. A block that
//! moves leaves [`Header::MOVED`] and its new address behind, and waits in `promoted` for its fields to be scanned.
//! Then ephemerons, weak references, finalisers and custom blocks are processed: young blocks that have not moved by
//! then are dead.

use crate::custom::is_traced;
use crate::ephemeron::{DATA, LINK};
use crate::finalise::Final;
use crate::heap::{Cycle, Heap, MANY_REMEMBERED, Mode};
use crate::observe::{Figure, Work};
use crate::pages::no_memory;
use crate::roots::{Phase, Roots, Visitor};
use crate::value::{Colour, Header, Value, tag};
use crate::young::Young;
use std::rc::Rc;

impl Heap {
    /// Empties the nursery.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn minor(&mut self, roots: &mut dyn Roots) {
        if self.config.mode == Mode::Never {
            return;
        }
        self.minor_due = false;
        if self.account.is_limited() {
            self.client_bytes = roots.held_bytes();
        }
        self.begins(Work::Minor);
        // SAFETY: same contract.
        unsafe { self.empty_nursery(roots) };
        self.ends(Work::Minor);
    }

    unsafe fn empty_nursery(&mut self, roots: &mut dyn Roots) {
        // Even if the nursery is empty, an ephemeron may be remembered, and it must not be so when it dies.
        if self.young.used() == 0
            && self.remembered.is_empty()
            && !self.remembered_overflow
            && self.ephemerons.remembered.is_empty()
        {
            return;
        }
        if self.remembered_overflow && self.cycle == Cycle::Sweep {
            // Pages must not change while all of them are scanned.
            self.sweep(usize::MAX);
        }
        self.begin_work();
        self.old.stock.open = true;
        let promoted_before = self.counters.promoted_words;
        self.begins(Work::MinorRoots);
        let mut visitor = Visitor::new(self, Phase::Minor);
        roots.scan(&mut visitor);
        // SAFETY: the slots of handles; nothing is pushed during a collection.
        visitor.slice(unsafe { &mut *visitor.heap.shadow.take_unsettled() });
        let looked_at = visitor.slots;
        self.ends(Work::MinorRoots);
        // SAFETY: the tables hold valid values by contract.
        unsafe {
            self.begins(Work::MinorRemembered);
            self.promote_tables();
            self.ends(Work::MinorRemembered);
            self.begins(Work::MinorPromote);
            self.promote_all(roots);
            self.promote_ephemeron_data(roots);
            self.ends(Work::MinorPromote);
            self.begins(Work::MinorFinalise);
            self.settle_young_deaths();
            self.ends(Work::MinorFinalise);
        }
        self.old.stock.open = false;
        self.counters.minor_words += self.young.used() as u64;
        let promoted = self.counters.promoted_words - promoted_before;
        self.counters.major_words += promoted;
        self.tell(Figure::MinorPromoted, promoted);
        self.tell(Figure::MinorAllocated, self.young.used() as u64);
        self.pace.allocated(promoted as usize);
        self.young.adapt(promoted as usize + looked_at / 8, self.counters.minor_collections == 0);
        self.counters.minor_collections += 1;
        self.young.clear(self.config.mode == Mode::Torture);
        self.open_empty_nursery();
        self.under_way = false;
        self.drop_dead();
    }

    /// The value that replaces a pointer to a young block: moves the block unless that has been done. For a forced
    /// suspension this may be its content.
    ///
    /// # Safety
    /// `v` is a valid pointer into the nursery, during a minor collection.
    #[inline]
    pub(crate) unsafe fn promote(&mut self, v: Value) -> Value {
        // SAFETY: the header is that of a block, of one moved before, or an infix header.
        unsafe {
            let h = v.header();
            if h == Header::MOVED {
                return v.field(0);
            }
            if h.tag() == tag::INFIX {
                let outer = v.enclosing();
                return Value::from_bits(self.promote(outer).bits() + (v.bits() - outer.bits()));
            }
            if h.tag() == tag::FORWARD
                && let Some(mut content) = self.content_of(v)
            {
                self.promote_slot(&mut content);
                return content;
            }
            self.move_out(v, h)
        }
    }

    /// As [`promote`](Heap::promote), for the value of a root, which must stay the same block: the root's holder may
    /// have read its size.
    ///
    /// # Safety
    /// As for [`promote`](Heap::promote).
    #[inline]
    pub(crate) unsafe fn promote_root(&mut self, v: Value) -> Value {
        // SAFETY: the same contract.
        unsafe {
            let h = v.header();
            match h.tag() == tag::FORWARD && h != Header::MOVED {
                true => self.move_out(v, h),
                false => self.promote(v),
            }
        }
    }

    /// Moves a young block that has not been moved.
    #[inline(always)]
    unsafe fn move_out(&mut self, v: Value, h: Header) -> Value {
        // SAFETY: same contract.
        unsafe {
            let p = self.old.alloc_cell(h.whsize());
            if p.is_null() {
                no_memory(h.whsize());
            }
            *p = h.with_colour(self.birth_colour()).bits();
            let moved = Value::from_ptr(p.add(1));
            std::ptr::copy_nonoverlapping(v.as_ptr(), moved.as_ptr(), h.wosize());
            v.set_header(Header::MOVED);
            v.set_word(0, moved.bits());
            self.counters.promoted_words += h.whsize() as u64;
            if h.tag() < tag::NO_SCAN {
                self.promoted.push(moved);
            } else if h.tag() == tag::CUSTOM && is_traced(moved) {
                self.promoted_traced.push(moved);
            }
            moved
        }
    }

    #[inline(always)]
    unsafe fn promote_slot(&mut self, slot: *mut Value) {
        // SAFETY: a slot with a valid value.
        unsafe {
            if self.is_young_block(*slot) {
                *slot = self.promote(*slot);
            }
        }
    }

    /// Promotes the fields of promoted blocks, until nothing is left to do.
    unsafe fn promote_all(&mut self, roots: &mut dyn Roots) {
        loop {
            while let Some(block) = self.promoted.pop() {
                // SAFETY: a promoted block whose fields are values.
                unsafe {
                    for i in 0..block.wosize() {
                        self.promote_slot(block.field_ptr(i));
                    }
                }
            }
            let Some(block) = self.promoted_traced.pop() else { return };
            // SAFETY: a promoted block of a traced kind.
            unsafe { self.trace(roots, block, Phase::Minor) };
        }
    }

    /// Promotes the heap's own roots.
    unsafe fn promote_tables(&mut self) {
        let mut handles = std::mem::take(&mut self.handles.roots);
        let mut remembered = std::mem::take(&mut self.remembered);
        let mut finals = std::mem::take(&mut self.finals);
        // SAFETY: all of these hold valid values.
        unsafe {
            let safe = Rc::clone(&self.safe_roots);
            for slot in handles.all().iter_mut().chain(safe.borrow_mut().all()) {
                if self.is_young_block(*slot) {
                    *slot = self.promote_root(*slot);
                }
            }
            for slot in remembered.drain(..) {
                self.promote_slot(slot);
            }
            if std::mem::take(&mut self.remembered_overflow) {
                self.promote_everywhere();
            }
            // Only a major collection can find values with a function of the first kind dead.
            for f in finals.first[finals.first_old..].iter_mut().chain(&mut finals.due) {
                self.promote_slot(&mut f.function);
                self.promote_slot(&mut f.value);
            }
            for f in &mut finals.last[finals.last_old..] {
                self.promote_slot(&mut f.function);
            }
        }
        finals.first_old = finals.first.len();
        self.handles.roots = handles;
        // With more capacity the next collection would be requested too late.
        remembered.shrink_to(MANY_REMEMBERED);
        self.remembered = remembered;
        self.finals = finals;
    }

    /// Promotes every young block that an old block refers to.
    #[cold]
    unsafe fn promote_everywhere(&mut self) {
        for row in 0..self.old.list_rows() {
            let (first, step, cells) = self.old.row(row);
            for i in 0..cells {
                // SAFETY: each cell begins with a header, and no page is released meanwhile; the fields of blocks that
                // are scanned are values.
                unsafe {
                    let header = first.add(i * step);
                    let h = Header::from_bits(*header);
                    if h.colour() == Colour::Blue || h.tag() >= tag::NO_SCAN {
                        continue;
                    }
                    let block = Value::from_ptr(header.add(1));
                    for i in 0..h.wosize() {
                        self.promote_slot(block.field_ptr(i));
                    }
                }
            }
        }
        self.old.forget_rows();
    }

    /// Promotes the data of each ephemeron whose keys are all alive, until no more data is promoted.
    unsafe fn promote_ephemeron_data(&mut self, roots: &mut dyn Roots) {
        // Reorders the table, undecided ephemerons first: there may be no memory for a second one.
        let mut remembered = std::mem::take(&mut self.ephemerons.remembered);
        if self.keeps_young_keys {
            for e in &remembered {
                // SAFETY: remembered ephemerons are alive, their keys valid.
                unsafe { (DATA + 1..e.wosize()).for_each(|i| self.promote_slot(e.field_ptr(i))) };
            }
            // SAFETY: the caller's roots.
            unsafe { self.promote_all(roots) };
        }
        let mut waiting = remembered.len();
        loop {
            let before = waiting;
            for at in (0..before).rev() {
                let e = remembered[at];
                // SAFETY: remembered ephemerons are alive, their keys and data valid.
                unsafe {
                    let undecided = self.is_young_block(e.field(DATA))
                        && (DATA + 1..e.wosize()).any(|i| self.died_young(e.field(i)));
                    if !undecided {
                        self.promote_slot(e.field_ptr(DATA));
                        self.promote_all(roots);
                        waiting -= 1;
                        remembered.swap(at, waiting);
                    }
                }
            }
            if waiting == before {
                break;
            }
        }
        self.ephemerons.remembered = remembered;
    }

    /// Whether this is a young block that has not been promoted (so far).
    unsafe fn died_young(&self, v: Value) -> bool {
        // SAFETY: a valid value; an enclosing block moves before its infix pointers do.
        unsafe {
            if !self.is_young_block(v) {
                return false;
            }
            let h = v.header();
            let outer = if h.tag() == tag::INFIX && h != Header::MOVED { v.enclosing() } else { v };
            outer.header() != Header::MOVED
        }
    }

    /// Processes the weak tables after the death of young blocks.
    unsafe fn settle_young_deaths(&mut self) {
        // SAFETY: the tables hold values that were valid before the collection, and whatever has
        // not moved by now is dead.
        unsafe {
            let mut remembered = std::mem::take(&mut self.ephemerons.remembered);
            for e in remembered.drain(..) {
                e.set_word(LINK, Value::FALSE.bits());
                let mut dead = false;
                for i in DATA + 1..e.wosize() {
                    dead |= self.settle_weak_slot(e.field_ptr(i), self.atom(tag::ABSTRACT));
                }
                if dead {
                    *e.field_ptr(DATA) = self.atom(tag::ABSTRACT);
                }
                debug_assert!(!self.died_young(e.field(DATA)));
                self.promote_slot(e.field_ptr(DATA));
            }
            self.ephemerons.remembered = remembered;
            let mut weaks = std::mem::take(&mut self.handles.weaks);
            for slot in weaks.all() {
                self.settle_weak_slot(slot, Value::UNIT);
            }
            self.handles.weaks = weaks;

            let mut finals = std::mem::take(&mut self.finals);
            let young = finals.last_old..finals.last.len();
            for at in young.clone().rev() {
                let f = finals.last[at];
                if self.died_young(f.value) {
                    finals.due.push_back(Final { value: Value::UNIT, ..f });
                }
            }
            let mut kept = finals.last_old;
            for at in young {
                let mut f = finals.last[at];
                if !self.settle_weak_slot(&mut f.value, Value::UNIT) {
                    finals.last[kept] = f;
                    kept += 1;
                }
            }
            finals.last.truncate(kept);
            finals.last_old = finals.last.len();
            self.finals = finals;

            let mut customs = std::mem::take(&mut self.young_customs);
            for v in customs.drain(..) {
                if self.died_young(v) {
                    self.old.bury(v);
                }
            }
            self.young_customs = customs;
            self.young_outside = 0;
        }
        debug_assert!(self.promoted.is_empty());
    }

    /// Updates a slot that did not keep its target alive, and returns whether the target has died.
    unsafe fn settle_weak_slot(&mut self, slot: *mut Value, dead: Value) -> bool {
        // SAFETY: a slot with a value that was valid before the collection.
        unsafe {
            let died = self.died_young(*slot);
            if died {
                *slot = dead;
            } else {
                self.promote_slot(slot);
            }
            died
        }
    }

    /// Does the collection work that is due.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    #[cold]
    pub unsafe fn poll(&mut self, roots: &mut dyn Roots) {
        let mut complete = true;
        if self.config.mode != Mode::Never {
            // SAFETY: same contract.
            complete = unsafe { self.collect_due(roots) };
        }
        self.due = !complete;
        self.open_nursery();
    }

    /// Returns whether all of it is done.
    unsafe fn collect_due(&mut self, roots: &mut dyn Roots) -> bool {
        // SAFETY: same contract.
        unsafe {
            if self.minor_due {
                self.minor(roots);
            }
            if self.cycle != Cycle::Idle || self.pace.cycle_due() {
                let words = self.pace.slice_words();
                self.begins(Work::Major);
                let complete = self.major_in_steps(roots, words);
                self.state();
                self.ends(Work::Major);
                if !complete {
                    return false;
                }
            }
            if self.exhausted() || self.is_low() {
                if !self.full_major_in_steps(roots) {
                    return false;
                }
                self.restock();
                self.check_overdrawn();
            }
            if self.compaction_due {
                return self.compact_in_steps(roots);
            }
        }
        true
    }

    /// Empties the nursery and changes its size, in words, to the nearest possible one; keeps the size if the system
    /// has no memory for it.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn set_nursery_words(&mut self, roots: &mut dyn Roots, words: usize) {
        if self.config.mode == Mode::Never {
            return;
        }
        // SAFETY: same contract.
        unsafe { self.minor(roots) };
        // The nursery does not count towards the limit, but must not be a way around it.
        let most = self.config.max_words.map_or(usize::MAX, |max| max.max(self.config.nursery_words));
        if self.may_have_nursery(words.min(most))
            && let Some(young) = Young::try_new(words.min(most))
        {
            self.young = young;
            if self.config.mode == Mode::Plain {
                self.young.begin_small();
            }
        }
        self.open_empty_nursery();
        if self.due {
            self.request();
        }
    }

    /// Drops the data of dead externals. The heap is consistent while foreign code runs.
    pub(crate) fn drop_dead(&mut self) {
        self.pace.outside_removed(std::mem::take(&mut self.old.dead.outside_bytes));
        self.traced -= std::mem::take(&mut self.old.dead.traced);
        self.old.dead.drop_boxes();
        self.owned_bytes -= std::mem::take(&mut self.old.dead.owned_bytes);
    }
}
