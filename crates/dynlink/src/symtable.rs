//! OCaml's own linker, seen from below: the table of names and numbers in which the module `Symtable` of an OCaml
//! program keeps what it may link loaded code with. It alone tells whether a loaded module can be named again.
//!
//! The table is a reference to {count; map from identifier to number}, shared by closures of the program's modules.
//! It is known by its content: it says of each of the program's own modules what the executable's `SYMB` says. So the
//! copy inside `dynlink.cma` is found as is that of a toplevel, whose modules have had their names removed.

use std::collections::HashSet;

use spelter_bytecode::exe::Symbols;
use spelter_interp::{Kept, Machine, Raise, Val};

use crate::linker::Linker;

/// The tag of closures (`caml/mlvalues.h`).
const CLOSURE_TAG: u8 = 247;
/// Fields of a node of `Stdlib.Map`, and their number.
const LEFT: usize = 0;
const KEY: usize = 1;
const DATA: usize = 2;
const RIGHT: usize = 3;
const NODE_FIELDS: usize = 5;

/// What the table says.
pub(crate) struct Names {
    /// The next number.
    pub(crate) count: usize,
    /// The numbers of loaded modules that have names.
    pub(crate) named: HashSet<usize>,
}

/// Reads a table; `each` is given every name with its number. Nothing if this is no such table.
fn read<'m>(table: Val<'m>, most: usize, mut each: impl FnMut(&'m [u8], usize)) -> Option<usize> {
    let block_of = |v: Val<'m>, fields| v.tag() == Ok(0) && v.wosize() == Ok(fields);
    if !block_of(table, 1) {
        return None;
    }
    let record = table.field(0).ok()?;
    if !block_of(record, 2) {
        return None;
    }
    let count = usize::try_from(record.field(0).ok()?.int().ok()?).ok()?;
    let mut todo = vec![record.field(1).ok()?];
    let mut nodes = 0;
    while let Some(node) = todo.pop() {
        if node.int() == Ok(0) {
            continue;
        }
        nodes += 1;
        if !block_of(node, NODE_FIELDS) || nodes > most {
            return None;
        }
        // An identifier is a block that begins with its name.
        let name = node.field(KEY).ok()?.field(0).ok()?.bytes().ok()?;
        each(name, usize::try_from(node.field(DATA).ok()?.int().ok()?).ok()?);
        todo.extend([node.field(LEFT).ok()?, node.field(RIGHT).ok()?]);
    }
    Some(count)
}

/// Whether this is the table of the program with these symbols, `redefined` of which may have new numbers.
fn is_table_of(program: &Symbols, redefined: usize, v: Val<'_>, most: usize) -> bool {
    let known: HashSet<(&[u8], usize)> =
        program.slots.iter().map(|(ident, slot)| (ident.name().as_bytes(), *slot)).collect();
    let mut found = 0;
    let count = read(v, most, |name, number| found += usize::from(known.contains(&(name, number))));
    found > 0 && found + redefined >= known.len() && count.is_some_and(|count| count >= program.count)
}

/// Where the variables of a closure lie among its fields.
fn variables(closure: Val<'_>) -> std::ops::Range<usize> {
    let fields = closure.wosize().unwrap_or(0);
    // The second word says where the variables begin, below the arity's eight bits.
    let start =
        closure.scanned_field(1).and_then(Val::int).map_or(fields, |info| info as usize & ((1 << 55) - 1));
    start..fields
}

/// Looks for the table among what the functions of the program's modules share. Nothing unless there is just one.
fn find(m: &mut Machine, redefined: usize) -> Option<Kept> {
    let program = Linker::of(m).program();
    let program = &program.symbols;
    let globals = m.globals();
    let most = globals.wosize().unwrap_or(0);
    let mut places: Vec<(usize, usize, usize)> = Vec::new();
    let mut distinct: Vec<Val<'_>> = Vec::new();
    for g in 0..program.count.min(most) {
        let Ok(module) = globals.field(g) else { continue };
        if module.tag() != Ok(0) {
            continue;
        }
        for f in 0..module.wosize().unwrap_or(0) {
            let Ok(function) = module.field(f) else { continue };
            if function.tag() != Ok(CLOSURE_TAG) {
                continue;
            }
            for v in variables(function) {
                let Ok(shared) = function.scanned_field(v) else { continue };
                if shared.wosize() == Ok(1)
                    && !distinct.iter().any(|known| known.same(shared))
                    && is_table_of(program, redefined, shared, most)
                {
                    distinct.push(shared);
                    places.push((g, f, v));
                }
            }
        }
    }
    let only = (distinct.len() == 1).then(|| places[0]);
    let (g, f, v) = only?;
    let mark = m.mark();
    let table = m.push(|m| Ok(m.globals().field(g)?.field(f)?.scanned_field(v)?));
    let kept = table.ok().map(|table| m.keep(table));
    m.release(mark);
    kept
}

/// What OCaml's table of names says now, if this program has one. Code that is being loaded defines `redefined` names.
pub(crate) fn names(m: &mut Machine, redefined: usize) -> Option<Names> {
    let first = Linker::of(m).program_slots();
    let table = match Linker::of(m).symtable.take() {
        Some(table) => table,
        None => find(m, redefined)?,
    };
    let mark = m.mark();
    let slot = m.push_kept(&table);
    let mut named = HashSet::new();
    let most = m.globals().wosize().unwrap_or(0);
    let count = read(m.val(slot), most, |_, number| {
        if number >= first {
            named.insert(number);
        }
    });
    m.release(mark);
    Linker::of(m).symtable = Some(table);
    Some(Names { count: count?, named })
}

/// The first name, if any, that OCaml's table has for one of these numbers.
pub(crate) fn name_of(m: &mut Machine, numbers: &HashSet<usize>) -> Option<String> {
    let table = match Linker::of(m).symtable.take() {
        Some(table) => table,
        None => find(m, numbers.len())?,
    };
    let mark = m.mark();
    let slot = m.push_kept(&table);
    let mut first: Option<(usize, &[u8])> = None;
    let most = m.globals().wosize().unwrap_or(0);
    read(m.val(slot), most, |name, number| {
        if numbers.contains(&number) && first.is_none_or(|(least, _)| number < least) {
            first = Some((number, name));
        }
    });
    let name = first.map(|(_, name)| String::from_utf8_lossy(name).into_owned());
    m.release(mark);
    Linker::of(m).symtable = Some(table);
    name
}

/// Makes `count` the next number, when no number from there on means anything to anybody.
///
/// # Errors
/// When memory lacks; the table is as before then.
pub(crate) fn set_count(m: &mut Machine, count: usize) -> Result<(), Raise> {
    let Some(table) = Linker::of(m).symtable.take() else { return Ok(()) };
    let mark = m.mark();
    let slot = m.push_kept(&table);
    Linker::of(m).symtable = Some(table);
    let record = m.push_field(slot, 0)?;
    let map = m.push_field(record, 1)?;
    let count = m.push_int(count as i64);
    // A new record, as OCaml would make it: the old one may be a state that somebody means to restore.
    let record = m.push(|m| m.new_block(0, &[count, map]))?;
    m.set_field(slot, 0, record)?;
    m.release(mark);
    Ok(())
}
