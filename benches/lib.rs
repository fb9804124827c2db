//! Code shared by the benches and examples.

pub mod raw_trees;
