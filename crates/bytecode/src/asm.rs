//! Editing compiled code: instructions with labels in place of offsets, and linking units into a program.
//!
//! [`Body::lift`] turns a unit's code into a list of instructions. Jump targets, entries of functions and handlers are
//! [`Label`]s, relocations are operands, and debug events stay with the instructions that they are about. After any
//! editing, [`Body::lower`] computes offsets, relocations and the positions of events again. A body that was not
//! edited yields the same bytes. [`Linker`] makes an executable of units, as `ocamlc` does, and [`OnDemand`] one of
//! libraries, whose units its host initialises as they are needed.
//!
//! ```
//! use spelter_bytecode::asm::{Body, Instruction};
//! use spelter_bytecode::{CompilationUnit, Opcode};
//!
//! let unit = CompilationUnit::read(include_bytes!("../tests/fixtures/tiny.cmo"))?;
//! let mut body = Body::lift(&unit)?;
//! assert_eq!(body.lower()?.write(), unit.write());
//!
//! // An instruction that does nothing, in front of each function's first one.
//! for id in body.ids().collect::<Vec<_>>() {
//!     if body[id].op == Opcode::GRAB {
//!         body.insert_after(id, Instruction::new(Opcode::POP, [0.into()]));
//!     }
//! }
//! let edited = body.lower()?;
//! assert_eq!(edited.code.len(), unit.code.len() + 8);
//! # Ok::<(), spelter_bytecode::Error>(())
//! ```

mod body;
mod events;
mod lift;
mod link;
mod lower;

pub use body::{Body, InstructionId};
pub use link::{Linker, OnDemand, OnDemandUnit, link};

use crate::obj::Reloc;
use crate::opcode::Opcode;
use crate::view::Ident;

/// A place in a body: the start of an instruction, or the end of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(u32);

/// An operand word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// A number: an index, a size, a constant.
    Int(i32),
    /// A code address.
    Label(Label),
    /// A number that the linker assigns.
    Reloc(Reloc),
}

impl Operand {
    /// A unit's module, to be read by `GETGLOBAL` and the like.
    pub fn unit(name: &str) -> Operand {
        Operand::Reloc(Reloc::GetGlobal(Ident::Unit(name.to_owned())))
    }

    /// A unit's module, to be set: by the unit itself, when it has been initialised.
    pub fn own_unit(name: &str) -> Operand {
        Operand::Reloc(Reloc::SetGlobal(Ident::Unit(name.to_owned())))
    }

    /// A primitive.
    pub fn primitive(name: &str) -> Operand {
        Operand::Reloc(Reloc::Primitive(name.to_owned()))
    }
}

impl From<i32> for Operand {
    fn from(n: i32) -> Operand {
        Operand::Int(n)
    }
}

impl From<Label> for Operand {
    fn from(label: Label) -> Operand {
        Operand::Label(label)
    }
}

impl From<Reloc> for Operand {
    fn from(reloc: Reloc) -> Operand {
        Operand::Reloc(reloc)
    }
}

/// An instruction with its operands, one for each word after the opcode: `SWITCH` has its size and then a label for
/// each case, `CLOSUREREC` the numbers of functions and variables and then a label for each function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub op: Opcode,
    /// Its operands.
    pub operands: Vec<Operand>,
}

impl Instruction {
    /// An instruction. Whether it has the right operands is checked when the body is lowered.
    pub fn new(op: Opcode, operands: impl IntoIterator<Item = Operand>) -> Instruction {
        Instruction { op, operands: operands.into_iter().collect() }
    }

    /// Its size in words.
    fn size(&self) -> usize {
        1 + self.operands.len()
    }
}

/// An instruction without operands.
impl From<Opcode> for Instruction {
    fn from(op: Opcode) -> Instruction {
        Instruction::new(op, [])
    }
}
