//! The tests of this crate, in one binary so that they link once.

mod debug;
mod dialects;
mod editor;
mod fixtures;
mod floats;
mod interfaces;
mod listings;
mod marshal;
mod model;
mod mutations;
mod opcodes;
mod round_trips;
mod second_judge;
mod verifier;
mod versions;
