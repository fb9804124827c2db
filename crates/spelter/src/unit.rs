//! Handles to loaded units, and operations on units.

use spelter_dynlink::{LoadedUnit, find_unit};
use spelter_interp::{Machine, UnitId, Unloaded};

use crate::error::Error;
use crate::vm::Vm;

/// A handle to a loaded unit, which keeps the unit alive. After it is dropped, the unit is freed when nothing else
/// reaches it.
#[derive(Clone, Debug)]
pub struct Unit(pub(crate) LoadedUnit);

impl Unit {
    /// The unit's number in its machine.
    pub fn id(&self) -> UnitId {
        self.0.id
    }

    /// The module's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its sizes, and whether it has been revoked.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn info(&self, vm: &Vm) -> UnitInfo {
        self.0.assert_of(&vm.m);
        UnitInfo::of(vm.m.units().get(self.id()).expect("its handle keeps it alive"))
    }

    /// A handle that does not keep the unit alive.
    pub fn downgrade(&self) -> WeakUnit {
        WeakUnit(self.0.downgrade())
    }

    /// Calls `f` once, after the collector has freed the unit: at the machine's next safe point, not during the
    /// collection, so `f` may be slow. `f` is not called when the unit is dropped together with its machine.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn on_unload(&self, vm: &mut Vm, f: impl FnOnce(&Unloaded) + Send + 'static) {
        self.0.on_unload(&mut vm.m, f);
    }
}

/// A weak handle, which does not keep the unit alive.
#[derive(Clone, Debug)]
pub struct WeakUnit(spelter_dynlink::WeakUnit);

impl WeakUnit {
    /// The unit's number in its machine.
    pub fn id(&self) -> UnitId {
        self.0.id
    }

    /// The module's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A strong handle, if the unit is alive.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn upgrade(&self, vm: &mut Vm) -> Option<Unit> {
        self.0.upgrade(vm.raw()).map(Unit)
    }
}

impl From<&Unit> for UnitId {
    fn from(unit: &Unit) -> UnitId {
        unit.id()
    }
}

impl From<&UnitInfo> for UnitId {
    fn from(unit: &UnitInfo) -> UnitId {
        unit.id
    }
}

/// A description of a live unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitInfo {
    /// Its number.
    pub id: UnitId,
    /// The module's name.
    pub name: String,
    /// Bytes of code, including its data outside the heap.
    pub code_bytes: usize,
    /// Bytes of its literals in the heap when it was loaded; 0 for units that OCaml code loaded.
    pub constant_bytes: usize,
    /// Bytes of debug data, as far as it has been read.
    pub debug_bytes: usize,
    /// Whether it has been revoked: calls into it raise.
    pub revoked: bool,
}

impl UnitInfo {
    /// The loaded units of a machine that are alive.
    pub(crate) fn all(m: &Machine) -> Vec<UnitInfo> {
        m.units().loaded().map(|unit| UnitInfo::of(unit)).collect()
    }

    pub(crate) fn of(unit: &spelter_interp::Unit) -> UnitInfo {
        let bytes = unit.bytes();
        UnitInfo {
            id: unit.id,
            name: unit.name.clone(),
            code_bytes: bytes.code,
            constant_bytes: unit.facts().constant_bytes,
            debug_bytes: bytes.debug,
            revoked: unit.is_revoked(),
        }
    }
}

impl Vm {
    /// The loaded units that are alive.
    pub fn units(&self) -> Vec<UnitInfo> {
        UnitInfo::all(&self.m)
    }

    /// The versions of a module that are alive, oldest first.
    pub fn versions(&self, name: &str) -> Vec<UnitInfo> {
        let mut versions: Vec<UnitInfo> = self
            .registry()
            .loaded()
            .filter(|unit| unit.name == name)
            .map(|unit| UnitInfo::of(unit))
            .collect();
        versions.sort_by_key(|unit| unit.id);
        versions
    }

    /// Whether the unit of that number is alive: the collector has not freed it.
    pub fn is_alive(&self, id: UnitId) -> bool {
        self.registry().get(id).is_some()
    }

    /// A handle to the live unit of that number.
    pub fn unit(&mut self, id: UnitId) -> Option<Unit> {
        find_unit(self.raw(), id).map(Unit)
    }

    /// Removes a public unit's name from the default namespace. Returns false if there is no such name.
    pub fn withdraw(&mut self, name: &str) -> bool {
        spelter_dynlink::withdraw(self.raw(), name)
    }

    /// Removes every name of the unit, in all namespaces; the unit is freed when nothing else reaches it. Returns how
    /// many names were removed.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn withdraw_unit(&mut self, unit: &Unit) -> usize {
        spelter_dynlink::withdraw_unit(self.raw(), &unit.0)
    }

    /// Revokes a unit: its names are removed, and every later call into its code raises `Spelter.Revoked`, an OCaml
    /// exception with the unit's name. Frames that run it unwind as soon as control returns to them; its own
    /// exception handlers cannot stop that. Data that it created remains valid; units that were linked with it keep
    /// the module, but not its code.
    ///
    /// Once no frame runs it and no handle is left, the next collection frees it, even if its functions are still
    /// referenced. Returns false if it was revoked before.
    ///
    /// OCaml code can match the exception: it declares one with a string and registers it,
    /// `Callback.register_exception "Spelter.Revoked" (Revoked "")`. Finalisers, signal handlers and `at_exit`
    /// functions of the unit also raise it when they are called.
    ///
    /// This takes as long as a full major collection.
    ///
    /// # Errors
    /// When memory is exhausted; only the names have changed then.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn revoke(&mut self, unit: Unit) -> Result<bool, Error> {
        self.enter(|m| spelter_dynlink::revoke(m, &unit.0))
    }
}
