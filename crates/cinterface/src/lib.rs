//! OCaml's C interface: loads unmodified stub libraries (`dll*.so`) into a machine of Spelter.
//!
//! A library expects a runtime that exports some 150 names (`caml_alloc`, `Caml_state` …), and calls them on raw values.
//! This crate is that runtime's face: [`install`] lets a machine find libraries and call their primitives.
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
//! ```text
//!  code ── C_CALL ──▶ call_c (saves registers) ──▶ the library's function
//!                                                     │ calls an exported function
//!   exception ◀── leave (restores them) ◀── may raise ◀── its Rust part
//! ```
//!
//! The modules, from the machine to C:
//!
//! - `loader`: which machine has the libraries;
//! - `search` and [`installation`]: which file a library is; `library`: opening it;
//! - `call`: how the machine calls C, and how C is left, by a return or an exception; `arch` does both; `activation`:
//!   what is known of each call;
//! - `exports`: the exported functions, a file for each of OCaml's headers;
//! - `state`: the runtime's state as C's macros see it, by version;
//! - `roots`: the values that only C holds;
//! - `guests`: threads that C has made;
//! - `misuse`: how C's mistakes end the process.
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
//! the innermost call of C. So no Rust frame is ever jumped over, except for that of `caml_alloc_array` while it calls C,
//! which owns nothing then.
//!
//! # Systems
//!
//! Linux on x86-64. What depends on the processor is in `arch`: for AArch64 it is written, but has never run. Elsewhere
//! the crate has nothing (the build script does not set `with_arch`), and [`install`] refuses every machine.

/// Whether libraries can be loaded on this system.
pub const AVAILABLE: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// The names that executables must export, as a dynamic list of the linker.
pub const EXPORTS: &str = include_str!("exports.list");

#[cfg(with_arch)]
#[allow(unreachable_pub, reason = "`arch` names its items")]
mod activation;
#[cfg(with_arch)]
mod arch;
#[cfg(with_arch)]
#[allow(unreachable_pub, reason = "functions that the linker reaches name its items")]
mod call;
#[cfg(with_arch)]
mod exports;
#[cfg(with_arch)]
mod format;
#[cfg(with_arch)]
mod guests;
pub mod installation;
#[cfg(with_arch)]
mod library;
#[cfg(with_arch)]
mod loader;
#[cfg(with_arch)]
mod misuse;
mod refusal;
#[cfg(with_arch)]
mod roots;
#[cfg(with_arch)]
mod sanitizer;
mod search;
#[cfg(with_arch)]
mod stack;
#[cfg(with_arch)]
mod state;
#[cfg(all(test, with_arch))]
mod tests;

use std::path::PathBuf;

use spelter_interp::Machine;

pub use refusal::Refusal;

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
/// has started uses OCaml's runtime once the machine has been dropped. The machine stays in the thread that calls this:
/// libraries may keep state for it.
pub unsafe fn install(m: &mut Machine, folders: Vec<PathBuf>) -> Result<(), Refusal> {
    #[cfg(with_arch)]
    if AVAILABLE {
        // SAFETY: by contract.
        return unsafe { loader::install(m, folders) };
    }
    let _ = (m, folders);
    Err(Refusal::System)
}
