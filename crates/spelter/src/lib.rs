//! Runs OCaml bytecode from Rust, with loaded code that is garbage collected.
//!
//! A [`Vm`] runs a program that `ocamlc` made, and loads units (`.cmo` files) into it. A loaded unit is garbage
//! like any other value: when nothing can run its code any more, the collector frees code, constants, globals
//! and debug data.
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
//! // Take away what leads to the unit, and it is freed.
//! drop(unit);
//! vm.unregister("greet");
//! vm.collect()?;
//! assert_eq!(vm.units().len(), 0);
//! # Ok::<(), spelter::Error>(())
//! ```
//!
//! Every `Vm` stands alone: no state is shared between two of them, nor kept by the process.
//!
//! # What is promised
//!
//! No call into this crate that is not `unsafe`, in whatever order and with whatever bytes, makes the process read or
//! write what it should not. Code is *checked* unless [`VmBuilder::trusted`] says otherwise: verified when it is loaded, and
//! tested where that cannot tell. What host functions get of the machine is a [`Context`], whose values cannot leave it. A
//! panic in a host function, or in what the collector drops, ends the call into the machine as [`Error::Panic`].
//! What lies outside of the promise, `docs/security.md` says.
#![deny(unsafe_code)]

mod context;
mod convert;
mod error;
mod ledger;
mod namespace;
mod program;
mod stats;
#[allow(unsafe_code, reason = "the doors to what types cannot show; each block has its reason")]
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
pub use spelter_interp::{CodeEvent, CodeEventKind, CodeEvents};
pub use spelter_interp::{Dispatch, Grade, InterruptHandle, Params, Profile, Raise, UnitId, Unloaded, Val};
pub use stats::Stats;
pub use unit::{Unit, UnitInfo, WeakUnit};
pub use vm::{Outcome, Vm, VmBuilder};
pub use wrong_type::WrongType;
