//! `caml/gc_ctrl.h`: primitives of `Gc` that C calls like its own functions.

use spelter_heap::raw::Value;

use super::built_in;
use crate::arch::may_raise;
use crate::call::{Answer, answer_outside};

may_raise! {
    /// A minor collection. Runs finalisers.
    caml_gc_minor(unit: Value) = minor;
    /// A full major collection. Runs finalisers.
    caml_gc_full_major(unit: Value) = full_major;
}

extern "C" fn minor(unit: Value) -> Answer {
    answer_outside(|m| built_in(m, "caml_gc_minor", &[unit]))
}

extern "C" fn full_major(unit: Value) -> Answer {
    answer_outside(|m| built_in(m, "caml_gc_full_major", &[unit]))
}
