//! Access to OCaml's own linker: the symbol table in which the module `Symtable` of an OCaml program maps the names
//! that loaded code can be linked with to numbers. Only this table tells whether a loaded module can still be named.
//!
//! The table is a reference to {count; map from identifier to number}, shared by closures of the program's modules. It
//! is recognised by its content: it agrees with the executable's `SYMB` about each of the program's own modules. So the
//! copy inside `dynlink.cma` is found as well as that of a toplevel, whose modules have had their names removed.

use std::collections::HashSet;

use spelter_bytecode::exe::Symbols;
use spelter_interp::{Kept, Machine, Raise, Slot, Val, fallible};

use crate::linker::Linker;

/// The tag of closures (`caml/mlvalues.h`).
const CLOSURE_TAG: u8 = 247;
/// Fields of a node of `Stdlib.Map`, and their number.
const LEFT: usize = 0;
const KEY: usize = 1;
const DATA: usize = 2;
const RIGHT: usize = 3;
const NODE_FIELDS: usize = 5;

/// The content of the table.
pub(crate) struct Names {
    /// The next number.
    pub(crate) count: usize,
    /// The numbers of loaded modules that have names.
    pub(crate) named: HashSet<usize>,
}

/// Reads a table, and calls `each` with every name and its number. `None` if this is not such a table.
fn read<'m>(
    table: Val<'m>,
    most: usize,
    mut each: impl FnMut(&'m [u8], usize) -> Result<(), Raise>,
) -> Result<Option<usize>, Raise> {
    let Some((count, root)) = root_of(table) else { return Ok(None) };
    let mut todo = vec![root];
    let mut nodes = 0;
    while let Some(node) = todo.pop() {
        if node.int() == Ok(0) {
            continue;
        }
        nodes += 1;
        let Some((name, number, below)) = entry(node).filter(|_| nodes <= most) else { return Ok(None) };
        each(name, number)?;
        fallible::extend(&mut todo, &below)?;
    }
    Ok(Some(count))
}

/// Whether this is a block of tag 0 with this many fields.
fn block_of(v: Val<'_>, fields: usize) -> bool {
    v.tag() == Ok(0) && v.wosize() == Ok(fields)
}

/// The two fields of a table: the next number, and the map.
fn root_of(table: Val<'_>) -> Option<(usize, Val<'_>)> {
    if !block_of(table, 1) {
        return None;
    }
    let record = table.field(0).ok()?;
    if !block_of(record, 2) {
        return None;
    }
    let count = usize::try_from(record.field(0).ok()?.int().ok()?).ok()?;
    Some((count, record.field(1).ok()?))
}

/// The content of a node of the map: a name, its number, and the two subtrees.
fn entry(node: Val<'_>) -> Option<(&[u8], usize, [Val<'_>; 2])> {
    if !block_of(node, NODE_FIELDS) {
        return None;
    }
    // An identifier is a block that begins with its name.
    let name = node.field(KEY).ok()?.field(0).ok()?.bytes().ok()?;
    let number = usize::try_from(node.field(DATA).ok()?.int().ok()?).ok()?;
    Some((name, number, [node.field(LEFT).ok()?, node.field(RIGHT).ok()?]))
}

/// Whether this is the table of the program with these symbols, of which up to `redefined` may have new numbers.
fn is_table_of(program: &Symbols, redefined: usize, v: Val<'_>, most: usize) -> Result<bool, Raise> {
    let mut known: HashSet<(&[u8], usize)> = HashSet::new();
    known.try_reserve(program.slots.len())?;
    known.extend(program.slots.iter().map(|(ident, slot)| (ident.name().as_bytes(), *slot)));
    let mut found = 0;
    let count = read(v, most, |name, number| {
        found += usize::from(known.contains(&(name, number)));
        Ok(())
    })?;
    Ok(found > 0 && found + redefined >= known.len() && count.is_some_and(|count| count >= program.count))
}

/// Where the variables of a closure lie among its fields.
fn variables(closure: Val<'_>) -> std::ops::Range<usize> {
    let fields = closure.wosize().unwrap_or(0);
    // The second word holds the start of the variables, below the arity's eight bits.
    let start =
        closure.scanned_field(1).and_then(Val::int).map_or(fields, |info| info as usize & ((1 << 55) - 1));
    start..fields
}

/// Looks for the table among the variables that the functions of the program's modules share. `None` unless there is
/// exactly one.
fn find(m: &mut Machine, redefined: usize) -> Result<Option<Kept>, Raise> {
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
                    && is_table_of(program, redefined, shared, most)?
                {
                    fallible::push(&mut distinct, shared)?;
                    fallible::push(&mut places, (g, f, v))?;
                }
            }
        }
    }
    let only = (distinct.len() == 1).then(|| places[0]);
    let Some((g, f, v)) = only else { return Ok(None) };
    m.reserve_kept(1)?;
    let mark = m.mark();
    let table = m.push(|m| Ok(m.globals().field(g)?.field(f)?.scanned_field(v)?))?;
    let kept = m.keep(table);
    m.release(mark);
    Ok(Some(kept))
}

/// The current content of OCaml's symbol table, if this program has one. The code being loaded defines `redefined`
/// names.
///
/// # Errors
/// When there is not enough memory.
pub(crate) fn names(m: &mut Machine, redefined: usize) -> Result<Option<Names>, Raise> {
    let first = Linker::of(m).program_slots();
    let Some((mark, slot)) = push_table(m, redefined)? else { return Ok(None) };
    let mut named = HashSet::new();
    let most = m.globals().wosize().unwrap_or(0);
    let count = read(m.val(slot), most, |_, number| {
        if number >= first {
            named.try_reserve(1)?;
            named.insert(number);
        }
        Ok(())
    });
    m.release(mark);
    Ok(count?.map(|count| Names { count, named }))
}

/// Pushes the table into a new slot, after looking for it if it has not been found. Also returns the mark to release
/// to.
fn push_table(m: &mut Machine, redefined: usize) -> Result<Option<(usize, Slot)>, Raise> {
    let table = match Linker::of(m).symtable.take() {
        Some(table) => table,
        None => match find(m, redefined)? {
            Some(table) => table,
            None => return Ok(None),
        },
    };
    let mark = m.mark();
    let slot = m.push_kept(&table);
    Linker::of(m).symtable = Some(table);
    Ok(Some((mark, slot)))
}

/// The first name, if any, that OCaml's table has for one of these numbers.
///
/// # Errors
/// When there is not enough memory.
pub(crate) fn name_of(m: &mut Machine, numbers: &HashSet<usize>) -> Result<Option<String>, Raise> {
    let Some((mark, slot)) = push_table(m, numbers.len())? else { return Ok(None) };
    let mut first: Option<(usize, &[u8])> = None;
    let most = m.globals().wosize().unwrap_or(0);
    let outcome = read(m.val(slot), most, |name, number| {
        if numbers.contains(&number) && first.is_none_or(|(least, _)| number < least) {
            first = Some((number, name));
        }
        Ok(())
    });
    let name = outcome.and_then(|_| Ok(first.map(|(_, name)| fallible::lossy(name)).transpose()?));
    m.release(mark);
    name
}

/// Makes `count` the next number. No number from there on may be in use.
///
/// # Errors
/// When there is not enough memory; the table is then unchanged.
pub(crate) fn set_count(m: &mut Machine, count: usize) -> Result<(), Raise> {
    let Some(table) = Linker::of(m).symtable.take() else { return Ok(()) };
    let mark = m.mark();
    let slot = m.push_kept(&table);
    Linker::of(m).symtable = Some(table);
    let record = m.push_field(slot, 0)?;
    let map = m.push_field(record, 1)?;
    let count = m.push_int(count as i64);
    // A new record, as OCaml would make it: the program may have saved the old one to restore it later.
    let record = m.push(|m| m.new_block(0, &[count, map]))?;
    m.set_field(slot, 0, record)?;
    m.release(mark);
    Ok(())
}

/// A content of the table that the linker remembers.
type Remembered = fn(&mut Linker) -> &mut Option<Kept>;

/// Whether the table has the content that is remembered.
fn is_still(m: &mut Machine, which: Remembered) -> bool {
    let linker = Linker::of(m);
    if linker.symtable.is_none() || which(linker).is_none() {
        return false;
    }
    let (Some(table), Some(content)) = (linker.symtable.take(), which(linker).take()) else { return false };
    let mark = m.mark();
    let slots = [m.push_kept(&table), m.push_kept(&content)];
    let [table_now, content_then] = slots.map(|slot| m.val(slot));
    let same = table_now.field(0).is_ok_and(|content| content.same(content_then));
    m.release(mark);
    let linker = Linker::of(m);
    linker.symtable = Some(table);
    *which(linker) = Some(content);
    same
}

/// Remembers the present content of the table, which OCaml never changes in place.
fn remember(m: &mut Machine, which: Remembered) -> Result<(), Raise> {
    let Some((mark, table)) = push_table(m, 0)? else { return Ok(()) };
    m.reserve_kept(1)?;
    let content = m.push_field(table, 0)?;
    let content = m.keep(content);
    *which(Linker::of(m)) = Some(content);
    m.release(mark);
    Ok(())
}

/// Whether the table has the content that it had at the last call of [`see`].
pub(crate) fn is_seen(m: &mut Machine) -> bool {
    is_still(m, |linker| &mut linker.seen)
}

/// Remembers that the present content has been searched for hidden names.
pub(crate) fn see(m: &mut Machine) -> Result<(), Raise> {
    remember(m, |linker| &mut linker.seen)
}

/// Whether the table has the content that it had at the last call of [`leave`]. Code that defines a module has then not
/// got its number from this table: the program has two linkers (its own `Dynlink`, and a toplevel's), and the other one,
/// whose table had no content when this one was found, loads now.
pub(crate) fn is_as_left(m: &mut Machine) -> bool {
    is_still(m, |linker| &mut linker.left)
}

/// Remembers that a load has left the present content.
pub(crate) fn leave(m: &mut Machine) -> Result<(), Raise> {
    remember(m, |linker| &mut linker.left)
}
