//! Bytecode executables: prefix, sections, table of contents, trailer.
//!
//! Everything is located from the end of the file backwards (`runtime/startup_byt.c`), so a file may start with
//! anything: a `#!` line, a launcher, or a whole runtime.

use std::ops::Range;

mod launch;
mod symbols;

pub use launch::{Runtime, RuntimeId, Search};
pub use symbols::Symbols;

use crate::code::{bytes_of_words, words_of_bytes};
use crate::debug::{DebugUnit, read_dbug};
use crate::dialect::{Dialect, FileKind, LibraryEncoding, MAGIC_LEN};
use crate::error::{Error, ErrorKind, Result};
use crate::marshal::{Graph, GraphBuilder};
use crate::room;
use crate::view::{Budget, Imports, View, add_imports};

const ENTRY_LEN: usize = 8;

/// A section as stored in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Four characters.
    pub name: [u8; 4],
    /// Its bytes.
    pub data: Vec<u8>,
}

impl Section {
    /// The name as text.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

/// A shared library with primitives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SharedLibrary<Name = String> {
    /// Its name: `dllunix` in an executable; `-lunix` or `dllunix.so` in a library of units.
    pub name: Name,
    /// Whether the name of its file goes on with the target and identifier of the running runtime (from 5.5).
    pub suffixed: bool,
}

impl<'a> SharedLibrary<&'a str> {
    /// From an entry of `DLLS`. From 5.5 one character in front of the name says whether it is suffixed.
    fn of_entry(entry: &'a str, encoding: LibraryEncoding) -> SharedLibrary<&'a str> {
        match encoding {
            LibraryEncoding::Name => SharedLibrary { name: entry, suffixed: false },
            LibraryEncoding::Suffixed => {
                let mut name = entry.chars();
                let suffixed = name.next() == Some('-');
                SharedLibrary { name: name.as_str(), suffixed }
            }
        }
    }
}

impl SharedLibrary {
    /// The name that an executable has for a shared library that a library of units names: `dllunix` for `-lunix` and
    /// `dllunix.so`.
    pub fn linked_name(&self) -> String {
        match (self.name.strip_prefix("-l"), self.name.strip_suffix(".so")) {
            (_, Some(file)) if !self.suffixed => file.to_owned(),
            (Some(library), _) => format!("dll{library}"),
            (None, _) => self.name.clone(),
        }
    }
}

/// An executable: the bytes before its sections, and the sections in file order (a name may occur twice).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    dialect: &'static Dialect,
    prefix: Vec<u8>,
    sections: Vec<Section>,
}

impl Executable {
    /// Reads a whole file.
    ///
    /// # Errors
    ///
    /// When it does not end like an executable of a known version, when its table of contents does not fit in
    /// it, or when `CODE`, `PRIM` or `DATA` is missing.
    pub fn read(bytes: &[u8]) -> Result<Executable> {
        let contents = Contents::read(bytes, bytes.len())?;
        let section = |(name, range): &([u8; 4], Range<usize>)| Section {
            name: *name,
            data: bytes[range.clone()].to_owned(),
        };
        let sections: Vec<Section> = contents.sections.iter().map(section).collect();
        let prefix = bytes[..contents.prefix_len()].to_owned();
        let exe = Executable { dialect: contents.dialect, prefix, sections };
        for name in ["CODE", "PRIM", "DATA"] {
            exe.mandatory(name)?;
        }
        Ok(exe)
    }

    /// Whether the bytes end with an executable's magic number, of any version.
    pub fn is_executable(bytes: &[u8]) -> bool {
        FileKind::sniff(bytes) == Some(FileKind::Executable)
    }

    /// An executable from its parts. Sections are written in the given order.
    ///
    /// # Errors
    ///
    /// When `CODE`, `PRIM` or `DATA` is missing.
    pub fn from_parts(
        dialect: &'static Dialect,
        prefix: Vec<u8>,
        sections: Vec<Section>,
    ) -> Result<Executable> {
        let exe = Executable { dialect, prefix, sections };
        for name in ["CODE", "PRIM", "DATA"] {
            exe.mandatory(name)?;
        }
        Ok(exe)
    }

    /// The bytes of the file; for an executable that was read, the same bytes.
    ///
    /// # Panics
    ///
    /// When a section has 4 GiB or more, which the format cannot express.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = self.prefix.clone();
        for section in &self.sections {
            bytes.extend_from_slice(&section.data);
        }
        for section in &self.sections {
            let len = u32::try_from(section.data.len()).expect("a section of less than 4 GiB");
            bytes.extend_from_slice(&section.name);
            bytes.extend_from_slice(&len.to_be_bytes());
        }
        bytes.extend_from_slice(&(self.sections.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&self.dialect.magic(FileKind::Executable));
        bytes
    }

    /// The version that it was compiled by.
    pub fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// The bytes before the sections.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// All sections, in file order.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The same, without the executable.
    pub fn into_sections(self) -> Vec<Section> {
        self.sections
    }

    /// The contents of a section; if a name occurs twice, the last one counts, as for `ocamlrun`.
    pub fn section(&self, name: &str) -> Option<&[u8]> {
        let section = self.sections.iter().rev().find(|section| section.name == name.as_bytes())?;
        Some(&section.data)
    }

    fn mandatory(&self, name: &str) -> Result<&[u8]> {
        self.section(name).ok_or_else(|| Error::new(ErrorKind::MissingSection(name.to_owned())))
    }

    /// The code words.
    ///
    /// # Errors
    ///
    /// When the section is not a whole number of words.
    pub fn code(&self) -> Result<Vec<i32>> {
        words_of_bytes(self.mandatory("CODE")?).map_err(|error| error.in_section("CODE"))
    }

    /// The names of the primitives; the code calls them by their index here.
    ///
    /// # Errors
    ///
    /// When a name is not UTF-8 or is not terminated.
    pub fn prims(&self) -> Result<Vec<&str>> {
        // `ocamlrun` stops at an empty name.
        let mut names = names(self.mandatory("PRIM")?).map_err(|error| error.in_section("PRIM"))?;
        names.truncate(names.iter().position(|name| name.is_empty()).unwrap_or(names.len()));
        Ok(names)
    }

    /// The marshalled initial contents of the globals.
    pub fn data(&self) -> &[u8] {
        self.section("DATA").unwrap_or_default()
    }

    /// The names of the globals; `None` for programs stripped of them.
    ///
    /// # Errors
    ///
    /// When the section is malformed.
    pub fn symbols(&self) -> Result<Option<Symbols>> {
        self.section("SYMB").map(|bytes| Symbols::read(bytes, self.dialect)).transpose()
    }

    /// The interfaces that the program was linked with, empty if not recorded.
    ///
    /// # Errors
    ///
    /// When the section is malformed.
    pub fn crcs(&self) -> Result<Imports> {
        self.section("CRCS").map_or_else(|| Ok(Imports::new()), read_crcs)
    }

    /// The shared libraries to look primitives up in, by the names without extension.
    ///
    /// # Errors
    ///
    /// When a name is not UTF-8 or is not terminated.
    pub fn dlls(&self) -> Result<Vec<SharedLibrary<&str>>> {
        let encoding = self.dialect.libraries;
        room::collect(
            self.dll_entries()?.into_iter().map(|entry| Ok(SharedLibrary::of_entry(entry, encoding))),
        )
    }

    /// The names of the shared libraries as the file has them.
    pub(crate) fn dll_entries(&self) -> Result<Vec<&str>> {
        names(self.section("DLLS").unwrap_or_default()).map_err(|error| error.in_section("DLLS"))
    }

    /// The runtime that it was linked for, if the file says so in a form that this version's compiler writes.
    pub fn runtime(&self) -> Option<Runtime> {
        Runtime::of_prefix(&self.prefix).or_else(|| Runtime::of_section(self.section("RNTM")?))
    }

    /// The folder of the standard library that programs like the compiler were configured with (from 5.5): an `OSLD`
    /// section.
    pub fn standard_library(&self) -> Option<&[u8]> {
        self.section("OSLD")
    }

    /// Further directories to look for shared libraries in.
    ///
    /// # Errors
    ///
    /// When a name is not UTF-8 or is not terminated.
    pub fn dllpath(&self) -> Result<Vec<&str>> {
        names(self.section("DLPT").unwrap_or_default()).map_err(|error| error.in_section("DLPT"))
    }

    /// The debug data of each unit that has some; empty if the program was linked without `-g`.
    ///
    /// # Errors
    ///
    /// When the section is malformed. Events are decoded later, unit by unit.
    pub fn debug(&self) -> Result<Vec<DebugUnit>> {
        self.section("DBUG").map_or(Ok(Vec::new()), |bytes| debug_units(bytes, self.dialect))
    }
}

/// The positions of an executable's sections in its file: for reading only parts of a large file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The version that the file was compiled by.
    pub dialect: &'static Dialect,
    /// Name and position of each section, in file order.
    pub sections: Vec<([u8; 4], Range<usize>)>,
}

impl Contents {
    /// How many bytes of a file's end suffice to read the table of any realistic executable.
    pub const TAIL_LEN: usize = 4096;

    /// Reads the table of contents of a file of `len` bytes from `tail`, the last of them.
    ///
    /// # Errors
    ///
    /// When the file does not end like an executable of a known version, or the table does not fit in it.
    pub fn read(tail: &[u8], len: usize) -> Result<Contents> {
        let base = len - tail.len();
        let (mut front, magic) = tail.split_last_chunk::<MAGIC_LEN>().ok_or_else(|| {
            let found = String::from_utf8_lossy(tail).into_owned();
            Error::at(0, ErrorKind::NotThisKind { expected: "an OCaml bytecode executable", found })
        })?;
        let dialect = Dialect::of_magic(magic, FileKind::Executable, base + front.len())?;
        let count;
        (front, count) =
            take_u32(front).ok_or_else(|| Error::malformed(0, "no room for a table of contents"))?;
        let toc_len = (count as usize).checked_mul(ENTRY_LEN).filter(|len| *len <= front.len());
        let Some(toc_len) = toc_len else {
            let what = format!("{count} sections do not fit in the file");
            return Err(Error::malformed(base + front.len(), what));
        };
        let toc_offset = front.len() - toc_len;
        let mut end = base + toc_offset;
        let mut sections = Vec::with_capacity(count as usize);
        let (entries, _) = front[toc_offset..].as_chunks::<ENTRY_LEN>();
        for (i, &[n0, n1, n2, n3, l0, l1, l2, l3]) in entries.iter().enumerate().rev() {
            let name = [n0, n1, n2, n3];
            let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
            let Some(start) = end.checked_sub(len) else {
                let name = String::from_utf8_lossy(&name);
                let what = format!("section {name} of {len} bytes does not fit in the file");
                return Err(Error::malformed(base + toc_offset + i * ENTRY_LEN, what));
            };
            sections.push((name, start..end));
            end = start;
        }
        sections.reverse();
        if sections.is_empty() {
            return Err(Error::new(ErrorKind::MissingSection("CODE".to_owned())));
        }
        Ok(Contents { dialect, sections })
    }

    /// How many bytes come before the sections.
    pub fn prefix_len(&self) -> usize {
        self.sections[0].1.start
    }

    /// The position of a section; if a name occurs twice, the last one counts, as for `ocamlrun`.
    pub fn find(&self, name: &str) -> Option<Range<usize>> {
        let (_, range) = self.sections.iter().rev().find(|(known, _)| known == name.as_bytes())?;
        Some(range.clone())
    }
}

/// The debug data in the contents of a `DBUG` section.
///
/// # Errors
///
/// When it is malformed. Events are decoded later, unit by unit.
pub fn debug_units(bytes: &[u8], dialect: &'static Dialect) -> Result<Vec<DebugUnit>> {
    read_dbug(bytes, dialect).map_err(|error| error.in_section("DBUG"))
}

/// Splits the last 4 bytes off, as a number.
fn take_u32(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (front, last) = bytes.split_last_chunk::<4>()?;
    Some((front, u32::from_be_bytes(*last)))
}

/// Reads the interfaces that a program was linked with: a `CRCS` section.
///
/// # Errors
///
/// When the section is malformed.
pub fn read_crcs(bytes: &[u8]) -> Result<Imports> {
    Graph::decode(bytes)
        .and_then(|(graph, _)| View::root(&graph, &Budget::of(&graph), "table of interfaces").imports())
        .map_err(|error| error.in_section("CRCS"))
}

/// Parses names, each terminated by a NUL.
fn names(bytes: &[u8]) -> Result<Vec<&str>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let Some((0, names)) = bytes.split_last() else {
        return Err(Error::malformed(bytes.len(), "the last name has no NUL after it"));
    };
    match std::str::from_utf8(names) {
        Ok(names) => {
            // Names of primitives are usually longer.
            let mut all = Vec::with_capacity(bytes.len() / 16);
            let mut start = 0;
            each_nul(bytes, |end| {
                all.push(&names[start..end]);
                start = end + 1;
            });
            Ok(all)
        }
        Err(error) => {
            let before = &names[..error.valid_up_to()];
            let start = before.iter().rposition(|byte| *byte == 0).map_or(0, |end| end + 1);
            Err(Error::malformed(start, "a name is not in UTF-8"))
        }
    }
}

/// Calls `f` with the position of each NUL. Names are short: a search for one NUL after the other, as `str::split` does it,
/// takes three times as long.
fn each_nul(bytes: &[u8], mut f: impl FnMut(usize)) {
    const LOW_BITS: u64 = u64::from_ne_bytes([0x7F; 8]);
    let (words, rest) = bytes.as_chunks();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The top bit of each byte that is 0.
        let mut nuls = !(((word & LOW_BITS) + LOW_BITS) | word | LOW_BITS);
        while nuls != 0 {
            f(8 * i + nuls.trailing_zeros() as usize / 8);
            nuls &= nuls - 1;
        }
    }
    for (i, byte) in rest.iter().enumerate() {
        if *byte == 0 {
            f(8 * words.len() + i);
        }
    }
}

/// Builds an executable section by section. Calls in the order of the methods produce `ocamlc`'s order of sections.
#[derive(Debug, Clone)]
pub struct ExecutableBuilder {
    dialect: &'static Dialect,
    prefix: Vec<u8>,
    sections: Vec<Section>,
}

impl ExecutableBuilder {
    /// An empty executable.
    pub fn new(dialect: &'static Dialect) -> ExecutableBuilder {
        ExecutableBuilder { dialect, prefix: Vec::new(), sections: Vec::new() }
    }

    /// Sets the bytes before the sections, such as `#!/usr/bin/env spelter` and a newline.
    #[must_use]
    pub fn prefix(mut self, bytes: &[u8]) -> Self {
        self.prefix = bytes.to_owned();
        self
    }

    /// Adds a section.
    #[must_use]
    pub fn section(mut self, name: [u8; 4], data: Vec<u8>) -> Self {
        self.sections.push(Section { name, data });
        self
    }

    /// Adds the code.
    #[must_use]
    pub fn code(self, words: &[i32]) -> Self {
        self.section(*b"CODE", bytes_of_words(words))
    }

    /// Adds the names of the primitives.
    #[must_use]
    pub fn prims<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let data = names.into_iter().flat_map(|name| name.bytes().chain([0])).collect();
        self.section(*b"PRIM", data)
    }

    /// Adds the globals: a marshalled block.
    #[must_use]
    pub fn data(self, marshalled: Vec<u8>) -> Self {
        self.section(*b"DATA", marshalled)
    }

    /// Adds the names of the globals.
    #[must_use]
    pub fn symbols(self, symbols: &Symbols) -> Self {
        let data = symbols.write(self.dialect);
        self.section(*b"SYMB", data)
    }

    /// Adds the interfaces that the program was linked with.
    #[must_use]
    pub fn crcs(self, imports: &Imports) -> Self {
        let mut graph = GraphBuilder::default();
        let root = add_imports(&mut graph, imports);
        let data = graph.finish(root).encode(self.dialect.colour);
        self.section(*b"CRCS", data)
    }

    /// The executable.
    ///
    /// # Errors
    ///
    /// When code, primitives or data are missing.
    pub fn finish(self) -> Result<Executable> {
        Executable::from_parts(self.dialect, self.prefix, self.sections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_stands_between_nuls() {
        // Every length modulo 8, empty names, and bytes that a carry from a NUL could reach.
        for text in
            ["", "\0", "a\0", "caml_é\0\u{1}\0\u{1}\u{80}x\0\0\0b\0", "12345678\0", "1234567\0\0\u{7f}\0"]
        {
            for shift in 0..9 {
                let bytes = format!("{}{text}", "x\0".repeat(shift));
                let expected: Vec<&str> = bytes.split_terminator('\0').collect();
                assert_eq!(names(bytes.as_bytes()), Ok(expected), "{bytes:?}");
            }
        }
    }
}
