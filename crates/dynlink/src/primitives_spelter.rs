//! The primitives behind Spelter's own OCaml module, `ocaml/spelter.mli`: for OCaml programs that manage loaded code
//! through Spelter. They represent a unit by its number, which keeps nothing alive.

use spelter_bytecode::obj::CompilationUnit;
use spelter_interp::{Machine, Raise, Res, Slot, UnitId, Val, fallible, prims};

use crate::error::LinkError;
use crate::explain::why_alive;
use crate::handle::{LoadedUnit, find_unit};
use crate::load::{Visibility, load_unit};
use crate::revoke::{revoke, withdraw_unit};

/// An upper bound of the memory, per byte of the heap, for the heap's graph and the report: for each word its edges and
/// the data of its block, for each step of a path its text.
const PATHS_EXPAND: usize = 32;

fn id(m: &Machine, unit: Slot) -> Result<UnitId, Raise> {
    Ok(UnitId(m.int(unit)? as u64))
}

fn find(m: &mut Machine, unit: Slot) -> Result<Option<LoadedUnit>, Raise> {
    let id = id(m, unit)?;
    fallible::afford(0)?;
    m.reserve_kept(1)?;
    Ok(find_unit(m, id))
}

/// Loads the bytes of a `.cmo`, and returns the unit's number. An exception of its initialiser is passed on.
fn load(m: &mut Machine, [bytes, public]: [Slot; 2]) -> Res<'_> {
    let visibility = if m.bool(public) { Visibility::Public } else { Visibility::Private };
    let unit = CompilationUnit::read(m.bytes(bytes)?)?;
    match load_unit(m, &unit, visibility) {
        Ok(unit) => Ok(Val::from_int(unit.id.0 as i64)),
        Err(LinkError::Initialiser { raise, .. }) => Err(raise),
        Err(LinkError::OutOfMemory { .. }) => Err(Raise::OutOfMemory),
        Err(LinkError::Format(e)) => Err(e.into()),
        Err(e) => Err(Raise::failure(e.to_string())),
    }
}

fn name(m: &mut Machine, [unit]: [Slot; 1]) -> Res<'_> {
    let unit = find(m, unit)?.ok_or(Raise::NotFound)?;
    m.new_string(unit.name.as_bytes())
}

fn withdraw(m: &mut Machine, [unit]: [Slot; 1]) -> Res<'_> {
    let gone = find(m, unit)?.map_or(0, |unit| withdraw_unit(m, &unit));
    Ok(Val::from_int(gone as i64))
}

fn revoke_unit(m: &mut Machine, [unit]: [Slot; 1]) -> Res<'_> {
    let revoked = match find(m, unit)? {
        Some(unit) => revoke(m, &unit)?,
        None => false,
    };
    Ok(Val::from_int(i64::from(revoked)))
}

fn is_alive(m: &mut Machine, [unit]: [Slot; 1]) -> Res<'_> {
    let id = id(m, unit)?;
    let alive = m.units().get(id).is_some_and(|unit| unit.is_loaded());
    Ok(Val::from_int(i64::from(alive)))
}

fn why(m: &mut Machine, [unit]: [Slot; 1]) -> Res<'_> {
    let id = id(m, unit)?;
    let words = m.heap().quick_stats().heap_words + m.heap().nursery_words();
    fallible::afford(words.saturating_mul(8 * PATHS_EXPAND))?;
    let text = why_alive(m, id).map_or_else(String::new, |why| why.to_string());
    m.new_string(text.as_bytes())
}

/// {units loaded, units freed, bytes loaded, bytes freed}
fn code_stats(m: &mut Machine, [_]: [Slot; 1]) -> Res<'_> {
    let counts = m.units().counts;
    let fields = [counts.loaded, counts.freed, counts.loaded_bytes, counts.freed_bytes];
    let fields = fields.map(|n| m.push_int(n as i64));
    m.new_block(0, &fields)
}

prims! {
    "spelter_load" P2 load,
    "spelter_name" P1 name,
    "spelter_withdraw" P1 withdraw,
    "spelter_revoke" P1 revoke_unit,
    "spelter_is_alive" P1 is_alive,
    "spelter_why" P1 why,
    "spelter_code_stats" P1 code_stats,
}
