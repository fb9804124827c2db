//! Handles on loaded units: a strong handle keeps a unit alive, a weak handle tells whether it is.

use std::sync::Arc;

use spelter_interp::{Kept, Machine, Raise, Slot, UnitFacts, UnitId, Unloaded};

use crate::linker::Linker;

/// A unit that has been loaded. Holding this keeps it alive.
#[derive(Clone)]
pub struct LoadedUnit {
    /// Its number.
    pub id: UnitId,
    /// The module's name.
    pub name: String,
    pub(crate) object: Kept,
    /// What its loader recorded about it.
    pub(crate) facts: UnitFacts,
    /// The same for all units of a machine.
    pub(crate) machine: Arc<()>,
}

impl std::fmt::Debug for LoadedUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedUnit").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl LoadedUnit {
    /// The handle of the unit whose code object is `object`; `None` if it is not a code object.
    pub(crate) fn of_object(m: &mut Machine, object: Slot) -> Option<LoadedUnit> {
        let unit = m.unit_of_object(m.val(object))?;
        let object = m.keep(object);
        let machine = Linker::of(m).identity();
        Some(LoadedUnit { id: unit.id, name: unit.name.clone(), object, facts: unit.facts(), machine })
    }

    /// The same for a unit just loaded, of which this is known.
    pub(crate) fn new(m: &mut Machine, object: Slot, facts: UnitFacts) -> Option<LoadedUnit> {
        m.unit_of_object(m.val(object))?.set_facts(facts);
        LoadedUnit::of_object(m, object)
    }

    /// What its loader recorded about it.
    pub fn facts(&self) -> UnitFacts {
        self.facts
    }

    /// Checks that this is a unit of `m`.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn assert_of(&self, m: &Machine) {
        assert!(m.keeps(&self.object), "a unit of another machine");
    }

    /// The code object, in a new slot.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn push_object(&self, m: &mut Machine) -> Slot {
        m.push_kept(&self.object)
    }

    /// The module: the block of what the unit defines, in a new slot.
    ///
    /// # Errors
    /// `Spelter.Revoked` when the unit has been revoked.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn push_module(&self, m: &mut Machine) -> Result<Slot, Raise> {
        let object = self.push_object(m);
        if m.units().get(self.id).is_none_or(|unit| unit.is_revoked()) {
            return Err(m.revoked(&self.name));
        }
        let slot = self.facts.module.unwrap_or(0);
        m.push(|m| m.unit_slot(object, slot))
    }

    /// Calls `f` once when the collector has freed the unit: at the machine's next safe point, not during the
    /// collection. A unit that is dropped with its machine is not reported.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn on_unload(&self, m: &mut Machine, f: impl FnOnce(&Unloaded) + Send + 'static) {
        self.assert_of(m);
        if let Some(unit) = m.units().get(self.id) {
            unit.on_unload(f);
        }
    }

    /// A handle that does not keep the unit alive.
    pub fn downgrade(&self) -> WeakUnit {
        WeakUnit { id: self.id, name: self.name.clone(), machine: Arc::clone(&self.machine) }
    }
}

/// A unit that may have been freed. Holding this does not keep it alive.
#[derive(Clone)]
pub struct WeakUnit {
    /// Its number.
    pub id: UnitId,
    /// The module's name.
    pub name: String,
    machine: Arc<()>,
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
    /// When the unit belongs to another machine.
    pub fn upgrade(&self, m: &mut Machine) -> Option<LoadedUnit> {
        assert!(Arc::ptr_eq(&self.machine, &Linker::of(m).identity()), "a unit of another machine");
        find_unit(m, self.id)
    }
}

/// The live unit with this number, if there is one and it was loaded at run time.
pub fn find_unit(m: &mut Machine, id: UnitId) -> Option<LoadedUnit> {
    let unit = m.units().get(id).cloned()?;
    let mark = m.mark();
    let loaded = m.push_code_object(&unit).and_then(|object| LoadedUnit::of_object(m, object));
    m.release(mark);
    loaded
}
