//! Static linking: from units to an executable, as `ocamlc` does it.

mod on_demand;
mod tables;

pub use on_demand::{OnDemand, OnDemandUnit};

use std::collections::{HashMap, HashSet};

use self::tables::Tables;
use crate::code::WORD;
use crate::dialect::{Dialect, LibraryEncoding};
use crate::error::{Error, ErrorKind, Result};
use crate::exe::{Executable, ExecutableBuilder, SharedLibrary};
use crate::info::Info;
use crate::obj::{CompilationUnit, Library, Reloc};
use crate::opcode::Opcode;
use crate::view::{Digest, Ident, Imports};

/// Links units to an executable: all of them, in that order. See [`Linker`] for libraries and more.
///
/// # Errors
///
/// As for [`Linker::link`].
pub fn link(units: impl IntoIterator<Item = CompilationUnit>) -> Result<Executable> {
    units.into_iter().fold(Linker::new(), Linker::object).link()
}

/// Links units and libraries to an executable.
///
/// Files are given in the order of `ocamlc`'s command line, each after those that it depends on. `ocamlc` itself adds
/// `stdlib.cma` in front and `std_exit.cmo` at the end; here this is up to the caller:
///
/// ```no_run
/// use spelter_bytecode::asm::Linker;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let program = Linker::new()
///     .file(&std::fs::read("/usr/lib/ocaml/stdlib.cma")?)?
///     .file(&std::fs::read("hello.cmo")?)?
///     .file(&std::fs::read("/usr/lib/ocaml/std_exit.cmo")?)?
///     .prefix(b"#!/usr/bin/ocamlrun\n")
///     .link()?;
/// std::fs::write("hello.byte", program.write())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Linker {
    files: Vec<File>,
    /// The folder of the files that follow.
    folder: Option<String>,
    primitives: Vec<String>,
    prefix: Vec<u8>,
    library_folders: Vec<String>,
    standard_library: Option<Vec<u8>>,
    everything: bool,
    debug: bool,
}

/// A file, and the folder that it is in.
#[derive(Debug, Clone)]
struct File {
    contents: Contents,
    folder: Option<String>,
}

#[derive(Debug, Clone)]
enum Contents {
    Object(Box<CompilationUnit>),
    Library(Box<Library>),
}

impl Default for Linker {
    fn default() -> Linker {
        Linker::new()
    }
}

impl Linker {
    /// A linker without files.
    pub fn new() -> Linker {
        Linker {
            files: Vec::new(),
            folder: None,
            primitives: Vec::new(),
            prefix: Vec::new(),
            library_folders: Vec::new(),
            standard_library: None,
            everything: false,
            debug: true,
        }
    }

    /// Adds a unit, which will be linked.
    #[must_use]
    pub fn object(self, unit: CompilationUnit) -> Linker {
        self.add(Contents::Object(Box::new(unit)))
    }

    /// Adds a library. Those of its units are linked that later files or units need, or that were compiled with
    /// `-linkall`. Its shared libraries are named in the executable in any case.
    #[must_use]
    pub fn library(self, library: Library) -> Linker {
        self.add(Contents::Library(Box::new(library)))
    }

    fn add(mut self, contents: Contents) -> Linker {
        self.files.push(File { contents, folder: self.folder.clone() });
        self
    }

    /// Sets the folder of the files that are added from now on, as an absolute path: debuggers will look for sources
    /// there, too.
    #[must_use]
    pub fn folder(mut self, folder: &str) -> Linker {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Adds a file: a `.cmo` or a `.cma`.
    ///
    /// # Errors
    ///
    /// When it is neither, is of an unknown version, or is malformed.
    pub fn file(self, bytes: &[u8]) -> Result<Linker> {
        match Info::read(bytes)? {
            Info::Object(unit) => Ok(self.object(unit)),
            Info::Library(library) => Ok(self.library(library)),
            Info::Executable(_) => Err(error("an executable cannot be linked again")),
        }
    }

    /// Sets the primitives that get the first numbers, as `ocamlrun -p` lists them: `ocamlc` puts all of the runtime's
    /// into every program. By default the program names only those that its units use, which suffices unless
    /// it loads code that uses others.
    #[must_use]
    pub fn primitives(mut self, names: impl IntoIterator<Item = String>) -> Linker {
        self.primitives = names.into_iter().collect();
        self
    }

    /// Sets the bytes before the sections: a `#!` line, by which the system finds the runtime. Without them,
    /// `ocamlrun FILE` starts the program.
    #[must_use]
    pub fn prefix(mut self, bytes: &[u8]) -> Linker {
        self.prefix = bytes.to_owned();
        self
    }

    /// Adds a folder in which the program shall look for shared libraries (`-dllpath`).
    #[must_use]
    pub fn library_folder(mut self, folder: &str) -> Linker {
        self.library_folders.push(folder.to_owned());
        self
    }

    /// Sets what programs like the compiler take for the folder of the standard library (from 5.5).
    #[must_use]
    pub fn standard_library(mut self, folder: &[u8]) -> Linker {
        self.standard_library = Some(folder.to_owned());
        self
    }

    /// Links all units of libraries (`-linkall`).
    #[must_use]
    pub fn everything(mut self) -> Linker {
        self.everything = true;
        self
    }

    /// Leaves debug data out, as without `-g`.
    #[must_use]
    pub fn without_debug(mut self) -> Linker {
        self.debug = false;
        self
    }

    /// The executable.
    ///
    /// # Errors
    ///
    /// When there are no units, units were compiled by different versions or against different interfaces, one that is
    /// needed is missing or comes too late, or a unit is malformed.
    pub fn link(&self) -> Result<Executable> {
        let needed = self.needed()?;
        let units: Vec<_> = needed.iter().map(|(unit, _)| *unit).collect();
        let dialect = common_version(&units)?;
        let crcs = interfaces(&units)?;
        let mut tables = Tables::new(dialect, &self.primitives);
        let mut words = Vec::new();
        let mut debug = Vec::new();
        for (unit, folder) in &needed {
            let start = words.len();
            words.extend(relocated(unit, &mut tables)?.0);
            if let Some(data) = unit.debug_unit().filter(|_| self.debug) {
                debug.push((start * WORD, data.plain(*folder)?));
            }
            if self.everything {
                tables.declare(unit);
            }
        }
        words.push(Opcode::STOP.word());
        let program = ExecutableBuilder::new(dialect).prefix(&self.prefix).code(&words);
        let program = shared_libraries(program, self.dllibs(), &self.library_folders, dialect);
        let program = program.prims(tables.primitives()).data(tables.data());
        let program = match &self.standard_library {
            Some(folder) => program.section(*b"OSLD", folder.clone()),
            None => program,
        };
        let program = program.symbols(&tables.symbols).crcs(&crcs);
        if self.debug { program.section(*b"DBUG", tables::debug(&debug)).finish() } else { program.finish() }
    }

    /// The shared libraries that the libraries name. A library keeps them in reverse order, and so does the compiler.
    fn dllibs(&self) -> impl Iterator<Item = &SharedLibrary> {
        self.files.iter().flat_map(|file| match &file.contents {
            Contents::Library(library) => &library.dllibs[..],
            Contents::Object(_) => &[],
        })
    }

    /// The units to link, in order. Files are searched from the last to the first: a library's unit is needed if what
    /// comes after it needs it.
    fn needed(&self) -> Result<Vec<(&CompilationUnit, Option<&str>)>> {
        let mut missing: HashMap<&str, &str> = HashMap::new();
        let mut found = Vec::new();
        for file in self.files.iter().rev() {
            let (units, always) = match &file.contents {
                Contents::Object(unit) => (std::slice::from_ref(&**unit), true),
                Contents::Library(library) => (&library.units[..], self.everything),
            };
            for unit in units.iter().rev() {
                let is_needed = provided(unit).any(|name| missing.contains_key(name));
                if always || unit.force_link || is_needed {
                    for name in required(unit) {
                        missing.entry(name).or_insert(&unit.name);
                    }
                    for name in provided(unit) {
                        missing.remove(name);
                    }
                    found.push((unit, file.folder.as_deref()));
                }
            }
        }
        if let Some((name, by)) = missing.into_iter().min() {
            let late = found.iter().any(|(unit, _)| provided(unit).any(|known| known == name));
            let what = if late { "comes after it" } else { "is missing" };
            return Err(error(format!("{by} needs the unit {name}, which {what}")));
        }
        found.reverse();
        Ok(found)
    }
}

/// Adds the sections for shared libraries, which the libraries of units name, and for the folders where they are.
fn shared_libraries<'a>(
    program: ExecutableBuilder,
    libraries: impl Iterator<Item = &'a SharedLibrary>,
    folders: &[String],
    dialect: &Dialect,
) -> ExecutableBuilder {
    let mut names = Vec::new();
    for library in libraries {
        let name = library.linked_name();
        let mark = match (dialect.libraries, library.suffixed) {
            (LibraryEncoding::Name, _) => "",
            (LibraryEncoding::Suffixed, true) => "-",
            (LibraryEncoding::Suffixed, false) => ":",
        };
        names.extend(format!("{mark}{name}\0").into_bytes());
    }
    let folders: Vec<u8> = folders.iter().flat_map(|folder| folder.bytes().chain([0])).collect();
    let always = dialect.libraries == LibraryEncoding::Name;
    let mut program = program;
    for (section, data) in [(b"DLPT", folders), (b"DLLS", names)] {
        if always || !data.is_empty() {
            program = program.section(*section, data);
        }
    }
    program
}

/// The units that a unit needs.
fn required(unit: &CompilationUnit) -> impl Iterator<Item = &str> {
    let read = unit.relocs.iter().filter_map(|(reloc, _)| match reloc {
        Reloc::GetGlobal(Ident::Unit(name)) => Some(name.as_str()),
        _ => None,
    });
    let declared = unit.required_globals.iter().filter_map(|ident| match ident {
        Ident::Unit(name) => Some(name.as_str()),
        Ident::Predef(_) => None,
    });
    read.chain(declared)
}

/// The units that a unit defines: itself, and those that are packed into it.
fn provided(unit: &CompilationUnit) -> impl Iterator<Item = &str> {
    unit.relocs.iter().filter_map(|(reloc, _)| match reloc {
        Reloc::SetGlobal(ident) => Some(ident.name()),
        _ => None,
    })
}

/// The version that all units were compiled by.
fn common_version(units: &[&CompilationUnit]) -> Result<&'static Dialect> {
    let Some(first) = units.first() else { return Err(error("there are no units")) };
    let dialect = first.dialect;
    match units.iter().find(|unit| unit.dialect != dialect) {
        Some(other) => {
            let (a, b) = (dialect.version, other.dialect.version);
            Err(error(format!("{} was compiled by OCaml {b}, {} by {a}", other.name, first.name)))
        }
        None => Ok(dialect),
    }
}

/// A unit's code with the numbers of what it refers to, and these numbers, in the order of its relocations.
fn relocated(unit: &CompilationUnit, tables: &mut Tables) -> Result<(Vec<i32>, Vec<i32>)> {
    let (mut words, numbers) = (unit.words()?, tables.numbers(unit)?);
    for ((_, offset), number) in unit.relocs.iter().zip(&numbers) {
        let word = words.get_mut(offset / WORD).filter(|_| offset.is_multiple_of(WORD));
        *word.ok_or_else(|| error(format!("a relocation of {} is outside its code", unit.name)))? = *number;
    }
    Ok((words, numbers))
}

/// The interfaces that the units were compiled against, which must agree; in reverse order of the names.
fn interfaces(units: &[&CompilationUnit]) -> Result<Imports> {
    let mut known: HashMap<&str, (Digest, &str)> = HashMap::new();
    let mut names = HashSet::new();
    for unit in units {
        for (name, digest) in &unit.imports {
            names.insert(name.as_str());
            let Some(digest) = digest else { continue };
            let (other, by) = *known.entry(name).or_insert((*digest, &unit.name));
            if other != *digest {
                let what =
                    format!("{by} and {} were compiled against different interfaces of {name}", unit.name);
                return Err(error(what));
            }
        }
    }
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names.into_iter().map(|name| (name.to_owned(), known.get(name).map(|(digest, _)| *digest))).collect())
}

#[cold]
fn error(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Link(what.into()))
}
