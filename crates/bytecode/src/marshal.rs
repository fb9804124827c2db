//! OCaml's `Marshal` format: one decoder for every purpose, one encoder, and a graph that tools can walk.
//!
//! The decoder tells a [`Build`] what to make; [`Graph`] is one, and a runtime that makes heap blocks directly
//! is another. The format is that of `runtime/extern.c` and `runtime/intern.c`.

mod codes;
mod decode;
mod encode;
mod graph;
mod header;

pub use decode::{Build, CodePointer, Decoded, Item, Payload, decode};
pub use encode::{BlockColour, CustomSizes, Encoder};
pub use graph::{Custom, Graph, GraphBuilder, Node, NodeId};
pub use header::{Header, HeaderBytes};
