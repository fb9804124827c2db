//! Namespaces: which modules a unit can name.
//!
//! A unit sees the program's modules, as far as its namespace shows them, and the units of its own namespace: those
//! loaded into it as public, and those that the host granted it. Of two namespaces neither sees the other's units.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use indexmap::IndexMap;
use spelter_bytecode::exe::Symbols;
use spelter_bytecode::{Digest, Ident};
use spelter_interp::{Kept, Machine, UnitId};

use crate::handle::LoadedUnit;
use crate::linker::Linker;

/// A unit under a name: it lives until the name goes or leads elsewhere.
pub(crate) struct Public {
    pub(crate) id: UnitId,
    pub(crate) object: Kept,
    pub(crate) interface: Option<Digest>,
    /// Which of the unit's slots holds the module.
    pub(crate) slot: usize,
}

impl Public {
    pub(crate) fn of(unit: &LoadedUnit) -> Public {
        let facts = unit.unit().facts();
        Public {
            id: unit.id,
            object: unit.object.clone(),
            interface: facts.interface,
            slot: facts.module.unwrap_or(0),
        }
    }
}

/// What of the program a namespace shows.
#[derive(Default)]
pub(crate) enum Program {
    #[default]
    All,
    /// Only modules of these names.
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

    /// The program's global slot of a name, if the namespace shows it. Predefined exceptions are always there.
    pub(crate) fn program_slot(&self, program: &Symbols, ident: &Ident) -> Option<usize> {
        let hidden = matches!(ident, Ident::Unit(name) if !self.shows(name));
        if hidden { None } else { program.slot(ident) }
    }

    /// Makes every name that leads to the unit of that number lead to `to`, or takes it away. Gives how many did.
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

/// A namespace of one machine. Dropping it withdraws all its names: its units live on only as long as something else
/// leads to them.
pub struct Namespace {
    names: Rc<RefCell<Names>>,
    /// The same for all namespaces of a machine.
    machine: Rc<()>,
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Namespace").field(&self.names()).finish()
    }
}

impl Namespace {
    pub(crate) fn from_parts(names: Rc<RefCell<Names>>, machine: Rc<()>) -> Namespace {
        Namespace { names, machine }
    }

    /// The names, for a machine's linker.
    ///
    /// # Panics
    /// When the namespace is another machine's.
    pub(crate) fn names_in(&self, m: &mut Machine) -> Rc<RefCell<Names>> {
        self.assert_of(m);
        Rc::clone(&self.names)
    }

    /// Panics when the namespace is another machine's.
    pub fn assert_of(&self, m: &mut Machine) {
        assert!(Rc::ptr_eq(&self.machine, &Linker::of(m).identity()), "a namespace of another machine");
    }

    /// A namespace that shows all of the program's modules.
    pub fn new(m: &mut Machine) -> Namespace {
        Linker::of(m).new_namespace(Names::default())
    }

    /// A namespace that shows only these of the program's modules: names of compilation units, as `spelter info`
    /// lists them (`Stdlib__List`, not `List`). Predefined exceptions are always there.
    ///
    /// What is hidden cannot be named; values that lead there can still be handed over, and primitives be called.
    pub fn showing<S: Into<String>>(m: &mut Machine, modules: impl IntoIterator<Item = S>) -> Namespace {
        let program = Program::Only(modules.into_iter().map(Into::into).collect());
        Linker::of(m).new_namespace(Names { program, ..Names::default() })
    }

    /// Lets units of this namespace name `unit` by `module`, whichever namespace it was loaded in. The name keeps it
    /// alive, as that of a public unit does. Units linked before stay linked with what the name led to then.
    ///
    /// # Panics
    /// When the unit is another machine's.
    pub fn grant(&self, module: &str, unit: &LoadedUnit) {
        assert!(Rc::ptr_eq(&self.machine, &unit.machine), "a unit of another machine");
        self.names.borrow_mut().public.insert(module.to_owned(), Public::of(unit));
    }

    /// Takes a name away, granted or public: units loaded later cannot name it, and the unit dies when nothing else
    /// reaches it. False when there is no such name.
    pub fn withdraw(&self, module: &str) -> bool {
        self.names.borrow_mut().public.shift_remove(module).is_some()
    }

    /// The names of units, in the order in which they came.
    pub fn names(&self) -> Vec<String> {
        self.names.borrow().public.keys().cloned().collect()
    }
}
