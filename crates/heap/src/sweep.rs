//! Sweeping: turns unmarked blocks into free cells, page by page, and marked ones white again. Pages that turn out
//! empty are released.

use crate::heap::{Cycle, Heap};
use crate::mark::STEP_WORDS;
use crate::pages::{Page, Pages};
use crate::system::PAGE_WORDS;
use crate::value::{Colour, Header, Value, tag};
use std::ptr;

impl Pages {
    /// Marks all pages and large blocks as unswept.
    fn start_sweep(&mut self) {
        self.swept_live = 0;
        for class in &mut self.classes {
            class.retire_current(&mut self.stock);
            self.stock.reserve(&mut class.unswept, class.open.len() + class.full.len());
            class.unswept.append(&mut class.open);
            class.unswept.append(&mut class.full);
        }
        std::mem::swap(&mut self.large_unswept, &mut self.large);
    }

    /// Sweeps a page of class `c` and files it where it belongs.
    pub(crate) fn sweep_page(&mut self, c: usize, mut page: Page) {
        // Everything is in local variables, for registers: a page has up to two thousand cells, and the compiler must
        // assume that stores into it alias memory.
        let (mut free_list, mut free, mut live) = (ptr::null_mut::<u64>(), 0, 0);
        let (base, words, poison) = (page.base, page.cell, self.poison);
        let blue = Header::new(words - 1, 0).with_colour(Colour::Blue).bits();
        let mut cell = base.wrapping_add(page.cells() * words);
        while cell > base {
            cell = cell.wrapping_sub(words);
            // SAFETY: a cell begins with a header and has at least two words; an unmarked block is unreachable, so its
            // cell is free.
            unsafe {
                let h = Header::from_bits(*cell);
                match h.colour() {
                    Colour::Black => {
                        *cell = h.with_colour(Colour::White).bits();
                        live += h.whsize();
                        continue;
                    }
                    Colour::Blue => {}
                    Colour::White | Colour::Gray => {
                        if h.tag() == tag::CUSTOM {
                            self.bury(Value::from_ptr(cell.add(1)));
                        }
                        if poison {
                            self.poison_cell(cell, words);
                        }
                    }
                }
                *cell = blue;
                *cell.add(1) = free_list as u64;
            }
            free_list = cell;
            free += 1;
        }
        (page.free_list, page.free) = (free_list, free);
        self.swept_live += live;
        if page.live() == 0 {
            self.release(page);
        } else {
            self.classes[c].file(page, &mut self.stock);
        }
    }

    /// Sweeps one large block. Returns whether there was one left.
    fn sweep_large(&mut self) -> bool {
        let Some(large) = self.large_unswept.pop() else { return false };
        // SAFETY: a large block begins with a header; unmarked, it is unreachable.
        unsafe {
            let h = Header::from_bits(*large.base);
            if h.is_white() {
                if h.tag() == tag::CUSTOM {
                    self.bury(Value::from_ptr(large.base.add(1)));
                }
                self.free_large(large);
            } else {
                *large.base = h.with_colour(Colour::White).bits();
                self.swept_live += h.whsize();
                self.stock.reserve(&mut self.large, 1);
                self.large.push(large);
            }
        }
        true
    }
}

impl Heap {
    pub(crate) fn start_sweep(&mut self) {
        self.counters.words_to_sweep = self.old.words();
        self.old.start_sweep();
        self.cycle = Cycle::Sweep;
    }

    /// Sweeps about `budget` words, and returns how many it swept. When nothing is left, the major collection ends.
    pub(crate) fn sweep(&mut self, budget: usize) -> usize {
        let mut done = 0;
        for c in 0..self.old.classes.len() {
            while let Some(page) = self.old.classes[c].unswept.pop() {
                let buried = self.old.dead.boxes.len();
                self.old.sweep_page(c, page);
                done += PAGE_WORDS + DROP_WORDS * (self.old.dead.boxes.len() - buried);
                if done >= budget {
                    return done;
                }
            }
        }
        loop {
            if self.old.free_dying() {
                done += STEP_WORDS;
            } else if self.old.sweep_large() {
                done += 16; // the cost of a header and a call, whatever the block's size
            } else {
                break;
            }
            if done >= budget {
                return done;
            }
        }
        self.finish_sweep();
        done
    }

    fn finish_sweep(&mut self) {
        self.cycle = Cycle::Idle;
        self.counters.major_collections += 1;
        self.drop_dead();
        let live = self.old.swept_live;
        self.pace.cycle_ended(live);
        self.tell_sizes();
        if live > 0 {
            let wasted = self.counters.words_to_sweep.saturating_sub(live);
            self.counters.overheads.0 += 100.0 * wasted as f64 / live as f64;
            self.counters.overheads.1 += 1;
        }
        let free = self.old.words().saturating_sub(live);
        let bound = live as u128 * u128::from(self.config.max_overhead) / 100;
        if self.config.max_overhead < 1_000_000
            && free as u128 > bound
            && self.old.page_count >= MIN_PAGES_TO_COMPACT
        {
            self.compaction_due = true;
            self.request();
        }
    }
}

/// Dropping the data of an external takes at least as long as sweeping this many words.
const DROP_WORDS: usize = 32;

/// With fewer pages, a compaction gains little: each class may need a page anyway.
const MIN_PAGES_TO_COMPACT: usize = 256;
