//! Values that Rust code keeps alive outside of any primitive.

use std::cell::RefCell;
use std::rc::Rc;

use spelter_heap::OutOfMemory;
use spelter_heap::raw::Value;

use crate::Machine;
use crate::fallible;
use crate::prim::{Raise, Slot};

/// The kept values of a machine. Free entries hold `()` until they are used again.
#[derive(Default)]
pub(crate) struct KeptTable {
    values: Vec<Value>,
    free: Vec<usize>,
}

impl KeptTable {
    /// All entries, including the free ones.
    pub(crate) fn values_mut(&mut self) -> &mut [Value] {
        &mut self.values
    }
}

pub(crate) type SharedKept = Rc<RefCell<KeptTable>>;

/// Keeps a value alive, and its address up to date, until the handle is dropped.
pub struct Kept {
    table: SharedKept,
    at: usize,
}

impl KeptTable {
    /// Reserves `more` entries, and room to list them when they are free again.
    fn reserve(&mut self, more: usize) -> Result<(), OutOfMemory> {
        let new = more.saturating_sub(self.free.len());
        fallible::reserve(&mut self.values, new)?;
        let places = self.values.len() + new - self.free.len();
        fallible::reserve(&mut self.free, places)
    }

    fn add(&mut self, v: Value) -> usize {
        match self.free.pop() {
            Some(at) => {
                self.values[at] = v;
                at
            }
            None => {
                self.reserve(1).expect("memory for a handle");
                self.values.push(v);
                self.values.len() - 1
            }
        }
    }
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        let mut table = self.table.borrow_mut();
        let v = table.values[self.at];
        let at = table.add(v);
        Kept { table: Rc::clone(&self.table), at }
    }
}

impl Kept {
    /// The handle's number, which no other live handle has.
    pub fn number(&self) -> usize {
        self.at
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut table = self.table.borrow_mut();
        table.values[self.at] = Value::UNIT;
        table.free.push(self.at);
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({})", self.at)
    }
}

impl Machine {
    /// Reserves room for `more` kept values: [`Machine::keep`] and copies of handles cannot report a lack of memory.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn reserve_kept(&mut self, more: usize) -> Result<(), Raise> {
        Ok(self.roots.kept.borrow_mut().reserve(more)?)
    }

    /// Keeps the value in a slot alive beyond the primitive to which the slot belongs.
    ///
    /// # Panics
    /// When there is no memory for a handle. Code that acts on a program's request calls [`Machine::reserve_kept`]
    /// first.
    pub fn keep(&mut self, s: Slot) -> Kept {
        let v = self.raw(s);
        let at = self.roots.kept.borrow_mut().add(v);
        Kept { table: Rc::clone(&self.roots.kept), at }
    }

    /// Pushes a kept value into a new slot.
    ///
    /// # Panics
    /// When the value belongs to another machine.
    pub fn push_kept(&mut self, kept: &Kept) -> Slot {
        assert!(Rc::ptr_eq(&kept.table, &self.roots.kept), "a value of another machine");
        let v = kept.table.borrow().values[kept.at];
        self.push_raw(v)
    }

    /// Like [`Machine::push_kept`], for callers that can report a lack of memory.
    ///
    /// # Errors
    /// When there is no memory for another slot.
    pub fn try_push_kept(&mut self, kept: &Kept) -> Result<Slot, Raise> {
        assert!(Rc::ptr_eq(&kept.table, &self.roots.kept), "a value of another machine");
        let v = kept.table.borrow().values[kept.at];
        self.roots.thread.stack.try_push_temp(v)
    }

    /// How many values are kept.
    pub fn kept_count(&self) -> usize {
        let table = self.roots.kept.borrow();
        table.values.len() - table.free.len()
    }
}

impl Machine {
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
        self.roots.named.try_reserve(1)?;
        self.register_named(name, v);
        Ok(())
    }

    /// Registers a value under a name (`Callback.register`).
    pub fn register_named(&mut self, name: &[u8], v: Slot) {
        let v = self.raw(v);
        self.roots.named.insert(name.to_owned(), v);
    }

    /// Removes the value registered under a name. Returns false if there was none.
    pub fn unregister_named(&mut self, name: &[u8]) -> bool {
        self.roots.named.shift_remove(name).is_some()
    }

    /// Pushes the value registered under a name into a new slot.
    pub fn named_value(&mut self, name: &str) -> Option<Slot> {
        let v = *self.roots.named.get(name.as_bytes())?;
        Some(self.push_raw(v))
    }
}
