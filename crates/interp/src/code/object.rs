//! Code objects: the heap blocks that own loaded code. The layout of their fields is in `layout`.

use std::rc::Rc;

use spelter_heap::Val;
use spelter_heap::raw::{CustomOps, Value, tag};

use crate::Machine;
use crate::code::registry::SharedRegistry;
use crate::code::unit::Unit;
use crate::layout::{OBJECT_OWNER, OBJECT_SLOTS};
use crate::prim::{Raise, Res, Slot};

pub(super) static OWNER: CustomOps = CustomOps::new(c"_unit", &()).owning().counting();

/// Owns a loaded unit on behalf of its code object. When the object dies, the unit is freed at the machine's next safe
/// point. The collector itself does as little as possible, so that it is not delayed when many die at once.
pub(crate) struct UnitOwner {
    pub(crate) unit: Rc<Unit>,
    pub(crate) registry: SharedRegistry,
}

impl Drop for UnitOwner {
    fn drop(&mut self) {
        self.unit.dead.set(true);
        self.registry.borrow_mut().dead.push(Rc::clone(&self.unit));
    }
}

impl Machine {
    /// Field `i` of a code object.
    pub(crate) fn object_field(&self, object: Slot, i: usize) -> Value {
        self.val(object).scanned_field(i).expect("code objects have these fields").raw()
    }

    /// Field `i` of a code object ← `v`.
    ///
    /// # Panics
    /// When it does not have that field.
    pub(crate) fn set_object_field(&mut self, object: Slot, i: usize, v: Value) {
        self.object_field(object, i);
        let object = self.raw(object);
        // SAFETY: a block of values with a field `i` (just read).
        unsafe { self.heap.modify(object, i, v) };
    }

    pub(super) fn slot_address(&self, object: Slot, i: usize) -> u64 {
        let slots = self.object_field(object, OBJECT_SLOTS);
        // SAFETY: the assertions make sure that it is a block, and that the address lies within it.
        unsafe {
            assert!(slots.is_block(), "the slots of a unit that has been revoked");
            assert!(i < slots.wosize(), "a slot beyond those of its unit");
            slots.field_ptr(i) as u64
        }
    }

    /// Slot `i` of the unit that `object` is the code object of ← `v`.
    ///
    /// # Errors
    /// When the unit has no such slot.
    pub fn set_unit_slot(&mut self, object: Slot, i: usize, v: Slot) -> Result<(), Raise> {
        self.unit_of_object(self.val(object)).ok_or_else(|| Raise::invalid("not a code object"))?;
        let mark = self.mark();
        let slots = self.push_raw(self.object_field(object, OBJECT_SLOTS));
        let outcome = self.set_field(slots, i, v);
        self.release(mark);
        outcome
    }

    /// Slot `i` of the unit that `object` is the code object of.
    ///
    /// # Errors
    /// When the unit has no such slot.
    pub fn unit_slot(&self, object: Slot, i: usize) -> Res<'_> {
        self.unit_of_object(self.val(object)).ok_or_else(|| Raise::invalid("not a code object"))?;
        Ok(self.val(object).scanned_field(OBJECT_SLOTS)?.field(i)?)
    }

    /// The unit that a code object owns.
    pub fn unit_of_object(&self, object: Val<'_>) -> Option<Rc<Unit>> {
        if object.tag() != Ok(tag::CLOSURE) {
            return None;
        }
        let owner = object.scanned_field(OBJECT_OWNER).ok()?;
        Some(Rc::clone(&owner.external::<UnitOwner>().ok()?.unit))
    }

    /// The code object of a living unit, in a new slot.
    pub fn push_code_object(&mut self, unit: &Unit) -> Option<Slot> {
        let object = self.heap.weak_get(unit.object?)?;
        Some(self.push_raw(object))
    }
}
