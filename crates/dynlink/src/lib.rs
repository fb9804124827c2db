//! Links, patches, loads and unloads OCaml units in a running machine.
//!
//! [`load_unit`] takes a compiled unit, relocates it against the program and the units loaded before, rewrites it so
//! that each of its closures refers to its code object (by one of two [strategies](Strategy)), and runs its
//! initialiser. From then on the unit is garbage collected like any other value: when nothing can run its code any
//! more, the collector frees its code, constants, globals and debug data together.
//!
//! ```
//! use spelter_bytecode::CompilationUnit;
//! use spelter_dynlink::{Visibility, load_unit};
//! use spelter_interp::{Machine, Settings};
//!
//! // let add x y = x + y   let answer = add 40 2
//! let unit = CompilationUnit::read(include_bytes!("../tests/fixtures/answer.cmo"))?;
//! let mut m = Machine::new(Settings::default());
//! let mark = m.mark();
//! let loaded = load_unit(&mut m, &unit, Visibility::Private)?;
//! let module = loaded.push_module(&mut m).unwrap();
//! assert_eq!(m.val(module).field(1)?.int()?, 42);
//!
//! // Only the handle and the slot kept the unit alive.
//! drop(loaded);
//! m.release(mark);
//! m.collect_full();
//! assert_eq!(m.units().loaded().count(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`primitives`] offers the same to unmodified OCaml programs, through the primitives that OCaml's own `Dynlink` and
//! toplevel call.
#![deny(unsafe_code)]

mod check;
mod constants;
mod demand;
mod error;
pub mod explain;
mod handle;
#[allow(unsafe_code, reason = "hands verified and patched code to the machine")]
mod install;
pub mod libraries;
mod library;
mod linker;
mod load;
mod namespace;
mod patch;
pub mod primitives;
pub mod primitives_spelter;
mod reload;
mod revoke;
mod symtable;

pub use demand::Libraries;
pub use error::LinkError;
pub use handle::{LoadedUnit, WeakUnit, find_unit};
pub use install::install_primitives;
pub use library::load_library_in;
pub use linker::{Linked, Linker, ModuleSlots, ProgramNames, ProgramTables};
pub use load::{Visibility, load_unit, load_unit_in, withdraw};
pub use namespace::Namespace;
pub use reload::{Reloaded, reload};
pub use revoke::{revoke, withdraw_unit};
pub use spelter_interp::Strategy;

spelter_interp::families! {
    /// All primitives of this crate.
    pub static PRIMITIVES = [primitives::TABLE, libraries::TABLE, primitives_spelter::TABLE];
}
