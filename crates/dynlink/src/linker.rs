//! What the names in a unit mean, and the units that others may name.

use std::collections::HashMap;

use indexmap::IndexMap;
use spelter_bytecode::exe::Symbols;
use spelter_bytecode::obj::CompilationUnit;
use spelter_bytecode::{Digest, Imports};
use spelter_interp::{Kept, Machine, Strategy};

use crate::error::LinkError;

/// A unit that others may name: it lives until it is withdrawn or shadowed.
pub(crate) struct Public {
    pub(crate) object: Kept,
    pub(crate) interface: Option<Digest>,
    /// Which of the unit's slots holds the module.
    pub(crate) slot: usize,
}

/// What becomes of the slots that modules loaded by OCaml's own `Dynlink` or toplevel have in the global table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ModuleSlots {
    /// They stay, and what they hold with them, as in stock OCaml.
    Strict,
    /// A module that OCaml's linker can name stays while it can. Any other belongs to its unit, and its number is
    /// given out again.
    #[default]
    Auto,
    /// Each module belongs to its unit, whether it has a name or not: loaded units cannot name each other.
    Eager,
}

/// The linker of one machine; its state lives there.
#[derive(Default)]
pub struct Linker {
    /// How units are patched that are loaded from now on.
    pub strategy: Strategy,
    /// Global slots of the program's modules and exceptions.
    pub(crate) program: Symbols,
    /// Interfaces of the program's modules.
    interfaces: IndexMap<String, Option<Digest>>,
    pub(crate) public: IndexMap<String, Public>,
    /// What becomes of the modules that OCaml's own `Dynlink` or toplevel loads from now on.
    pub slots: ModuleSlots,
    /// Slots of the global table that code loaded by OCaml's own `Dynlink` or toplevel defined as modules, and
    /// whether some code reads them by their number.
    pub(crate) module_slots: HashMap<usize, bool>,
    /// OCaml's own table of names, once found.
    pub(crate) symtable: Option<Kept>,
    /// How many numbers of slots have been given out again.
    pub(crate) recycled: u64,
}

impl Linker {
    /// The machine's linker.
    pub fn of(m: &mut Machine) -> &mut Linker {
        m.ext()
    }

    /// Tells the linker what the program defines: the executable's `SYMB` and `CRCS`.
    pub fn set_program(&mut self, symbols: Symbols, interfaces: Imports) {
        self.program = symbols;
        self.interfaces = interfaces.into_iter().collect();
    }

    /// The names of the public units, in the order of their loading.
    pub fn public_names(&self) -> impl Iterator<Item = &str> {
        self.public.keys().map(String::as_str)
    }

    /// How many global slots are known to hold modules that OCaml's own `Dynlink` or toplevel loaded.
    pub fn module_slot_count(&self) -> usize {
        self.module_slots.len()
    }

    /// The handles that keep public units, by their numbers, with the names.
    pub(crate) fn public_handles(&self) -> IndexMap<usize, String> {
        self.public.iter().map(|(name, unit)| (unit.object.number(), name.clone())).collect()
    }

    /// How many global slots the program's own executable has.
    pub(crate) fn program_slots(&self) -> usize {
        self.program.count
    }

    /// The interface by which a name is known, if it is known with one.
    fn interface(&self, name: &str) -> Option<Digest> {
        match self.public.get(name) {
            Some(public) => public.interface,
            None => self.interfaces.get(name).copied().flatten(),
        }
    }

    /// Checks that a unit and what it is to be linked with were compiled against the same interfaces.
    pub(crate) fn check_interfaces(&self, unit: &CompilationUnit) -> Result<(), LinkError> {
        for (import, wanted) in &unit.imports {
            if *import == unit.name {
                continue; // a new version may well have a new interface of its own
            }
            if let (Some(wanted), Some(known)) = (wanted, self.interface(import))
                && *wanted != known
            {
                let (unit, import) = (unit.name.clone(), import.clone());
                return Err(LinkError::InterfaceMismatch { unit, import });
            }
        }
        Ok(())
    }
}
