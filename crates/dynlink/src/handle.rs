//! Handles on loaded units: strong ones keep a unit alive, weak ones find out whether it is.

use std::rc::{Rc, Weak};

use spelter_interp::{Kept, Machine, Raise, Slot, Unit, UnitId, Unloaded};

use crate::linker::Linker;

/// A unit that has been loaded. Holding this keeps it alive.
#[derive(Clone)]
pub struct LoadedUnit {
    /// Its number.
    pub id: UnitId,
    /// The module's name.
    pub name: String,
    pub(crate) object: Kept,
    unit: Rc<Unit>,
    /// The same for all units of a machine.
    pub(crate) machine: Rc<()>,
}

impl std::fmt::Debug for LoadedUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedUnit").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl LoadedUnit {
    /// The handle of the unit that `object` is the code object of; nothing if it is none.
    pub(crate) fn of_object(m: &mut Machine, object: Slot) -> Option<LoadedUnit> {
        let unit = m.unit_of_object(m.val(object))?;
        let object = m.keep(object);
        let machine = Linker::of(m).identity();
        Some(LoadedUnit { id: unit.id, name: unit.name.clone(), object, unit, machine })
    }

    /// The unit itself: its sizes, what its loader knows of it, whether it has been revoked.
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// The code object, in a new slot.
    ///
    /// # Panics
    /// When the unit is another machine's.
    pub fn push_object(&self, m: &mut Machine) -> Slot {
        m.push_kept(&self.object)
    }

    /// The module: the block of what the unit defines, in a new slot.
    ///
    /// # Errors
    /// `Spelter.Revoked` when the unit has been revoked.
    ///
    /// # Panics
    /// When the unit is another machine's.
    pub fn push_module(&self, m: &mut Machine) -> Result<Slot, Raise> {
        if self.unit.is_revoked() {
            return Err(m.revoked(&self.name));
        }
        let object = self.push_object(m);
        let slot = self.unit.facts().module.unwrap_or(0);
        m.push(|m| m.unit_slot(object, slot))
    }

    /// Has `f` called, once, when the collector has freed the unit: at the machine's next safe point, not while it
    /// collects. A unit that goes with its machine is not reported.
    pub fn on_unload(&self, f: impl FnOnce(&Unloaded) + 'static) {
        self.unit.on_unload(f);
    }

    /// A handle that does not keep the unit alive.
    pub fn downgrade(&self) -> WeakUnit {
        WeakUnit {
            id: self.id,
            name: self.name.clone(),
            unit: Rc::downgrade(&self.unit),
            machine: Rc::clone(&self.machine),
        }
    }
}

/// A unit that may have been freed. Holding this does not keep it alive.
#[derive(Clone)]
pub struct WeakUnit {
    /// Its number.
    pub id: UnitId,
    /// The module's name.
    pub name: String,
    unit: Weak<Unit>,
    machine: Rc<()>,
}

impl std::fmt::Debug for WeakUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakUnit").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl WeakUnit {
    /// A strong handle, if the unit is alive.
    ///
    /// # Panics
    /// When the unit is another machine's.
    pub fn upgrade(&self, m: &mut Machine) -> Option<LoadedUnit> {
        assert!(Rc::ptr_eq(&self.machine, &Linker::of(m).identity()), "a unit of another machine");
        let mark = m.mark();
        let object = self.unit.upgrade().and_then(|unit| m.push_code_object(&unit));
        let loaded = object.and_then(|object| LoadedUnit::of_object(m, object));
        m.release(mark);
        loaded
    }
}

/// The living unit of that number, if there is one that was loaded at run time.
pub fn find_unit(m: &mut Machine, id: UnitId) -> Option<LoadedUnit> {
    let unit = m.units().get(id).cloned()?;
    let mark = m.mark();
    let loaded = m.push_code_object(&unit).and_then(|object| LoadedUnit::of_object(m, object));
    m.release(mark);
    loaded
}
