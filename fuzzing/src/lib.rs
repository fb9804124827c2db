//! Fuzzing targets: valid but unusual programs run checked on every engine, and files, data and hosts are as hostile
//! as possible.
//!
//! A target is a function of some bytes, which panics when it finds something; a crash is a finding, too. The bytes
//! come from a fuzzer (`fuzz/`), or from numbers ([`source::input_of_seed`]): `cargo xtask fuzz` and the tests.
#![deny(unsafe_code)]

pub mod attacks;
pub mod cases;
pub mod confined;
mod engine;
pub mod generate;
mod malloc;
pub mod source;
pub mod targets;
mod watchdog;

pub use engine::Engine;
pub use targets::{TARGETS, Target};
