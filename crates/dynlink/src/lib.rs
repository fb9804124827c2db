//! Links, patches, loads and unloads OCaml units in a running machine.
//!
//! [`load_unit`] takes a compiled unit, relocates it against the program and the units loaded before, rewrites
//! it so that each of its closures leads to its code object (by one of two [strategies](Strategy)), and runs
//! its initialiser. From then on the unit is garbage like any other: when nothing can run its code any more,
//! the collector frees code, constants, globals and debug data in one piece.
//!
//! [`primitives`] offers the same to unmodified OCaml programs: what OCaml's own `Dynlink` and toplevel call.
#![forbid(unsafe_code)]

mod check;
mod constants;
mod error;
pub mod explain;
mod linker;
mod load;
mod patch;
pub mod primitives;
mod symtable;

pub use error::LinkError;
pub use linker::{Linker, ModuleSlots};
pub use load::{LoadedUnit, Visibility, load_unit, withdraw};
pub use spelter_interp::Strategy;
