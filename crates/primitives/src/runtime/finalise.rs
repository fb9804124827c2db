//! Finalisation functions (`finalise.c`).

use spelter_heap::raw::tag;
use spelter_interp::{Machine, Raise, Res, Slot, prims};

use crate::UNIT;

/// Values without an identity cannot be finalised.
fn register<'m>(m: &'m mut Machine, function: Slot, v: Slot, last: bool) -> Res<'m> {
    let refused = || Err(Raise::invalid("Gc.finalise"));
    let (value, behaviour) = (m.val(v), m.behaviour());
    // What is not in the heap never dies.
    let immortal = || if behaviour.sees_outside { refused() } else { Ok(UNIT) };
    if m.is_outside(value) {
        return immortal();
    }
    match value.tag() {
        Err(_) | Ok(tag::LAZY | tag::DOUBLE | tag::FORWARD) => return refused(),
        Ok(tag::FORCING) if behaviour.forcing_and_continuations => return refused(),
        Ok(tag) if tag != tag::INFIX && value.wosize()? == 0 => return immortal(),
        Ok(_) => {}
    }
    m.finalise(function, v, last)?;
    Ok(UNIT)
}

fn final_register(m: &mut Machine, [function, v]: [Slot; 2]) -> Res<'_> {
    register(m, function, v, false)
}

fn final_register_called_without_value(m: &mut Machine, [function, v]: [Slot; 2]) -> Res<'_> {
    register(m, function, v, true)
}

fn final_release(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.release_finalisers();
    Ok(UNIT)
}

prims! {
    "caml_final_register" P2 final_register,
    "caml_final_register_called_without_value" P2 final_register_called_without_value,
    "caml_final_release" P1 final_release,
}
