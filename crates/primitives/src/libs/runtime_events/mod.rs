//! OCaml's library `runtime_events` (`otherlibs/runtime_events`): reads the events of this process, or of another one.

use spelter_interp::families;

mod callbacks;
mod cursor;
pub(crate) mod file;

families! {
    /// All primitives of the library.
    pub(crate) static PRIMITIVES = [
        cursor::TABLE,
    ];
}
