//! One file per word of the task table in `main.rs`.
//!
//! Each task returns `Ok(true)` on success, `Ok(false)` if it has printed what is wrong, and an error if it could not
//! do its work.

pub(crate) mod bench;
pub(crate) mod ci;
pub(crate) mod compiler;
pub(crate) mod conformance;
pub(crate) mod files;
pub(crate) mod fixtures;
pub(crate) mod fuzz;
pub(crate) mod items;
pub(crate) mod ocaml;
pub(crate) mod outside;
pub(crate) mod package;
pub(crate) mod sanitize;
pub(crate) mod soak;
pub(crate) mod stubs;
pub(crate) mod tails;
pub(crate) mod tidy;
