//! Torture mode, and a check of the heap's invariants that shares only the layout with the collector: it lists all
//! cells, then walks from the roots with a hash set.

use crate::custom::{external_mut, is_traced};
use crate::ephemeron::{DATA, LINK};
use crate::heap::{Cycle, Heap};
use crate::pages::{MAX_CELL, POISON};
use crate::roots::{Phase, Roots, Visitor};
use crate::value::{Colour, Header, MAX_YOUNG_WOSIZE, Value, tag};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// A broken invariant, found by [`Heap::verify`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("broken heap: {0}")]
pub struct BrokenHeap(String);

macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(BrokenHeap(format!($($what)+)));
        }
    };
}

/// Where a value was found. Formatted only when something is wrong.
#[derive(Clone, Copy)]
enum Origin {
    Table(&'static str),
    Field(Value, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Origin::Table(name) => f.write_str(name),
            // SAFETY: the block was checked before its fields were.
            Origin::Field(block, i) => write!(f, "field {i} of {block:?} ({:?})", unsafe { block.header() }),
        }
    }
}

/// The state of a cell or large block that holds a block.
struct Found {
    words: usize,
    unswept: bool,
}

impl Heap {
    /// Checks the heap: headers, free lists, colours, the remembered set, and that everything reachable
    /// is a block. Takes time and memory in proportion to the heap.
    ///
    /// # Safety
    /// See [`raw`](crate::raw). This checks, as far as it can, that the contract was kept.
    pub unsafe fn verify(&mut self, roots: &mut dyn Roots) -> Result<(), BrokenHeap> {
        // SAFETY: cells are read as such; pointers are followed only if they point to blocks that were found.
        unsafe {
            let blocks = self.verify_cells()?;
            let mut reached = Vec::new();
            self.each_root(roots, |kind, v| reached.push((v, Origin::Table(kind.name()))));
            self.weak_targets(&mut reached);
            self.verify_reachable(roots, &blocks, reached)
        }
    }

    unsafe fn verify_cells(&self) -> Result<HashMap<u64, Found>, BrokenHeap> {
        let mut blocks = HashMap::new();
        let mut add = |base: *mut u64, words: usize, unswept: bool| {
            // SAFETY: cells and large blocks begin with a header.
            let h = Header::from_bits(unsafe { *base });
            let legal = match (self.cycle, h.colour()) {
                (_, Colour::White) => true,
                (Cycle::Mark, Colour::Black) => true,
                (Cycle::Sweep, Colour::Black) => unswept,
                _ => false,
            };
            ensure!(legal, "the block at {base:p} is {h:?} during {:?}", self.cycle);
            ensure!(h.wosize() > 0 && h.whsize() <= words, "{h:?} in {words} words at {base:p}");
            ensure!(h.tag() != tag::INFIX, "a block of its own at {base:p} has an infix header");
            blocks.insert(base as u64 + 8, Found { words, unswept });
            Ok(())
        };
        for class in &self.old.classes {
            let current = class.current.iter().map(|p| (p, Some(class.free_list), false));
            let open = class.open.iter().chain(&class.full).map(|p| (p, Some(p.free_list), false));
            let unswept = class.unswept.iter().map(|p| (p, None, true));
            for (page, free_list, unswept) in current.chain(open).chain(unswept) {
                let mut blue = HashSet::new();
                for i in 0..page.cells() {
                    let cell = page.cell_at(i);
                    // SAFETY: cells begin with a header.
                    if Header::from_bits(unsafe { *cell }).colour() == Colour::Blue {
                        blue.insert(cell);
                    } else {
                        add(cell, page.cell, unswept)?;
                    }
                }
                let Some(mut free) = free_list else { continue };
                while !free.is_null() {
                    ensure!(blue.remove(&free), "the free list of page {:p} leads to {free:p}", page.base);
                    // SAFETY: a free cell of this page; word 1 links to the next.
                    free = unsafe { *free.add(1) } as *mut u64;
                }
                ensure!(blue.is_empty(), "page {:p} has lost free cells", page.base);
            }
        }
        for large in &self.old.large {
            add(large.base, large.words, false)?;
        }
        for large in &self.old.large_unswept {
            add(large.base, large.words, true)?;
        }
        Ok(blocks)
    }

    /// Adds the targets that are only held weakly, which must be blocks, too.
    unsafe fn weak_targets(&mut self, found: &mut Vec<(Value, Origin)>) {
        found.extend(self.handles.weaks.all().iter().map(|&v| (v, Origin::Table("a weak handle"))));
        for f in self.finals.first.iter().chain(&self.finals.last) {
            found.push((f.value, Origin::Table("a value with a finaliser")));
        }
        for &e in &self.ephemerons.all {
            // SAFETY: in the table, so not swept.
            unsafe { found.extend((DATA..e.wosize()).map(|i| (e.field(i), Origin::Field(e, i)))) }
        }
    }

    unsafe fn verify_reachable(
        &mut self,
        roots: &mut dyn Roots,
        blocks: &HashMap<u64, Found>,
        mut todo: Vec<(Value, Origin)>,
    ) -> Result<(), BrokenHeap> {
        let remembered: HashSet<*mut Value> = self.remembered.iter().copied().collect();
        let remembered_ephemerons: HashSet<Value> = self.ephemerons.remembered.iter().copied().collect();
        let ephemerons: HashSet<Value> = self.ephemerons.all.iter().copied().collect();
        let mut seen = HashSet::new();
        while let Some((v, origin)) = todo.pop() {
            if v.is_int() || self.is_atom(v) || self.is_naked(v) && v.bits() != POISON {
                continue;
            }
            ensure!(v.bits() != POISON, "{origin} holds poison: it is stale or was never scanned");
            ensure!(v.bits().is_multiple_of(8), "{origin} holds {v:?}, which is not aligned");
            let young = self.is_young(v);
            if young {
                let live = self.young.ptr < v.as_ptr() && v.as_ptr() < self.young.top;
                ensure!(live, "{origin} holds {v:?}, in a part of the nursery without blocks");
            }
            // SAFETY: within the live nursery, or about to be checked: an infix pointer to an old block
            // has its header within that block, and any other old pointer must be among the blocks.
            let outer = unsafe {
                let known = young || blocks.contains_key(&v.bits());
                let near =
                    || (2..=MAX_CELL as u64).any(|i| blocks.contains_key(&v.bits().wrapping_sub(8 * i)));
                let large = || self.old.large.iter().chain(&self.old.large_unswept).any(|l| l.contains(v));
                // The operations of custom blocks have headers, too. This is checked last, as other addresses may have
                // none.
                if !known && !near() && !large() {
                    ensure!(v.is_outside(), "{origin} holds {v:?}, which is not in the heap");
                    continue;
                }
                if v.tag() == tag::INFIX { v.enclosing() } else { v }
            };
            // SAFETY: a block, once it has been found.
            let h = unsafe {
                ensure!(
                    young || blocks.contains_key(&outer.bits()),
                    "{origin} holds {v:?}, which is no block"
                );
                outer.header()
            };
            let offset = (v.bits() - outer.bits()) as usize / 8;
            ensure!(
                v == outer || h.tag() == tag::CLOSURE && offset < h.wosize(),
                "{origin} holds {v:?}, an infix pointer into {h:?}"
            );
            if !seen.insert(outer) {
                continue;
            }
            if young {
                let end = outer.as_ptr().wrapping_add(h.wosize());
                let sane = (1..=MAX_YOUNG_WOSIZE).contains(&h.wosize()) && end <= self.young.top;
                ensure!(sane && h.is_white(), "{origin} holds {v:?}, young with the header {h:?}");
            } else {
                let found = &blocks[&outer.bits()];
                let doomed = found.unswept && h.is_white();
                ensure!(!doomed, "{origin} holds {v:?} of {} words, which is about to be swept", found.words);
            }
            if ephemerons.contains(&outer) {
                // SAFETY: an ephemeron of this heap.
                unsafe {
                    for i in DATA..h.wosize() {
                        let known =
                            remembered_ephemerons.contains(&outer) && outer.field(LINK) == Value::TRUE;
                        let is_young = self.is_young_block(outer.field(i));
                        ensure!(known || !is_young, "ephemeron {outer:?} has young content unremembered");
                        todo.push((outer.field(i), Origin::Field(outer, i)));
                    }
                }
            }
            // SAFETY: a block of a kind that the heap knows.
            if h.tag() == tag::CUSTOM && unsafe { is_traced(outer) } {
                let mut visitor = Visitor::new(self, Phase::Verify);
                // SAFETY: it is alive, and nothing else has access to its data meanwhile.
                if let Some(data) = unsafe { external_mut(outer) } {
                    roots.trace(data, &mut visitor);
                }
                todo.extend(visitor.seen.into_iter().map(|v| (v, Origin::Table("what a traced block owns"))));
            }
            if h.tag() >= tag::NO_SCAN {
                continue;
            }
            for i in 0..h.wosize() {
                // SAFETY: a block of values.
                let (slot, field) = unsafe { (outer.field_ptr(i), outer.field(i)) };
                if field.is_int() {
                    continue;
                }
                let known = young || !self.is_young(field) || remembered.contains(&slot);
                ensure!(
                    known,
                    "field {i} of the old {outer:?} ({h:?}) holds the young {field:?} unremembered"
                );
                todo.push((field, Origin::Field(outer, i)));
            }
        }
        Ok(())
    }

    /// What torture mode does at each allocation: a minor collection and a slice of a major one. From time to time,
    /// less often as the heap grows, it does a complete collection instead, every second one with a compaction, and
    /// checks the heap.
    ///
    /// # Panics
    /// If the heap is broken, which is the purpose of the mode.
    pub(crate) unsafe fn torture(&mut self, roots: &mut dyn Roots) {
        self.due = false;
        self.torture.rounds += 1;
        self.torture.wait = self.torture.wait.saturating_sub(1);
        // SAFETY: same contract.
        unsafe {
            self.minor(roots);
            if self.torture.wait > 0 {
                self.major_slice(roots, self.torture.rounds * 37 % 64);
                return;
            }
            self.torture.complete += 1;
            if self.torture.complete.is_multiple_of(2) {
                self.compact(roots);
            } else {
                self.full_major(roots);
            }
            self.torture.wait = self.config.torture_period.max(self.old.words() / 64);
            if let Err(broken) = self.verify(roots) {
                panic!("{broken}");
            }
        }
    }
}

/// The progress of torture mode.
#[derive(Default)]
pub(crate) struct Torture {
    rounds: usize,
    complete: usize,
    /// Rounds until the next complete collection.
    wait: usize,
}
