//! Torture, and a check of the heap against its own rules that shares nothing with the collector but
//! the layout: it lists all cells, then walks from the roots with a hash set.

use crate::ephemeron::{DATA, FIRST_KEY, LINK};
use crate::heap::{Cycle, Heap};
use crate::pages::{MAX_CELL, POISON};
use crate::roots::{Phase, Roots, Visitor};
use crate::value::{Colour, Header, MAX_YOUNG_WOSIZE, Value, tag};
use std::collections::{HashMap, HashSet};

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
    /// See [`raw`](crate::raw); that the contract was kept is what is checked, as far as can be seen.
    pub unsafe fn verify(&mut self, roots: &mut dyn Roots) -> Result<(), BrokenHeap> {
        // SAFETY: cells are read as such; pointers are followed only if they lead to blocks found.
        unsafe {
            let blocks = self.verify_cells()?;
            let mut visitor = Visitor::new(self, Phase::Verify);
            roots.scan(&mut visitor);
            let mut reached: Vec<(Value, String)> =
                visitor.seen.into_iter().map(|v| (v, "a root of the client".into())).collect();
            self.verify_tables(&mut reached);
            self.verify_reachable(&blocks, reached)
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

    /// What the heap's own tables lead to. Weak targets are included: they must be blocks, too.
    unsafe fn verify_tables(&mut self, reached: &mut Vec<(Value, String)>) {
        let mut add = |v: Value, whence: &str| reached.push((v, whence.to_owned()));
        for &v in self.handles.roots.all().iter().chain(self.safe_roots.borrow_mut().all().iter()) {
            add(v, "a rooted handle");
        }
        for &v in self.handles.weaks.all().iter() {
            add(v, "a weak handle");
        }
        for f in self.finals.first.iter().chain(&self.finals.last).chain(&self.finals.due) {
            add(f.function, "a finaliser's function");
            add(f.value, "a finaliser's value");
        }
        for &e in &self.ephemerons.all {
            // SAFETY: in the table, so not swept.
            unsafe {
                for i in DATA..e.wosize() {
                    add(e.field(i), if i < FIRST_KEY { "an ephemeron's data" } else { "a weak key" });
                }
            }
        }
    }

    unsafe fn verify_reachable(
        &self,
        blocks: &HashMap<u64, Found>,
        mut todo: Vec<(Value, String)>,
    ) -> Result<(), BrokenHeap> {
        let remembered: HashSet<*mut Value> = self.remembered.iter().copied().collect();
        let remembered_ephemerons: HashSet<Value> = self.ephemerons.remembered.iter().copied().collect();
        let ephemerons: HashSet<Value> = self.ephemerons.all.iter().copied().collect();
        let mut seen = HashSet::new();
        while let Some((v, whence)) = todo.pop() {
            if v.is_int() || self.is_atom(v) {
                continue;
            }
            ensure!(v.bits() != POISON, "{whence} holds poison: it is stale or was never scanned");
            ensure!(v.bits().is_multiple_of(8), "{whence} holds {v:?}, which is not aligned");
            let young = self.is_young(v);
            if young {
                let live = self.young.ptr < v.as_ptr() && v.as_ptr() < self.young.top;
                ensure!(live, "{whence} holds {v:?}, in a part of the nursery without blocks");
            }
            // SAFETY: within the live nursery, or about to be checked: an infix pointer to an old block
            // has its header within that block, and any other old pointer must be among the blocks.
            let outer = unsafe {
                let known = young || blocks.contains_key(&v.bits());
                let near = || (2..=MAX_CELL as u64).any(|i| blocks.contains_key(&(v.bits() - 8 * i)));
                let large = || self.old.large.iter().chain(&self.old.large_unswept).any(|l| l.contains(v));
                ensure!(known || near() || large(), "{whence} holds {v:?}, which is not in the heap");
                if v.tag() == tag::INFIX { v.enclosing() } else { v }
            };
            // SAFETY: a block, once it has been found.
            let h = unsafe {
                ensure!(
                    young || blocks.contains_key(&outer.bits()),
                    "{whence} holds {v:?}, which is no block"
                );
                outer.header()
            };
            let offset = (v.bits() - outer.bits()) as usize / 8;
            ensure!(
                v == outer || h.tag() == tag::CLOSURE && offset < h.wosize(),
                "{whence} holds {v:?}, an infix pointer into {h:?}"
            );
            if !seen.insert(outer) {
                continue;
            }
            if young {
                let end = outer.as_ptr().wrapping_add(h.wosize());
                let sane = (1..=MAX_YOUNG_WOSIZE).contains(&h.wosize()) && end <= self.young.top;
                ensure!(sane && h.is_white(), "{whence} holds {v:?}, young with the header {h:?}");
            } else {
                let found = &blocks[&outer.bits()];
                let doomed = found.unswept && h.is_white();
                ensure!(!doomed, "{whence} holds {v:?} of {} words, which is about to be swept", found.words);
            }
            if ephemerons.contains(&outer) {
                // SAFETY: an ephemeron of the heap's.
                unsafe {
                    for i in DATA..h.wosize() {
                        let known =
                            remembered_ephemerons.contains(&outer) && outer.field(LINK) == Value::TRUE;
                        let is_young = self.is_young_block(outer.field(i));
                        ensure!(known || !is_young, "ephemeron {outer:?} has young content unremembered");
                        todo.push((outer.field(i), format!("field {i} of the ephemeron {outer:?}")));
                    }
                }
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
                todo.push((field, format!("field {i} of {outer:?} ({h:?})")));
            }
        }
        Ok(())
    }

    /// What torture mode does at each allocation.
    ///
    /// # Panics
    /// If the heap is broken: that is what the mode is for.
    pub(crate) unsafe fn torture(&mut self, roots: &mut dyn Roots) {
        self.tortures += 1;
        self.due = false;
        let period = self.config.torture_period.max(1);
        // SAFETY: same contract.
        unsafe {
            self.minor(roots);
            if !self.tortures.is_multiple_of(period) {
                self.major_slice(roots, 1 + self.tortures * 37 % 256);
            } else {
                if (self.tortures / period).is_multiple_of(2) {
                    self.full_major(roots);
                } else {
                    self.compact(roots);
                }
                if let Err(broken) = self.verify(roots) {
                    panic!("{broken}");
                }
            }
        }
    }
}
