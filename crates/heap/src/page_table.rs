//! Which addresses are those of the heap's memory, for programs with *naked pointers*: values that point outside the
//! heap, to anything, as C libraries for OCaml 4 make them. The collector looks a pointer up before it follows it.
//!
//! A heap has no such table unless its client asks for it ([`Heap::allow_naked_pointers`](crate::Heap)).

use std::collections::BTreeMap;
use std::ops::Range;

use rustc_hash::FxHashSet;

use crate::pages::Large;
use crate::system::PAGE_WORDS;
use crate::value::Value;

/// The bytes of a granule: pages of the heap begin at a multiple of it.
const GRANULE: u64 = 4096;

/// The granules of a page.
const GRANULES: u64 = 8 * PAGE_WORDS as u64 / GRANULE;

/// The old generation's memory.
#[derive(Default)]
pub(crate) struct PageTable {
    /// The granules of its pages.
    granules: FxHashSet<u64>,
    /// The first address of each large block, and the one behind it. They need not fill granules.
    large: BTreeMap<u64, u64>,
}

fn granules_at(base: *mut u64) -> Range<u64> {
    let first = base as u64 / GRANULE;
    first..first + GRANULES
}

impl PageTable {
    /// Adds a page.
    pub(crate) fn add_page(&mut self, base: *mut u64) {
        self.granules.extend(granules_at(base));
    }

    /// Removes it.
    pub(crate) fn remove_page(&mut self, base: *mut u64) {
        for granule in granules_at(base) {
            self.granules.remove(&granule);
        }
    }

    /// Adds a large block.
    pub(crate) fn add_large(&mut self, large: &Large) {
        self.large.insert(large.base as u64, large.base as u64 + 8 * large.words as u64);
    }

    /// Removes it.
    pub(crate) fn remove_large(&mut self, large: &Large) {
        self.large.remove(&(large.base as u64));
    }

    /// Whether a pointer leads into this memory.
    pub(crate) fn contains(&self, v: Value) -> bool {
        let at = v.bits();
        self.granules.contains(&(at / GRANULE))
            || self.large.range(..=at).next_back().is_some_and(|(_, end)| at < *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_pages_and_large_blocks_exactly() {
        let mut table = PageTable::default();
        let at = |address: u64| Value::from_bits(address);
        let page = (GRANULE * 10) as *mut u64;
        table.add_page(page);
        let large = Large { base: 0x7000_0010 as *mut u64, words: 1000 };
        table.add_large(&large);
        let end = GRANULE * (10 + GRANULES);
        for (address, inside) in [
            (GRANULE * 10 - 8, false),
            (GRANULE * 10, true),
            (end - 8, true),
            (end, false),
            (0x7000_0008, false),
            (0x7000_0010, true),
            (0x7000_0010 + 7992, true),
            (0x7000_0010 + 8000, false),
        ] {
            assert_eq!(table.contains(at(address)), inside, "{address:#x}");
        }
        table.remove_page(page);
        table.remove_large(&large);
        assert!(!table.contains(at(GRANULE * 10)) && !table.contains(at(0x7000_0010)));
    }
}
