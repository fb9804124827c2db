//! Code shared by the tasks of `cargo xtask` and the conformance test under `cargo test`.
//!
//! A *program* of the corpus is an OCaml source under `xtask/fixtures/` with its compiled bytecode; a *case* is one
//! run of a program; an *engine* is one way of running it. [`matrix`] combines them.
#![forbid(unsafe_code)]

pub mod bare;
pub mod cc;
pub mod corpus;
pub mod debugger;
pub mod diff;
pub mod engine;
pub mod frontpage;
pub mod gaps;
pub mod live;
pub mod matrix;
pub mod ocaml;
pub mod page;
pub mod process;
pub mod recipe;
pub mod upstream;
pub mod workspace;
