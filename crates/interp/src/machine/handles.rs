//! Values that Rust code outside any primitive holds on to: by handles, or under names.

use std::fmt;

use spelter_heap::Root;

use crate::Machine;
use crate::fallible;
use crate::prim::{Raise, Slot};

/// A value that stays alive, and known, until this handle is dropped.
#[derive(Clone)]
pub struct Kept(Root);

impl Kept {
    /// The handle's number: no other that is alive has it.
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
    /// Makes room for more kept values: [`Machine::keep`], and copies of handles, cannot say that there is no memory.
    ///
    /// # Errors
    /// When there is none.
    pub fn reserve_kept(&mut self, more: usize) -> Result<(), Raise> {
        Ok(self.heap.reserve_roots(more)?)
    }

    /// Keeps the value in a slot alive beyond the primitive that the slot belongs to.
    ///
    /// # Panics
    /// When there is no memory for a handle; what programs ask for calls [`Machine::reserve_kept`] first.
    pub fn keep(&mut self, s: Slot) -> Kept {
        self.reserve_kept(1).expect("memory for a handle");
        // SAFETY: a slot holds a valid value.
        Kept(unsafe { self.heap.keep(self.raw(s)) })
    }

    /// A kept value, in a new slot.
    ///
    /// # Panics
    /// When another machine keeps it.
    pub fn push_kept(&mut self, kept: &Kept) -> Slot {
        let v = self.heap.get(&kept.0).raw();
        self.push_raw(v)
    }

    /// The same where there may be no memory for another slot.
    ///
    /// # Errors
    /// When there is none.
    ///
    /// # Panics
    /// When another machine keeps it.
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

    /// The same for a program, whose names may be of any size and number.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn try_register_named(&mut self, name: &[u8], v: Slot) -> Result<(), Raise> {
        fallible::afford(name.len())?;
        self.roots.named.try_reserve(1)?;
        self.register_named(name, v);
        Ok(())
    }

    /// Registers a value under a name (`Callback.register`).
    pub fn register_named(&mut self, name: &[u8], v: Slot) {
        let v = self.raw(v);
        self.roots.named.insert(name.to_owned(), v);
    }

    /// Forgets the value registered under a name. False when there was none.
    pub fn unregister_named(&mut self, name: &[u8]) -> bool {
        self.roots.named.shift_remove(name).is_some()
    }

    /// Keeps the value registered under a name in a new slot.
    pub fn named_value(&mut self, name: &str) -> Option<Slot> {
        let v = *self.roots.named.get(name.as_bytes())?;
        Some(self.push_raw(v))
    }
}
