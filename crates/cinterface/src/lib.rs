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
//! A host lets a machine have libraries when it has been built; the program names them, or the host opens them:
//!
//! ```
//! use spelter::Vm;
//!
//! // SAFETY: the host vouches for the code that it runs, and for the libraries that this code names.
//! let mut vm = unsafe { Vm::builder().trusted() }.build();
//! unsafe { spelter_cinterface::install(vm.machine_for_loader(), vec!["/opt/service/stublibs".into()])? };
//!
//! let missing = vm.open_library("dllnowhere").unwrap_err();
//! assert!(missing.to_string().starts_with("cannot load shared library dllnowhere\nReason: "));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`call`]: how the machine calls C, and how C is left, by a return or an exception;
//! - [`state`]: the runtime's state as C's macros see it, by version;
//! - [`roots`]: the values that only C holds;
//! - `library` and [`installation`]: finding and opening libraries;
//! - `exports`: the exported functions, a file for each of OCaml's headers.
//!
//! # One machine, one process
//!
//! To C there is one runtime in the process: its static variables cache addresses of values, and it finds the state by a
//! global name. So one machine at a time can use libraries, and only one that trusts its code and has no limits:
//! [`install`] refuses others. The first machine that opens a library keeps all for the rest of the process, even when it
//! has been dropped, because their variables may still refer to its values.
//!
//! # Exporting
//!
//! The names are exported only from executables that say so to the linker. The build script of a host that depends on
//! this crate does it like that of the `spelter` command; without these lines nothing is exported, and libraries that need
//! a name of the runtime cannot be opened:
//!
//! ```no_run
//! let list = std::env::var("DEP_SPELTER_CINTERFACE_EXPORTS").unwrap();
//! println!("cargo::rustc-link-arg-bins=-Wl,--dynamic-list={list}");
//! ```
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
pub mod installation;
mod library;
pub mod roots;
pub mod state;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use spelter_interp::prim::foreign::Loader;
use spelter_interp::{Grade, Machine};

/// The names that executables must export, as a dynamic list of the linker.
pub const EXPORTS: &str = include_str!("exports.list");

/// The functions with which the machine uses this crate.
static LOADER: Loader = Loader {
    folders: library::folders,
    locate: library::locate,
    open: library::open,
    find: library::find,
    show: roots::show,
    holder: roots::holder,
    stack_end: call::stack_end,
    registered: roots::registered,
};

/// Why a machine cannot have libraries in C.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// This system is not supported: see [`AVAILABLE`].
    System,
    /// The machine checks its code, and C's functions would believe it.
    Checked,
    /// The machine has limits, which C's functions do not obey.
    Limited,
    /// Another machine of the process has them, or has had them.
    Taken,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refusal::System => {
                "libraries in C can be loaded on Linux on x86-64 only; link their primitives in Rust"
            }
            Refusal::Checked => {
                "libraries in C need a machine that trusts its code: build it with VmBuilder::trusted"
            }
            Refusal::Limited => {
                "libraries in C do not obey a machine's limits: build it without any, and limit the process"
            }
            Refusal::Taken => {
                "the process's libraries in C belong to the machine that has opened them: use another process"
            }
        })
    }
}

impl std::error::Error for Refusal {}

/// Whether a machine of the process has the libraries.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Belongs to the machine that has the libraries.
#[derive(Default)]
struct Owner(bool);

impl Drop for Owner {
    /// Static variables of a library may refer to the machine's values for ever, so no other machine gets the libraries
    /// once one is open.
    fn drop(&mut self) {
        if self.0 && !library::is_any_open() {
            TAKEN.store(false, Ordering::Release);
        }
    }
}

/// Lets a machine open libraries. They are looked up in `folders` first (the options `-I` of OCaml's `ocamlrun`), then
/// where `ocamlrun` looks them up.
///
/// When the machine is dropped, its libraries stay open, and no other machine of the process can have any; their blocks
/// in its heap are not finalised, as at the end of a process. A call that the host interrupts leaves C, like an
/// exception, as soon as C returns to OCaml code.
///
/// # Errors
/// When the machine may not have libraries; nothing has changed then.
///
/// # Safety
/// Whoever names a library for the machine (the program, the environment) may run any code in the process. All code that
/// the machine loads calls the libraries' functions with values of the types that they expect. No thread that a library
/// has started uses OCaml's runtime once the machine has been dropped.
pub unsafe fn install(m: &mut Machine, folders: Vec<PathBuf>) -> Result<(), Refusal> {
    if !AVAILABLE {
        return Err(Refusal::System);
    }
    if m.engine().grade() != Grade::Trusted {
        return Err(Refusal::Checked);
    }
    if m.is_limited() {
        return Err(Refusal::Limited);
    }
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Err(Refusal::Taken);
    }
    *m.ext::<Owner>() = Owner(true);
    *m.ext::<library::Search>() = library::Search::of_environment(folders);
    // SAFETY: the functions keep the contracts of the seam.
    unsafe { m.set_loader(&LOADER) };
    Ok(())
}

/// Prepares the machine, whose version is known, for its first library.
fn prepare(m: &mut Machine) {
    state::adopt(m);
    exports::set_atoms(m.heap());
    // OCaml 5 has no naked pointers.
    if m.behaviour().sees_outside {
        // SAFETY: allowing them changes nothing but the collector's care.
        unsafe { m.heap_and_roots() }.0.allow_naked_pointers();
    }
}
