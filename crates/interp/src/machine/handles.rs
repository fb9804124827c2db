//! Values that Rust code keeps alive outside of any primitive.

use std::fmt;

use spelter_heap::Root;
use spelter_heap::raw::Value;

use crate::Machine;
use crate::fallible;
use crate::prim::{Raise, Slot};

/// Keeps a value alive, and its address up to date, until the handle is dropped.
#[derive(Clone)]
pub struct Kept(Root);

impl Kept {
    /// The handle's number, which no other live handle has.
    pub fn number(&self) -> usize {
        self.0.number() as usize
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({})", self.number())
    }
}

impl Machine {
    /// Reserves room for `more` kept values: [`Machine::keep`] and copies of handles cannot report a lack of memory.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn reserve_kept(&mut self, more: usize) -> Result<(), Raise> {
        Ok(self.heap.reserve_roots(more)?)
    }

    /// Keeps the value in a slot alive beyond the primitive to which the slot belongs.
    ///
    /// # Panics
    /// When there is no memory for a handle. Code that acts on a program's request calls [`Machine::reserve_kept`]
    /// first.
    pub fn keep(&mut self, s: Slot) -> Kept {
        self.reserve_kept(1).expect("memory for a handle");
        // SAFETY: a slot holds a valid value.
        Kept(unsafe { self.heap.keep(self.raw(s)) })
    }

    /// Pushes a kept value into a new slot.
    ///
    /// # Panics
    /// When the value belongs to another machine.
    pub fn push_kept(&mut self, kept: &Kept) -> Slot {
        let v = self.heap.get(&kept.0).raw();
        self.push_raw(v)
    }

    /// Like [`Machine::push_kept`], for callers that can report a lack of memory.
    ///
    /// # Errors
    /// When there is no memory for another slot.
    pub fn try_push_kept(&mut self, kept: &Kept) -> Result<Slot, Raise> {
        let v = self.heap.get(&kept.0).raw();
        self.roots.thread.stack.try_push_temp(v)
    }

    /// How many values are kept.
    pub fn kept_count(&self) -> usize {
        self.heap.owned_root_count()
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
