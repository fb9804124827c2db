//! Differences between versions of OCaml: one row per version that this crate reads.
//!
//! Supporting another version means adding a row to [`Dialect::KNOWN`] (and a variant if an encoding is new); readers
//! and writers use the row, never the version.

use crate::error::{Error, ErrorKind, Result};
use crate::marshal::BlockColour;
use crate::opcode::OpcodeSet;

/// The length of every OCaml magic number.
pub const MAGIC_LEN: usize = 12;

const MAGIC_PREFIX: &[u8] = b"Caml1999";

/// The kinds of files that the compiler writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A linked program.
    Executable,
    /// A compiled unit, `.cmo`.
    Object,
    /// A library of compiled units, `.cma`.
    Library,
    /// A compiled interface, `.cmi`.
    Interface,
}

impl FileKind {
    /// The letter in the magic number.
    pub const fn letter(self) -> u8 {
        match self {
            FileKind::Executable => b'X',
            FileKind::Object => b'O',
            FileKind::Library => b'A',
            FileKind::Interface => b'I',
        }
    }

    /// The kind of file with these bytes, judged by the magic number alone, for any version; none for an interface,
    /// which has no code.
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
            FileKind::Interface => "a compiled OCaml interface (.cmi)",
        }
    }
}

/// A release of OCaml that has a row in [`Dialect::KNOWN`], in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Release {
    V4_13,
    V4_14,
    V5_0,
    V5_1,
    V5_2,
    V5_3,
    V5_4,
    V5_5,
}

/// How global names are marshalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentEncoding {
    /// `Ident.t` (up to 5.1): `Block(2; name)` for units, `Block(3; name, stamp)` for predefined exceptions.
    Ident,
    /// From 5.2: a unit's name alone where only units can stand; `Block(0; name)` for units and `Block(1; name)` for
    /// predefined exceptions in a symbol table; a relocation kind for each.
    UnitOrPredef,
}

/// How literals are marshalled in relocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiteralEncoding {
    /// `Lambda.structured_constant` of 4.12 to 5.0.
    StructuredConstant,
    /// The value itself, from 5.1.
    Value,
}

/// How names of shared libraries are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LibraryEncoding {
    /// The name (up to 5.4).
    Name,
    /// From 5.5: also whether the file's name ends with the runtime's target and identifier. In an executable a `-`
    /// in front of the name says so (a `:` that it does not), in a library a pair.
    Suffixed,
}

/// One version of OCaml's bytecode files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Its place in the order of versions.
    pub release: Release,
    /// The version as people write it, such as `4.13`.
    pub version: &'static str,
    /// The three digits common to all magic numbers of the version.
    pub digits: &'static str,
    /// How global names are marshalled.
    pub idents: IdentEncoding,
    /// How literals are marshalled.
    pub literals: LiteralEncoding,
    /// How names of shared libraries are stored.
    pub libraries: LibraryEncoding,
    /// The instructions that files of this version may contain.
    pub opcodes: OpcodeSet,
    /// The colour that the compiler writes in marshalled headers of large blocks.
    pub colour: BlockColour,
    /// Whether `ocamlobjinfo` shows sections in file order and their lists from the start; up to 5.0 it shows sections by
    /// name and their lists from the end.
    pub info_in_file_order: bool,
    /// The predefined exceptions in the order of their global slots, each with the stamp that the stock compiler
    /// gives its identifier.
    pub predefined: &'static [(Predefined, i64)],
}

/// An exception that every program has, without defining it (OCaml's `Predef`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Predefined {
    /// `Out_of_memory`
    OutOfMemory,
    /// `Sys_error`
    SysError,
    /// `Failure`
    Failure,
    /// `Invalid_argument`
    InvalidArgument,
    /// `End_of_file`
    EndOfFile,
    /// `Division_by_zero`
    DivisionByZero,
    /// `Not_found`
    NotFound,
    /// `Match_failure`
    MatchFailure,
    /// `Stack_overflow`
    StackOverflow,
    /// `Sys_blocked_io`
    SysBlockedIo,
    /// `Assert_failure`
    AssertFailure,
    /// `Undefined_recursive_module`
    UndefinedRecursiveModule,
}

impl Predefined {
    /// Its name in OCaml.
    pub const fn name(self) -> &'static str {
        match self {
            Predefined::OutOfMemory => "Out_of_memory",
            Predefined::SysError => "Sys_error",
            Predefined::Failure => "Failure",
            Predefined::InvalidArgument => "Invalid_argument",
            Predefined::EndOfFile => "End_of_file",
            Predefined::DivisionByZero => "Division_by_zero",
            Predefined::NotFound => "Not_found",
            Predefined::MatchFailure => "Match_failure",
            Predefined::StackOverflow => "Stack_overflow",
            Predefined::SysBlockedIo => "Sys_blocked_io",
            Predefined::AssertFailure => "Assert_failure",
            Predefined::UndefinedRecursiveModule => "Undefined_recursive_module",
        }
    }

    /// Whether its argument is a tuple (a source position) that messages show as several arguments.
    pub const fn carries_place(self) -> bool {
        matches!(
            self,
            Predefined::MatchFailure | Predefined::AssertFailure | Predefined::UndefinedRecursiveModule
        )
    }
}

/// The predefined exceptions in slot order (`runtime/caml/fail.h`), with the stamps of the stock 4.13 compiler.
const PREDEFINED_4_13: &[(Predefined, i64)] = &[
    (Predefined::OutOfMemory, 19),
    (Predefined::SysError, 23),
    (Predefined::Failure, 21),
    (Predefined::InvalidArgument, 20),
    (Predefined::EndOfFile, 24),
    (Predefined::DivisionByZero, 25),
    (Predefined::NotFound, 22),
    (Predefined::MatchFailure, 18),
    (Predefined::StackOverflow, 26),
    (Predefined::SysBlockedIo, 27),
    (Predefined::AssertFailure, 28),
    (Predefined::UndefinedRecursiveModule, 29),
];

impl Dialect {
    /// OCaml 4.13.
    pub const V4_13: &'static Dialect = &Dialect {
        release: Release::V4_13,
        version: "4.13",
        digits: "030",
        idents: IdentEncoding::Ident,
        literals: LiteralEncoding::StructuredConstant,
        libraries: LibraryEncoding::Name,
        opcodes: OpcodeSet::V4,
        colour: BlockColour::White,
        info_in_file_order: false,
        predefined: PREDEFINED_4_13,
    };

    /// OCaml 4.14.
    pub const V4_14: &'static Dialect =
        &Dialect { release: Release::V4_14, version: "4.14", digits: "031", ..*Dialect::V4_13 };

    /// OCaml 5.0.
    pub const V5_0: &'static Dialect = &Dialect {
        release: Release::V5_0,
        version: "5.0",
        digits: "032",
        opcodes: OpcodeSet::V5_0,
        colour: BlockColour::Black,
        ..*Dialect::V4_14
    };

    /// OCaml 5.1.
    pub const V5_1: &'static Dialect = &Dialect {
        release: Release::V5_1,
        version: "5.1",
        digits: "033",
        literals: LiteralEncoding::Value,
        info_in_file_order: true,
        ..*Dialect::V5_0
    };

    /// OCaml 5.2.
    pub const V5_2: &'static Dialect = &Dialect {
        release: Release::V5_2,
        version: "5.2",
        digits: "034",
        idents: IdentEncoding::UnitOrPredef,
        opcodes: OpcodeSet::V5_2,
        ..*Dialect::V5_1
    };

    /// OCaml 5.3.
    pub const V5_3: &'static Dialect =
        &Dialect { release: Release::V5_3, version: "5.3", digits: "035", ..*Dialect::V5_2 };

    /// OCaml 5.4.
    pub const V5_4: &'static Dialect =
        &Dialect { release: Release::V5_4, version: "5.4", digits: "036", ..*Dialect::V5_3 };

    /// OCaml 5.5.
    pub const V5_5: &'static Dialect = &Dialect {
        release: Release::V5_5,
        version: "5.5",
        digits: "037",
        libraries: LibraryEncoding::Suffixed,
        ..*Dialect::V5_4
    };

    /// Every version that this crate reads and writes, oldest first.
    pub const KNOWN: &'static [&'static Dialect] = &[
        Dialect::V4_13,
        Dialect::V4_14,
        Dialect::V5_0,
        Dialect::V5_1,
        Dialect::V5_2,
        Dialect::V5_3,
        Dialect::V5_4,
        Dialect::V5_5,
    ];

    /// The magic number of a kind of file.
    pub fn magic(&self, kind: FileKind) -> [u8; MAGIC_LEN] {
        let mut magic = [0; MAGIC_LEN];
        magic[..8].copy_from_slice(MAGIC_PREFIX);
        magic[8] = kind.letter();
        magic[9..].copy_from_slice(self.digits.as_bytes());
        magic
    }

    /// The global slot of a predefined exception, if the version has it.
    pub fn slot(&self, exception: Predefined) -> Option<usize> {
        // In most versions all stand in the order of the type.
        let usual = exception as usize;
        match self.predefined.get(usual) {
            Some((known, _)) if *known == exception => Some(usual),
            _ => self.predefined.iter().position(|(known, _)| *known == exception),
        }
    }

    /// The stamp of a predefined exception's identifier; 0 for other names.
    pub(crate) fn stamp(&self, exception: &str) -> i64 {
        self.predefined.iter().find(|(known, _)| known.name() == exception).map_or(0, |(_, stamp)| *stamp)
    }

    /// The row for a magic number at byte `offset` of the input.
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

/// The digits of older versions, to name the version of a file that cannot be read.
const VERSIONS: &[(&str, &str)] =
    &[("023", "4.07"), ("025", "4.08"), ("026", "4.09"), ("027", "4.10"), ("028", "4.11"), ("029", "4.12")];

const _: () = {
    // Every row must have a well-formed magic number; `magic` relies on the length.
    let mut i = 0;
    while i < Dialect::KNOWN.len() {
        assert!(Dialect::KNOWN[i].digits.len() == 3);
        i += 1;
    }
};
