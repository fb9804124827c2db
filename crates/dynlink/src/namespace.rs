//! Namespaces: which modules a unit can name.
//!
//! A unit can name the modules of the program that its namespace shows, and the units of its namespace: those loaded
//! into it as public, and those that the host granted to it. Units of other namespaces are not visible.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use spelter_bytecode::exe::Symbols;
use spelter_bytecode::{Digest, Ident};
use spelter_interp::{Kept, Machine, UnitFacts, UnitId};

use crate::error::LinkError;
use crate::handle::LoadedUnit;
use crate::linker::Linker;

/// A named unit: it is kept alive until the name is removed or redirected.
#[derive(Clone)]
pub(crate) struct Public {
    pub(crate) id: UnitId,
    pub(crate) object: Kept,
    pub(crate) interface: Option<Digest>,
    /// Which of the unit's slots holds the module.
    pub(crate) slot: usize,
}

impl Public {
    pub(crate) fn of(unit: &LoadedUnit) -> Public {
        let UnitFacts { interface, module, .. } = unit.facts;
        Public { id: unit.id, object: unit.object.clone(), interface, slot: module.unwrap_or(0) }
    }
}

/// Which modules of the program a namespace shows.
#[derive(Clone, Default)]
pub(crate) enum Program {
    #[default]
    All,
    /// Only modules with these names.
    Only(HashSet<String>),
}

/// The names of one namespace.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) public: IndexMap<String, Public>,
    pub(crate) program: Program,
}

impl Names {
    /// Whether units of the namespace may name this module of the program.
    pub(crate) fn shows(&self, module: &str) -> bool {
        match &self.program {
            Program::All => true,
            Program::Only(modules) => modules.contains(module),
        }
    }

    /// The program's global slot for a name, if the namespace shows it. Predefined exceptions are always shown.
    pub(crate) fn program_slot(&self, program: &Symbols, ident: &Ident) -> Option<usize> {
        let hidden = matches!(ident, Ident::Unit(name) if !self.shows(name));
        if hidden { None } else { program.slot(ident) }
    }

    /// The same names, to which others can be added.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub(crate) fn copy(&self) -> Result<Names, LinkError> {
        let mut public = IndexMap::new();
        public.try_reserve(self.public.len()).map_err(|_| LinkError::out_of_memory(""))?;
        public.extend(self.public.iter().map(|(name, unit)| (name.clone(), unit.clone())));
        Ok(Names { public, program: self.program.clone() })
    }

    /// Redirects every name of the unit with this number to `to`, or removes it. Returns how many names there were.
    pub(crate) fn redirect(&mut self, id: UnitId, to: Option<&LoadedUnit>) -> usize {
        let mut found = 0;
        self.public.retain(|_, public| {
            if public.id != id {
                return true;
            }
            found += 1;
            match to {
                Some(unit) => {
                    *public = Public::of(unit);
                    true
                }
                None => false,
            }
        });
        found
    }
}

/// The names of a namespace, which its handle and the machine share.
#[derive(Default)]
pub(crate) struct SharedNames(Mutex<Names>);

impl SharedNames {
    pub(crate) fn new(names: Names) -> Arc<SharedNames> {
        Arc::new(SharedNames(Mutex::new(names)))
    }

    /// The names, while nobody else reads or changes them: another thread may have the namespace's handle.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A namespace of one machine. Dropping it withdraws all its names: its units then live only as long as something else
/// reaches them.
pub struct Namespace {
    names: Arc<SharedNames>,
    /// The same for all namespaces of a machine.
    machine: Arc<()>,
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Namespace").field(&self.names()).finish()
    }
}

impl Namespace {
    pub(crate) fn from_parts(names: Arc<SharedNames>, machine: Arc<()>) -> Namespace {
        Namespace { names, machine }
    }

    /// The names, for a machine's linker.
    ///
    /// # Panics
    /// When the namespace belongs to another machine.
    pub(crate) fn names_in(&self, m: &mut Machine) -> Arc<SharedNames> {
        self.assert_of(m);
        Arc::clone(&self.names)
    }

    /// Panics when the namespace belongs to another machine.
    pub fn assert_of(&self, m: &mut Machine) {
        assert!(Arc::ptr_eq(&self.machine, &Linker::of(m).identity()), "a namespace of another machine");
    }

    /// A namespace that shows all of the program's modules.
    pub fn new(m: &mut Machine) -> Namespace {
        Linker::of(m).new_namespace(Names::default())
    }

    /// A namespace that shows only these of the program's modules: names of compilation units, as `spelter info` lists
    /// them (`Stdlib__List`, not `List`). Predefined exceptions are always shown.
    ///
    /// Hidden modules cannot be named; but values that refer to them can still be passed to units, and units can still
    /// call primitives.
    pub fn showing<S: Into<String>>(m: &mut Machine, modules: impl IntoIterator<Item = S>) -> Namespace {
        let program = Program::Only(modules.into_iter().map(Into::into).collect());
        Linker::of(m).new_namespace(Names { program, ..Names::default() })
    }

    /// Lets units of this namespace refer to `unit` by the name `module`, whichever namespace it was loaded in. The
    /// name keeps it alive, as that of a public unit does. Units linked earlier keep the unit that the name referred to
    /// then.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn grant(&self, module: &str, unit: &LoadedUnit) {
        assert!(Arc::ptr_eq(&self.machine, &unit.machine), "a unit of another machine");
        self.names.lock().public.insert(module.to_owned(), Public::of(unit));
    }

    /// Removes a name, granted or public: units loaded later cannot use it, and the unit dies when nothing else reaches
    /// it. Returns false when there is no such name.
    pub fn withdraw(&self, module: &str) -> bool {
        self.names.lock().public.shift_remove(module).is_some()
    }

    /// The names of units, in the order in which they were added.
    pub fn names(&self) -> Vec<String> {
        self.names.lock().public.keys().cloned().collect()
    }
}
