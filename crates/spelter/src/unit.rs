//! Handles on loaded units, and what can be asked of units and done with them.

use spelter_dynlink::{LoadedUnit, find_unit};
use spelter_interp::{Machine, UnitId, Unloaded};

use crate::error::Error;
use crate::vm::Vm;

/// A loaded unit, kept alive by the host. Drop it, and the unit goes when nothing else can reach it.
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
    pub fn info(&self) -> UnitInfo {
        UnitInfo::of(self.0.unit())
    }

    /// A handle that does not keep the unit alive.
    pub fn downgrade(&self) -> WeakUnit {
        WeakUnit(self.0.downgrade())
    }

    /// Has `f` called, once, when the collector has freed the unit: at the machine's next safe point, not while it
    /// collects, so `f` may take its time. A unit that goes with its machine is not reported.
    pub fn on_unload(&self, f: impl FnOnce(&Unloaded) + 'static) {
        self.0.on_unload(f);
    }
}

/// A unit that may have been freed. Holding this does not keep it alive.
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
    /// When the unit is another machine's.
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

/// A unit that is alive in a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitInfo {
    /// Its number.
    pub id: UnitId,
    /// The module's name.
    pub name: String,
    /// Bytes of code, with what belongs to it outside the heap.
    pub code_bytes: usize,
    /// Bytes that its literals took in the heap when it was loaded; 0 for what OCaml code loaded.
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

    /// Whether the unit of that number is still there: the collector has not freed it.
    pub fn is_alive(&self, id: UnitId) -> bool {
        self.registry().get(id).is_some()
    }

    /// A handle on the living unit of that number.
    pub fn unit(&mut self, id: UnitId) -> Option<Unit> {
        find_unit(self.raw(), id).map(Unit)
    }

    /// Takes a public unit's name away from the default namespace. False when there is none of that name.
    pub fn withdraw(&mut self, name: &str) -> bool {
        spelter_dynlink::withdraw(self.raw(), name)
    }

    /// Takes away every name that leads to the unit, in whatever namespace; it goes when nothing else reaches it. Gives
    /// how many names went.
    ///
    /// # Panics
    /// When the unit is another machine's.
    pub fn withdraw_unit(&mut self, unit: &Unit) -> usize {
        spelter_dynlink::withdraw_unit(self.raw(), &unit.0)
    }

    /// Revokes a unit: its names go, and every call into its code from now on raises `Spelter.Revoked`, an OCaml exception
    /// with the unit's name. Frames that run it unwind as soon as control comes back to them; its own handlers cannot
    /// stop that. What it made works on as data; units that were linked with it keep the module, but not its code.
    ///
    /// Once no frame runs it and no handle is left, the next collection frees it, whoever holds its functions. False
    /// when it was revoked before.
    ///
    /// OCaml code can match the exception: it declares one with a string and registers it,
    /// `Callback.register_exception "Spelter.Revoked" (Revoked "")`. Finalisers, signal handlers and `at_exit` functions
    /// of the unit's raise it, too, where they are called.
    ///
    /// This takes as long as a full major collection.
    ///
    /// # Errors
    /// When memory is exhausted; only the names have changed then.
    ///
    /// # Panics
    /// When the unit is another machine's.
    pub fn revoke(&mut self, unit: Unit) -> Result<bool, Error> {
        self.enter(|m| spelter_dynlink::revoke(m, &unit.0))
    }
}
