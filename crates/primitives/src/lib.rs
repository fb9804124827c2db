//! What OCaml calls C primitives: safe Rust functions from stack slots to values, one file per family,
//! named like the C file of OCaml's runtime that it answers to. Each file ends with its table.

#![deny(unsafe_code)]

use spelter_interp::{Machine, Table};

#[allow(unsafe_code, reason = "the one door to the C library; each block has its reason")]
mod cdoor;
mod directive;

mod floats;
mod ints;

/// All tables.
pub fn families() -> &'static [Table] {
    static FAMILIES: &[Table] = &[
        floats::TABLE,
        ints::TABLE,
    ];
    FAMILIES
}

/// Makes all primitives known to a machine.
pub fn install(m: &mut Machine) {
    for table in families() {
        m.prims.add_family(table);
    }
}
