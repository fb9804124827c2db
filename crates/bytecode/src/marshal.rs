//! OCaml's `Marshal` format: one decoder for every purpose, one encoder, and a graph that tools can walk.
//!
//! The decoder drives a [`Build`], which creates the values; one implementation creates a [`Graph`], and a runtime
//! can create heap blocks directly. The format is that of `runtime/extern.c` and `runtime/intern.c`. Since 5.1 data may
//! be compressed: the decoder decompresses it; the encoder never compresses.

mod codes;
mod decode;
mod encode;
mod graph;
mod header;
mod refusal;
mod zstd;

pub use decode::{Build, CodePointer, Decoded, Item, Payload, decode, decode_data};
pub use encode::{BlockColour, CustomSizes, Encoder};
pub use graph::{Custom, Graph, GraphBuilder, Node, NodeId};
pub use header::{Header, HeaderBytes};
pub use refusal::{Kinds, Refusal, Rules, refusal};
pub use zstd::Decompressor;
