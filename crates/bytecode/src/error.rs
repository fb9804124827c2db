//! The crate's only error type: what was wrong, and where in the input.

use std::fmt;

use crate::opcode::Opcode;

/// The result of all functions that read input.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error in an input: a kind and a position.
///
/// It does not contain the file's name: this crate reads only bytes, and the caller knows the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// `None` if there is no memory, not even for an error.
    inner: Option<Box<Inner>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    section: Option<String>,
    offset: Option<usize>,
}

impl Error {
    /// The input may be correct, but there is no memory to read it.
    #[cold]
    pub fn out_of_memory() -> Error {
        Error { inner: None }
    }

    /// An error without a position yet.
    #[cold]
    pub fn new(kind: ErrorKind) -> Error {
        Error { inner: Some(Box::new(Inner { kind, section: None, offset: None })) }
    }

    /// An error at a byte offset of the caller's input.
    #[cold]
    pub fn at(offset: usize, kind: ErrorKind) -> Error {
        Error { inner: Some(Box::new(Inner { kind, section: None, offset: Some(offset) })) }
    }

    /// Malformed input at a byte offset, with a description.
    #[cold]
    pub fn malformed(offset: usize, what: impl Into<String>) -> Error {
        Error::at(offset, ErrorKind::Malformed(what.into()))
    }

    /// Sets the part of the file from which the offset counts. The innermost name takes precedence.
    #[must_use]
    pub fn in_section(mut self, section: &str) -> Error {
        if let Some(inner) = &mut self.inner {
            inner.section.get_or_insert_with(|| section.to_owned());
        }
        self
    }

    /// What was wrong.
    pub fn kind(&self) -> &ErrorKind {
        self.inner.as_ref().map_or(&ErrorKind::OutOfMemory, |inner| &inner.kind)
    }

    /// Whether the only error is a lack of memory to read the input.
    pub fn is_out_of_memory(&self) -> bool {
        self.inner.is_none()
    }

    /// The part of the file (a section such as `DATA`, or `code`, `descriptor`, `debug data`), if known.
    pub fn section(&self) -> Option<&str> {
        self.inner.as_ref()?.section.as_deref()
    }

    /// The byte offset within [`section`](Error::section), or within the whole input when there is none.
    pub fn offset(&self) -> Option<usize> {
        self.inner.as_ref()?.offset
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, section, offset) = (self.kind(), self.section(), self.offset());
        if let (ErrorKind::Verify(fault), Some(offset)) = (kind, offset) {
            return write!(f, "verify error at byte offset {offset:#x}: {fault}");
        }
        match (section, offset) {
            (Some(section), Some(offset)) => write!(f, "{section}, byte offset {offset:#x}: {kind}"),
            (Some(section), None) => write!(f, "{section}: {kind}"),
            (None, Some(offset)) => write!(f, "byte offset {offset:#x}: {kind}"),
            (None, None) => write!(f, "{kind}"),
        }
    }
}

impl std::error::Error for Error {}

/// The kinds of errors in an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input ends before something that it announced.
    #[error("the input ends here, but {needed} more bytes are announced")]
    Truncated {
        /// How many bytes are missing at least.
        needed: u64,
    },
    /// The magic number is that of another kind of file, or of none.
    #[error("not {expected} (no OCaml magic number of that kind; found {found:?})")]
    NotThisKind {
        /// The kind that the caller asked for, with its article.
        expected: &'static str,
        /// The bytes in place of the magic number.
        found: String,
    },
    /// The file is of the right kind, but was compiled by another version of OCaml.
    #[error("compiled by OCaml {found}, this reader knows {known}; recompile it with one of these")]
    OtherVersion {
        /// The version found (or the magic number of an unknown version).
        found: String,
        /// The versions with a row in [`Dialect`](crate::dialect::Dialect).
        known: String,
    },
    /// An executable without a section that it must have.
    #[error("the executable has no {0} section")]
    MissingSection(String),
    /// Marshalled data in zstd-compressed form (OCaml 5.1 and later) that is damaged or too large.
    #[error("compressed data cannot be read: {0}")]
    Compressed(&'static str),
    /// Data without the structure that the format requires.
    #[error("{0}")]
    Malformed(String),
    /// A word that is not the number of an instruction.
    #[error("{word} is not an instruction allowed here{}", hint(*word))]
    UnknownOpcode {
        /// The code word.
        word: i32,
    },
    /// The code ends in the middle of an instruction.
    #[error("the code ends within {0}")]
    CutInstruction(Opcode),
    /// An operand that is invalid regardless of the rest of the code.
    #[error("{op} cannot have the operand {operand}: {why}")]
    BadOperand {
        /// The instruction.
        op: Opcode,
        /// The operand.
        operand: i32,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Code that the verifier refuses.
    #[error("{0}")]
    Verify(crate::verify::fault::Fault),
    /// Units that cannot be linked with each other.
    #[error("the units cannot be linked: {0}")]
    Link(String),
    /// There is no memory for the data read from the input.
    #[error("no memory left to read it")]
    OutOfMemory,
}

fn hint(word: i32) -> String {
    match Opcode::from_word(word) {
        Some(op) => format!(" ({op})"),
        None => String::new(),
    }
}
