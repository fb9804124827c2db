//! Room on the stack (OCaml's `stacks.c`).

use spelter_interp::{Machine, Res, Slot, prims};

use crate::UNIT;

/// More words than any stack may have: asking for more fails like asking for these.
const TOO_MANY: usize = 1 << 48;

fn ensure_stack_capacity(m: &mut Machine, [words]: [Slot; 1]) -> Res<'_> {
    let words = m.index(words)?.min(TOO_MANY);
    m.ensure_stack(words)?;
    Ok(UNIT)
}

prims! {
    "caml_ensure_stack_capacity" P1 ensure_stack_capacity,
}
