//! The reasons for which checked code is stopped.

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
