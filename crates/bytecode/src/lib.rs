//! OCaml bytecode for tools and runtimes: instructions, executables, `.cmo` and `.cma` files, marshalled data.
//!
//! Everything here reads byte slices and gives owned data; nothing opens a file, and nothing knows a heap. What is read
//! can be written again to the same bytes. Bad input is an [`Error`] with its place, never a panic, and costs no more time
//! and memory than its size warrants.
//!
//! | to … | see |
//! |---|---|
//! | know an instruction, or derive something from all of them | [`opcode`], [`for_each_op!`] |
//! | decode, encode, list, verify code | [`code`], [`disasm`], [`verify`] |
//! | read, change, make files | [`exe`], [`obj`], [`info`] |
//! | read and write OCaml values | [`marshal`] |
//! | find the source of an instruction | [`debug`] |
//! | see which versions of OCaml are known | [`dialect`] |
//!
//! ```
//! use spelter_bytecode::opcode::OpcodeSet;
//! use spelter_bytecode::verify::{Entry, Limits, verify};
//! use spelter_bytecode::{Instructions, Opcode};
//!
//! // What `ocamlc` makes of `let _ = 40 + 2` when told not to fold it, as a program.
//! let words = [Opcode::CONSTINT as i32, 2, Opcode::PUSHCONSTINT as i32, 40, Opcode::ADDINT as i32, Opcode::STOP as i32];
//! for instr in Instructions::new(&words, OpcodeSet::V4) {
//!     let instr = instr?;
//!     println!("{} at byte {}: {}", instr.op, instr.byte_offset(), instr.op.doc());
//! }
//!
//! let limits = Limits { globals: 0, prims: 0, slots: 0 };
//! let verified = verify(&words, OpcodeSet::V4, Entry::Program, &limits)?;
//! assert_eq!(verified.functions[0].max_height, 1);
//!
//! // Without the push, the addition would take its second operand from below the stack.
//! let error = verify(&[Opcode::ADDINT as i32, Opcode::STOP as i32], OpcodeSet::V4, Entry::Program, &limits);
//! assert_eq!(
//!     error.unwrap_err().to_string(),
//!     "verify error at byte offset 0x0: ADDINT pops 1 words, but only 0 may be popped",
//! );
//! # Ok::<(), spelter_bytecode::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod code;
pub mod debug;
pub mod dialect;
pub mod disasm;
mod error;
pub mod exe;
mod float_text;
pub mod info;
pub mod marshal;
pub mod obj;
pub mod opcode;
mod room;
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
