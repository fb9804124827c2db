//! Room on the stack (OCaml's `stacks.c`).

use spelter_interp::{Machine, Res, Slot, prims};

use crate::UNIT;

fn ensure_stack_capacity(m: &mut Machine, [words]: [Slot; 1]) -> Res<'_> {
    // C compares addresses: a negative number exceeds any stack.
    let words = m.index(words)?;
    m.ensure_stack(words)?;
    Ok(UNIT)
}

prims! {
    "caml_ensure_stack_capacity" P1 ensure_stack_capacity,
}
