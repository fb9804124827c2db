//! The crate's one error type: what was wrong, and where in the input.

use std::fmt;

use crate::opcode::Opcode;

/// The result of everything here that reads input.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Something wrong with an input: a kind and a place.
///
/// The name of the file is not in it: this crate sees bytes only, and the caller knows the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    section: Option<String>,
    offset: Option<usize>,
}

impl Error {
    /// An error with no place yet.
    #[cold]
    pub fn new(kind: ErrorKind) -> Error {
        Error { inner: Box::new(Inner { kind, section: None, offset: None }) }
    }

    /// An error at a byte offset of the input that was handed in.
    #[cold]
    pub fn at(offset: usize, kind: ErrorKind) -> Error {
        Error { inner: Box::new(Inner { kind, section: None, offset: Some(offset) }) }
    }

    /// Malformed input at a byte offset, in words.
    #[cold]
    pub fn malformed(offset: usize, what: impl Into<String>) -> Error {
        Error::at(offset, ErrorKind::Malformed(what.into()))
    }

    /// Says which part of the file the offset counts from. The innermost name wins.
    #[must_use]
    pub fn in_section(mut self, section: &str) -> Error {
        self.inner.section.get_or_insert_with(|| section.to_owned());
        self
    }

    /// What was wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.inner.kind
    }

    /// The part of the file (a section such as `DATA`, or `code`, `descriptor`, `debug data`), if known.
    pub fn section(&self) -> Option<&str> {
        self.inner.section.as_deref()
    }

    /// The byte offset within [`section`](Error::section), or within the whole input when there is none.
    pub fn offset(&self) -> Option<usize> {
        self.inner.offset
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, section, offset } = &*self.inner;
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

/// What can be wrong with an input.
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
        /// The bytes that stand where the magic number should be.
        found: String,
    },
    /// The file is of the right kind, but another version of OCaml made it.
    #[error("compiled by OCaml {found}, this reader knows {known}; recompile it with one of these")]
    OtherVersion {
        /// The version found (or its magic number, when it is not one that we have heard of).
        found: String,
        /// The versions with a row in [`Dialect`](crate::dialect::Dialect).
        known: String,
    },
    /// An executable without a section that it must have.
    #[error("the executable has no {0} section")]
    MissingSection(String),
    /// Marshalled data in zstd-compressed form (OCaml 5.1 and later).
    #[error("compressed marshalled data cannot be read; recompile without compression")]
    Compressed,
    /// Data that does not have the structure that the format demands.
    #[error("{0}")]
    Malformed(String),
    /// A word that is not the number of an instruction.
    #[error("{word} is not an instruction that may stand here{}", hint(*word))]
    UnknownOpcode {
        /// The code word.
        word: i32,
    },
    /// An instruction that the code ends in the middle of.
    #[error("the code ends within {0}")]
    CutInstruction(Opcode),
    /// An operand that cannot be right whatever the rest of the code says.
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
}

fn hint(word: i32) -> String {
    match Opcode::from_word(word) {
        Some(op) => format!(" ({op})"),
        None => String::new(),
    }
}
