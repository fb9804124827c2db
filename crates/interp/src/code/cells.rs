//! Where translated code is: in a unit's own memory, or, for a program that many machines run, in memory that they share.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;

/// A unit's cells: its own, or those that a program's machines share.
pub(crate) enum Cells {
    Own(Box<[Cell<u64>]>),
    Shared(Arc<SharedCells>),
}

impl Deref for Cells {
    type Target = [Cell<u64>];

    fn deref(&self) -> &[Cell<u64>] {
        match self {
            Cells::Own(cells) => cells,
            Cells::Shared(shared) => shared,
        }
    }
}

/// The translated cells of a program, which any number of machines run.
pub(crate) struct SharedCells(Box<[Cell<u64>]>);

// SAFETY: nothing writes to shared cells (see `Unit::exchange` and `Unit::poison`) but the method lookup to its caches,
// which it only accesses as atomics; what one machine finds in a cache of another's is a guess that it checks.
unsafe impl Sync for SharedCells {}

impl SharedCells {
    pub(super) fn new(cells: Box<[Cell<u64>]>) -> SharedCells {
        SharedCells(cells)
    }
}

impl Deref for SharedCells {
    type Target = [Cell<u64>];

    fn deref(&self) -> &[Cell<u64>] {
        &self.0
    }
}
