//! `Obj` and objects (OCaml's `obj.c`, and `Obj.reachable_words`).

use spelter_heap::raw::tag;
use spelter_interp::{Machine, Raise, Res, Slot, Val, prims};

use crate::UNIT;
use crate::boolean;
use crate::values::atomic;

/// `Obj.tag` of an integer.
const INT_TAG: i64 = 1000;

/// `Obj.tag` of values that are neither an integer nor a block of the heap.
const OUT_OF_HEAP_TAG: i64 = 1001;

/// A tag, truncated to a byte as in C.
fn tag_of(m: &Machine, s: Slot) -> Result<u8, Raise> {
    Ok(m.int(s)? as u8)
}

fn obj_tag(m: &mut Machine, [v]: [Slot; 1]) -> Res<'_> {
    let v = m.val(v);
    Ok(Val::from_int(match v {
        _ if v.is_int() => INT_TAG,
        _ if m.is_outside(v) && m.behaviour().sees_outside => OUT_OF_HEAP_TAG,
        _ => v.tag()?.into(),
    }))
}

fn set_tag(m: &mut Machine, [b, tag]: [Slot; 2]) -> Res<'_> {
    m.set_tag(b, tag_of(m, tag)?)?;
    Ok(UNIT)
}

fn raw_field(m: &mut Machine, [b, i]: [Slot; 2]) -> Res<'_> {
    let bits = m.raw_field(b, m.index(i)?)?;
    m.new_nativeint(bits as i64)
}

fn set_raw_field(m: &mut Machine, [b, i, bits]: [Slot; 3]) -> Res<'_> {
    m.set_raw_field(b, m.index(i)?, m.nativeint(bits)? as u64)?;
    Ok(UNIT)
}

fn make_forward(m: &mut Machine, [b, v]: [Slot; 2]) -> Res<'_> {
    m.set_field(b, 0, v)?;
    m.set_tag(b, tag::FORWARD)?;
    Ok(UNIT)
}

fn lazy_make_forward(m: &mut Machine, [v]: [Slot; 1]) -> Res<'_> {
    m.new_block(tag::FORWARD, &[v])
}

// ---- suspensions -----------------------------------------------------------------------------------
// From 5.0 on, a suspension becomes one that is being forced, and then a forced one or a suspension again. Nothing else
// happens to the block meanwhile, as only the thread that owns the machine runs primitives.

/// Whether `v` holds a suspension in this state.
fn is_suspension(m: &Machine, v: Slot, state: u8) -> bool {
    m.val(v).tag() == Ok(state)
}

fn change_state(m: &mut Machine, v: Slot, from: u8, to: u8) -> Result<bool, Raise> {
    if !is_suspension(m, v, from) {
        return Ok(false);
    }
    m.set_tag(v, to)?;
    Ok(true)
}

/// 0 if the caller shall force the suspension, 1 if somebody else does or it is none.
fn lazy_update_to_forcing(m: &mut Machine, [v]: [Slot; 1]) -> Res<'_> {
    let is_ours = change_state(m, v, tag::LAZY, tag::FORCING)?;
    Ok(boolean(!is_ours))
}

fn lazy_reset_to_lazy(m: &mut Machine, [v]: [Slot; 1]) -> Res<'_> {
    change_state(m, v, tag::FORCING, tag::LAZY)?;
    Ok(UNIT)
}

fn lazy_update_to_forward(m: &mut Machine, [v]: [Slot; 1]) -> Res<'_> {
    change_state(m, v, tag::FORCING, tag::FORWARD)?;
    Ok(UNIT)
}

fn lazy_read_result(m: &mut Machine, [v]: [Slot; 1]) -> Res<'_> {
    if is_suspension(m, v, tag::FORWARD) { Ok(m.val(v).field(0)?) } else { Ok(m.val(v)) }
}

// ---- blocks ----------------------------------------------------------------------------------------

fn block(m: &mut Machine, [tag, size]: [Slot; 2]) -> Res<'_> {
    let (tag, size) = (tag_of(m, tag)?, m.index(size)?);
    m.new_raw_block(tag, size)
}

fn with_tag(m: &mut Machine, [tag, b]: [Slot; 2]) -> Res<'_> {
    let tag = tag_of(m, tag)?;
    m.new_copy(b, Some(tag))
}

fn dup(m: &mut Machine, [b]: [Slot; 1]) -> Res<'_> {
    m.new_copy(b, None)
}

fn truncate(m: &mut Machine, [b, size]: [Slot; 2]) -> Res<'_> {
    m.truncate(b, m.index(size)?)?;
    Ok(UNIT)
}

fn compare_and_swap(m: &mut Machine, [b, i, old, new]: [Slot; 4]) -> Res<'_> {
    atomic::cas_field(m, [b, i, old, new])
}

/// Whether other domains could refer to the value: an integer, or a block outside the nursery.
fn is_shared(m: &mut Machine, [v]: [Slot; 1]) -> Res<'_> {
    Ok(boolean(!m.is_young(v)))
}

fn add_offset(m: &mut Machine, [v, offset]: [Slot; 2]) -> Res<'_> {
    m.add_offset(v, i64::from(m.int32(offset)?))
}

/// OCaml's runtime makes a word that is neither an integer nor a block, for use in C only. There is no C here.
fn int_as_pointer(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Err(Raise::invalid("int_as_pointer: values are integers or blocks"))
}

fn reachable_words(m: &mut Machine, [v]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(m.reachable_words(v)? as i64))
}

// ---- objects ---------------------------------------------------------------------------------------

/// The method of this public name: a binary search in the object's table, whose field 0 counts the methods and
/// whose fields from 2 are pairs of closure and name, by name.
fn get_public_method(m: &mut Machine, [object, name]: [Slot; 2]) -> Res<'_> {
    let name = m.int(name)?;
    let methods = m.val(object).field(0)?;
    let (mut low, mut high) = (3, methods.field(0)?.int()?.wrapping_mul(2) + 1);
    if methods.tag()? == tag::CLOSURE || high >= methods.wosize()? as i64 {
        return Err(Raise::invalid("caml_get_public_method: not an object"));
    }
    while low < high {
        let middle = (low + high) >> 1 | 1;
        if name < methods.field(middle as usize)?.int()? {
            high = middle - 2;
        } else {
            low = middle;
        }
    }
    if methods.field(low as usize)?.int()? == name {
        Ok(methods.field(low as usize - 1)?)
    } else {
        // OCaml's runtime returns a null pointer.
        Ok(Val::from_int(0))
    }
}

fn fresh_oo_id(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(m.fresh_oo_id()))
}

/// Gives an object its identity.
fn set_oo_id(m: &mut Machine, [object]: [Slot; 1]) -> Res<'_> {
    let id = m.fresh_oo_id();
    m.set_field_int(object, 1, id)?;
    Ok(m.val(object))
}

prims! {
    "caml_lazy_read_result" P1 lazy_read_result => since(V5_0),
    "caml_lazy_reset_to_lazy" P1 lazy_reset_to_lazy => since(V5_0),
    "caml_lazy_update_to_forcing" P1 lazy_update_to_forcing => since(V5_0),
    "caml_lazy_update_to_forward" P1 lazy_update_to_forward => since(V5_0),
    "caml_obj_compare_and_swap" P4 compare_and_swap => since(V5_0),
    "caml_obj_is_shared" P1 is_shared => since(V5_0),
    "caml_fresh_oo_id" P1 fresh_oo_id,
    "caml_get_public_method" P2 get_public_method,
    "caml_int_as_pointer" P1 int_as_pointer,
    "caml_lazy_make_forward" P1 lazy_make_forward,
    "caml_obj_add_offset" P2 add_offset,
    "caml_obj_block" P2 block,
    "caml_obj_dup" P1 dup,
    "caml_obj_make_forward" P2 make_forward => before(V5_0),
    "caml_obj_raw_field" P2 raw_field,
    "caml_obj_reachable_words" P1 reachable_words,
    "caml_obj_set_raw_field" P3 set_raw_field,
    "caml_obj_set_tag" P2 set_tag => before(V5_0),
    "caml_obj_tag" P1 obj_tag,
    "caml_obj_truncate" P2 truncate => before(V5_0),
    "caml_obj_with_tag" P2 with_tag,
    "caml_set_oo_id" P1 set_oo_id,
}
