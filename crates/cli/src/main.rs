//! The `spelter` command.
#![forbid(unsafe_code)]

fn main() {}
