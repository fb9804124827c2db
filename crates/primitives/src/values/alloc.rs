//! Recursive values of `let rec` (OCaml's `alloc.c`): dummies that are overwritten with the values.

use spelter_heap::raw::tag;
use spelter_interp::{Machine, Res, Slot, prims};

use crate::UNIT;

fn alloc_dummy(m: &mut Machine, [size]: [Slot; 1]) -> Res<'_> {
    let size = m.index(size)?;
    m.new_dummy(size)
}

fn alloc_dummy_function(m: &mut Machine, [size, _arity]: [Slot; 2]) -> Res<'_> {
    let size = m.index(size)?;
    m.new_dummy_function(size)
}

fn alloc_dummy_infix(m: &mut Machine, [size, offset]: [Slot; 2]) -> Res<'_> {
    let (size, offset) = (m.index(size)?, m.index(offset)?);
    m.new_dummy_infix(size, offset)
}

fn update_dummy(m: &mut Machine, [dummy, v]: [Slot; 2]) -> Res<'_> {
    m.update_dummy(dummy, v)?;
    Ok(UNIT)
}

/// A dummy for a suspension.
fn alloc_dummy_lazy(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.new_dummy(1)
}

/// Overwrites the dummy of a suspension. What is not a suspension is the content of one that has been forced.
fn update_dummy_lazy(m: &mut Machine, [dummy, v]: [Slot; 2]) -> Res<'_> {
    match m.val(v).tag() {
        Ok(tag::LAZY | tag::FORCING | tag::FORWARD) => m.update_dummy(dummy, v)?,
        _ => {
            m.set_field(dummy, 0, v)?;
            m.set_tag(dummy, tag::FORWARD)?;
        }
    }
    Ok(UNIT)
}

prims! {
    "caml_alloc_dummy" P1 alloc_dummy,
    "caml_alloc_dummy_float" P1 alloc_dummy,
    "caml_alloc_dummy_function" P2 alloc_dummy_function => before(V5_4),
    "caml_alloc_dummy_infix" P2 alloc_dummy_infix => before(V5_4),
    "caml_alloc_dummy_lazy" P1 alloc_dummy_lazy => since(V5_4),
    "caml_update_dummy" P2 update_dummy,
    "caml_update_dummy_lazy" P2 update_dummy_lazy => since(V5_4),
}
