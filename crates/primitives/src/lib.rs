//! OCaml's C primitives: safe Rust functions from stack slots to values, one file per family, named like the
//! corresponding C file of OCaml's runtime. Each file ends with its table.
//!
//! ```
//! use spelter_interp::{Machine, Settings};
//!
//! let mut m = Machine::new(Settings::default());
//! spelter_primitives::install(&mut m);
//! assert!(m.prims().knows("caml_string_compare"));
//! ```

#![deny(unsafe_code)]

use spelter_interp::{Machine, Val, families};

/// `()`
pub(crate) const UNIT: Val<'static> = Val::from_int(0);

/// `true` or `false`
pub(crate) fn boolean(b: bool) -> Val<'static> {
    Val::from_int(b.into())
}

#[allow(unsafe_code, reason = "access to the C library and the system; each block has its reason")]
mod ffi;
pub mod foreign;
#[allow(unsafe_code, reason = "registers functions that get a running machine; each block has its reason")]
mod handover;

mod io;
mod libs;
mod marshal;
mod runtime;
mod values;
pub mod world;

/// Big arrays, for a loader of C's libraries.
pub mod bigarray {
    pub use crate::values::bigarray::{BEHAVIOUR, Read, deserialize as read};
}

pub use handover::handle_for_host;
pub use io::channels::{Io, flush_memory};
pub use io::fds::Fds;
pub use libs::LIBRARIES;
pub use runtime::debugger::attach_debugger;
pub use runtime::dynlink::entries as loader_configuration;
pub use runtime::gc_ctrl::{TWEAKS, report_at_exit};
pub use runtime::printexc;
pub use runtime::runtime_events;
pub use runtime::weak;

families! {
    /// All of the runtime's own primitives.
    pub static PRIMITIVES = [
        values::alloc::TABLE,
        values::array::TABLE,
        values::atomic::TABLE,
        values::bigarray::TABLE,
        values::blake2::TABLE,
        runtime::callback::TABLE,
        values::compare::TABLE,
        marshal::r#extern::TABLE,
        runtime::fiber::TABLE,
        runtime::dynlink::TABLE,
        runtime::finalise::TABLE,
        values::floats::TABLE,
        runtime::backtrace::TABLE,
        runtime::domain::TABLE,
        runtime::eventlog::TABLE,
        runtime::memprof::TABLE,
        runtime::gc_ctrl::TABLE,
        values::hash::TABLE,
        marshal::intern::TABLE,
        values::ints::TABLE,
        io::primitives::TABLE,
        values::lexing::TABLE,
        values::md5::TABLE,
        runtime::obj::TABLE,
        runtime_events::TABLE,
        values::parsing::TABLE,
        values::prng::TABLE,
        runtime::signals::TABLE,
        runtime::stacks::TABLE,
        values::str::TABLE,
        runtime::sync::TABLE,
        runtime::sys::TABLE,
        weak::TABLE,
    ];
}

/// Registers all primitives with a machine.
pub fn install(m: &mut Machine) {
    handover::primitives(m);
    io::channels::init(m);
    runtime::signals::init(m);
}
