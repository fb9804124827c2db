//! Reading a program: completely from bytes, or only the sections needed at start from a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use spelter_bytecode::code::append_words;
use spelter_bytecode::debug::EventTable;
use spelter_bytecode::dialect::Dialect;
use spelter_bytecode::exe::{Contents, Section, SharedLibrary, Symbols, debug_units};
use spelter_bytecode::{ErrorKind, Executable};
use spelter_dynlink::ProgramTables;
use spelter_interp::inspect::backtrace::{DebugFault, DebugInfo, Unread};
use spelter_interp::{Grade, SharedCode};

use crate::error::Error;

/// Too many open files, on every Unix.
const EMFILE: i32 = 24;

/// The number of sections and the magic number, at the end of an executable.
const TRAILER_LEN: usize = 16;

/// A program that has been read, and that any number of machines can run: they share its code. It is verified and
/// translated once, by the first machine of each kind.
///
/// ```
/// use spelter::{Program, Vm};
///
/// let program = Program::new("host.byte", include_bytes!("../tests/fixtures/host.byte"))?;
/// let guests = (0..100).map(|_| Vm::of(&program)).collect::<Result<Vec<Vm>, _>>()?;
/// assert_eq!(guests.len(), 100);
/// # Ok::<(), spelter::Error>(())
/// ```
#[derive(Clone)]
pub struct Program(pub(crate) Arc<Source>);

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Program").field(&self.0.name).finish()
    }
}

impl Program {
    /// Reads a bytecode executable; messages refer to it as `name`. It is verified when a machine that checks its code
    /// first loads it.
    ///
    /// # Errors
    /// When it is damaged, of another kind, or of an unknown version of OCaml.
    pub fn new(name: &str, bytes: &[u8]) -> Result<Program, Error> {
        Ok(Program(Arc::new(Source::of_bytes(name, bytes)?.for_many())))
    }
}

/// How to read debug events.
pub(crate) type ReadEvents = Arc<dyn Fn() -> Result<Option<EventTable>, Unread> + Send + Sync>;

/// An executable, and how to read its debug events, which most runs never need.
pub(crate) struct Source {
    /// What messages call it.
    pub(crate) name: String,
    exe: Executable,
    /// The names of its primitives, one after the other, and where each is.
    prims: (String, Vec<Range<usize>>),
    /// Its code words. They are not in `exe`, nor is what `tables` has: no section is in memory twice.
    words: Arc<Vec<i32>>,
    debug: Option<ReadEvents>,
    tables: Arc<ProgramTables>,
    globals: OnceLock<usize>,
    shared: SharedCode,
}

/// How many bytes of code are converted to words at a time.
const CODE_PIECE: usize = 64 << 10;

impl Source {
    fn new(
        name: &str,
        dialect: &'static Dialect,
        mut sections: Vec<Section>,
        words: Vec<i32>,
        debug: Option<ReadEvents>,
    ) -> Result<Source, spelter_bytecode::Error> {
        let (symbols, interfaces) = (take(&mut sections, b"SYMB"), take(&mut sections, b"CRCS"));
        let exe = Executable::from_parts(dialect, Vec::new(), sections)?;
        let mut prims = (String::new(), Vec::new());
        for name in exe.prims()? {
            let start = prims.0.len();
            prims.0.push_str(name);
            prims.1.push(start..prims.0.len());
        }
        let library_path = exe.dllpath()?.into_iter().map(str::to_owned).collect();
        let tables = ProgramTables { dialect, symbols, interfaces, library_path, names: OnceLock::new() };
        let (tables, words, globals) = (Arc::new(tables), Arc::new(words), OnceLock::new());
        Ok(Source {
            name: name.to_owned(),
            exe,
            prims,
            words,
            debug,
            tables,
            globals,
            shared: SharedCode::default(),
        })
    }

    /// From the bytes of a whole file.
    pub(crate) fn of_bytes(name: &str, bytes: &[u8]) -> Result<Source, Error> {
        let format = |source| Error::Format { file: name.to_owned(), source };
        let exe = Executable::read(bytes).map_err(format)?;
        Source::of_executable(name, exe, None).map_err(format)
    }

    /// From an executable. `debug` is how to read its debug data if that is not in it.
    pub(crate) fn of_executable(
        name: &str,
        exe: Executable,
        debug: Option<ReadEvents>,
    ) -> Result<Source, spelter_bytecode::Error> {
        let dialect = exe.dialect();
        let words = exe.code()?;
        let mut sections = exe.into_sections();
        let inside = take(&mut sections, b"DBUG");
        let inside = inside.map(|section| Arc::new(move || events(&section, dialect)) as ReadEvents);
        for section in sections.iter_mut().filter(|section| section.name == *b"CODE") {
            section.data = Vec::new();
        }
        Source::new(name, dialect, sections, words, debug.or(inside))
    }

    /// The same for many machines, which will share its code.
    pub(crate) fn for_many(mut self) -> Source {
        self.shared.for_many = true;
        self
    }

    /// From a file. Its debug data is read when a backtrace is printed, as `ocamlrun` does: the file must still be
    /// there then.
    pub(crate) fn of_file(path: &Path) -> Result<Source, Error> {
        let name = path.display().to_string();
        let io = |source| Error::Io { path: name.clone(), source };
        let format = |source| Error::Format { file: name.clone(), source };
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
        let path: PathBuf = path.to_owned();
        let debug: ReadEvents = Arc::new(move || events_of_file(&path));
        Source::new(&name, contents.dialect, sections, words, Some(debug)).map_err(format)
    }

    /// The version of the file.
    pub(crate) fn dialect(&self) -> &'static Dialect {
        self.exe.dialect()
    }

    /// The shared libraries that it was linked with, and the folders where to look for them. An empty name ends a list.
    pub(crate) fn libraries(&self) -> Result<(Vec<SharedLibrary<&str>>, Vec<&str>), spelter_bytecode::Error> {
        let mut libraries = self.exe.dlls()?;
        libraries.truncate(libraries.iter().take_while(|library| !library.name.is_empty()).count());
        let mut folders = self.exe.dllpath()?;
        folders.truncate(folders.iter().take_while(|folder| !folder.is_empty()).count());
        Ok((libraries, folders))
    }

    /// Where its standard library is, if it says so.
    pub(crate) fn standard_library(&self) -> Option<&[u8]> {
        self.exe.section("OSLD")
    }

    /// What it says for the linker of loaded code.
    pub(crate) fn tables(&self) -> Arc<ProgramTables> {
        Arc::clone(&self.tables)
    }

    /// The program for a machine of this grade.
    pub(crate) fn program(
        &self,
        grade: Grade,
    ) -> Result<spelter_interp::Program<'_>, spelter_bytecode::Error> {
        let globals = match (grade, self.globals.get()) {
            (Grade::Trusted, _) => 0,
            (Grade::Checked, Some(globals)) => *globals,
            (Grade::Checked, None) => {
                let symbols = self.tables.symbols.as_ref().map(|bytes| Symbols::read(bytes, self.dialect()));
                let globals = symbols.transpose()?.unwrap_or_default().count;
                *self.globals.get_or_init(|| globals)
            }
        };
        let debug =
            self.debug.clone().map_or(DebugInfo::None, |read| DebugInfo::Later(Box::new(move || read())));
        Ok(spelter_interp::Program {
            name: self.name.clone(),
            dialect: self.dialect(),
            words: Arc::clone(&self.words),
            prims: self.prims.1.iter().map(|at| &self.prims.0[at.clone()]).collect(),
            data: self.exe.data(),
            globals,
            debug,
            shared: Some(&self.shared),
        })
    }
}

/// Takes the section that counts: if a name occurs twice, the last one.
fn take(sections: &mut Vec<Section>, name: &[u8; 4]) -> Option<Vec<u8>> {
    let at = sections.iter().rposition(|section| section.name == *name)?;
    // The others stay in their order.
    Some(sections.remove(at).data)
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

#[cfg(test)]
mod tests {
    use spelter_bytecode::exe::ExecutableBuilder;

    use super::*;

    /// As for `ocamlrun`, wherever the sections are that are taken out of the file.
    #[test]
    fn the_last_section_of_a_name_counts() {
        let section = |name: &[u8; 4], data: &[u8]| (*name, data.to_vec());
        let twice = |name: &[u8; 4]| [section(name, b"first\0"), section(name, b"last\0")];
        let mut sections = vec![section(b"DBUG", &[0; 4]), section(b"CRCS", b""), section(b"CODE", &[0; 4])];
        sections.push(section(b"DATA", b""));
        sections.extend([twice(b"DLLS"), twice(b"DLPT"), twice(b"SYMB"), twice(b"PRIM")].concat());
        let mut builder = ExecutableBuilder::new(Dialect::V4_13);
        for (name, data) in sections {
            builder = builder.section(name, data);
        }
        let bytes = builder.finish().expect("an executable").write();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("twice.byte");
        std::fs::write(&path, &bytes).expect("it is written");
        for source in [Source::of_bytes("twice.byte", &bytes), Source::of_file(&path)] {
            let source = source.expect("a program");
            let program = source.program(Grade::Trusted).expect("a program");
            assert_eq!(program.prims, ["last"]);
            let (libraries, folders) = source.libraries().expect("two lists");
            assert_eq!((libraries[0].name, libraries.len(), &*folders), ("last", 1, &["last"][..]));
            assert_eq!(source.tables.symbols.as_deref(), Some(&b"last\0"[..]));
        }
    }
}
