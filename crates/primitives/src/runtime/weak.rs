//! Weak arrays and ephemerons (`weak.c`). A weak array is an ephemeron whose data is never set.

use spelter_heap::raw::tag;
use spelter_interp::prim::ephemeron::MAX_KEYS;
use spelter_interp::prim::unmarshal::enclosing_closure;
use spelter_interp::{Machine, Raise, Res, Slot, prims};

use crate::UNIT;
use crate::boolean;

fn ephe_create(m: &mut Machine, [len]: [Slot; 1]) -> Res<'_> {
    let len = m.index(len)?;
    if len > MAX_KEYS {
        return Err(Raise::invalid("Weak.create"));
    }
    let e = m.push(|m| m.new_ephemeron(len))?;
    m.process_pending_actions()?;
    Ok(m.val(e))
}

fn ephe_set_key(m: &mut Machine, [e, i, v]: [Slot; 3]) -> Res<'_> {
    let i = m.index(i)?;
    m.ephemeron_set(e, i, Some(v))?;
    Ok(UNIT)
}

fn ephe_unset_key(m: &mut Machine, [e, i]: [Slot; 2]) -> Res<'_> {
    let i = m.index(i)?;
    m.ephemeron_set(e, i, None)?;
    Ok(UNIT)
}

/// Sets a key from an option.
fn weak_set(m: &mut Machine, [e, i, option]: [Slot; 3]) -> Res<'_> {
    let i = m.index(i)?;
    let v = if m.val(option).is_block() { Some(m.push_field(option, 0)?) } else { None };
    m.ephemeron_set(e, i, v)?;
    Ok(UNIT)
}

fn ephe_set_data(m: &mut Machine, [e, v]: [Slot; 2]) -> Res<'_> {
    m.ephemeron_set_data(e, Some(v))?;
    Ok(UNIT)
}

fn ephe_unset_data(m: &mut Machine, [e]: [Slot; 1]) -> Res<'_> {
    m.ephemeron_set_data(e, None)?;
    Ok(UNIT)
}

/// The option for a value.
fn option<'m>(m: &'m mut Machine, v: Option<Slot>) -> Res<'m> {
    let some = match v {
        None => m.push_int(0),
        Some(v) => m.push(|m| m.new_some(v))?,
    };
    m.process_pending_actions()?;
    Ok(m.val(some))
}

/// The same with a shallow copy.
fn option_of_copy<'m>(m: &'m mut Machine, v: Option<Slot>) -> Res<'m> {
    let copy = v.map(|v| shallow_copy(m, v)).transpose()?;
    option(m, copy)
}

/// A copy of what an ephemeron refers to. Integers, custom blocks and values outside the heap are not copied.
///
/// # Errors
/// When memory is exhausted.
pub fn shallow_copy(m: &mut Machine, v: Slot) -> Result<Slot, Raise> {
    if !m.val(v).is_block() || m.is_outside(m.val(v)) {
        return Ok(v);
    }
    match m.val(v).tag()? {
        tag::CUSTOM => Ok(v),
        tag::INFIX => copy_of_inner(m, v),
        _ => m.push(|m| m.new_copy(v, None)),
    }
}

/// Copies an inner closure with its enclosing block.
fn copy_of_inner(m: &mut Machine, v: Slot) -> Result<Slot, Raise> {
    let (_, distance) = enclosing_closure(m.val(v))?;
    let outer = m.push(|m| Ok(m.enclosing(m.val(v))))?;
    let copy = m.push(|m| m.new_copy(outer, None))?;
    m.push(|m| m.add_offset(copy, i64::from(distance)))
}

fn ephe_get_key(m: &mut Machine, [e, i]: [Slot; 2]) -> Res<'_> {
    let i = m.index(i)?;
    let v = m.ephemeron_get(e, i)?;
    option(m, v)
}

fn ephe_get_data(m: &mut Machine, [e]: [Slot; 1]) -> Res<'_> {
    let v = m.ephemeron_get_data(e)?;
    option(m, v)
}

fn ephe_get_key_copy(m: &mut Machine, [e, i]: [Slot; 2]) -> Res<'_> {
    let i = m.index(i)?;
    let v = m.ephemeron_get(e, i)?;
    option_of_copy(m, v)
}

fn ephe_get_data_copy(m: &mut Machine, [e]: [Slot; 1]) -> Res<'_> {
    let v = m.ephemeron_get_data(e)?;
    option_of_copy(m, v)
}

fn ephe_check_key(m: &mut Machine, [e, i]: [Slot; 2]) -> Res<'_> {
    let i = m.index(i)?;
    Ok(boolean(m.ephemeron_check(e, i)?))
}

fn ephe_check_data(m: &mut Machine, [e]: [Slot; 1]) -> Res<'_> {
    Ok(boolean(m.ephemeron_check_data(e)?))
}

fn ephe_blit_key(m: &mut Machine, [from, i, to, j, len]: [Slot; 5]) -> Res<'_> {
    let (i, j, len) = (m.index(i)?, m.index(j)?, m.index(len)?);
    if len > 0 {
        m.ephemeron_blit(from, i, to, j, len)?;
    }
    Ok(UNIT)
}

fn ephe_blit_data(m: &mut Machine, [from, to]: [Slot; 2]) -> Res<'_> {
    m.ephemeron_blit_data(from, to)?;
    Ok(UNIT)
}

prims! {
    "caml_ephe_create" P1 ephe_create,
    "caml_weak_create" P1 ephe_create,
    "caml_ephe_set_key" P3 ephe_set_key,
    "caml_ephe_unset_key" P2 ephe_unset_key,
    "caml_weak_set" P3 weak_set,
    "caml_ephe_set_data" P2 ephe_set_data,
    "caml_ephe_unset_data" P1 ephe_unset_data,
    "caml_ephe_get_key" P2 ephe_get_key,
    "caml_weak_get" P2 ephe_get_key,
    "caml_ephe_get_data" P1 ephe_get_data,
    "caml_ephe_get_key_copy" P2 ephe_get_key_copy,
    "caml_weak_get_copy" P2 ephe_get_key_copy,
    "caml_ephe_get_data_copy" P1 ephe_get_data_copy,
    "caml_ephe_check_key" P2 ephe_check_key,
    "caml_weak_check" P2 ephe_check_key,
    "caml_ephe_check_data" P1 ephe_check_data,
    "caml_ephe_blit_key" P5 ephe_blit_key,
    "caml_weak_blit" P5 ephe_blit_key,
    "caml_ephe_blit_data" P2 ephe_blit_data,
}
