//! Compiled units (`.cmo`) and libraries of them (`.cma`).

mod constant;
mod descriptor;
mod library;
mod unit;

pub use constant::{Constant, LiteralId, Literals};
pub use library::Library;
pub use unit::{CompilationUnit, Reloc};

use crate::code::words_of_bytes;
use crate::dialect::{Dialect, FileKind, MAGIC_LEN};
use crate::error::{Error, Result};
use crate::marshal::Graph;

/// The magic number and the offset of the descriptor: everything before the code.
const FRONT_LEN: usize = MAGIC_LEN + 4;

/// Reads the common part of `.cmo` and `.cma` files: the magic number, and the descriptor that follows from it.
fn read_front(bytes: &[u8], kind: FileKind) -> Result<(&'static Dialect, Graph)> {
    let magic = &bytes[..bytes.len().min(MAGIC_LEN)];
    let dialect = Dialect::of_magic(magic, kind, 0)?;
    let offset = bytes[MAGIC_LEN..].first_chunk().map(|offset| u32::from_be_bytes(*offset) as usize);
    let descriptor = offset.and_then(|offset| bytes.get(offset..)).ok_or_else(|| {
        Error::malformed(MAGIC_LEN, "the offset of the descriptor lies outside the file; the file seems cut")
    })?;
    let (graph, _) = Graph::decode(descriptor).map_err(|error| error.in_section("descriptor"))?;
    Ok((dialect, graph))
}

/// Starts a `.cmo` or `.cma` file; the offset of the descriptor is filled in by [`finish`].
fn start(dialect: &Dialect, kind: FileKind) -> Vec<u8> {
    let mut out = dialect.magic(kind).to_vec();
    out.extend_from_slice(&[0; 4]);
    out
}

fn finish(mut out: Vec<u8>, descriptor: &[u8]) -> Vec<u8> {
    let offset = u32::try_from(out.len()).expect("less than 4 GiB of code and debug data");
    out[MAGIC_LEN..FRONT_LEN].copy_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(descriptor);
    out
}

impl CompilationUnit {
    /// The code words, with zeros where relocations belong.
    ///
    /// # Errors
    ///
    /// When the code is not a whole number of words.
    pub fn words(&self) -> Result<Vec<i32>> {
        words_of_bytes(&self.code).map_err(|error| error.in_section("code"))
    }
}
