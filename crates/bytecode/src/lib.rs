//! OCaml bytecode for tools and runtimes: instructions, executables, `.cmo` and `.cma` files, marshalled data.
//!
//! It reads and writes the files of OCaml 4.13, 4.14, and 5.0 to 5.5 ([`dialect`]); debug data and marshalled values may be
//! compressed. Files of other versions are refused with an error that names the version.
//!
//! The crate reads byte slices and returns owned data; it opens no files and has no heap. Data that was read can be
//! written back to the same bytes. Bad input results in an [`Error`] with a position, never in a panic, and time and
//! memory are bounded by the input's size.
//!
//! | to … | see |
//! |---|---|
//! | look up an instruction, or derive code from the instruction table | [`opcode`], [`for_each_op!`] |
//! | decode, encode, disassemble, verify code | [`code`], [`disasm`], [`verify`] |
//! | insert instructions into compiled units, link units into programs | [`asm`] |
//! | read, change, create files | [`exe`], [`obj`], [`info`] |
//! | read and write OCaml values | [`marshal`] |
//! | find the source position of an instruction | [`debug`] |
//! | read the types of a unit's values from its interface | [`cmi`] |
//! | see which versions of OCaml are supported | [`dialect`] |
//!
//! ```
//! use spelter_bytecode::opcode::OpcodeSet;
//! use spelter_bytecode::verify::{Entry, Limits, verify};
//! use spelter_bytecode::{Instructions, Opcode};
//!
//! // A program: the code of `let _ = 40 + 2`, without constant folding.
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

pub mod asm;
pub mod cmi;
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
