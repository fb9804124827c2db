//! The reasons for which checked code is stopped.

use std::fmt;

/// An access that checked code may not make. Trusted code is not tested and has no faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An integer where a block is needed.
    #[error("an integer where a block is needed")]
    NotABlock,
    /// Something that is not a closure where a closure is needed.
    #[error("something else where a closure is needed")]
    NotAClosure,
    /// A value of another kind.
    #[error("something else where {0} is needed")]
    Kind(&'static str),
    /// A field, element or byte that the block does not have.
    #[error("no field {0} in this block")]
    Field(usize),
    /// A case that the switch does not have.
    #[error("no case {0} in this switch")]
    Case(usize),
    /// An index beyond the global table.
    #[error("no global {0}")]
    Global(usize),
    /// An instruction of another OCaml version.
    #[error("an instruction of another OCaml version")]
    Instruction,
    /// A method that the object does not have.
    #[error("no such method")]
    Method,
}

/// Where and why checked code was stopped. Prints as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The unit; `None` for code outside any unit.
    pub unit: Option<String>,
    /// Where in the unit's code: the offset in bytes.
    pub byte: usize,
    /// The function, `Module.f`, if the unit has debug data.
    pub function: Option<String>,
    /// The source file and the line that had been reached, if the unit has debug data.
    pub line: Option<(String, i64)>,
    /// What it tried.
    pub fault: Fault,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("checked code was stopped in ")?;
        match &self.unit {
            Some(unit) => write!(f, "{unit} near byte {:#x}", self.byte)?,
            None => f.write_str("code outside any unit")?,
        }
        match (&self.function, &self.line) {
            (Some(function), Some((file, line))) => write!(f, " ({function}, {file} line {line})")?,
            (Some(function), None) => write!(f, " ({function})")?,
            _ => {}
        }
        write!(
            f,
            ": {}; a value is not of the type that the code was compiled for: check what the host passes and returns, \
             and the interfaces that the code was compiled with",
            self.fault
        )
    }
}
