//! What OCaml calls C primitives: safe Rust functions from stack slots to values, one file per family,
//! named like the C file of OCaml's runtime that it answers to. Each file ends with its table.
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

#[allow(unsafe_code, reason = "the one door to the C library; each block has its reason")]
mod cdoor;
#[allow(unsafe_code, reason = "directory streams; each block has its reason")]
mod cdoor_dir;
#[allow(unsafe_code, reason = "files in memory; each block has its reason")]
mod cdoor_map;
#[allow(unsafe_code, reason = "sockets and the network's data base; each block has its reason")]
mod cdoor_net;
#[allow(unsafe_code, reason = "processes, signals and time; each block has its reason")]
mod cdoor_process;
#[allow(unsafe_code, reason = "system calls that neither std nor nix offer; each block has its reason")]
mod cdoor_sys;
#[allow(unsafe_code, reason = "terminals; each block has its reason")]
mod cdoor_term;
#[allow(
    unsafe_code,
    reason = "what is given a running machine is made known to it here; each block has its reason"
)]
mod handover;

mod decimal;
mod directive;

mod alloc;
mod array;
mod backtrace;
mod bigarray;
mod callback;
mod channel;
mod channels;
mod compare;
mod debugger;
mod errors;
mod eventlog;
mod r#extern;
mod fds;
mod finalise;
mod floats;
mod gc_ctrl;
mod hash;
mod intern;
mod ints;
mod io;
mod lexing;
mod libraries;
mod md5;
mod memprof;
mod obj;
mod padded;
mod parsing;
pub mod printexc;
mod signals;
mod stacks;
mod str;
mod strstubs;
mod sys;
mod threads;
mod unix;
mod wait;
mod weak;

pub use channels::Io;
pub use debugger::attach_debugger;
pub use fds::Fds;
pub use gc_ctrl::report_at_exit;
pub use handover::handle_for_host;
pub use libraries::LIBRARIES;

families! {
    /// All of the runtime's own primitives.
    pub static PRIMITIVES = [
        alloc::TABLE,
        array::TABLE,
        bigarray::TABLE,
        callback::TABLE,
        compare::TABLE,
        r#extern::TABLE,
        finalise::TABLE,
        floats::TABLE,
        backtrace::TABLE,
        eventlog::TABLE,
        memprof::TABLE,
        gc_ctrl::TABLE,
        hash::TABLE,
        intern::TABLE,
        ints::TABLE,
        io::TABLE,
        lexing::TABLE,
        md5::TABLE,
        obj::TABLE,
        parsing::TABLE,
        signals::TABLE,
        stacks::TABLE,
        str::TABLE,
        sys::TABLE,
        weak::TABLE,
    ];
}

/// Makes all primitives known to a machine.
pub fn install(m: &mut Machine) {
    handover::primitives(m);
    channels::init(m);
    signals::init(m);
}
