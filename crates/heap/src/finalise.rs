//! Finalisation functions that the program attaches to values, with the semantics of OCaml's
//! `Gc.finalise` and `Gc.finalise_last`.
//!
//! - *first*: when a major collection finds the value unreached, the function is due with the value
//!   itself, which lives again until the function is done with it. Functions found due by
//!   one collection run in the reverse order of their registration, as OCaml 4 runs them.
//! - *last*: when the value is finally gone, by a minor or major collection, the function is due
//!   with unit.
//!
//! The heap only keeps the queue; the client runs the functions when it is fit to.

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
    /// Entries of `last` before this one were there at the last minor collection, so are old.
    pub(crate) last_old: usize,
    /// Likewise for `first`.
    pub(crate) first_old: usize,
    /// Functions that are due, with their arguments. Roots, both.
    pub(crate) due: VecDeque<Final>,
}

impl Finalisers {
    /// Room for one more, also where it will be when it is due: a collection cannot ask for memory.
    fn make_room(&mut self) -> Result<(), OutOfMemory> {
        let all = self.first.len() + self.last.len() + 1;
        let room = self.first.try_reserve(1).and_then(|()| self.last.try_reserve(1));
        room.and_then(|()| self.due.try_reserve(all)).map_err(|_| OutOfMemory { words: 3 * all })
    }
}

impl Heap {
    /// Calls for `function` once `v` is unreached. `v` must be a block.
    ///
    /// # Safety
    /// Both are valid values of this heap.
    pub unsafe fn final_register(&mut self, function: Value, value: Value) -> Result<(), OutOfMemory> {
        debug_assert!(value.is_block());
        self.finals.make_room()?;
        self.finals.first.push(Final { function, value });
        Ok(())
    }

    /// Calls for `function` once `v` is gone. `v` must be a block.
    ///
    /// # Safety
    /// Both are valid values of this heap.
    pub unsafe fn final_register_last(&mut self, function: Value, value: Value) -> Result<(), OutOfMemory> {
        debug_assert!(value.is_block());
        self.finals.make_room()?;
        self.finals.last.push(Final { function, value });
        Ok(())
    }

    /// Whether [`Heap::next_finaliser`] has something.
    #[inline(always)]
    pub fn finalisers_pending(&self) -> bool {
        !self.finals.due.is_empty()
    }

    /// Takes the next function that is due and its argument.
    pub fn next_finaliser(&mut self) -> Option<(Value, Value)> {
        self.finals.due.pop_front().map(|f| (f.function, f.value))
    }
}
