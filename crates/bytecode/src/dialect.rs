//! What differs between versions of OCaml: one row per version that this crate reads.
//!
//! Supporting another version means adding a row to [`Dialect::KNOWN`] (and a variant where an encoding
//! is new); readers and writers ask the row, never the version.

use crate::error::{Error, ErrorKind, Result};
use crate::opcode::OpcodeSet;

/// The length of every OCaml magic number.
pub const MAGIC_LEN: usize = 12;

const MAGIC_PREFIX: &[u8] = b"Caml1999";

/// The kinds of bytecode files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A linked program.
    Executable,
    /// A compiled unit, `.cmo`.
    Object,
    /// A library of compiled units, `.cma`.
    Library,
}

impl FileKind {
    /// The letter in the magic number.
    pub const fn letter(self) -> u8 {
        match self {
            FileKind::Executable => b'X',
            FileKind::Object => b'O',
            FileKind::Library => b'A',
        }
    }

    /// The kind of file that these are the bytes of, going by its magic number alone. The version may be any.
    pub fn sniff(bytes: &[u8]) -> Option<FileKind> {
        let kind_of = |magic: &[u8; MAGIC_LEN]| match magic.strip_prefix(MAGIC_PREFIX)? {
            [b'X', ..] => Some(FileKind::Executable),
            [b'O', ..] => Some(FileKind::Object),
            [b'A', ..] => Some(FileKind::Library),
            _ => None,
        };
        let first = bytes.first_chunk().and_then(kind_of);
        let last = bytes.last_chunk().and_then(kind_of);
        match (first, last) {
            (Some(kind @ (FileKind::Object | FileKind::Library)), _) => Some(kind),
            (_, last) => last.filter(|kind| *kind == FileKind::Executable),
        }
    }

    fn with_article(self) -> &'static str {
        match self {
            FileKind::Executable => "an OCaml bytecode executable",
            FileKind::Object => "an OCaml object file (.cmo)",
            FileKind::Library => "an OCaml library (.cma)",
        }
    }
}

/// How global names are marshalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentEncoding {
    /// `Ident.t` (up to 5.1): `Block(2; name)` for units, `Block(3; name, stamp)` for predefined exceptions.
    Ident,
}

/// How literals are marshalled in relocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiteralEncoding {
    /// `Lambda.structured_constant` of 4.12 to 5.0.
    StructuredConstant,
}

/// One version of OCaml's bytecode files.
#[derive(Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The version as people write it, such as `4.13`.
    pub version: &'static str,
    /// The three digits common to all magic numbers of the version.
    pub digits: &'static str,
    /// How global names are marshalled.
    pub idents: IdentEncoding,
    /// How literals are marshalled.
    pub literals: LiteralEncoding,
    /// The instructions that files of this version may contain.
    pub opcodes: OpcodeSet,
    /// The predefined exceptions in slot order, each with the stamp that the stock compiler gives its identifier.
    pub predefined: &'static [(&'static str, i64)],
}

/// The predefined exceptions in slot order (`runtime/caml/fail.h`), with the stamps of the stock 4.13 compiler.
const PREDEFINED_4_13: &[(&str, i64)] = &[
    ("Out_of_memory", 19),
    ("Sys_error", 23),
    ("Failure", 21),
    ("Invalid_argument", 20),
    ("End_of_file", 24),
    ("Division_by_zero", 25),
    ("Not_found", 22),
    ("Match_failure", 18),
    ("Stack_overflow", 26),
    ("Sys_blocked_io", 27),
    ("Assert_failure", 28),
    ("Undefined_recursive_module", 29),
];

impl Dialect {
    /// OCaml 4.13.
    pub const V4_13: &'static Dialect = &Dialect {
        version: "4.13",
        digits: "030",
        idents: IdentEncoding::Ident,
        literals: LiteralEncoding::StructuredConstant,
        opcodes: OpcodeSet::V4,
        predefined: PREDEFINED_4_13,
    };

    /// Every version that this crate reads and writes.
    pub const KNOWN: &'static [&'static Dialect] = &[Dialect::V4_13];

    /// The magic number of a kind of file.
    pub fn magic(&self, kind: FileKind) -> [u8; MAGIC_LEN] {
        let mut magic = [0; MAGIC_LEN];
        magic[..8].copy_from_slice(MAGIC_PREFIX);
        magic[8] = kind.letter();
        magic[9..].copy_from_slice(self.digits.as_bytes());
        magic
    }

    /// The stamp of a predefined exception's identifier; 0 for a name that is none.
    pub(crate) fn stamp(&self, exception: &str) -> i64 {
        self.predefined.iter().find(|(name, _)| *name == exception).map_or(0, |(_, stamp)| *stamp)
    }

    /// The row for a magic number that stands at byte `offset` of the input.
    ///
    /// # Errors
    ///
    /// When it is not the magic number of `kind`, or that of a version without a row; the error names the version.
    pub fn of_magic(magic: &[u8], kind: FileKind, offset: usize) -> Result<&'static Dialect> {
        let digits = magic
            .strip_prefix(MAGIC_PREFIX)
            .and_then(|rest| rest.strip_prefix(&[kind.letter()]))
            .filter(|digits| digits.len() == 3 && digits.iter().all(u8::is_ascii_digit))
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(digits) = digits else {
            let found = String::from_utf8_lossy(magic).into_owned();
            return Err(Error::at(offset, ErrorKind::NotThisKind { expected: kind.with_article(), found }));
        };
        Dialect::KNOWN.iter().copied().find(|dialect| dialect.digits == digits).ok_or_else(|| {
            let found = match VERSIONS.iter().find(|(known, _)| *known == digits) {
                Some((_, version)) => (*version).to_owned(),
                None => format!("of unknown version (magic number {})", String::from_utf8_lossy(magic)),
            };
            let known: Vec<_> = Dialect::KNOWN.iter().map(|dialect| dialect.version).collect();
            Error::at(offset, ErrorKind::OtherVersion { found, known: known.join(", ") })
        })
    }
}

/// The digits of released versions, to name the version of a file that cannot be read.
const VERSIONS: &[(&str, &str)] = &[
    ("023", "4.07"),
    ("025", "4.08"),
    ("026", "4.09"),
    ("027", "4.10"),
    ("028", "4.11"),
    ("029", "4.12"),
    ("030", "4.13"),
    ("031", "4.14"),
    ("032", "5.0"),
    ("033", "5.1"),
    ("034", "5.2"),
    ("035", "5.3"),
];

const _: () = {
    // Every row must have a well-formed magic number; `magic` relies on the length.
    let mut i = 0;
    while i < Dialect::KNOWN.len() {
        assert!(Dialect::KNOWN[i].digits.len() == 3);
        i += 1;
    }
};
