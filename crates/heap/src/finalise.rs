//! Finalisation functions that the program attaches to values, with the semantics of OCaml's
//! `Gc.finalise` and `Gc.finalise_last`.
//!
//! - *first*: when a major collection finds the value unreachable, the function is due with the value itself as its
//!   argument; the value stays alive until the function has finished with it. Functions found due by one collection run
//!   in the reverse order of their registration, as OCaml 4 runs them.
//! - *last*: when a minor or major collection has found the value dead for good, the function is due with unit as its
//!   argument.
//!
//! The heap only keeps the queue; the client runs the functions when it can.

use crate::heap::{Heap, OutOfMemory};
use crate::value::Value;
use std::collections::VecDeque;

#[derive(Clone, Copy)]
pub(crate) struct Final {
    pub(crate) function: Value,
    pub(crate) value: Value,
}

#[derive(Default)]
pub(crate) struct Finalisers {
    pub(crate) first: Vec<Final>,
    pub(crate) last: Vec<Final>,
    /// Entries of `last` before this index were there at the last minor collection, so they are old.
    pub(crate) last_old: usize,
    /// The same for `first`.
    pub(crate) first_old: usize,
    /// Functions that are due, with their arguments. Both are roots.
    pub(crate) due: VecDeque<Final>,
}

impl Finalisers {
    pub(crate) fn bytes(&self) -> usize {
        (self.first.capacity() + self.last.capacity() + self.due.capacity()) * size_of::<Final>()
    }

    /// What the tables grow by for one more entry, if they must.
    fn growth(&self) -> Option<usize> {
        let all = self.first.len() + self.last.len();
        let full = self.first.len() == self.first.capacity()
            || self.last.len() == self.last.capacity()
            || all >= self.due.capacity();
        full.then(|| 3 * all.max(4) * size_of::<Final>())
    }

    /// Makes room for one more entry, in its table and among those that are due: a collection cannot ask for memory.
    fn make_room(&mut self) -> Result<(), OutOfMemory> {
        let all = self.first.len() + self.last.len() + 1;
        let room = self.first.try_reserve(1).and_then(|()| self.last.try_reserve(1));
        room.and_then(|()| self.due.try_reserve(all)).map_err(|_| OutOfMemory { words: 3 * all })
    }
}

impl Heap {
    /// Makes `function` due once `value`, which must be a block, is unreachable.
    ///
    /// # Safety
    /// Both are valid values of this heap.
    pub unsafe fn final_register(&mut self, function: Value, value: Value) -> Result<(), OutOfMemory> {
        debug_assert!(value.is_block());
        if let Some(bytes) = self.finals.growth() {
            self.take_for_tables(bytes)?;
        }
        self.finals.make_room()?;
        self.finals.first.push(Final { function, value });
        Ok(())
    }

    /// Makes `function` due once `value`, which must be a block, is dead.
    ///
    /// # Safety
    /// Both are valid values of this heap.
    pub unsafe fn final_register_last(&mut self, function: Value, value: Value) -> Result<(), OutOfMemory> {
        debug_assert!(value.is_block());
        if let Some(bytes) = self.finals.growth() {
            self.take_for_tables(bytes)?;
        }
        self.finals.make_room()?;
        self.finals.last.push(Final { function, value });
        Ok(())
    }

    /// Whether [`Heap::next_finaliser`] would return a function.
    #[inline(always)]
    pub fn finalisers_pending(&self) -> bool {
        !self.finals.due.is_empty()
    }

    /// Forgets the functions that are due, which keep their arguments alive. Returns whether there were any.
    pub fn forget_due_finalisers(&mut self) -> bool {
        let any = self.finalisers_pending();
        self.finals.due.clear();
        any
    }

    /// Removes the next function that is due from the queue, and returns it with its argument.
    pub fn next_finaliser(&mut self) -> Option<(Value, Value)> {
        self.finals.due.pop_front().map(|f| (f.function, f.value))
    }
}
