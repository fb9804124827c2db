//! The primitives by which OCaml's own `Dynlink` and toplevel load code (`runtime/meta.c`, `runtime/dynlink.c`),
//! so that unmodified OCaml programs get collectable code too.
//!
//! The OCaml side does the linking: code arrives with its global slots and primitive numbers filled in, its
//! literals already stored in the global table. What `reify_bytecode` adds is ownership.
//!
//! - A slot that this code reads, that no code defines, and that lies beyond the program's own, holds one of its
//!   literals (the OCaml side numbers each literal afresh): the literal moves into the unit and the slot is cleared.
//! - A slot that this code defines holds its module. If OCaml's own table of names (see `symtable`) has given out its
//!   number but has no name for it, the load was private, and no code can ever refer to it but this: the module
//!   belongs to the unit. [`ModuleSlots`] widens this or turns it off.
//! - A slot that other loaded code defined holds a module that has, or had, a name. The unit takes the module, so
//!   that the table can let go of it when the name goes.
//! - When the unit owns all that the highest numbers stand for, the OCaml side is told to give them out again.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use spelter_bytecode::Opcode;
use spelter_bytecode::code::words_of_bytes;
use spelter_bytecode::debug::{Event, EventInfo, EventKind, EventTable, Location, Position};
use spelter_interp::inspect::backtrace::DebugInfo;
use spelter_interp::inspect::debugger::Stop;
use spelter_interp::{Machine, Raise, Res, Slot, SlotRef, Val, WrongType, fallible, prims};

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

/// Programs made of one file with the runtime have their tables here; an ordinary executable has them in its own
/// sections, which the OCaml side then opens itself.
fn get_section_table(_: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    Err(Raise::NotFound)
}

/// What a slot of the global table is to the code that names it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Its literal, which moves into the unit.
    Literal,
    /// The module that it defines, and nobody else can name.
    Module,
    /// The module of a unit loaded before: the unit takes it too.
    Import,
}

/// Which slots of the global table become slots of the unit's own.
#[derive(Default)]
struct Ownership {
    /// Each with its role, in the order of the unit's own slots.
    own: IndexMap<usize, Role>,
    /// Positions of operands, with the own slots that they mean.
    operands: HashMap<usize, i32>,
    /// Module slots that the code defines for others to name, and whether it reads them itself.
    shared: HashMap<usize, bool>,
    /// Module slots of others that it reads by number, because there is nothing in them yet.
    by_number: Vec<usize>,
    /// All slots beyond the program's that it names.
    named: HashSet<usize>,
}

/// Sorts out which slots of the global table are the code's own.
fn ownership(m: &mut Machine, words: &[i32], names: Option<&Names>) -> Result<Ownership, Raise> {
    let accesses = global_accesses(words, m.dialect().opcodes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| Raise::failure(format!("reify_bytecode: {e}")))?;
    let linker = Linker::of(m);
    let (first, mode) = (linker.program_slots(), linker.slots);
    // What has lost its name is no module to this code: OCaml may have given its number to something else.
    let is_named = |slot: &usize| names.is_none_or(|names| names.named.contains(slot));
    let foreign: HashSet<usize> = linker.module_slots.keys().copied().filter(is_named).collect();
    let defined: HashSet<usize> =
        accesses.iter().filter(|(_, op, _)| *op == Opcode::SETGLOBAL).map(|(.., global)| *global).collect();
    let is_private = |global: usize| match mode {
        ModuleSlots::Strict => false,
        ModuleSlots::Auto => names.is_some_and(|n| global < n.count && !n.named.contains(&global)),
        ModuleSlots::Eager => true,
    };
    let globals = m.globals();
    let mut o = Ownership::default();
    for (pos, op, global) in accesses {
        if global < first {
            continue;
        }
        o.named.insert(global);
        let role = if defined.contains(&global) {
            if !is_private(global) {
                *o.shared.entry(global).or_insert(false) |= op != Opcode::SETGLOBAL;
                continue;
            }
            Role::Module
        } else if foreign.contains(&global) {
            // Without a table of names nothing is ever let go of, and nothing needs taking.
            if names.is_none() || !globals.field(global)?.is_block() {
                o.by_number.push(global);
                continue;
            }
            Role::Import
        } else {
            Role::Literal
        };
        let (slot, _) = o.own.insert_full(global, role);
        o.operands.insert(pos, slot as i32);
    }
    Ok(o)
}

/// Lets go of the modules that had names and have none any more; `naming` holds the slots that mean something else
/// to the code that is being loaded.
fn forget_unnamed(m: &mut Machine, names: &Names, naming: &HashSet<usize>) -> Result<(), Raise> {
    let unnamed = |slot: &usize, by_number: &bool| !by_number && !names.named.contains(slot);
    let slots: Vec<usize> = Linker::of(m)
        .module_slots
        .extract_if(|slot, by_number| unnamed(slot, by_number))
        .map(|(s, _)| s)
        .collect();
    let globals = m.push(|m| Ok(m.globals()))?;
    for slot in slots {
        if !naming.contains(&slot) {
            m.set_field_int(globals, slot, 0)?;
        }
    }
    Ok(())
}

/// Has the OCaml side give out again the highest numbers, as far as the unit owns what they stood for.
fn recycle(m: &mut Machine, own: &IndexMap<usize, Role>, names: &Names) -> Result<(), Raise> {
    let ours = |global: usize| own.get(&global).is_some_and(|role| *role != Role::Import);
    let mut count = names.count;
    while count > 0 && ours(count - 1) {
        count -= 1;
    }
    if count < names.count {
        symtable::set_count(m, count)?;
        Linker::of(m).recycled += (names.count - count) as u64;
    }
    Ok(())
}

/// How many bytes are held for each of code while it is loaded: words, their places, what the verifier knows of them.
const CODE_EXPANDS: usize = 40;

/// The digest of code that comes without one. Code with other literals has another one, even when their slots have
/// the same numbers.
fn digest_of(m: &mut Machine, mut bytes: Vec<u8>) -> [u8; 16] {
    match Linker::of(m).recycled {
        0 => {}
        recycled => bytes.extend(recycled.to_le_bytes()),
    }
    spelter_interp::code::md5(&bytes)
}

/// Makes code: {handle, closure of the whole}. The handle holds the code object, which is sealed, until it is released.
fn reify_bytecode(m: &mut Machine, [code, events, digest]: [Slot; 3]) -> Res<'_> {
    let mut bytes = Vec::new();
    for i in 0..m.val(code).wosize()? {
        fallible::extend(&mut bytes, m.val(code).field(i)?.bytes()?)?;
    }
    // What is found out about code takes more than the code.
    fallible::afford(bytes.len().saturating_mul(CODE_EXPANDS))?;
    let words = words_of_bytes(&bytes).map_err(|e| Raise::failure(format!("reify_bytecode: {e}")))?;
    let given: Option<[u8; 16]> = match m.val(digest).is_int() {
        true => None,
        false => {
            let digest = m.val(digest).field(0)?.bytes()?.try_into();
            Some(digest.map_err(|_| WrongType { expected: "a digest" })?)
        }
    };
    let digest = given.unwrap_or_else(|| digest_of(m, bytes));
    let debug = debug_info(m.val(events), 4 * words.len())?;
    let name = events_module(m.val(events)).unwrap_or_else(|| stand_in_name(m, given, &words));
    let words = Verified::new(m, &name, words)?;
    let defines = global_accesses(words.words(), m.dialect().opcodes)
        .flatten()
        .filter(|(_, op, _)| *op == Opcode::SETGLOBAL)
        .count();
    let names = match Linker::of(m).slots {
        ModuleSlots::Strict => None,
        ModuleSlots::Auto | ModuleSlots::Eager => symtable::names(m, defines),
    };
    let Ownership { own, operands, shared, by_number, named } = ownership(m, words.words(), names.as_ref())?;
    let (own_slots, slots) = (own.len(), (0..own.len()).map(SlotRef::Own).collect());
    let about = About { name, digest, operands, slots, own_slots, debug };
    m.debug_stop(Stop::DebugInfo(events))?;
    let installed =
        install(m, words, about, &[]).map_err(|e| Raise::failure(format!("reify_bytecode: {e}")))?;
    for (i, (global, role)) in own.iter().enumerate() {
        if *role != Role::Module {
            let value = m.push(|m| Ok(m.globals().field(*global)?))?;
            m.set_unit_slot(installed.object, i, value)?;
        }
    }
    let handle = m.push(|m| m.new_block(0, &[installed.object]))?;
    let result = m.push(|m| m.new_block(0, &[handle, installed.init]))?;
    if let Some(names) = &names {
        recycle(m, &own, names)?;
        forget_unnamed(m, names, &named)?;
    }
    // Nothing fails from here on.
    let globals = m.push(|m| Ok(m.globals()))?;
    for (global, role) in own {
        if role == Role::Literal {
            m.set_field_int(globals, global, 0)?;
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

/// Gives the handle up; the code lives on as long as something can run it.
fn static_release_bytecode(m: &mut Machine, [handle]: [Slot; 1]) -> Res<'_> {
    let object = m.push_field(handle, 0)?;
    if let Some(fragment) = m.fragment_of(object) {
        m.debug_stop(Stop::Unloaded(fragment))?;
    }
    m.set_field_int(handle, 0, 0)?;
    Ok(Val::from_int(0))
}

/// The module that the first event names; the toplevel's phrases are of none.
fn events_module(events: Val<'_>) -> Option<String> {
    let event = events.field(0).ok()?.field(0).ok()?;
    let name = String::from_utf8_lossy(event.field(1).ok()?.bytes().ok()?).into_owned();
    Some(name).filter(|name| !name.is_empty())
}

/// A name for reports, of code whose events give none: that under which OCaml's table of names knows a module that it
/// defines; of a file's code, whose digest is given, the start of that; of a phrase, its number. Only the names of
/// modules have no space in them.
fn stand_in_name(m: &mut Machine, digest: Option<[u8; 16]>, words: &[i32]) -> String {
    let defined =
        global_accesses(words, m.dialect().opcodes).flatten().filter(|(_, op, _)| *op == Opcode::SETGLOBAL);
    let slots: HashSet<usize> = defined.map(|(.., slot)| slot).collect();
    let Some(digest) = digest else {
        let phrases = &mut Linker::of(m).phrases;
        *phrases += 1;
        return format!("phrase {phrases}");
    };
    symtable::name_of(m, &slots).unwrap_or_else(|| {
        let start: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("code {start}")
    })
}

/// Reads debug events (`Instruct.debug_event`, in lists, in an array) out of the heap; `most` is more than there can be.
fn debug_info(events: Val<'_>, most: usize) -> Result<DebugInfo, WrongType> {
    let mut all = Vec::new();
    let mut names: HashMap<Vec<u8>, Arc<str>> = HashMap::new();
    let mut name = |v: Val<'_>| -> Result<Arc<str>, WrongType> {
        let bytes = v.bytes().unwrap_or(b"<old bytecode>");
        if let Some(known) = names.get(bytes) {
            return Ok(Arc::clone(known));
        }
        let name: Arc<str> = String::from_utf8_lossy(bytes).into();
        names.insert(bytes.to_owned(), Arc::clone(&name));
        Ok(name)
    };
    for i in 0..events.wosize()? {
        let mut list = events.field(i)?;
        while list.is_block() {
            // A list might be endless.
            if all.len() > most {
                return Err(WrongType { expected: "fewer debug events than code" });
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
            all.push(Event {
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
            });
            list = list.field(1)?;
        }
    }
    Ok(if all.is_empty() { DebugInfo::None } else { DebugInfo::Events(EventTable::new(all)) })
}

/// The name of a library, given its file's: without folder and suffix.
fn library_name(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".so").unwrap_or(name)
}

/// Opens a shared library. Those that the runtime has built in stand for the files of their names; the handle is
/// the name. Others cannot be loaded.
fn dynlink_open_lib(m: &mut Machine, [_, file]: [Slot; 2]) -> Res<'_> {
    let file = m.text(file)?;
    let Some(library) = m.prims().library(library_name(&file)) else {
        return Err(Raise::failure(match file.contains('/') && Path::new(&file).exists() {
            true => format!("{file}: this runtime loads no libraries but those that it has built in"),
            false => format!("{file}: cannot open shared object file: No such file or directory"),
        }));
    };
    let name = library.name;
    m.new_string(name.as_bytes())
}

fn dynlink_close_lib(_: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(0))
}

/// The address of a library's primitive, for which its name stands; `()` if it has none of that name.
fn dynlink_lookup_symbol(m: &mut Machine, [library, symbol]: [Slot; 2]) -> Res<'_> {
    let (library, name) = (m.text(library)?, m.text(symbol)?);
    let found = m.prims().library(&library).and_then(|library| library.primitives.find(&name)).is_some();
    if found { m.new_string(name.as_bytes()) } else { Ok(Val::from_int(0)) }
}

/// Gives out the next number to the primitive at an address.
fn dynlink_add_primitive(m: &mut Machine, [address]: [Slot; 1]) -> Res<'_> {
    let name = m.text(address)?;
    if !m.prims().knows(&name) {
        return Err(Raise::invalid("dynlink_add_primitive"));
    }
    Ok(Val::from_int(m.append_primitive(&name) as i64))
}

/// The libraries that the program was linked with.
fn dynlink_get_current_libs(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    let names = Linker::of(m).libraries.clone();
    m.new_array(names, |m, name| m.new_string(name.as_bytes()))
}

/// The closure of the code that called.
fn get_current_environment(m: &mut Machine, [unit]: [Slot; 1]) -> Res<'_> {
    let env = m.push_caller_env(unit);
    Ok(m.val(env))
}

/// Arranges for the traced function to be entered.
fn invoke_traced_function<'m>(m: &'m mut Machine, args: &[Slot]) -> Res<'m> {
    let &[code, env, arg] = args else { return Err(Raise::invalid("invoke_traced_function")) };
    m.insert_traced_call([code, env, arg])?;
    Ok(Val::from_int(0))
}

prims! {
    "caml_get_global_data" P1 get_global_data,
    "caml_realloc_global" P1 realloc_global,
    "caml_get_section_table" P1 get_section_table,
    "caml_reify_bytecode" P3 reify_bytecode,
    "caml_static_release_bytecode" P1 static_release_bytecode,
    "caml_dynlink_open_lib" P2 dynlink_open_lib,
    "caml_dynlink_close_lib" P1 dynlink_close_lib,
    "caml_dynlink_lookup_symbol" P2 dynlink_lookup_symbol,
    "caml_dynlink_add_primitive" P1 dynlink_add_primitive,
    "caml_dynlink_get_current_libs" P1 dynlink_get_current_libs,
    "caml_get_current_environment" P1 get_current_environment,
    "caml_invoke_traced_function" Pn invoke_traced_function,
}
