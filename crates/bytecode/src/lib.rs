//! OCaml bytecode: instructions, executables, `.cmo` and `.cma` files, marshalled data.
#![forbid(unsafe_code)]

pub mod code;
pub mod debug;
pub mod dialect;
mod error;
pub mod exe;
mod float_text;
pub mod marshal;
pub mod obj;
pub mod opcode;
pub mod verify;
mod view;

pub use code::{Instr, Instructions};
pub use dialect::{Dialect, FileKind};
pub use error::{Error, ErrorKind, Result};
pub use exe::{Executable, Symbols};
pub use float_text::float_of_source_text;
pub use obj::{CompilationUnit, Library};
pub use opcode::Opcode;
pub use view::{Digest, Ident, Imports};
