//! OCaml's own compiler and toplevel as a library: source becomes loaded code in one process.
//!
//! `ocamlc` and `ocaml` run unmodified in machines of [`spelter`], on files in memory. They come from an installation that
//! is found, or from bytes that the host has; nothing of OCaml is in this crate.
//!
//! ```
//! use spelter::{Function, Vm};
//! use spelter_compiler::{Compiler, Error, Installation};
//!
//! let mut compiler = Compiler::new(Installation::find()?)?;
//! let rule = compiler.compile("rule", "let decide price = if price > 100 then \"ask\" else \"buy\"")?;
//!
//! let mut vm = Vm::builder().build();
//! vm.run_bytes("host", compiler.host()?)?; // the standard library
//! let unit = vm.load_bytes("rule", &rule.cmo)?.with_interface(&rule.cmi)?;
//! let decide: Function<(i64,), String> = vm.function(&unit, "decide")?;
//! assert_eq!(decide.call(&mut vm, (120,))?, "ask");
//!
//! let Err(Error::Rejected(refused)) = compiler.compile("rule", "let decide price =\n  price ^ 1") else {
//!     panic!("an integer is no string")
//! };
//! let error = refused.errors().next().expect("there is one");
//! assert_eq!(error.span.map(|it| (it.line, it.column)), Some((2, Some(10))));
//! assert!(error.message.contains("expected of type"));
//! # Ok::<(), Error>(())
//! ```
//!
//! A [`Toplevel`] evaluates phrases, and keeps what they define. [`build`] is for build scripts.
#![forbid(unsafe_code)]

pub mod build;
mod compiler;
mod diagnostics;
mod error;
mod installation;
mod toplevel;

pub use compiler::{Compiled, Compiler, Link, Source};
pub use diagnostics::{Diagnostic, Diagnostics, Severity, Span};
pub use error::Error;
pub use installation::Installation;
pub use toplevel::{Answer, Toplevel, ToplevelBuilder};
