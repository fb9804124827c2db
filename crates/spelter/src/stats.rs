//! Statistics about a machine, as `spelter run --stats` prints them.

use std::fmt;

use spelter_interp::Machine;

/// Statistics about a machine's work so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Minor collections.
    pub minor_collections: u64,
    /// Major collections completed.
    pub major_collections: u64,
    /// Compactions.
    pub compactions: u64,
    /// Words allocated, without promotions.
    pub allocated_words: f64,
    /// Words of the major heap now.
    pub heap_words: u64,
    /// Words of the major heap at its largest.
    pub top_heap_words: u64,
    /// Units loaded at run time.
    pub units_loaded: u64,
    /// Of these, freed.
    pub units_freed: u64,
    /// Of these, alive.
    pub units_alive: u64,
    /// Code bytes loaded at run time.
    pub code_bytes_loaded: u64,
    /// Of these, freed.
    pub code_bytes_freed: u64,
    /// Of these, alive.
    pub code_bytes_alive: u64,
    /// Fibers that exist: stacks of code that handles effects. A thread's first stack counts once it has run another.
    pub fibers: u64,
}

impl Stats {
    pub(crate) fn of(m: &Machine) -> Self {
        let heap = m.heap().stats();
        let units = m.units().counts;
        Stats {
            minor_collections: heap.minor_collections as u64,
            major_collections: heap.major_collections as u64,
            compactions: heap.compactions as u64,
            allocated_words: heap.minor_words as f64 + heap.major_words as f64 - heap.promoted_words as f64,
            heap_words: heap.heap_words as u64,
            top_heap_words: heap.top_heap_words as u64,
            units_loaded: units.loaded,
            units_freed: units.freed,
            units_alive: units.alive(),
            code_bytes_loaded: units.loaded_bytes,
            code_bytes_freed: units.freed_bytes,
            code_bytes_alive: units.alive_bytes(),
            fibers: m.fiber_count() as u64,
        }
    }

    /// The statistics with their names, in display order.
    pub fn rows(&self) -> [(&'static str, u64); 13] {
        [
            ("minor_collections", self.minor_collections),
            ("major_collections", self.major_collections),
            ("compactions", self.compactions),
            ("allocated_words", self.allocated_words as u64),
            ("heap_words", self.heap_words),
            ("top_heap_words", self.top_heap_words),
            ("units_loaded", self.units_loaded),
            ("units_freed", self.units_freed),
            ("units_alive", self.units_alive),
            ("code_bytes_loaded", self.code_bytes_loaded),
            ("code_bytes_freed", self.code_bytes_freed),
            ("code_bytes_alive", self.code_bytes_alive),
            ("fibers", self.fibers),
        ]
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.rows() {
            writeln!(f, "{name}: {value}")?;
        }
        Ok(())
    }
}
