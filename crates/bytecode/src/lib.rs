//! OCaml bytecode: instructions, executables, `.cmo` and `.cma` files, marshalled data.
#![forbid(unsafe_code)]

pub mod code;
pub mod dialect;
mod error;
pub mod marshal;
pub mod opcode;
pub mod verify;

pub use code::{Instr, Instructions};
pub use dialect::Dialect;
pub use error::{Error, ErrorKind, Result};
pub use opcode::Opcode;
