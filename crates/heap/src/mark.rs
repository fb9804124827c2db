//! Marking: finds the live blocks, in small steps.
//!
//! The method is *snapshot at the beginning*: what was reachable when marking began counts as alive, and so does what
//! was allocated since. Marking begins by emptying the nursery and marking the roots. From then on, every value that is
//! about to be overwritten in an old block is marked ([`Heap::modify`]), and so is every value read from a weak
//! reference. So roots need not be scanned again, nor new blocks, which are black.
//!
//! When nothing is left to scan, one step determines what is dead, and processes ephemerons, finalisers of the first
//! kind (whose values are revived), finalisers of the last kind, and weak references. While it only marks, it can be
//! postponed and restarted: what it has marked stays marked.

use crate::custom::is_traced;
use crate::ephemeron::{DATA, FIRST_KEY};
use crate::finalise::{Final, Finalisers};
use crate::heap::{Cycle, Heap};
use crate::observe::Work;
use crate::roots::{Phase, Roots, Visitor};
use crate::value::{Colour, Header, Value, tag};
use std::collections::VecDeque;
use std::rc::Rc;

/// The number of empty pages that go back to the system after a slice.
const PAGES_PER_SLICE: usize = 4;

/// The number of words marked or swept between two checks whether the client wants control back.
pub(crate) const STEP_WORDS: usize = 1 << 17;

/// What a block of a traced kind counts for, at least.
const TRACED_WORDS: usize = 64;

/// The same for entries of the table of ephemerons.
const STEP_TABLE: usize = 1 << 14;

/// Fields that wait to be scanned, as ranges, so that a large block is scanned in parts.
pub(crate) struct MarkStack {
    ranges: Vec<(*mut Value, *mut Value)>,
    limit: usize,
    /// A range did not fit: some black block in the heap has not been scanned.
    overflowed: bool,
}

impl MarkStack {
    pub(crate) fn new(limit: usize) -> MarkStack {
        MarkStack { ranges: Vec::new(), limit: limit.max(1), overflowed: false }
    }
    #[inline(always)]
    fn push(&mut self, from: *mut Value, to: *mut Value) {
        if self.ranges.len() == self.ranges.capacity() && !self.grow() {
            self.overflowed = true;
            return;
        }
        self.ranges.push((from, to));
    }
    #[cold]
    fn grow(&mut self) -> bool {
        let more = self.ranges.len().max(1024).min(self.limit.saturating_sub(self.ranges.len()));
        more > 0 && self.ranges.try_reserve_exact(more).is_ok()
    }
    pub(crate) fn bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<(*mut Value, *mut Value)>()
    }
    pub(crate) fn shrink(&mut self) {
        self.ranges.shrink_to_fit();
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty() && !self.overflowed
    }
}

impl Heap {
    /// Marks a block, if it is old and white.
    ///
    /// # Safety
    /// `v` is a valid pointer, and marking is on.
    #[inline]
    pub(crate) unsafe fn darken(&mut self, v: Value) {
        if !self.old.is_naked(v) {
            // SAFETY: the same contract.
            unsafe { self.darken_block(v) }
        }
    }

    /// The same for what is known to be a block.
    #[inline(always)]
    unsafe fn darken_block(&mut self, v: Value) {
        if self.is_young(v) {
            return; // not part of the snapshot
        }
        // SAFETY: a valid pointer has a header; an infix header gives the distance to the enclosing block.
        unsafe {
            let (mut v, mut h) = (v, v.header());
            if h.tag() == tag::INFIX {
                v = v.enclosing();
                h = v.header();
            }
            if h.is_white() {
                v.set_header(h.with_colour(Colour::Black));
                if h.tag() < tag::NO_SCAN {
                    self.marker.push(v.field_ptr(0), v.field_ptr(h.wosize()));
                } else if h.tag() == tag::CUSTOM && is_traced(v) {
                    self.marked_traced.push(v);
                }
            }
        }
    }

    /// Begins a major collection.
    pub(crate) unsafe fn start_mark(&mut self, roots: &mut dyn Roots) {
        debug_assert!(self.cycle == Cycle::Idle && self.is_all_scanned());
        // SAFETY: the caller's roots; the tables hold valid values.
        unsafe {
            self.minor(roots);
            self.begin_work();
            self.begins(Work::MarkRoots);
            self.cycle = Cycle::Mark;
            self.pace.cycle_started(self.old.words());
            roots.scan(&mut Visitor::new(self, Phase::Mark));
            let mut handles = std::mem::take(&mut self.handles.roots);
            let finals = std::mem::take(&mut self.finals);
            let mut visitor = Visitor::new(self, Phase::Mark);
            visitor.slice(handles.all());
            let safe = Rc::clone(&visitor.heap.safe_roots);
            visitor.slice(safe.borrow_mut().all());
            visitor.slice(&mut *visitor.heap.shadow.all());
            for f in finals.first.iter().chain(&finals.last) {
                visitor.value(&mut f.function.clone());
            }
            for f in &finals.due {
                visitor.value(&mut f.function.clone());
                visitor.value(&mut f.value.clone());
            }
            self.handles.roots = handles;
            self.finals = finals;
        }
        self.ends(Work::MarkRoots);
    }

    /// Whether everything that has been marked has been scanned.
    fn is_all_scanned(&self) -> bool {
        self.marker.is_empty() && self.marked_traced.is_empty()
    }

    /// Scans up to `budget` fields, and returns how many it scanned.
    pub(crate) unsafe fn mark(&mut self, roots: &mut dyn Roots, budget: usize) -> usize {
        let mut left = budget;
        // SAFETY: same contract.
        unsafe {
            loop {
                self.mark_stacked(&mut left);
                while left > 0 && self.marker.overflowed {
                    self.rescan();
                    self.mark_stacked(&mut left);
                }
                if left == 0 {
                    break;
                }
                let Some(block) = self.marked_traced.pop() else { break };
                self.trace(roots, block, Phase::Mark);
                left = left.saturating_sub(TRACED_WORDS);
            }
        }
        budget - left
    }

    /// Scans what is on the mark stack.
    unsafe fn mark_stacked(&mut self, left: &mut usize) {
        // SAFETY: same contract.
        unsafe {
            match self.has_naked_pointers() {
                false => self.mark_stacked_with::<false>(left),
                true => self.mark_stacked_with::<true>(left),
            }
        }
    }

    /// The same; `NAKED` if values may be pointers to anything.
    unsafe fn mark_stacked_with<const NAKED: bool>(&mut self, left: &mut usize) {
        while *left > 0 {
            let Some((mut from, to)) = self.marker.ranges.pop() else { return };
            // SAFETY: a range within a block whose fields are values. Truncation meanwhile has left integers.
            unsafe {
                let words = to.offset_from_unsigned(from);
                let end = from.add(words.min(*left));
                *left -= words.min(*left);
                if end < to {
                    self.marker.push(end, to);
                }
                while from < end {
                    let v = *from;
                    if v.is_block() && !(NAKED && self.is_naked(v)) {
                        self.darken_block(v);
                        if v.header().tag() == tag::FORWARD {
                            self.short_cut_old(from);
                        }
                    }
                    from = from.add(1);
                }
            }
        }
    }

    /// Replaces a forced suspension in a slot of an old block by its content. The suspension itself has been marked as
    /// well: the program may have read it from the slot since marking began.
    #[cold]
    unsafe fn short_cut_old(&mut self, slot: *mut Value) {
        if self.keeps_old_suspensions {
            return;
        }
        // SAFETY: a slot of a block that is being scanned, with a valid value.
        unsafe {
            if let Some(content) = self.content_of(*slot) {
                *slot = content;
                if self.is_young_block(content) {
                    self.remember(slot);
                }
            }
        }
    }

    /// The value that can replace a forced suspension, which may be young and moved.
    pub(crate) unsafe fn content_of(&self, forced: Value) -> Option<Value> {
        // SAFETY: a valid value; a block that has moved has left its new address behind.
        unsafe {
            if forced.wosize() == 0 {
                return None; // the atom of that tag
            }
            let content = forced.field(0);
            if content.is_int() {
                return Some(content);
            }
            if self.is_naked(content) {
                return None; // nobody knows what it stands for
            }
            let moved = content.header() == Header::MOVED;
            let tag = if moved { content.field(0).header().tag() } else { content.header().tag() };
            (!matches!(tag, tag::FORWARD | tag::LAZY | tag::FORCING | tag::DOUBLE)).then_some(content)
        }
    }

    /// Makes up for ranges that did not fit: scans all black blocks again. Each pass either finds no white block or
    /// turns some black, so this terminates.
    #[cold]
    unsafe fn rescan(&mut self) {
        self.marker.overflowed = false;
        let mut unlimited = usize::MAX;
        for row in 0..self.old.list_rows() {
            let (first, step, cells) = self.old.row(row);
            for i in 0..cells {
                // SAFETY: each cell begins with a header, and no page is released while marking; the fields of blocks
                // that are scanned are values.
                unsafe {
                    let header = first.add(i * step);
                    let h = Header::from_bits(*header);
                    if h.colour() != Colour::Black || h.tag() >= tag::NO_SCAN {
                        continue;
                    }
                    let v = Value::from_ptr(header.add(1));
                    for i in 0..v.wosize() {
                        let field = v.field(i);
                        if field.is_block() {
                            self.darken(field);
                            self.mark_stacked(&mut unlimited);
                        }
                    }
                }
            }
        }
        self.old.forget_rows();
    }

    /// Whether marking, now complete, has not reached this value.
    pub(crate) unsafe fn unmarked(&self, v: Value) -> bool {
        // SAFETY: a valid value.
        unsafe {
            v.is_block() && !self.is_young(v) && !self.old.is_naked(v) && v.enclosing().header().is_white()
        }
    }

    /// Scans what is on the mark stack, unless that is postponed. Returns whether the stack is empty.
    unsafe fn mark_rest(&mut self, roots: &mut dyn Roots, may_wait: bool) -> bool {
        // SAFETY: same contract.
        unsafe {
            loop {
                self.mark(roots, STEP_WORDS);
                if self.is_all_scanned() || may_wait && roots.cannot_wait() {
                    return self.is_all_scanned();
                }
            }
        }
    }

    /// Determines what is dead and starts sweeping. If that is postponed, marking continues later.
    pub(crate) unsafe fn finish_mark(&mut self, roots: &mut dyn Roots, may_wait: bool) {
        debug_assert!(self.is_all_scanned());
        // SAFETY: the tables hold valid values.
        unsafe {
            self.short_cut_keys();
            if !self.mark_ephemeron_data(roots, may_wait) {
                return;
            }

            let mut finals = std::mem::take(&mut self.finals);
            let Finalisers { first, first_old, due, .. } = &mut finals;
            let before = due.len();
            take_dead(first, first_old, due, |v| self.unmarked(v));
            for f in due.range(before..) {
                self.darken(f.value);
            }
            self.finals = finals;
            // The finalisers that are due are roots from now on; no others will be added.
            if !self.mark_rest(roots, may_wait) || !self.mark_ephemeron_data(roots, may_wait) {
                return;
            }

            let mut finals = std::mem::take(&mut self.finals);
            let Finalisers { last, last_old, due, .. } = &mut finals;
            let before = due.len();
            take_dead(last, last_old, due, |v| self.unmarked(v));
            for f in due.range_mut(before..) {
                f.value = Value::UNIT;
            }
            self.finals = finals;

            self.clean_ephemerons();
            let mut weaks = std::mem::take(&mut self.handles.weaks);
            for slot in weaks.all() {
                if self.unmarked(*slot) {
                    *slot = Value::UNIT;
                }
            }
            self.handles.weaks = weaks;
        }
        self.start_sweep();
    }

    /// Marks the data of each marked ephemeron whose keys are all marked, until no more data gets marked. Returns false
    /// if that was postponed.
    unsafe fn mark_ephemeron_data(&mut self, roots: &mut dyn Roots, may_wait: bool) -> bool {
        // Reorders the table, undecided ephemerons first: there may be no memory for a second one.
        let mut all = std::mem::take(&mut self.ephemerons.all);
        let mut waiting = all.len();
        let mut complete = true;
        'all: loop {
            let before = waiting;
            for at in (0..before).rev() {
                if at % STEP_TABLE == 0 && may_wait && roots.cannot_wait() {
                    complete = false;
                    break 'all;
                }
                let e = all[at];
                // SAFETY: ephemerons in the table have not been swept, nor have their keys and data.
                unsafe {
                    let undecided =
                        self.unmarked(e) || (FIRST_KEY..e.wosize()).any(|i| self.unmarked(e.field(i)));
                    if !undecided {
                        if e.field(DATA).is_block() {
                            self.darken(e.field(DATA));
                            if !self.mark_rest(roots, may_wait) {
                                complete = false;
                                break 'all;
                            }
                        }
                        waiting -= 1;
                        all.swap(at, waiting);
                    }
                }
            }
            if waiting == before {
                break;
            }
        }
        self.ephemerons.all = all;
        complete
    }

    /// Replaces keys that are forced suspensions by their content, which can outlive the suspensions.
    unsafe fn short_cut_keys(&mut self) {
        for at in 0..self.ephemerons.all.len() {
            let e = self.ephemerons.all[at];
            // SAFETY: ephemerons in the table have not been swept, nor have their keys.
            unsafe {
                for i in FIRST_KEY..e.wosize() {
                    let key = e.field(i);
                    if key.is_block()
                        && !self.is_young(key)
                        && !self.old.is_naked(key)
                        && key.header().tag() == tag::FORWARD
                        && let Some(content) = self.content_of(key).filter(|content| content.is_block())
                    {
                        self.ephe_set_key(e, i - FIRST_KEY, content);
                    }
                }
            }
        }
    }

    /// Removes dead ephemerons from the table, and unsets dead keys together with the data.
    unsafe fn clean_ephemerons(&mut self) {
        let unset = self.atom(tag::ABSTRACT);
        let mut all = std::mem::take(&mut self.ephemerons.all);
        // SAFETY: ephemerons in the table have not been swept, nor have their keys and data.
        all.retain(|&e| unsafe {
            if self.unmarked(e) {
                return false;
            }
            for i in FIRST_KEY..e.wosize() {
                if self.unmarked(e.field(i)) {
                    *e.field_ptr(i) = unset;
                    *e.field_ptr(DATA) = unset;
                }
            }
            true
        });
        self.ephemerons.all = all;
    }

    /// Does a slice of about `words` words of the major collection; starts one if none is under way.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn major_slice(&mut self, roots: &mut dyn Roots, words: usize) {
        if self.config.mode == crate::Mode::Never {
            return;
        }
        self.begins(Work::Slice);
        // SAFETY: same contract.
        unsafe { self.major_step(roots, words, false) };
        self.end_slice(words);
        self.ends(Work::Slice);
    }

    fn end_slice(&mut self, words: usize) {
        self.drop_dead();
        if words < usize::MAX {
            self.old.trim_reserve(PAGES_PER_SLICE);
        }
    }

    /// If `may_wait`, long steps ask the roots whether the rest should be postponed.
    unsafe fn major_step(&mut self, roots: &mut dyn Roots, words: usize, may_wait: bool) {
        if self.cycle != Cycle::Idle {
            self.begin_work();
        }
        let mut left = words;
        loop {
            // SAFETY: same contract.
            let done = unsafe {
                match self.cycle {
                    Cycle::Idle => {
                        self.start_mark(roots);
                        0
                    }
                    Cycle::Mark => {
                        self.begins(Work::Mark);
                        let done = self.mark(roots, left);
                        self.ends(Work::Mark);
                        if self.is_all_scanned() {
                            self.begins(Work::FinishMark);
                            self.finish_mark(roots, may_wait);
                            self.ends(Work::FinishMark);
                            // It has been postponed.
                            if self.cycle == Cycle::Mark {
                                self.pace.worked(done);
                                break;
                            }
                        }
                        done
                    }
                    Cycle::Sweep => {
                        self.begins(Work::Sweep);
                        let done = self.sweep(left);
                        self.ends(Work::Sweep);
                        done
                    }
                }
            };
            self.pace.worked(done);
            left = left.saturating_sub(done);
            if left == 0 || self.cycle == Cycle::Idle {
                break;
            }
        }
        self.under_way = false;
    }

    /// As [`Heap::major_slice`], in steps of about a millisecond, between which the roots may postpone the rest.
    /// Returns whether it is done.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn major_in_steps(&mut self, roots: &mut dyn Roots, words: usize) -> bool {
        if self.config.mode == crate::Mode::Never {
            return true;
        }
        self.begins(Work::Slice);
        let mut left = words;
        let complete = loop {
            // SAFETY: same contract.
            unsafe { self.major_step(roots, left.min(STEP_WORDS), true) };
            left = left.saturating_sub(STEP_WORDS);
            if left == 0 || self.cycle == Cycle::Idle {
                break true;
            }
            if roots.cannot_wait() {
                break false;
            }
        };
        self.end_slice(words);
        self.ends(Work::Slice);
        complete
    }

    /// As [`Heap::finish_major`], in steps. Returns whether it is complete.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn finish_major_in_steps(&mut self, roots: &mut dyn Roots) -> bool {
        self.counters.forced_major_collections += 1;
        self.begins(Work::FinishCycle);
        // SAFETY: same contract.
        let complete = unsafe {
            self.minor(roots);
            self.major_in_steps(roots, usize::MAX)
        };
        self.ends(Work::FinishCycle);
        complete
    }

    /// As [`Heap::full_major`], in steps. Returns whether it is complete.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn full_major_in_steps(&mut self, roots: &mut dyn Roots) -> bool {
        // SAFETY: same contract.
        unsafe {
            (self.cycle == Cycle::Idle || self.major_in_steps(roots, usize::MAX))
                && self.finish_major_in_steps(roots)
        }
    }

    /// Completes the major collection under way, compacts if asked to, and begins the next one: that sees what is
    /// reachable now, and everything allocated later counts as reachable. If none is under way, does a whole one; but if
    /// `from_start`, the first one has been under way since the heap was created, so that everything counts as reachable.
    /// Works in steps, and returns whether it is complete.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn major_after_major(
        &mut self,
        roots: &mut dyn Roots,
        compact: bool,
        from_start: bool,
    ) -> bool {
        if self.config.mode == crate::Mode::Never {
            return true;
        }
        // SAFETY: same contract.
        unsafe {
            if from_start && self.cycle == Cycle::Idle && self.counters.major_collections == 0 {
                self.counters.major_collections += 1;
            } else if !self.finish_major_in_steps(roots) {
                return false;
            }
            if roots.cannot_wait() {
                return false;
            }
            if compact {
                self.minor(roots);
                self.compact_live(roots);
            }
            self.start_mark(roots);
            self.under_way = false;
        }
        true
    }

    /// Completes the major collection under way, or does a whole one if there is none.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn finish_major(&mut self, roots: &mut dyn Roots) {
        self.counters.forced_major_collections += 1;
        self.begins(Work::FinishCycle);
        // SAFETY: same contract.
        unsafe {
            self.minor(roots);
            self.major_slice(roots, usize::MAX);
        }
        self.ends(Work::FinishCycle);
    }

    /// Does a whole major collection, from the current roots. Values reachable only from finalisers that become due
    /// survive it: repeat it when those have run.
    ///
    /// # Safety
    /// See [`raw`](crate::raw).
    pub unsafe fn full_major(&mut self, roots: &mut dyn Roots) {
        // SAFETY: same contract.
        unsafe {
            if self.cycle != Cycle::Idle {
                self.major_slice(roots, usize::MAX);
            }
            self.finish_major(roots);
        }
    }
}

/// Moves the entries with dead values from a table to the queue of those that are due, the last one first. The first
/// `old` entries of the table were there at the last minor collection. The order of the others is kept. The queue has
/// room.
fn take_dead(
    table: &mut Vec<Final>,
    old: &mut usize,
    due: &mut VecDeque<Final>,
    dead: impl Fn(Value) -> bool,
) {
    due.extend(table.iter().rev().filter(|f| dead(f.value)));
    let (mut i, mut old_left) = (0, *old);
    table.retain(|f| {
        let dies = dead(f.value);
        old_left -= usize::from(dies && i < *old);
        i += 1;
        !dies
    });
    *old = old_left;
}
