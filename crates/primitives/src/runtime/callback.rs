//! Registration of values under names that the machine or the host looks up (OCaml's `callback.c`).

use spelter_interp::{Machine, Res, Slot, fallible, prims};

use crate::UNIT;

fn register_named_value(m: &mut Machine, [name, v]: [Slot; 2]) -> Res<'_> {
    // A C string: it ends at the first NUL.
    let name = fallible::to_vec(m.bytes(name)?.split(|c| *c == 0).next().unwrap_or_default())?;
    m.try_register_named(&name, v)?;
    Ok(UNIT)
}

prims! {
    "caml_register_named_value" P2 register_named_value,
}
