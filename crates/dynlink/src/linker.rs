//! What the names in a unit mean: the program's modules, and the namespaces' units.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use indexmap::IndexMap;
use spelter_bytecode::exe::Symbols;
use spelter_bytecode::obj::CompilationUnit;
use spelter_bytecode::{Digest, Imports};
use spelter_interp::{Kept, Machine, OutOfMemory, Strategy};

use crate::error::LinkError;
use crate::handle::LoadedUnit;
use crate::namespace::{Names, Namespace};

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

/// What a program defines and was linked with.
#[derive(Default)]
pub(crate) struct ProgramNames {
    /// Global slots of its modules and exceptions.
    pub(crate) symbols: Symbols,
    /// Interfaces of its modules.
    interfaces: IndexMap<String, Option<Digest>>,
}

/// Reads the tables of a program's executable: its `SYMB` and its `CRCS`.
pub type ReadTables = Box<dyn Fn() -> Result<(Symbols, Imports), spelter_bytecode::Error>>;

/// The linker of one machine; its state lives there.
#[derive(Default)]
pub struct Linker {
    /// How units are patched that are loaded from now on.
    pub strategy: Strategy,
    /// Reads what the program defines, which most programs never ask.
    read_tables: Option<ReadTables>,
    program: OnceCell<Rc<ProgramNames>>,
    /// The shared libraries that the program was linked with.
    pub(crate) libraries: Vec<String>,
    /// Where units are loaded if nothing else is said.
    default: Rc<RefCell<Names>>,
    /// The other namespaces that are alive, and some that no longer are.
    spaces: Vec<Weak<RefCell<Names>>>,
    /// Tells this machine's handles from another's.
    identity: Rc<()>,
    /// What becomes of the modules that OCaml's own `Dynlink` or toplevel loads from now on.
    pub slots: ModuleSlots,
    /// Slots of the global table that code loaded by OCaml's own `Dynlink` or toplevel defined as modules, and
    /// whether some code reads them by their number.
    pub(crate) module_slots: HashMap<usize, bool>,
    /// OCaml's own table of names, once found.
    pub(crate) symtable: Option<Kept>,
    /// How many phrases a toplevel has had made into code.
    pub(crate) phrases: u64,
    /// How many numbers of slots have been given out again.
    pub(crate) recycled: u64,
}

impl Linker {
    /// The machine's linker.
    pub fn of(m: &mut Machine) -> &mut Linker {
        m.ext()
    }

    /// Tells the linker how to come by what the program defines and was linked with, and its `DLLS`.
    pub fn set_program(&mut self, read_tables: ReadTables, libraries: Vec<String>) {
        self.read_tables = Some(read_tables);
        self.program = OnceCell::new();
        self.libraries = libraries;
    }

    /// Reads what the program defines, unless that has been done.
    fn read_program(&self) -> Result<Rc<ProgramNames>, spelter_bytecode::Error> {
        if let Some(program) = self.program.get() {
            return Ok(Rc::clone(program));
        }
        let (symbols, interfaces) =
            self.read_tables.as_ref().map_or_else(|| Ok(Default::default()), |read| read())?;
        let mut known = IndexMap::new();
        known.try_reserve(interfaces.len()).map_err(|_| spelter_bytecode::Error::out_of_memory())?;
        known.extend(interfaces);
        let program = ProgramNames { symbols, interfaces: known };
        Ok(Rc::clone(self.program.get_or_init(|| Rc::new(program))))
    }

    /// Makes sure that what the program defines has been read, unless its tables are damaged.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub(crate) fn reach_program(&self) -> Result<(), OutOfMemory> {
        match self.read_program() {
            Err(e) if e.is_out_of_memory() => Err(OutOfMemory { words: 0 }),
            _ => Ok(()),
        }
    }

    /// What the program defines; nothing where its tables are damaged, which whoever loads a unit is told.
    pub(crate) fn program(&self) -> Rc<ProgramNames> {
        self.read_program().unwrap_or_default()
    }

    /// The names of the public units of the default namespace, in the order of their loading.
    pub fn public_names(&self) -> impl Iterator<Item = String> {
        self.default.borrow().public.keys().cloned().collect::<Vec<_>>().into_iter()
    }

    /// The namespace where units are loaded if nothing else is said.
    pub fn default_namespace(&self) -> Namespace {
        Namespace::from_parts(Rc::clone(&self.default), self.identity())
    }

    /// How many names of units there are, in all namespaces.
    pub fn name_count(&self) -> usize {
        self.spaces().map(|names| names.borrow().public.len()).sum()
    }

    /// How many namespaces the machine has, with the default one.
    pub fn namespace_count(&self) -> usize {
        self.spaces().count()
    }

    pub(crate) fn new_namespace(&mut self, names: Names) -> Namespace {
        let names = Rc::new(RefCell::new(names));
        self.spaces.retain(|space| space.strong_count() > 0);
        self.spaces.push(Rc::downgrade(&names));
        Namespace::from_parts(names, self.identity())
    }

    /// The names of all namespaces, the default one first.
    pub(crate) fn spaces(&self) -> impl Iterator<Item = Rc<RefCell<Names>>> {
        std::iter::once(Rc::clone(&self.default)).chain(self.spaces.iter().filter_map(Weak::upgrade))
    }

    pub(crate) fn identity(&self) -> Rc<()> {
        Rc::clone(&self.identity)
    }

    /// Makes all names of a unit lead to another, or nowhere. Gives how many there were.
    ///
    /// # Panics
    /// When the unit is another machine's.
    pub(crate) fn redirect(&mut self, from: &LoadedUnit, to: Option<&LoadedUnit>) -> usize {
        assert!(Rc::ptr_eq(&self.identity, &from.machine), "a unit of another machine");
        self.spaces().map(|names| names.borrow_mut().redirect(from.id, to)).sum()
    }

    /// How many global slots are known to hold modules that OCaml's own `Dynlink` or toplevel loaded.
    pub fn module_slot_count(&self) -> usize {
        self.module_slots.len()
    }

    /// The handles that keep public units, by their numbers, with the names.
    pub(crate) fn public_handles(&self) -> IndexMap<usize, String> {
        let mut handles = IndexMap::new();
        for names in self.spaces() {
            let names = names.borrow();
            handles.extend(names.public.iter().map(|(name, unit)| (unit.object.number(), name.clone())));
        }
        handles
    }

    /// How many global slots the program's own executable has.
    pub(crate) fn program_slots(&self) -> usize {
        self.program().symbols.count
    }

    /// The interface by which a namespace knows a name, if it knows it with one.
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
                continue; // a new version may well have a new interface of its own
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
