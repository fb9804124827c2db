//! What the tasks of `cargo xtask` and the conformance test under `cargo test` share.
//!
//! A *program* of the corpus is an OCaml source under `xtask/fixtures/` with the bytecode that ocamlc made
//! of it; a *case* is one run of a program; an *engine* is one way of running it. [`matrix`] brings them together.
#![forbid(unsafe_code)]

pub mod corpus;
pub mod diff;
pub mod engine;
pub mod frontpage;
pub mod gaps;
pub mod matrix;
pub mod page;
pub mod process;
pub mod recipe;
pub mod upstream;
pub mod workspace;
