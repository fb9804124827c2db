//! Values that Rust code outside any primitive holds on to.

use std::cell::RefCell;
use std::rc::Rc;

use spelter_heap::raw::Value;

use crate::Machine;
use crate::prim::{Raise, Slot};

/// The kept values of a machine: freed places hold `()` until they are used again.
#[derive(Default)]
pub(crate) struct KeptTable {
    values: Vec<Value>,
    free: Vec<usize>,
}

impl KeptTable {
    /// All places, the free ones included.
    pub(crate) fn values_mut(&mut self) -> &mut [Value] {
        &mut self.values
    }
}

pub(crate) type SharedKept = Rc<RefCell<KeptTable>>;

/// A value that stays alive, and known, until this handle is dropped.
pub struct Kept {
    table: SharedKept,
    at: usize,
}

impl KeptTable {
    fn add(&mut self, v: Value) -> usize {
        match self.free.pop() {
            Some(at) => {
                self.values[at] = v;
                at
            }
            None => {
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
    /// The handle's number: no other that is alive has it.
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
    /// Keeps the value in a slot alive beyond the primitive that the slot belongs to.
    pub fn keep(&mut self, s: Slot) -> Kept {
        let v = self.raw(s);
        let at = self.roots.kept.borrow_mut().add(v);
        Kept { table: Rc::clone(&self.roots.kept), at }
    }

    /// A kept value, in a new slot.
    ///
    /// # Panics
    /// When another machine keeps it.
    pub fn push_kept(&mut self, kept: &Kept) -> Slot {
        assert!(Rc::ptr_eq(&kept.table, &self.roots.kept), "a value of another machine");
        let v = kept.table.borrow().values[kept.at];
        self.push_raw(v)
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

    /// The same for a program, whose names may be of any size and number.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn try_register_named(&mut self, name: &[u8], v: Slot) -> Result<(), Raise> {
        crate::prim::fallible::afford(name.len())?;
        self.roots.named.try_reserve(1).map_err(|_| Raise::OutOfMemory)?;
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
