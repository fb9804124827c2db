//! Loading: relocate a unit against the running program, patch it, install it, run its initialiser.
//!
//! A load is a transaction. Everything that can fail is done before anything is entered into a table, except primitive
//! numbers, which are taken back on failure.

use std::collections::HashMap;

use indexmap::IndexSet;
use spelter_bytecode::Digest;
use spelter_bytecode::Ident;
use spelter_bytecode::Opcode;
use spelter_bytecode::code::WORD;
use spelter_bytecode::debug::{DebugUnit, EventTable};
use spelter_bytecode::obj::{CompilationUnit, Reloc};
use spelter_bytecode::opcode::OperandKind;
use spelter_interp::inspect::backtrace::{DebugInfo, Unread};
use spelter_interp::{Kept, Machine, OutOfMemory, Raise, Slot, SlotRef, UnitFacts, fallible};

use crate::check::Refused;
use crate::constants;
use crate::demand::Needed;
use crate::error::LinkError;
use crate::handle::LoadedUnit;
use crate::install::{About, Verified, install};
use crate::linker::Linker;
use crate::namespace::{Names, Namespace, Public, SharedNames};
use crate::patch::slot_access;

/// Who may name a unit once it is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Visibility {
    /// Units loaded later; the name keeps it alive until it is withdrawn or shadowed.
    Public,
    /// No unit: it lives as long as something can reach it.
    Private,
}

/// What the operands of a unit's relocated instructions refer to.
#[derive(Default)]
struct Relocation<'u> {
    /// Positions of operands that name slots, with the slot operand.
    operands: HashMap<usize, i32>,
    /// What slot operands refer to, each once.
    slots: IndexSet<SlotRef>,
    /// Literals, in the order of the unit's slots that hold them.
    literals: Vec<spelter_bytecode::obj::LiteralId>,
    /// Names that the unit defines, and the unit's slots that hold them.
    defined: Vec<(&'u str, usize)>,
    /// Names of the public units that it imports.
    imports: Vec<&'u str>,
    /// Names of the primitives that it calls, with the positions of their numbers.
    primitives: Vec<(&'u str, usize)>,
    /// Global slots of the program, with the positions that name them.
    globals: Vec<(usize, usize)>,
    /// Global slots of modules of the program that must be initialised, whether the code reads them or not.
    required: Vec<usize>,
}

impl Relocation<'_> {
    fn slot(&mut self, pos: usize, slot: SlotRef) -> Result<(), Raise> {
        self.slots.try_reserve(1)?;
        let (operand, _) = self.slots.insert_full(slot);
        self.operand(pos, operand)
    }

    fn operand(&mut self, pos: usize, operand: usize) -> Result<(), Raise> {
        self.operands.try_reserve(1)?;
        self.operands.insert(pos, operand as i32);
        Ok(())
    }

    fn own_slots(&self) -> usize {
        self.literals.len() + self.defined.len()
    }
}

/// Loads a unit into the default namespace and runs its initialiser.
///
/// # Errors
/// See [`LinkError`]; all tables are then unchanged. Only with [`LinkError::Initialiser`] do the effects of the
/// initialiser itself remain.
pub fn load_unit(
    m: &mut Machine,
    unit: &CompilationUnit,
    visibility: Visibility,
) -> Result<LoadedUnit, LinkError> {
    let space = Linker::of(m).default_namespace();
    load_unit_in(m, &space, unit, visibility)
}

/// Loads a unit into a namespace and runs its initialiser.
///
/// # Errors
/// As for [`load_unit`].
///
/// # Panics
/// When the namespace belongs to another machine.
pub fn load_unit_in(
    m: &mut Machine,
    space: &Namespace,
    unit: &CompilationUnit,
    visibility: Visibility,
) -> Result<LoadedUnit, LinkError> {
    let names = space.names_in(m);
    let mark = m.mark();
    let (prims, dialect) = (m.prims().count(), m.dialect());
    take_version(m, unit)?;
    let linked = link(m, &names, unit).inspect_err(|_| {
        m.truncate_primitives(prims);
        if m.dialect() != dialect {
            m.adopt(dialect);
        }
    });
    let loaded = linked.and_then(|linked| {
        linked.needed.initialise(m)?;
        initialise(m, &unit.name, linked.init)?;
        if visibility == Visibility::Public {
            names.lock().public.insert(unit.name.clone(), Public::of(&linked.unit));
        }
        Ok(linked.unit)
    });
    m.release(mark);
    loaded
}

/// A unit that has been installed, but not initialised.
pub(crate) struct LinkedUnit {
    pub(crate) unit: LoadedUnit,
    /// The closure of its initialiser.
    pub(crate) init: Slot,
    /// What must be initialised before.
    pub(crate) needed: Needed,
}

/// Makes a machine that has run nothing yet one for the unit's version; otherwise checks that it is of that version.
pub(crate) fn take_version(m: &mut Machine, unit: &CompilationUnit) -> Result<(), LinkError> {
    let (found, machine) = (unit.dialect, m.dialect());
    if found == machine {
        return Ok(());
    }
    let linker = Linker::of(m);
    if linker.has_loaded || linker.tables.is_some() || m.prims().count() > 0 {
        let (found, machine) = (found.version, machine.version);
        return Err(LinkError::OtherVersion { unit: unit.name.clone(), found, machine });
    }
    m.adopt(found);
    Ok(())
}

/// Does everything for a unit but run its initialiser, and leaves it in new slots. There is room for its name, and for one
/// more handle.
pub(crate) fn link(
    m: &mut Machine,
    names: &SharedNames,
    unit: &CompilationUnit,
) -> Result<LinkedUnit, LinkError> {
    let no_memory = |_| LinkError::out_of_memory(&unit.name);
    let out_of_memory = |_: Raise| LinkError::out_of_memory(&unit.name);
    let mut words = unit.words()?;
    fallible::reserve(&mut words, 2).map_err(no_memory)?;
    let (relocation, objects) = {
        let names = names.lock();
        Linker::of(m).check_interfaces(&names, unit)?;
        let relocation = relocate(m, &names, unit, &words)?;
        let objects = relocation.imports.iter().map(|name| names.public[*name].object.clone());
        let objects: Vec<Kept> = fallible::collect(objects).map_err(no_memory)?;
        (relocation, objects)
    };
    let referred = relocation.globals.iter().map(|(_, global)| *global);
    let needed = Needed::find(m, &unit.name, referred.chain(relocation.required.iter().copied()))?;
    check_initialised(m, unit, &relocation, &needed)?;
    for (name, pos) in &relocation.primitives {
        let number = match m.prims().find(name) {
            Some(number) => number,
            None => m.append_primitive(name).map_err(no_memory)?,
        };
        words[*pos] = number as i32;
    }
    for (pos, global) in &relocation.globals {
        words[*pos] = *global as i32;
    }
    words.extend([Opcode::RETURN.word(), 1]);
    let words = Verified::new(m, &unit.name, words).map_err(|refused| match refused {
        Refused::Code(e) => LinkError::from(e),
        Refused::Frames => LinkError::Frames { unit: unit.name.clone() },
        Refused::Memory => LinkError::out_of_memory(&unit.name),
    })?;

    let mut imports = fallible::with_capacity(objects.len()).map_err(no_memory)?;
    for object in objects {
        imports.push(m.try_push_kept(&object).map_err(out_of_memory)?);
    }
    let values = constants::push_all(m, &unit.literals).map_err(|raise| match raise {
        Raise::OutOfMemory => out_of_memory(raise),
        _ => LinkError::Literal { unit: unit.name.clone() },
    })?;
    // Nothing may fail after the installation, so reserve now: for the unit's handle, that of its name, another, and the name.
    m.reserve_kept(3).map_err(out_of_memory)?;
    names.lock().public.try_reserve(1).map_err(|_| LinkError::out_of_memory(&unit.name))?;
    let own_slots = relocation.own_slots();
    let about = About {
        name: unit.name.clone(),
        digest: spelter_interp::code::md5(&unit.code),
        operands: relocation.operands,
        slots: fallible::collect(relocation.slots).map_err(no_memory)?,
        own_slots,
        debug: debug_info(unit).map_err(no_memory)?,
    };
    let installed = install(m, words, about, &imports).map_err(|e| LinkError::of_load(&unit.name, e))?;
    Linker::of(m).has_loaded = true;
    for (i, literal) in relocation.literals.iter().enumerate() {
        m.set_unit_slot(installed.object, i, values.slot(*literal)).map_err(out_of_memory)?;
    }
    let facts = UnitFacts {
        module: relocation.defined.iter().find(|(name, _)| **name == *unit.name).map(|(_, slot)| *slot),
        interface: own_interface(unit),
        constant_bytes: constants::bytes(&unit.literals),
    };
    let loaded = LoadedUnit::new(m, installed.object, facts);
    let unit = loaded.expect("the code object of a unit just installed");
    Ok(LinkedUnit { unit, init: installed.init, needed })
}

/// The digest of the unit's own interface.
pub(crate) fn own_interface(unit: &CompilationUnit) -> Option<Digest> {
    unit.imports.iter().find(|(name, _)| *name == unit.name).and_then(|(_, digest)| *digest)
}

/// Runs the initialiser of the unit of that name.
pub(crate) fn initialise(m: &mut Machine, name: &str, init: Slot) -> Result<(), LinkError> {
    let unit_value = m.push_int(0);
    let outcome = m.call(init, &[unit_value]).map(drop);
    outcome.map_err(|raise| LinkError::Initialiser { unit: name.to_owned(), raise })
}

fn debug_info(unit: &CompilationUnit) -> Result<DebugInfo, OutOfMemory> {
    let Some(bytes) = &unit.debug else { return Ok(DebugInfo::None) };
    let debug = DebugUnit::new(0, fallible::to_vec(bytes)?, unit.dialect);
    Ok(DebugInfo::Later(Box::new(move || match debug.events().and_then(EventTable::new) {
        Ok(table) => Ok(Some(table)),
        Err(error) if error.is_out_of_memory() => Err(Unread::OutOfMemory),
        Err(_) => Ok(None),
    })))
}

/// Resolves each relocation, and checks that its target exists.
fn relocate<'u>(
    m: &mut Machine,
    names: &Names,
    unit: &'u CompilationUnit,
    words: &[i32],
) -> Result<Relocation<'u>, LinkError> {
    let no_memory = |_| LinkError::out_of_memory(&unit.name);
    let out_of_memory = |_: Raise| LinkError::out_of_memory(&unit.name);
    let bad = |offset: usize, why| LinkError::Relocation { unit: unit.name.clone(), offset, why };
    let mut r = Relocation::default();
    // The unit's slots: literals first, then what it defines.
    let count = |f: fn(&Reloc) -> bool| unit.relocs.iter().filter(|(reloc, _)| f(reloc)).count();
    let literals = count(|reloc| matches!(reloc, Reloc::Literal(_)));
    for (reloc, _) in &unit.relocs {
        if let Reloc::SetGlobal(ident) = reloc {
            let slot = literals + r.defined.len();
            fallible::push(&mut r.defined, (ident.name(), slot)).map_err(no_memory)?;
        }
    }
    let mut setters = (0..r.defined.len()).map(|i| literals + i);
    let linker = Linker::of(m);
    let program = linker.program();
    let libraries = linker.demand.as_ref().map(|demand| demand.names().to_owned());
    let missing = |ident: &Ident| {
        let (unit, import) = (unit.name.clone(), ident.name().to_owned());
        match &libraries {
            // What they have, the namespace hides.
            Some(libraries) if program.symbols.slot(ident).is_none() => {
                LinkError::NotInLibraries { unit, import, libraries: libraries.clone() }
            }
            _ => LinkError::MissingImport { unit, import },
        }
    };
    for (reloc, offset) in &unit.relocs {
        if offset % WORD != 0 || *offset < WORD || offset / WORD >= words.len() {
            return Err(bad(*offset, "it lies outside the code"));
        }
        let pos = offset / WORD;
        let op = Opcode::from_word(words[pos - 1]);
        let is_access = op.and_then(slot_access).is_some();
        let is_setter = op == Some(Opcode::SETGLOBAL);
        match reloc {
            Reloc::Literal(id) => {
                if !is_access || is_setter {
                    return Err(bad(*offset, "a literal where no instruction reads a global"));
                }
                r.slot(pos, SlotRef::Own(r.literals.len())).map_err(out_of_memory)?;
                fallible::push(&mut r.literals, *id).map_err(no_memory)?;
            }
            Reloc::SetGlobal(_) => {
                let (true, Some(slot)) = (is_setter, setters.next()) else {
                    return Err(bad(*offset, "a definition where no instruction sets a global"));
                };
                // SETSLOT names its slot directly.
                r.operand(pos, slot).map_err(out_of_memory)?;
            }
            Reloc::GetGlobal(ident) => {
                if !is_access || is_setter {
                    return Err(bad(*offset, "a module where no instruction reads a global"));
                }
                let name = ident.name();
                let own = r.defined.iter().find(|(defined, _)| *defined == name).map(|(_, slot)| *slot);
                match (own, names.public.get(name), names.program_slot(&program.symbols, ident)) {
                    (Some(slot), _, _) => r.slot(pos, SlotRef::Own(slot)).map_err(out_of_memory)?,
                    (None, Some(public), _) if matches!(ident, Ident::Unit(_)) => {
                        let import = match r.imports.iter().position(|import| *import == name) {
                            Some(known) => known,
                            None => {
                                fallible::push(&mut r.imports, name).map_err(no_memory)?;
                                r.imports.len() - 1
                            }
                        };
                        r.slot(pos, SlotRef::Import(import, public.slot)).map_err(out_of_memory)?;
                    }
                    (None, _, Some(global)) => {
                        fallible::push(&mut r.globals, (pos, global)).map_err(no_memory)?;
                    }
                    (None, _, None) => return Err(missing(ident)),
                }
            }
            Reloc::Primitive(name) => {
                if !names_primitive(words, pos) {
                    return Err(bad(*offset, "a primitive where no instruction calls one"));
                }
                if m.prims().find(name).is_none() && !m.prims().knows(name) {
                    let (unit, name) = (unit.name.clone(), name.clone());
                    return Err(LinkError::MissingPrimitive { unit, name });
                }
                if let Some(grant) = m.prims().lacks_grant(name).filter(|_| !is_of_ocaml(&unit.name)) {
                    let (unit, name) = (unit.name.clone(), name.clone());
                    return Err(LinkError::NotGranted { unit, name, grant });
                }
                fallible::push(&mut r.primitives, (name, pos)).map_err(no_memory)?;
            }
        }
    }
    for ident in &unit.required_globals {
        let name = ident.name();
        if name == unit.name || names.public.contains_key(name) {
            continue;
        }
        let global = names.program_slot(&program.symbols, ident).ok_or_else(|| missing(ident))?;
        fallible::push(&mut r.required, global).map_err(no_memory)?;
    }
    Ok(r)
}

/// Whether this is the name of a unit of OCaml's own libraries. These name primitives that most programs never call, so
/// they are loaded whatever is granted, and a call raises. Another unit that takes such a name gains nothing else.
pub(crate) fn is_of_ocaml(unit: &str) -> bool {
    let libraries =
        ["Unix", "UnixLabels", "Thread", "Event", "Str", "Dynlink", "Runtime_events", "Stdlib", "Std_exit"];
    libraries.contains(&unit) || unit.starts_with("Stdlib__") || unit.starts_with("Camlinternal")
}

/// Whether the word at `pos` is an operand that names a primitive: the first operand, or the second after a number of
/// arguments.
fn names_primitive(words: &[i32], pos: usize) -> bool {
    let is_primitive = |behind: usize| {
        let op = pos.checked_sub(behind + 1).and_then(|at| Opcode::from_word(words[at]));
        let operand = op.and_then(|op| op.operands().get(behind));
        operand.is_some_and(|operand| operand.kind == OperandKind::Prim)
    };
    is_primitive(0) || is_primitive(1)
}

/// Checks that the modules of the program that the unit reads have been initialised, or will be: their slots must hold
/// blocks.
fn check_initialised(
    m: &mut Machine,
    unit: &CompilationUnit,
    r: &Relocation,
    needed: &Needed,
) -> Result<(), LinkError> {
    for (_, global) in &r.globals {
        if m.globals().field(*global).is_ok_and(|v| v.is_block()) || needed.defines(m, *global) {
            continue;
        }
        let program = Linker::of(m).program();
        let named = program.symbols.slots.iter().find(|(_, slot)| *slot == global);
        let import = named.map_or_else(|| format!("number {global}"), |(ident, _)| ident.name().to_owned());
        return Err(LinkError::Uninitialised { unit: unit.name.clone(), import });
    }
    Ok(())
}

/// Removes a public unit's name from the default namespace: units loaded later cannot name it, and it dies when nothing
/// else reaches it. Returns false when there is no such name.
pub fn withdraw(m: &mut Machine, name: &str) -> bool {
    Linker::of(m).default_namespace().withdraw(name)
}
