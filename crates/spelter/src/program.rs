//! Reading a program: completely from bytes, or only the sections needed at start from a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use spelter_bytecode::code::append_words;
use spelter_bytecode::debug::EventTable;
use spelter_bytecode::dialect::Dialect;
use spelter_bytecode::exe::{Contents, Section, debug_units};
use spelter_bytecode::{ErrorKind, Executable};
use spelter_dynlink::{Linked, ProgramTables};
use spelter_interp::inspect::backtrace::{DebugFault, DebugInfo, Unread};

use crate::error::Error;

/// Too many open files, on every Unix.
const EMFILE: i32 = 24;

/// The number of sections and the magic number, at the end of an executable.
const TRAILER_LEN: usize = 16;

/// An executable, and how to read its debug events, which most runs never need.
pub(crate) struct Source {
    pub(crate) exe: Executable,
    /// Its code words. For a file they are not in `exe`, to avoid holding a large program's code in memory twice.
    pub(crate) words: Vec<i32>,
    pub(crate) debug: DebugInfo,
}

/// How many bytes of code are converted to words at a time.
const CODE_PIECE: usize = 64 << 10;

impl Source {
    /// From the bytes of a whole file.
    pub(crate) fn of_bytes(name: &str, bytes: &[u8]) -> Result<Source, Error> {
        let exe =
            Executable::read(bytes).map_err(|source| Error::Format { file: name.to_owned(), source })?;
        let debug = match exe.section("DBUG") {
            Some(section) => {
                let (section, dialect) = (section.to_owned(), exe.dialect());
                DebugInfo::Later(Box::new(move || events(&section, dialect)))
            }
            None => DebugInfo::None,
        };
        let words = exe.code().map_err(|source| Error::Format { file: name.to_owned(), source })?;
        Ok(Source { exe, words, debug })
    }

    /// From a file. Its debug data is read when a backtrace is printed, as `ocamlrun` does: the file must still be
    /// there then.
    pub(crate) fn of_file(path: &Path) -> Result<Source, Error> {
        let io = |source| Error::Io { path: path.display().to_string(), source };
        let format = |source| Error::Format { file: path.display().to_string(), source };
        let mut file = File::open(path).map_err(io)?;
        let (tail, len) = tail(&mut file).map_err(io)?;
        let contents = Contents::read(&tail, len).map_err(format)?;
        let (mut sections, mut words) = (Vec::new(), Vec::new());
        for (name, range) in &contents.sections {
            let data = match name {
                b"DBUG" => continue,
                b"CODE" => {
                    words = Vec::with_capacity(range.len() / 4);
                    // A length that is not a whole number of words is reported for the section.
                    let piece = if range.len() % 4 == 0 { CODE_PIECE } else { range.len() };
                    for start in range.clone().step_by(piece) {
                        let end = range.end.min(start + piece);
                        let bytes = read_range(&mut file, start..end).map_err(io)?;
                        append_words(&mut words, &bytes).map_err(|e| format(e.in_section("CODE")))?;
                    }
                    Vec::new()
                }
                _ => read_range(&mut file, range.clone()).map_err(io)?,
            };
            sections.push(Section { name: *name, data });
        }
        let exe = Executable::from_parts(contents.dialect, Vec::new(), sections).map_err(format)?;
        let path: PathBuf = path.to_owned();
        let debug = DebugInfo::Later(Box::new(move || events_of_file(&path)));
        Ok(Source { exe, words, debug })
    }
}

/// What an executable says for the linker of loaded code.
pub(crate) fn tables(exe: &Executable, libraries: Vec<Linked>) -> ProgramTables {
    let section = |name| exe.section(name).map(<[u8]>::to_owned);
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    ProgramTables {
        dialect: exe.dialect(),
        symbols: section("SYMB"),
        interfaces: section("CRCS"),
        library_path: owned(&exe.dllpath().unwrap_or_default()),
        libraries,
    }
}

/// The debug events of a program's file, which may have changed since the start.
fn events_of_file(path: &Path) -> Result<Option<EventTable>, Unread> {
    let mut file = File::open(path).map_err(|error| match error.raw_os_error() {
        Some(EMFILE) => DebugFault::NoDescriptors,
        _ => DebugFault::FileNotFound,
    })?;
    let corrupt = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::OutOfMemory => Unread::OutOfMemory,
        _ => DebugFault::BadBytecode.into(),
    };
    let (tail, len) = tail(&mut file).map_err(corrupt)?;
    let contents = Contents::read(&tail, len).map_err(|error| match error.kind() {
        ErrorKind::NotThisKind { .. } | ErrorKind::OtherVersion { .. } if len >= TRAILER_LEN => {
            DebugFault::WrongMagic
        }
        _ => DebugFault::BadBytecode,
    })?;
    let Some(range) = contents.find("DBUG") else { return Ok(None) };
    let section = read_range(&mut file, range).map_err(corrupt)?;
    events(&section, contents.dialect)
}

/// Returns nothing if the section is damaged.
fn events(section: &[u8], dialect: &'static Dialect) -> Result<Option<EventTable>, Unread> {
    match debug_units(section, dialect).and_then(|units| EventTable::of_units(&units)) {
        Ok(table) => Ok(Some(table)),
        Err(error) if error.is_out_of_memory() => Err(Unread::OutOfMemory),
        Err(_) => Ok(None),
    }
}

/// The end of a file, which contains an executable's whole table of contents, and the file's length.
fn tail(file: &mut File) -> std::io::Result<(Vec<u8>, usize)> {
    let len = file.seek(SeekFrom::End(0))? as usize;
    Ok((read_range(file, len.saturating_sub(Contents::TAIL_LEN)..len)?, len))
}

fn read_range(file: &mut File, range: Range<usize>) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(range.start as u64))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(range.len())?;
    file.take(range.len() as u64).read_to_end(&mut bytes)?;
    if bytes.len() < range.len() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}
