//! The primitives by which OCaml's own `Dynlink` and toplevel load code (`runtime/meta.c`, `runtime/dynlink.c`), so
//! that code loaded by unmodified OCaml programs is collectable too.
//!
//! The OCaml side does the linking: code arrives with its global slots and primitive numbers filled in, its
//! literals already stored in the global table. What `reify_bytecode` adds is ownership.
//!
//! - A slot that this code reads, that no code defines, and that lies beyond the program's own, holds one of its
//!   literals (the OCaml side gives each literal a new number): the literal moves into the unit and the slot is
//!   cleared.
//! - A slot that this code defines holds its module. If OCaml's own symbol table (see `symtable`) has allocated its
//!   number but has no name for it, the load was private, and only this code can ever refer to it: the module belongs
//!   to the unit. [`ModuleSlots`] widens this or turns it off.
//! - A slot that other loaded code defined holds a module that has, or had, a name. The unit holds the module itself,
//!   so that the global table can drop it when the name is removed.
//! - Where `Dynlink` hides a private name only after the load, the module is public until then. It is dropped, and its
//!   number given back, when the file is closed or the program asks for a collection (`settle`). That is before the next
//!   load saves the table, which may not shrink until that load hides its names. Units that read a module hold it.
//! - When the unit owns everything in the slots with the highest numbers, the OCaml side is made to reuse these
//!   numbers.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use spelter_bytecode::Opcode;
use spelter_bytecode::code::words_of_bytes;
use spelter_bytecode::debug::{Event, EventInfo, EventKind, EventTable, Location, Position};
use spelter_interp::inspect::backtrace::DebugInfo;
use spelter_interp::inspect::debugger::Stop;
use spelter_interp::{LoadError, Machine, Raise, Res, Slot, SlotRef, Val, WrongType, fallible, prims};

use crate::install::{About, Verified, install};
use crate::linker::{Linker, ModuleSlots};
use crate::patch::global_accesses;
use crate::symtable::{self, Names};

/// The live global table.
fn get_global_data(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    Ok(m.globals())
}

/// Makes room for global slot `n`.
fn realloc_global(m: &mut Machine, [n]: [Slot; 1]) -> Res<'_> {
    let n = m.index(n)?;
    m.grow_globals(n)?;
    Ok(Val::from_int(0))
}

/// Returns no tables: only programs linked with the runtime into one file have them here. Ordinary executables have
/// them in their own sections, which the OCaml side then reads itself.
fn get_section_table(_: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    Err(Raise::NotFound)
}

/// What the linker of the OCaml side starts with: the program's symbols and interfaces, the names of the primitives by
/// number, the folders of shared libraries. Built-in libraries need no folder, so without a loader of others only the
/// program's own are named.
fn get_bytecode_sections(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    let Some(tables) = Linker::of(m).tables.clone() else {
        return Err(Raise::failure("Dynlink: Failed to re-open bytecode executable"));
    };
    let symbols = tables.symbols.as_ref().ok_or_else(|| Raise::failure("Dynlink: error reading SYMB"))?;
    let symbols = section(m, symbols, "Dynlink: error reading SYMB")?;
    let interfaces = match &tables.interfaces {
        Some(bytes) => section(m, bytes, "Dynlink: error reading CRCS")?,
        None => m.push_int(0),
    };
    let names: Vec<String> = {
        let prims = m.prims();
        let mut names = fallible::with_capacity(prims.count())?;
        for number in 0..prims.count() {
            names.push(fallible::to_string(prims.name(number).unwrap_or_default())?);
        }
        names
    };
    let prims = m.push(|m| m.new_list(names, |m, name| m.new_string(name.as_bytes())))?;
    let own: Vec<&str> = tables.library_path.iter().map(String::as_str).collect();
    let path: Vec<PathBuf> = match m.loader() {
        Some(loader) => (loader.folders)(m, &own, true).map_err(Raise::Fatal)?,
        None => own.into_iter().map(PathBuf::from).collect(),
    };
    let path =
        m.push(|m| m.new_list(path, |m, folder| m.new_string(folder.as_os_str().as_encoded_bytes())))?;
    m.new_block(0, &[symbols, interfaces, prims, path])
}

/// The value in a section.
fn section(m: &mut Machine, bytes: &[u8], otherwise: &'static str) -> Result<Slot, Raise> {
    m.push_unmarshalled(bytes).map_err(|e| match e {
        LoadError::OutOfMemory => Raise::OutOfMemory,
        _ => Raise::failure(otherwise),
    })
}

/// The role of a slot of the global table for the code that names it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Its literal, which moves into the unit.
    Literal,
    /// The module that it defines and no other code can name.
    Module,
    /// The module of a unit loaded before: this unit holds it too.
    Import,
}

/// Which slots of the global table become the unit's own slots.
#[derive(Default)]
struct Ownership {
    /// Each with its role, in the order of the unit's own slots.
    own: IndexMap<usize, Role>,
    /// Positions of operands, with the unit's slots that they refer to.
    operands: HashMap<usize, i32>,
    /// Module slots that the code defines for others to name, and whether it reads them itself.
    shared: HashMap<usize, bool>,
    /// Other units' module slots that it reads by number, because they are still empty.
    by_number: Vec<usize>,
    /// All slots beyond the program's that it names.
    named: HashSet<usize>,
}

/// Determines which slots of the global table belong to the code.
fn ownership(m: &mut Machine, words: &[i32], names: Option<&Names>) -> Result<Ownership, Raise> {
    let mut accesses = Vec::new();
    for access in global_accesses(words, m.dialect().opcodes) {
        fallible::push(&mut accesses, access.map_err(refused)?)?;
    }
    let linker = Linker::of(m);
    let (first, mode) = (linker.program_slots(), linker.slots);
    // A slot without a name is not a module for this code: OCaml may have reused its number.
    let is_named = |slot: &usize| names.is_none_or(|names| names.named.contains(slot));
    let foreign = set(linker.module_slots.keys().copied().filter(is_named))?;
    let definitions = accesses.iter().filter(|(_, op, _)| *op == Opcode::SETGLOBAL);
    let defined = set(definitions.map(|(.., global)| *global))?;
    let is_private = |global: usize| match mode {
        ModuleSlots::Strict => false,
        ModuleSlots::Auto => names.is_some_and(|n| global < n.count && !n.named.contains(&global)),
        ModuleSlots::Eager => true,
    };
    let globals = m.globals();
    let mut o = Ownership::default();
    // No table gets more entries than there are accesses.
    o.operands.try_reserve(accesses.len())?;
    o.named.try_reserve(accesses.len())?;
    for (pos, op, global) in accesses {
        if global < first {
            continue;
        }
        o.named.insert(global);
        let role = if defined.contains(&global) {
            if !is_private(global) {
                o.shared.try_reserve(1)?;
                *o.shared.entry(global).or_insert(false) |= op != Opcode::SETGLOBAL;
                continue;
            }
            Role::Module
        } else if foreign.contains(&global) {
            // Without a symbol table no module is ever dropped, so the unit need not hold it.
            if names.is_none() || !globals.field(global)?.is_block() {
                fallible::push(&mut o.by_number, global)?;
                continue;
            }
            Role::Import
        } else {
            Role::Literal
        };
        o.own.try_reserve(1)?;
        let (slot, _) = o.own.insert_full(global, role);
        o.operands.insert(pos, slot as i32);
    }
    Ok(o)
}

/// Drops the modules that have lost their names. `naming` holds the slots that code uses for something else, or will
/// still set.
fn forget_unnamed(m: &mut Machine, names: &Names, naming: &HashSet<usize>) -> Result<(), Raise> {
    let late = m.behaviour().hides_names_late;
    let linker = Linker::of(m);
    // Where names are hidden late, the slot of a unit that still runs is one of these, and stays known.
    let unnamed = |slot: &usize, by_number: &bool| {
        !(*by_number || names.named.contains(slot) || late && naming.contains(slot))
    };
    let mut slots = fallible::with_capacity(linker.module_slots.len())?;
    if late {
        linker.released.try_reserve(linker.module_slots.len())?;
    }
    slots.extend(
        linker.module_slots.extract_if(|slot, by_number| unnamed(slot, by_number)).map(|(slot, _)| slot),
    );
    if late {
        linker.released.extend(&slots);
    }
    let globals = m.push(|m| Ok(m.globals()))?;
    for slot in slots {
        if !naming.contains(&slot) {
            m.set_field_int(globals, slot, 0)?;
        }
    }
    Ok(())
}

/// Makes the OCaml side reuse the highest numbers, as far as the unit owns what their slots held.
/// Returns the number that comes next.
fn recycle(m: &mut Machine, own: &IndexMap<usize, Role>, names: &Names) -> Result<usize, Raise> {
    let ours = |global: usize| own.get(&global).is_some_and(|role| *role != Role::Import);
    let mut count = names.count;
    while count > 0 && ours(count - 1) {
        count -= 1;
    }
    if count < names.count {
        symtable::set_count(m, count)?;
        Linker::of(m).recycled += (names.count - count) as u64;
    }
    Ok(count)
}

/// Drops the modules whose names have been hidden after their load, and makes the OCaml side reuse the highest numbers.
/// What is still empty is kept: its unit may still be running, and store its module later.
pub(crate) fn settle(m: &mut Machine) -> Result<(), Raise> {
    if !m.behaviour().hides_names_late || Linker::of(m).slots != ModuleSlots::Auto {
        return Ok(());
    }
    let waiting = Linker::of(m).module_slots.iter().filter(|(_, by_number)| !**by_number);
    let waiting = set(waiting.map(|(slot, _)| *slot))?;
    if waiting.is_empty() && Linker::of(m).released.is_empty() {
        return Ok(());
    }
    if symtable::is_seen(m) {
        return Ok(());
    }
    let Some(names) = symtable::names(m, 0)? else { return Ok(()) };
    let empty =
        set(waiting.into_iter().filter(|slot| !m.globals().field(*slot).is_ok_and(|v| v.is_block())))?;
    forget_unnamed(m, &names, &empty)?;
    // Another thread may have saved the table for a load of its own.
    let alone = m.thread_count() <= 1;
    let mut count = names.count;
    while alone && count > 0 && Linker::of(m).released.contains(&(count - 1)) {
        count -= 1;
    }
    if count < names.count {
        symtable::set_count(m, count)?;
        symtable::leave(m)?;
        let linker = Linker::of(m);
        linker.released.retain(|slot| *slot < count);
        linker.recycled += (names.count - count) as u64;
    }
    symtable::see(m)
}

/// The exception for invalid code.
fn refused(e: spelter_bytecode::Error) -> Raise {
    if e.is_out_of_memory() { Raise::OutOfMemory } else { Raise::failure(format!("reify_bytecode: {e}")) }
}

/// The set of an iterator's items.
fn set(numbers: impl Iterator<Item = usize>) -> Result<HashSet<usize>, Raise> {
    let mut set = HashSet::new();
    for number in numbers {
        set.try_reserve(1)?;
        set.insert(number);
    }
    Ok(set)
}

/// The digest of code that has none. Code with other literals gets another digest, even when their slots have the same
/// numbers.
fn digest_of(m: &mut Machine, mut bytes: Vec<u8>) -> Result<[u8; 16], Raise> {
    match Linker::of(m).recycled {
        0 => {}
        recycled => fallible::extend(&mut bytes, &recycled.to_le_bytes())?,
    }
    Ok(spelter_interp::code::md5(&bytes))
}

/// The code that `caml_reify_bytecode` gets, with its last instruction.
fn code_bytes(m: &Machine, code: Slot) -> Result<Vec<u8>, Raise> {
    let mut bytes = Vec::new();
    if m.behaviour().code_is_bigarray {
        fallible::extend(&mut bytes, m.numbers(code)?.bytes())?;
        for word in [Opcode::RETURN.word(), 1] {
            fallible::extend(&mut bytes, &word.to_le_bytes())?;
        }
    } else {
        for i in 0..m.val(code).wosize()? {
            fallible::extend(&mut bytes, m.val(code).field(i)?.bytes()?)?;
        }
    }
    Ok(bytes)
}

/// Turns bytes into code; returns {handle, closure of the whole}. The handle keeps the code object, which is sealed,
/// alive until it is released.
fn reify_bytecode(m: &mut Machine, [code, events, digest]: [Slot; 3]) -> Res<'_> {
    let bytes = code_bytes(m, code)?;
    let words = words_of_bytes(&bytes).map_err(refused)?;
    let given: Option<[u8; 16]> = match m.val(digest).is_int() {
        true => None,
        false => {
            let digest = m.val(digest).field(0)?.bytes()?.try_into();
            Some(digest.map_err(|_| WrongType { expected: "a digest" })?)
        }
    };
    let digest = match given {
        Some(digest) => digest,
        None => digest_of(m, bytes)?,
    };
    Linker::of(m).reach_program()?;
    let debug = debug_info(m.val(events), 4 * words.len())?;
    let name = match events_module(m.val(events)) {
        Some(name) => name,
        None => stand_in_name(m, given, &words)?,
    };
    let words = Verified::new(m, &name, words)?;
    let defines = global_accesses(words.words(), m.dialect().opcodes)
        .flatten()
        .filter(|(_, op, _)| *op == Opcode::SETGLOBAL)
        .count();
    let rule = Linker::of(m).slots;
    let names = match rule {
        ModuleSlots::Strict => None,
        // This is not the table of the linker that loads.
        _ if defines > 0 && symtable::is_as_left(m) => None,
        ModuleSlots::Auto | ModuleSlots::Eager => symtable::names(m, defines)?,
    };
    let Ownership { own, operands, shared, by_number, named } = ownership(m, words.words(), names.as_ref())?;
    let (own_slots, slots) = (own.len(), fallible::collect((0..own.len()).map(SlotRef::Own))?);
    let about = About { name, digest, operands, slots, own_slots, debug };
    m.debug_stop(Stop::DebugInfo(events))?;
    let installed = install(m, words, about, &[]).map_err(|e| match e {
        LoadError::OutOfMemory => Raise::OutOfMemory,
        e => Raise::failure(format!("reify_bytecode: {e}")),
    })?;
    for (i, (global, role)) in own.iter().enumerate() {
        if *role != Role::Module {
            let value = m.push(|m| Ok(m.globals().field(*global)?))?;
            m.set_unit_slot(installed.object, i, value)?;
        }
    }
    let handle = m.push(|m| m.new_block(0, &[installed.object]))?;
    let result = m.push(|m| m.new_block(0, &[handle, installed.init]))?;
    let late = m.behaviour().hides_names_late && !shared.is_empty();
    let mut next = 0;
    if let Some(names) = &names {
        next = recycle(m, &own, names)?;
        if !m.behaviour().hides_names_late {
            forget_unnamed(m, names, &named)?;
        }
        symtable::leave(m)?;
    }
    let released = &mut Linker::of(m).released;
    released.retain(|slot| !named.contains(slot));
    if late {
        released.try_reserve(own.len())?;
    }
    let globals = m.push(|m| Ok(m.globals()))?;
    Linker::of(m).module_slots.try_reserve(shared.len() + by_number.len())?;
    // Nothing fails from here on.
    for (global, role) in own {
        if role == Role::Literal {
            m.set_field_int(globals, global, 0)?;
            if late && global < next {
                Linker::of(m).released.insert(global);
            }
        }
    }
    let module_slots = &mut Linker::of(m).module_slots;
    module_slots.extend(shared);
    module_slots.extend(by_number.into_iter().map(|global| (global, true)));
    if let Some(fragment) = m.fragment_of(installed.object) {
        m.debug_stop(Stop::Loaded(fragment))?;
    }
    Ok(m.val(result))
}

/// Releases the handle; the code lives as long as something can run it.
fn static_release_bytecode(m: &mut Machine, [handle]: [Slot; 1]) -> Res<'_> {
    let object = m.push_field(handle, 0)?;
    if let Some(fragment) = m.fragment_of(object) {
        m.debug_stop(Stop::Unloaded(fragment))?;
    }
    m.set_field_int(handle, 0, 0)?;
    Ok(Val::from_int(0))
}

/// No module name is longer, since a file has that name.
const LONGEST_NAME: usize = 4096;

/// The module that the first event names; toplevel phrases have none.
fn events_module(events: Val<'_>) -> Option<String> {
    let event = events.field(0).ok()?.field(0).ok()?;
    let name = event.field(1).ok()?.bytes().ok()?;
    let is_name = (1..=LONGEST_NAME).contains(&name.len());
    is_name.then(|| String::from_utf8_lossy(name).into_owned())
}

/// A name, for reports, of code without a name in its events: the name of a module that it defines, from OCaml's symbol
/// table; for the code of a file, whose digest is given, the start of the digest; for a phrase, its number. Only names
/// of modules contain no space.
fn stand_in_name(m: &mut Machine, digest: Option<[u8; 16]>, words: &[i32]) -> Result<String, Raise> {
    let defined =
        global_accesses(words, m.dialect().opcodes).flatten().filter(|(_, op, _)| *op == Opcode::SETGLOBAL);
    let slots = set(defined.map(|(.., slot)| slot))?;
    let Some(digest) = digest else {
        let phrases = &mut Linker::of(m).phrases;
        *phrases += 1;
        return Ok(format!("phrase {phrases}"));
    };
    let known = symtable::name_of(m, &slots)?.filter(|name| name.len() <= LONGEST_NAME);
    Ok(known.unwrap_or_else(|| {
        let start: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("code {start}")
    }))
}

/// Reads debug events (`Instruct.debug_event`, in lists, in an array) from the heap; there can be at most `most`.
fn debug_info(events: Val<'_>, most: usize) -> Result<DebugInfo, Raise> {
    let mut all = Vec::new();
    let mut names: HashMap<Vec<u8>, Arc<str>> = HashMap::new();
    let mut name = |v: Val<'_>| -> Result<Arc<str>, Raise> {
        let bytes = v.bytes().unwrap_or(b"<old bytecode>");
        if let Some(known) = names.get(bytes) {
            return Ok(Arc::clone(known));
        }
        let text = fallible::lossy(bytes)?;
        fallible::afford(text.len())?;
        let name: Arc<str> = text.into();
        names.try_reserve(1)?;
        names.insert(fallible::to_vec(bytes)?, Arc::clone(&name));
        Ok(name)
    };
    for i in 0..events.wosize()? {
        let mut list = events.field(i)?;
        while list.is_block() {
            // A list might be cyclic.
            if all.len() > most {
                return Err(WrongType { expected: "fewer debug events than code" }.into());
            }
            let event = list.field(0)?;
            let loc = event.field(2)?;
            let position = |p: Val<'_>| -> Result<Position, WrongType> {
                Ok(Position {
                    line: p.field(1)?.int()?,
                    line_start: p.field(2)?.int()?,
                    offset: p.field(3)?.int()?,
                })
            };
            let start = loc.field(0)?;
            let event = Event {
                pos: event.field(0)?.int()? as usize,
                module: name(event.field(1)?)?,
                loc: Location {
                    file: name(start.field(0)?)?,
                    start: position(start)?,
                    end: position(loc.field(1)?)?,
                    ghost: loc.field(2)?.int()? != 0,
                },
                kind: EventKind::Before,
                defname: name(event.field(4)?)?,
                info: EventInfo::Other,
                stack_size: 0,
            };
            fallible::push(&mut all, event)?;
            list = list.field(1)?;
        }
    }
    Ok(if all.is_empty() { DebugInfo::None } else { DebugInfo::Events(EventTable::new(all)?) })
}

/// The closure of the calling code.
fn get_current_environment(m: &mut Machine, [unit]: [Slot; 1]) -> Res<'_> {
    let env = m.push_caller_env(unit);
    Ok(m.val(env))
}

/// Arranges the call of the traced function.
fn invoke_traced_function<'m>(m: &'m mut Machine, args: &[Slot]) -> Res<'m> {
    let &[code, env, arg] = args else { return Err(Raise::invalid("invoke_traced_function")) };
    m.insert_traced_call([code, env, arg])?;
    Ok(Val::from_int(0))
}

prims! {
    "caml_get_global_data" P1 get_global_data,
    "caml_realloc_global" P1 realloc_global,
    "caml_get_section_table" P1 get_section_table => before(V5_2),
    "caml_dynlink_get_bytecode_sections" P1 get_bytecode_sections => since(V5_2),
    "caml_reify_bytecode" P3 reify_bytecode,
    "caml_static_release_bytecode" P1 static_release_bytecode,
    "caml_get_current_environment" P1 get_current_environment,
    "caml_invoke_traced_function" Pn invoke_traced_function,
}
