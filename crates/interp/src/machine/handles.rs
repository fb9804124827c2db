//! Values that Rust code keeps alive outside of any primitive.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spelter_heap::OutOfMemory;
use spelter_heap::raw::Value;

use crate::Machine;
use crate::fallible;
use crate::prim::{Raise, Slot};

/// Keeps a value alive, and its address up to date, until the handle and all its copies are dropped.
///
/// A handle is only a number: any thread may copy or drop it, whichever has the machine.
pub struct Kept {
    number: u32,
    counts: Arc<Counts>,
}

impl Kept {
    /// The value's number. No other value that is kept has it; copies of a handle do.
    pub fn number(&self) -> usize {
        self.number as usize
    }
}

impl Clone for Kept {
    fn clone(&self) -> Kept {
        let mut state = self.counts.state();
        state.copies[self.number()] += 1;
        state.handles += 1;
        Kept { number: self.number, counts: Arc::clone(&self.counts) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut state = self.counts.state();
        state.handles -= 1;
        let copies = &mut state.copies[self.number as usize];
        *copies -= 1;
        if *copies == 0 {
            state.vacant.push(self.number);
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({})", self.number)
    }
}

/// What a machine and its handles share. The machine has the values.
#[derive(Default)]
struct Counts(Mutex<State>);

impl Counts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    /// How many handles there are of each value.
    copies: Vec<u32>,
    /// The numbers without a handle. There is always room for all numbers: dropping a handle needs no memory.
    vacant: Vec<u32>,
    /// The values of so many of these, from the first, have been forgotten.
    forgotten: usize,
    /// How many handles there are.
    handles: usize,
}

/// The values that handles keep.
#[derive(Default)]
pub(crate) struct KeptValues {
    values: Vec<Value>,
    counts: Arc<Counts>,
}

impl KeptValues {
    fn reserve(&mut self, more: usize) -> Result<(), OutOfMemory> {
        let mut state = self.counts.state();
        let new = more.saturating_sub(state.vacant.len());
        let all = self.values.len() + new;
        let vacant = all - state.vacant.len();
        let room = self.values.try_reserve(new).and_then(|()| state.copies.try_reserve(new));
        room.and_then(|()| state.vacant.try_reserve(vacant)).map_err(|_| OutOfMemory { words: all })
    }

    fn insert(&mut self, v: Value) -> Kept {
        let mut state = self.counts.state();
        let number = match state.vacant.pop() {
            Some(number) => number,
            None => {
                self.values.push(Value::UNIT);
                state.copies.push(0);
                u32::try_from(self.values.len() - 1).expect("fewer than 2^32 handles")
            }
        };
        state.forgotten = state.forgotten.min(state.vacant.len());
        state.copies[number as usize] = 1;
        state.handles += 1;
        self.values[number as usize] = v;
        Kept { number, counts: Arc::clone(&self.counts) }
    }

    fn get(&self, kept: &Kept) -> Value {
        assert!(Arc::ptr_eq(&kept.counts, &self.counts), "this value belongs to another machine");
        self.values[kept.number()]
    }

    /// All values, by number, without those whose handles have been dropped.
    pub(super) fn all(&mut self) -> &mut [Value] {
        let mut state = self.counts.state();
        for number in &state.vacant[state.forgotten..] {
            self.values[*number as usize] = Value::UNIT;
        }
        state.forgotten = state.vacant.len();
        &mut self.values
    }

    /// Gives back the memory of vacant numbers at the end.
    pub(crate) fn shrink(&mut self) {
        let mut state = self.counts.state();
        let used = state.copies.iter().rposition(|copies| *copies > 0).map_or(0, |last| last + 1);
        state.vacant.retain(|number| (*number as usize) < used);
        state.forgotten = 0;
        state.copies.truncate(used);
        state.copies.shrink_to_fit();
        state.vacant.shrink_to(used);
        drop(state);
        self.values.truncate(used);
        self.values.shrink_to_fit();
    }
}

impl Machine {
    /// Reserves room for `more` kept values: [`Machine::keep`] and copies of handles cannot report a lack of memory.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn reserve_kept(&mut self, more: usize) -> Result<(), Raise> {
        Ok(self.roots.kept.reserve(more)?)
    }

    /// Keeps the value in a slot alive beyond the primitive to which the slot belongs.
    ///
    /// # Panics
    /// When there is no memory for a handle. Code that acts on a program's request calls [`Machine::reserve_kept`]
    /// first.
    pub fn keep(&mut self, s: Slot) -> Kept {
        self.reserve_kept(1).expect("memory for a handle");
        let v = self.raw(s);
        self.roots.kept.insert(v)
    }

    /// Pushes a kept value into a new slot.
    ///
    /// # Panics
    /// When the value belongs to another machine.
    pub fn push_kept(&mut self, kept: &Kept) -> Slot {
        let v = self.roots.kept.get(kept);
        self.push_raw(v)
    }

    /// Like [`Machine::push_kept`], for callers that can report a lack of memory.
    ///
    /// # Errors
    /// When there is no memory for another slot.
    pub fn try_push_kept(&mut self, kept: &Kept) -> Result<Slot, Raise> {
        let v = self.roots.kept.get(kept);
        self.roots.thread.stack.try_push_temp(v)
    }

    /// Whether it is a value of this machine.
    pub fn keeps(&self, kept: &Kept) -> bool {
        Arc::ptr_eq(&kept.counts, &self.roots.kept.counts)
    }

    /// How many handles keep values.
    pub fn kept_count(&self) -> usize {
        self.roots.kept.counts.state().handles
    }

    /// How many handles keep the value with this number.
    pub fn handles_of(&self, number: usize) -> usize {
        self.roots.kept.counts.state().copies.get(number).map_or(0, |copies| *copies as usize)
    }

    /// How many values are registered.
    pub fn named_count(&self) -> usize {
        self.roots.named.len()
    }

    /// Like [`Machine::register_named`], for a program, whose names may be of any size and number.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn try_register_named(&mut self, name: &[u8], v: Slot) -> Result<(), Raise> {
        fallible::afford(name.len())?;
        if self.heap.account().is_limited() && !self.roots.named.contains_key(name) {
            self.take(name_cost(name))?;
        }
        self.roots.named.try_reserve(1)?;
        self.register_named(name, v);
        Ok(())
    }

    /// Registers a value under a name (`Callback.register`).
    pub fn register_named(&mut self, name: &[u8], v: Slot) {
        let v = self.raw(v);
        if self.roots.named.insert(name.to_owned(), v).is_none() {
            self.roots.named_bytes += name_cost(name);
        }
        if let Some(loader) = self.loader() {
            (loader.registered)(name, v);
        }
    }

    /// Removes the value registered under a name. Returns false if there was none.
    pub fn unregister_named(&mut self, name: &[u8]) -> bool {
        let removed = self.roots.named.shift_remove(name).is_some();
        self.roots.named_bytes -= if removed { name_cost(name) } else { 0 };
        removed
    }

    /// Pushes the value registered under a name into a new slot.
    pub fn named_value(&mut self, name: &str) -> Option<Slot> {
        let v = *self.roots.named.get(name.as_bytes())?;
        Some(self.push_raw(v))
    }
}

/// The bytes that a registered name takes, with its share of the table.
fn name_cost(name: &[u8]) -> usize {
    name.len() + 4 * size_of::<(Vec<u8>, Value)>()
}
