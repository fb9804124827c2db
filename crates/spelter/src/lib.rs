//! Runs OCaml bytecode from Rust, and garbage-collects dynamically loaded code.
//!
//! A [`Vm`] runs a program compiled by `ocamlc`, and loads units (`.cmo` files) into it. When a loaded unit's code
//! becomes unreachable, the collector frees its code, constants, globals and debug data.
//!
//! ```
//! use spelter::Vm;
//!
//! // A host program and a plug-in, compiled by ocamlc 4.13; the plug-in registers `greet`.
//! let program = include_bytes!("../tests/fixtures/host.byte");
//! let plugin = include_bytes!("../tests/fixtures/greet.cmo");
//!
//! let mut vm = Vm::builder().build();
//! vm.run_bytes("host.byte", program)?;
//! let unit = vm.load_bytes("greet.cmo", plugin)?;
//! let greeting: String = vm.call("greet", ("world",))?;
//! assert_eq!(greeting, "hello, world");
//! assert_eq!(vm.units().len(), 1);
//!
//! // Remove the references to the unit, and it is freed.
//! drop(unit);
//! vm.unregister("greet");
//! vm.collect()?;
//! assert_eq!(vm.units().len(), 0);
//! # Ok::<(), spelter::Error>(())
//! ```
//!
//! Every `Vm` is independent: there is no shared and no process-wide state.
//!
//! # Guarantees
//!
//! Safe calls into this crate, in any order and with any bytes, never access memory that they should not. Code is
//! *checked* unless the host calls [`VmBuilder::trusted`]: it is verified when it is loaded, and checked at run time
//! where the verifier cannot prove safety. Host functions access the machine through a [`Context`], whose values
//! cannot leave it. A panic in a host function, or in a value that the collector drops, ends the call into the
//! machine with [`Error::Panic`]. `docs/security.md` states what the guarantee does not cover.
//!
//! # The world outside
//!
//! A machine's guests reach nothing outside of it but what the host grants: see [`World`]. By default that is nothing, and
//! what they write is kept:
//!
//! ```
//! use spelter::{Error, Vm, World};
//!
//! let probe = include_bytes!("../tests/fixtures/world/probe.byte");
//! let mut vm = Vm::builder().args(["probe", "settings"]).build();
//! vm.run_bytes("probe.byte", probe)?;
//! let found = String::from_utf8_lossy(&vm.output()).into_owned();
//! assert!(found.contains("getenv LANG: Not_found\n"));
//! assert!(found.contains("time: Sys_error(\"caml_sys_time: not granted (World::clock)\")\n"));
//! # Ok::<(), Error>(())
//! ```
//!
//! # Development builds
//!
//! An unoptimised machine is slow. With these lines in your `Cargo.toml`, a development build uses the optimised
//! machine, with assertions; [`Dispatch::TAIL_CALLS`] reports whether it does.
//!
//! ```toml
//! [profile.dev.package.spelter-interp]
//! opt-level = 3
//! [profile.dev.package.spelter-heap]
//! opt-level = 3
//! ```
//!
//! Without them, seven programs took 10 to 25 times as long; with them, twice as long as in a release build.
#![deny(unsafe_code)]

mod context;
mod convert;
mod error;
mod ledger;
mod namespace;
mod program;
mod stats;
#[allow(unsafe_code, reason = "the unsafe interface to the machine; each block states its reason")]
mod trust;
mod unit;
mod vm;
mod wrong_type;

pub use context::{Context, Local};
pub use convert::{Args, Bytes, FromOcaml, HostFunction, ToOcaml, Value};
pub use error::Error;
pub use ledger::{Entry, Ledger};
pub use namespace::{Namespace, Reloaded};
pub use spelter_dynlink::explain::{self, WhyAlive};
pub use spelter_dynlink::{LinkError, ModuleSlots, Strategy};
pub use spelter_heap::{Config as HeapConfig, Mode as HeapMode};
pub use spelter_interp::{Behaviour, CollectorParams};
pub use spelter_interp::{CodeEvent, CodeEventKind, CodeEvents};
pub use spelter_interp::{Dispatch, Grade, InterruptHandle, Params, Profile, Raise, UnitId, Unloaded, Val};
pub use spelter_primitives::TWEAKS;
pub use spelter_primitives::world::{Access, Captured, Grant, World};
pub use stats::Stats;
pub use unit::{Unit, UnitInfo, WeakUnit};
pub use vm::{Outcome, Vm, VmBuilder};
pub use wrong_type::WrongType;
