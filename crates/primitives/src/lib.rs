//! What OCaml calls C primitives: safe Rust functions from stack slots to values, one file per family,
//! named like the C file of OCaml's runtime that it answers to. Each file ends with its table.

#![deny(unsafe_code)]

use spelter_interp::{Machine, Table, Val};

/// `()`
pub(crate) const UNIT: Val<'static> = Val::from_int(0);

/// `true` or `false`
pub(crate) fn boolean(b: bool) -> Val<'static> {
    Val::from_int(b.into())
}

#[allow(unsafe_code, reason = "the one door to the C library; each block has its reason")]
mod cdoor;
#[allow(unsafe_code, reason = "system calls that neither std nor nix offer; each block has its reason")]
mod cdoor_sys;
mod directive;

mod channel;
mod fds;
mod finalise;
mod floats;
mod gc_ctrl;
mod ints;
mod io;
mod signals;
mod sys;
mod weak;

pub use fds::Fds;
pub use io::Io;
pub use signals::restore_default;

/// All tables.
pub fn families() -> &'static [Table] {
    static FAMILIES: &[Table] = &[
        floats::TABLE,
        ints::TABLE,
        io::TABLE,
        gc_ctrl::TABLE,
        finalise::TABLE,
        signals::TABLE,
        sys::TABLE,
        weak::TABLE,
    ];
    FAMILIES
}

/// Makes all primitives known to a machine.
pub fn install(m: &mut Machine) {
    for table in families() {
        m.prims.add_family(table);
    }
}
