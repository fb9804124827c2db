//! OCaml's `unix` library (`otherlibs/unix`), one file per subject.

use spelter_interp::Table;

/// All tables.
pub(crate) const FAMILIES: &[Table] = &[];
