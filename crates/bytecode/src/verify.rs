//! The verifier: proves properties of code before it runs, so that the machine need not check them.
//!
//! For code that it accepts:
//!
//! - every jump, handler, return address and function entry is the start of an instruction, and control never runs
//!   off the end;
//! - at each instruction the height of the frame is known and the same on every path; nothing below the frame is read,
//!   written or popped;
//! - return frames and trap frames within the frame are pushed and popped in pairs, and never read or written as
//!   values; where paths meet, the same instructions pushed them;
//! - `RETURN` and `APPTERM` state the true size of the frame; `GRAB` occurs only at entries, with its `RESTART`
//!   before it, and `RESTART` only before its `GRAB`, even in unreachable code, which marshalled partial applications
//!   may enter;
//! - environments are read only at the closure's variables, and siblings only where they exist;
//! - global, slot and primitive numbers are within limits, and no block gets a tag that would forge a closure or raw
//!   data.
//!
//! It does not know the kinds of *values* (an integer, a block, its size): these are checked at run time.
//!
//! Time and memory are linear in the code (with a logarithm for nested calls): an instruction belongs to one function
//! only, as in everything that `ocamlc` writes.
//! There are two passes: over all words (`survey`), and along everything that control reaches (`flow`).

mod bits;
mod brief;
pub(crate) mod fault;
mod flow;
mod frames;
mod survey;

pub use self::fault::Fault;
use crate::code::WORD;
use crate::error::{Error, ErrorKind, Result};
use crate::opcode::{Flow, Opcode, OpcodeSet};

/// The (exclusive) upper bounds of numbers in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The number of global slots.
    pub globals: usize,
    /// The number of primitives.
    pub prims: usize,
    /// The number of slots of the unit's own list; 0 for code that was not patched.
    pub slots: usize,
}

/// How the code is entered at its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// As a program: empty stack, no environment; units follow one another, and `STOP` ends the last.
    Program,
    /// As a unit loaded at run time: a closure applied to unit, so `RETURN 1` must have been appended.
    Unit,
}

/// A function that the verifier found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// The word index of its entry: the `GRAB` of a function of several arguments.
    pub entry: usize,
    /// How many arguments its frame starts with; 0 for a program.
    pub arity: u64,
    /// The greatest height of its frame in words, arguments included.
    pub max_height: u64,
}

/// The verifier's results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Every function: the code as a whole first, then those that closures refer to, in the order of the code.
    pub functions: Vec<Function>,
}

impl Verified {
    /// The greatest height of any function's frame, in words.
    pub fn max_height(&self) -> u64 {
        self.functions.iter().map(|function| function.max_height).max().unwrap_or(0)
    }
}

impl Fault {
    #[cold]
    fn at(self, pos: usize) -> Error {
        Error::at(pos * WORD, ErrorKind::Verify(self))
    }
}

/// Verifies code, which may contain the `accepted` instructions.
///
/// # Errors
///
/// When it does not decode, or with a [`Fault`] at the wrong instruction.
pub fn verify(words: &[i32], accepted: OpcodeSet, entry: Entry, limits: &Limits) -> Result<Verified> {
    flow::Checker::new(survey::Survey::new(words, accepted, limits)?, entry)?.run()
}

/// Tags that the compiler never uses in instructions, and that the machine trusts: closures (247), infix headers
/// (249), and all tags of blocks without values (251 to 255).
fn is_forging(tag: i32) -> bool {
    !matches!(tag, 0..=246 | 248 | 250)
}

/// The `RESTART` that belongs before a `GRAB`; `None` for other instructions.
fn restart_of(op: Opcode) -> Option<Opcode> {
    match op.facts().flow {
        Flow::Grab if op == Opcode::GRAB_DYN => Some(Opcode::RESTART_DYN),
        Flow::Grab => Some(Opcode::RESTART),
        _ => None,
    }
}

/// The `GRAB` that belongs after a `RESTART`; `None` for other instructions.
fn grab_of(op: Opcode) -> Option<Opcode> {
    match op.facts().flow {
        Flow::Restart if op == Opcode::RESTART_DYN => Some(Opcode::GRAB_DYN),
        Flow::Restart => Some(Opcode::GRAB),
        _ => None,
    }
}
