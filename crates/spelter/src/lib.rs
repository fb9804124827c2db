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
//! # Types on both sides
//!
//! Rust types that implement [`ToOcaml`](trait@ToOcaml) and [`FromOcaml`](trait@FromOcaml) become OCaml values and back;
//! derive them for records and variants ([`macro@ToOcaml`], feature `derive`). With the plug-in's compiled interface, a
//! [`Function`] is found by its name, and its OCaml type is compared with the Rust types once: [`Vm::function`].
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

mod asynchronous;
#[cfg(feature = "serde")]
mod by_serde;
mod context;
mod convert;
mod deadlines;
mod error;
mod function;
mod host;
mod installation;
mod interface;
mod ledger;
mod library;
mod namespace;
mod pausable;
mod program;
mod stats;
#[allow(unsafe_code, reason = "the unsafe interface to the machine; each block states its reason")]
mod trust;
mod uncaught;
mod unit;
mod vm;
mod wrong_type;

pub use asynchronous::{Async, CallFuture};
#[cfg(feature = "serde")]
pub use by_serde::Serde;
pub use context::{Context, Local};
#[doc(hidden)]
pub use convert::support as __support;
pub use convert::{Args, Array, Bytes, FloatArray, FromOcaml, ToOcaml, Value};
pub use convert::{
    ConstructorArguments, ConstructorType, OcamlType, PolymorphicType, RecordLayout, RecordType, TagType,
    TypeOf, VariantType,
};
pub use convert::{Int32, Int64, Nativeint, OcamlResult};
pub use error::Error;
pub use function::Function;
#[doc(hidden)]
pub use host::InContext;
pub use host::{Argument, ContextArgument, Host, HostFunction, HostFunctionMut, Reply};
pub use host::{BigArray, Element, Elements, ElementsMut};
pub use installation::ocaml_directories;
pub use interface::TypedUnit;
pub use ledger::{Entry, Ledger};
pub use library::Library;
pub use namespace::{Namespace, Reloaded};
pub use pausable::{Paused, Step};
pub use program::Program;
/// Derives [`FromOcaml`](trait@FromOcaml): see the [macro `ToOcaml`](macro@ToOcaml), which takes the same types and
/// attributes.
#[cfg(feature = "derive")]
pub use spelter_derive::FromOcaml;
/// Derives [`ToOcaml`](trait@ToOcaml) for a struct or an enum whose OCaml type is declared in the same way.
///
/// | Rust | OCaml |
/// |---|---|
/// | struct with named fields | record with the same fields; flat if all are floats |
/// | tuple struct | tuple; with one field, the same as the field |
/// | enum | variant with the same constructors: `C`, `C(A, B)`, `C { f: A }` are `C`, `C of a * b`, `C of { f : a }` |
/// | enum with `#[ocaml(poly)]` | polymorphic variant |
/// | record or variant with `#[ocaml(unboxed)]` | the same with `[@@unboxed]` |
///
/// Fields and constructors have the names that they have in Rust, or that of `#[ocaml(rename = "...")]`. Types may be
/// generic and recursive; values may be nested 200 deep, so long lists should be a `Vec`.
///
/// ```
/// use spelter::{FromOcaml, ToOcaml, Vm};
///
/// // type price = { cents : int; currency : string }
/// #[derive(ToOcaml, FromOcaml, Debug, PartialEq)]
/// struct Price { cents: i64, currency: String }
///
/// // type 'a tree = Leaf | Node of 'a tree * 'a * 'a tree
/// #[derive(ToOcaml, FromOcaml, Debug, PartialEq)]
/// enum Tree<T> { Leaf, Node(Box<Tree<T>>, T, Box<Tree<T>>) }
///
/// // type metal = [ `Tin | `Zinc of int | `other of string ]
/// #[derive(ToOcaml, FromOcaml, Debug, PartialEq)]
/// #[ocaml(poly)]
/// enum Metal { Tin, Zinc(i64), #[ocaml(rename = "other")] Other(String) }
///
/// let leaf = || Box::new(Tree::Leaf);
/// let price = Price { cents: 250, currency: "EUR".to_owned() };
/// let tree = Tree::Node(leaf(), (price, Metal::Zinc(30)), leaf());
/// let mut vm = Vm::builder().build();
/// let back: Tree<(Price, Metal)> = vm.with(|cx| {
///     let value = cx.make(&tree)?;
///     Ok(cx.read(value)?)
/// })?;
/// assert_eq!(back, tree);
///
/// // Errors name the constructor and the field.
/// let error = vm.with(|cx| {
///     let value = cx.make(&("two", "EUR"))?;
///     Ok(cx.read::<Price>(value).unwrap_err())
/// })?;
/// assert_eq!(error.to_string(), "field cents of price: expected an integer, found a string of 3 bytes");
/// # Ok::<(), spelter::Error>(())
/// ```
#[cfg(feature = "derive")]
pub use spelter_derive::ToOcaml;
pub use spelter_dynlink::explain::{self, WhyAlive};
pub use spelter_dynlink::{LinkError, ModuleSlots, Strategy};
pub use spelter_heap::{Config as HeapConfig, Mode as HeapMode};
pub use spelter_interp::{Behaviour, CollectorParams};
pub use spelter_interp::{CodeEvent, CodeEventKind, CodeEvents};
pub use spelter_interp::{
    Dispatch, Grade, InterruptHandle, Limit, Params, Profile, Raise, UnitId, Unloaded, Val,
};
pub use spelter_primitives::TWEAKS;
pub use spelter_primitives::world::{Access, Captured, Grant, MemoryDir, World};
pub use stats::Stats;
pub use uncaught::ExceptionArgument;
pub use unit::{RevokeHandle, Unit, UnitInfo, WeakUnit};
pub use vm::{Outcome, Vm, VmBuilder};
pub use wrong_type::WrongType;
