//! Arrays (OCaml's `array.c`): of values, or flat arrays of floats. The kind is only known at run time.

use spelter_heap::raw::tag;
use spelter_interp::{Grade, MAX_WOSIZE, Machine, PIECE_BYTES, Raise, Res, Slot, Val, fallible, prims};

use crate::UNIT;

/// Whether a block is a flat float array.
fn is_flat(m: &Machine, array: Slot) -> Result<bool, Raise> {
    Ok(m.val(array).tag()? == tag::DOUBLE_ARRAY)
}

// ---- elements --------------------------------------------------------------------------------------
// The unsafe ones check bounds too: no program may access memory outside its blocks.

fn get_addr(m: &mut Machine, [array, i]: [Slot; 2]) -> Res<'_> {
    let i = m.index(i)?;
    if m.is_sealed(array) {
        return Err(Raise::invalid("primitive: wrong type: expected an array"));
    }
    let array = m.val(array);
    if i < array.wosize()? { Ok(array.scanned_field(i)?) } else { Err(Raise::bounds()) }
}

fn get_float(m: &mut Machine, [array, i]: [Slot; 2]) -> Res<'_> {
    let i = m.index(i)?;
    let array = m.val(array);
    match array.float_field(i) {
        Ok(x) => m.new_float(x),
        Err(wrong) => Err(if array.float_len().is_ok() { Raise::bounds() } else { wrong.into() }),
    }
}

fn get(m: &mut Machine, [array, i]: [Slot; 2]) -> Res<'_> {
    if is_kind(m, [array, i])? {
        return Ok(m.val(array).custom_kind()?);
    }
    if is_flat(m, array)? { get_float(m, [array, i]) } else { get_addr(m, [array, i]) }
}

/// Whether this is word 0 of a custom block, by which trusted programs tell boxed integers of different kinds apart.
fn is_kind(m: &Machine, [block, i]: [Slot; 2]) -> Result<bool, Raise> {
    let is_first = m.engine().grade() == Grade::Trusted && m.int(i)? == 0;
    Ok(is_first && m.val(block).tag() == Ok(tag::CUSTOM))
}

/// The debugger (`Debugcom.Remote_value`) takes a string for an array to find out whether a word of another process is
/// an integer. A word of raw data that is not an integer is returned as an atom, since it is not a value either.
fn unsafe_get(m: &mut Machine, [array, i]: [Slot; 2]) -> Res<'_> {
    match m.val(array).tag()? {
        tag::STRING => match m.raw_field(array, m.index(i)?)? as i64 {
            word if word & 1 != 0 => Ok(Val::from_int(word >> 1)),
            _ => Ok(m.atom(0)),
        },
        tag::DOUBLE_ARRAY => get_float(m, [array, i]),
        tag::CUSTOM => get(m, [array, i]),
        _ => get_addr(m, [array, i]),
    }
}

fn set_addr(m: &mut Machine, [array, i, v]: [Slot; 3]) -> Res<'_> {
    m.set_field(array, m.index(i)?, v)?;
    Ok(UNIT)
}

fn set_float(m: &mut Machine, [array, i, x]: [Slot; 3]) -> Res<'_> {
    m.set_float_field(array, m.index(i)?, m.float(x)?)?;
    Ok(UNIT)
}

fn set(m: &mut Machine, [array, i, v]: [Slot; 3]) -> Res<'_> {
    if is_flat(m, array)? { set_float(m, [array, i, v]) } else { set_addr(m, [array, i, v]) }
}

// ---- making ----------------------------------------------------------------------------------------

fn floatarray_create(m: &mut Machine, [len]: [Slot; 1]) -> Res<'_> {
    match m.index(len)? {
        len if len > MAX_WOSIZE => Err(Raise::invalid("Float.Array.create")),
        len => m.new_float_array(len),
    }
}

/// The float, if the value is one. It may be a pointer to anything.
fn float_of(m: &Machine, v: Val<'_>) -> Option<f64> {
    if m.heap().has_naked_pointers() && m.is_outside(v) { None } else { v.float().ok() }
}

fn make_vect(m: &mut Machine, [len, init]: [Slot; 2]) -> Res<'_> {
    let len = m.index(len)?;
    if len > MAX_WOSIZE {
        return Err(Raise::invalid("Array.make"));
    }
    match float_of(m, m.val(init)) {
        Some(x) => m.new_filled_floats(len, x),
        None => m.new_filled(0, len, init),
    }
}

/// An array of values whatever they are: floats stay boxed.
fn uniform_array_make(m: &mut Machine, [len, init]: [Slot; 2]) -> Res<'_> {
    match m.index(len)? {
        len if len > MAX_WOSIZE => Err(Raise::invalid("Array.make")),
        len => m.new_filled(0, len, init),
    }
}

fn floatarray_make(m: &mut Machine, [len, init]: [Slot; 2]) -> Res<'_> {
    let (len, x) = (m.index(len)?, m.float(init)?);
    if len > MAX_WOSIZE { Err(Raise::invalid("Array.make")) } else { m.new_filled_floats(len, x) }
}

/// Called by compiled code for `[|x; y|]` of unknown type: makes a flat array if the elements are floats.
fn make_array(m: &mut Machine, [init]: [Slot; 1]) -> Res<'_> {
    let array = m.val(init);
    let len = array.wosize()?;
    if len == 0 || float_of(m, array.field(0)?).is_none() {
        return Ok(m.val(init));
    }
    let flat = m.push(|m| m.new_float_array(len))?;
    m.in_pieces(len, PIECE_BYTES / 8, |m, part| {
        for i in part {
            let x = m.val(init).field(i)?.float()?;
            m.set_float_field(flat, i, x)?;
        }
        Ok(())
    })?;
    Ok(m.val(flat))
}

fn sub(m: &mut Machine, [array, from, len]: [Slot; 3]) -> Res<'_> {
    let (from, len) = (m.index(from)?, m.index(len)?);
    m.new_gathered(&[(array, from, len)])
}

fn append(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
    let (a_len, b_len) = (m.val(a).wosize()?, m.val(b).wosize()?);
    m.new_gathered(&[(a, 0, a_len), (b, 0, b_len)])
}

/// The number of list cells traversed between two checks for an interrupt.
const LISTED: usize = 1 << 12;

fn concat(m: &mut Machine, [arrays]: [Slot; 1]) -> Res<'_> {
    let mut pieces = fallible::with_capacity(m.list_len(arrays)?)?;
    let rest = m.push_slot(arrays);
    while m.val(rest).is_block() {
        if pieces.len() % LISTED == LISTED - 1 {
            m.check_own_interrupt()?;
        }
        let array = m.push_field(rest, 0)?;
        pieces.push((array, 0, m.val(array).wosize()?));
        m.assign(rest, |m| Ok(m.val(rest).field(1)?))?;
    }
    m.new_gathered(&pieces)
}

// ---- parts of float arrays -------------------------------------------------------------------------

/// An empty part of float arrays has their tag in some versions, although it has no elements.
fn tagged_if_empty<'m>(m: &'m mut Machine, part: Slot) -> Res<'m> {
    let empty = m.val(part).wosize()? == 0 && m.behaviour().empty_float_parts_have_tag;
    Ok(if empty { m.atom(tag::DOUBLE_ARRAY) } else { m.val(part) })
}

fn floatarray_sub(m: &mut Machine, args: [Slot; 3]) -> Res<'_> {
    let part = m.push(|m| sub(m, args))?;
    tagged_if_empty(m, part)
}

fn floatarray_append(m: &mut Machine, args: [Slot; 2]) -> Res<'_> {
    let part = m.push(|m| append(m, args))?;
    tagged_if_empty(m, part)
}

fn floatarray_concat(m: &mut Machine, args: [Slot; 1]) -> Res<'_> {
    let part = m.push(|m| concat(m, args))?;
    tagged_if_empty(m, part)
}

// ---- ranges ----------------------------------------------------------------------------------------

fn blit(m: &mut Machine, [src, src_at, dst, dst_at, len]: [Slot; 5]) -> Res<'_> {
    m.blit_fields(src, m.index(src_at)?, dst, m.index(dst_at)?, m.index(len)?)?;
    Ok(UNIT)
}

fn fill(m: &mut Machine, [array, at, len, v]: [Slot; 4]) -> Res<'_> {
    let (at, len) = (m.index(at)?, m.index(len)?);
    if is_flat(m, array)? {
        let x = m.float(v)?;
        let end = at.checked_add(len).filter(|end| m.val(array).float_len().is_ok_and(|n| *end <= n));
        end.ok_or_else(Raise::bounds)?;
        m.in_pieces(len, PIECE_BYTES / 8, |m, part| {
            part.into_iter().try_for_each(|i| m.set_float_field(array, at + i, x))
        })?;
    } else {
        m.fill_fields(array, at, len, v)?;
    }
    Ok(UNIT)
}

// Those named `unboxed` take C's doubles from native code; bytecode only has values.
prims! {
    "caml_array_append" P2 append,
    "caml_array_create_float" P1 floatarray_create => since(V5_3),
    "caml_array_make" P2 make_vect => since(V5_3),
    "caml_array_of_uniform_array" P1 make_array => since(V5_3),
    "caml_array_blit" P5 blit,
    "caml_array_concat" P1 concat,
    "caml_array_fill" P4 fill,
    "caml_array_get" P2 get,
    "caml_array_get_addr" P2 get_addr,
    "caml_array_set" P3 set,
    "caml_array_set_addr" P3 set_addr,
    "caml_array_sub" P3 sub,
    "caml_array_unsafe_get" P2 unsafe_get,
    "caml_array_unsafe_set" P3 set,
    "caml_floatarray_append" P2 floatarray_append => since(V5_3),
    "caml_floatarray_blit" P5 blit,
    "caml_floatarray_concat" P1 floatarray_concat => since(V5_4),
    "caml_floatarray_create" P1 floatarray_create,
    "caml_floatarray_fill" P4 fill => since(V5_3),
    "caml_floatarray_fill_unboxed" P4 fill => since(V5_3),
    "caml_floatarray_get" P2 get_float,
    "caml_floatarray_make" P2 floatarray_make => since(V5_3),
    "caml_floatarray_make_unboxed" P2 floatarray_make => since(V5_3),
    "caml_floatarray_set" P3 set_float,
    "caml_floatarray_sub" P3 floatarray_sub => since(V5_3),
    "caml_floatarray_unsafe_get" P2 get_float,
    "caml_floatarray_unsafe_set" P3 set_float,
    "caml_make_array" P1 make_array,
    "caml_make_float_vect" P1 floatarray_create,
    "caml_make_vect" P2 make_vect,
    "caml_uniform_array_append" P2 append => since(V5_3),
    "caml_uniform_array_blit" P5 blit => since(V5_3),
    "caml_uniform_array_concat" P1 concat => since(V5_4),
    "caml_uniform_array_fill" P4 fill => since(V5_3),
    "caml_uniform_array_make" P2 uniform_array_make => since(V5_3),
    "caml_uniform_array_sub" P3 sub => since(V5_3),
}

#[cfg(test)]
mod tests {
    use spelter_interp::Settings;

    use super::*;

    #[test]
    fn words_of_raw_data_are_integers_or_atoms() {
        let mut m = Machine::new(Settings::default());
        let zero = m.push_int(0);
        for (first, expected) in [(15, Some(7)), (0xFFFF_FFFF_FFFF_FFFF_u64, Some(-1)), (0xDEAD_BEE0, None)] {
            let word = m.push(|m| m.new_string(&first.to_le_bytes())).unwrap();
            assert_eq!(unsafe_get(&mut m, [word, zero]).unwrap().int().ok(), expected);
        }
        let (short, two) = (m.push(|m| m.new_string(b"short")).unwrap(), m.push_int(2));
        assert!(matches!(unsafe_get(&mut m, [short, two]), Err(Raise::Invalid(_))));
    }
}
