//! Resolves the names in a unit: to the program's modules, and to the units of namespaces.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, Weak};

use indexmap::IndexMap;
use spelter_bytecode::exe::{Symbols, read_crcs};
use spelter_bytecode::obj::CompilationUnit;
use spelter_bytecode::{Dialect, Digest, Imports};
use spelter_interp::{Kept, Machine, OutOfMemory, Strategy};

use crate::demand::Demand;
use crate::error::LinkError;
use crate::handle::LoadedUnit;
use crate::namespace::{Names, Namespace, SharedNames};

/// What happens to the slots, in the global table, of modules loaded by OCaml's own `Dynlink` or toplevel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ModuleSlots {
    /// They stay, with what they hold, as in stock OCaml.
    Strict,
    /// A module stays while OCaml's linker can name it. Any other module belongs to its unit, and its slot number is
    /// reused.
    #[default]
    Auto,
    /// Each module belongs to its unit, with or without a name: loaded units cannot name each other.
    Eager,
}

/// The names that a program defines, and the interfaces that it was linked with.
#[derive(Default)]
pub struct ProgramNames {
    /// Global slots of its modules and exceptions.
    pub(crate) symbols: Symbols,
    /// Interfaces of its modules.
    interfaces: IndexMap<String, Option<Digest>>,
}

/// What a program's executable says for its linker, for any number of machines.
pub struct ProgramTables {
    /// The version of the file.
    pub dialect: &'static Dialect,
    /// The section `SYMB`, if there is one.
    pub symbols: Option<Vec<u8>>,
    /// The section `CRCS`, if there is one.
    pub interfaces: Option<Vec<u8>>,
    /// The folders in `DLPT`.
    pub library_path: Vec<String>,
    /// The first two, decoded when first needed; most programs never need them.
    pub names: OnceLock<Arc<ProgramNames>>,
}

/// A shared library that the program was linked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linked {
    /// It is not a file but built in, under this name.
    BuiltIn(String),
    /// A loader has opened it; its handle.
    Open(usize),
}

impl ProgramTables {
    /// Decodes the sections.
    fn read(&self) -> Result<(Symbols, Imports), spelter_bytecode::Error> {
        let symbols = self.symbols.as_ref().map(|bytes| Symbols::read(bytes, self.dialect)).transpose()?;
        let interfaces = self.interfaces.as_ref().map(|bytes| read_crcs(bytes)).transpose()?;
        Ok((symbols.unwrap_or_default(), interfaces.unwrap_or_default()))
    }
}

/// The linker of one machine, which stores it.
#[derive(Default)]
pub struct Linker {
    /// How units loaded from now on are patched.
    pub strategy: Strategy,
    /// The tables of the program.
    pub(crate) tables: Option<Arc<ProgramTables>>,
    /// The shared libraries that the program was linked with.
    pub(crate) libraries: Vec<Linked>,
    /// The libraries of units that are the program, if it is no other.
    pub(crate) demand: Option<Demand>,
    /// The namespace into which units are loaded by default.
    default: Arc<SharedNames>,
    /// The other namespaces: live ones, and dead ones that have not been removed yet.
    spaces: Vec<Weak<SharedNames>>,
    /// Tells this machine's handles from another's.
    identity: Arc<()>,
    /// What happens to modules that OCaml's own `Dynlink` or toplevel loads from now on.
    pub slots: ModuleSlots,
    /// Slots of the global table that code loaded by OCaml's own `Dynlink` or toplevel defined as modules, and for each
    /// whether some code reads it by its number.
    pub(crate) module_slots: HashMap<usize, bool>,
    /// Slots of the global table that nothing refers to, although OCaml's linker counts them as used: where names are
    /// hidden only after a load, they could not be given back at once.
    pub(crate) released: HashSet<usize>,
    /// OCaml's own symbol table, once found.
    pub(crate) symtable: Option<Kept>,
    /// The content of that table when it was last searched for hidden names.
    pub(crate) seen: Option<Kept>,
    /// The content of that table when code was last loaded.
    pub(crate) left: Option<Kept>,
    /// Whether units have been loaded, so that the machine's version is settled.
    pub(crate) has_loaded: bool,
    /// How many toplevel phrases have been turned into code.
    pub(crate) phrases: u64,
    /// How many slot numbers have been reused.
    pub(crate) recycled: u64,
}

impl Linker {
    /// The machine's linker.
    pub fn of(m: &mut Machine) -> &mut Linker {
        m.ext()
    }

    /// Sets the tables of the program, and the libraries in its section `DLLS`.
    pub fn set_program(&mut self, tables: Arc<ProgramTables>, libraries: Vec<Linked>) {
        self.tables = Some(tables);
        self.libraries = libraries;
    }

    /// Reads the program's tables, unless that has been done.
    fn read_program(&self) -> Result<Arc<ProgramNames>, spelter_bytecode::Error> {
        let Some(tables) = &self.tables else { return Ok(Arc::default()) };
        if let Some(program) = tables.names.get() {
            return Ok(Arc::clone(program));
        }
        let (symbols, interfaces) = tables.read()?;
        let mut known = IndexMap::new();
        known.try_reserve(interfaces.len()).map_err(|_| spelter_bytecode::Error::out_of_memory())?;
        known.extend(interfaces);
        let program = ProgramNames { symbols, interfaces: known };
        Ok(Arc::clone(tables.names.get_or_init(|| Arc::new(program))))
    }

    /// Makes sure that the program's tables have been read, unless they are damaged.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub(crate) fn reach_program(&self) -> Result<(), OutOfMemory> {
        match self.read_program() {
            Err(e) if e.is_out_of_memory() => Err(OutOfMemory { words: 0 }),
            _ => Ok(()),
        }
    }

    /// What the program defines; empty if its tables are damaged, which loading a unit reports.
    pub(crate) fn program(&self) -> Arc<ProgramNames> {
        self.read_program().unwrap_or_default()
    }

    /// The names of the public units of the default namespace, in the order of their loading.
    pub fn public_names(&self) -> impl Iterator<Item = String> {
        self.default.lock().public.keys().cloned().collect::<Vec<_>>().into_iter()
    }

    /// The namespace into which units are loaded by default.
    pub fn default_namespace(&self) -> Namespace {
        Namespace::from_parts(Arc::clone(&self.default), self.identity())
    }

    /// How many names of units there are, in all namespaces.
    pub fn name_count(&self) -> usize {
        self.spaces().map(|names| names.lock().public.len()).sum()
    }

    /// How many namespaces the machine has, with the default one.
    pub fn namespace_count(&self) -> usize {
        self.spaces().count()
    }

    pub(crate) fn new_namespace(&mut self, names: Names) -> Namespace {
        let names = SharedNames::new(names);
        self.spaces.retain(|space| space.strong_count() > 0);
        self.spaces.push(Arc::downgrade(&names));
        Namespace::from_parts(names, self.identity())
    }

    /// The names of all namespaces, the default one first.
    pub(crate) fn spaces(&self) -> impl Iterator<Item = Arc<SharedNames>> {
        std::iter::once(Arc::clone(&self.default)).chain(self.spaces.iter().filter_map(Weak::upgrade))
    }

    pub(crate) fn identity(&self) -> Arc<()> {
        Arc::clone(&self.identity)
    }

    /// Makes all names of a unit refer to another unit, or removes them. Returns how many there were.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub(crate) fn redirect(&mut self, from: &LoadedUnit, to: Option<&LoadedUnit>) -> usize {
        assert!(Arc::ptr_eq(&self.identity, &from.machine), "a unit of another machine");
        self.spaces().map(|names| names.lock().redirect(from.id, to)).sum()
    }

    /// How many global slots are known to hold modules that OCaml's own `Dynlink` or toplevel loaded.
    pub fn module_slot_count(&self) -> usize {
        self.module_slots.len()
    }

    /// The names of public units, by the numbers of the values that their handles keep alive.
    pub(crate) fn public_handles(&self) -> HashMap<usize, Vec<String>> {
        let mut handles: HashMap<_, Vec<_>> = HashMap::new();
        for names in self.spaces() {
            for (name, unit) in &names.lock().public {
                handles.entry(unit.object.number()).or_default().push(name.clone());
            }
        }
        handles
    }

    /// How many global slots the program's executable has.
    pub(crate) fn program_slots(&self) -> usize {
        self.program().symbols.count
    }

    /// The interface recorded for a name in a namespace, if there is one.
    fn interface(&self, names: &Names, name: &str) -> Option<Digest> {
        match names.public.get(name) {
            Some(public) => public.interface,
            None if names.shows(name) => self.program().interfaces.get(name).copied().flatten(),
            None => None,
        }
    }

    /// Checks that a unit and what it is to be linked with were compiled against the same interfaces.
    pub(crate) fn check_interfaces(&self, names: &Names, unit: &CompilationUnit) -> Result<(), LinkError> {
        self.read_program()?;
        for (import, wanted) in &unit.imports {
            if *import == unit.name {
                continue; // the own interface of a new version may differ
            }
            if let (Some(wanted), Some(known)) = (wanted, self.interface(names, import))
                && *wanted != known
            {
                let (unit, import) = (unit.name.clone(), import.clone());
                return Err(LinkError::InterfaceMismatch { unit, import });
            }
        }
        Ok(())
    }
}
