//! Runtime event logs (`eventlog.c`, `afl.c`): only instrumented runtimes keep one. In other runtimes, OCaml's and this
//! one, these do nothing.

use spelter_interp::{Machine, Res, Slot, prims};

use crate::UNIT;

fn nothing(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(UNIT)
}

prims! {
    "caml_eventlog_resume" P1 nothing => before(V5_0),
    "caml_eventlog_pause" P1 nothing => before(V5_0),
    "caml_reset_afl_instrumentation" P1 nothing,
}
