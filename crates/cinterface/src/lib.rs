//! OCaml's C interface: loads unmodified stub libraries (`dll*.so`) into a machine of Spelter.
//!
//! A library expects a runtime that exports some 150 names (`caml_alloc`, `Caml_state` …), and calls them on raw values.
//! This crate is that runtime's face: [`install`] lets a machine find libraries and call their primitives.
//!
//! ```text
//!  code ── C_CALL ──▶ call::call ── call_c (saves registers) ──▶ the library's function
//!                                                                   │ calls an exported function
//!   exception ◀── leave (restores registers) ◀── may raise ◀── its Rust part
//! ```
//!
//! - [`call`]: how the machine calls C, and how C is left, by a return or an exception;
//! - [`state`]: the runtime's state as C's macros see it, by version;
//! - [`roots`]: the values that only C holds;
//! - [`library`]: finding and opening libraries;
//! - `exports`: the exported functions, a file for each of OCaml's headers.
//!
//! # One machine, one process
//!
//! To C there is one runtime in the process: its static variables cache addresses of values, and it finds the state by a
//! global name. So one machine at a time can use libraries, and only one that trusts its code.
//!
//! # Exporting
//!
//! The names are exported only from executables that say so to the linker, as the `spelter` command does in its build
//! script (`-Wl,--dynamic-list`, with [`EXPORTS`]). A library that needs a name which is missing cannot be opened.
//!
//! # Exceptions
//!
//! C's functions raise by functions that do not return. Each exported function that may raise is a few instructions
//! around a Rust function, which has returned, and with it everything that it owned, before they restore the registers of
//! the innermost call of C. So no Rust frame is ever jumped over, except for those of [`call`], which own nothing then.
//!
//! # Systems
//!
//! Linux on x86-64. What depends on the processor is in `arch`; elsewhere [`AVAILABLE`] is false and [`install`] an error.
#![cfg_attr(not(all(target_os = "linux", target_arch = "x86_64")), allow(dead_code, unused))]

/// Whether libraries can be loaded on this system.
pub const AVAILABLE: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

mod arch;
pub mod call;
mod exports;
pub mod library;
pub mod roots;
pub mod state;

use spelter_interp::Machine;
use spelter_interp::prim::foreign::Loader;

/// The names that executables must export, as a dynamic list of the linker.
pub const EXPORTS: &str = include_str!("exports.list");

/// The functions with which the machine uses this crate.
static LOADER: Loader = Loader {
    locate: library::locate,
    open: library::open,
    find: library::find,
    show: roots::show,
    registered: roots::registered,
};

/// Lets a machine open libraries.
///
/// # Safety
/// The machine trusts its code, it is the only one in the process that has libraries, and whoever names a library for it
/// (the program, the environment) may run any code in the process.
pub unsafe fn install(m: &mut Machine) {
    // SAFETY: the functions keep the contracts of the seam.
    unsafe { m.set_loader(&LOADER) };
}

/// Prepares the machine, whose version is known, for its first library.
fn prepare(m: &mut Machine) {
    state::adopt(m);
    exports::bigarray::register(m);
    // OCaml 5 has no values that lead outside the heap.
    if m.behaviour().sees_outside {
        let atoms = exports::atoms();
        // SAFETY: allowing them changes nothing but the collector's care.
        unsafe { m.heap_and_roots() }.0.allow_naked_pointers(atoms.start as u64..atoms.end as u64);
    }
}
