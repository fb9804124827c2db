//! What the benches and examples beside it share.

pub mod raw_trees;
