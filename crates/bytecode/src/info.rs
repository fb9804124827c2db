//! Prints about bytecode files what `ocamlobjinfo` prints, byte for byte.

use std::fmt::{self, Write};

use crate::dialect::{Dialect, FileKind, IdentEncoding, LibraryEncoding};
use crate::error::{Error, ErrorKind, Result};
use crate::exe::{Executable, Runtime, Search, SharedLibrary};
use crate::obj::{CompilationUnit, Library};
use crate::view::{Digest, Ident, Imports};

/// A bytecode file of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Info {
    /// A linked program.
    Executable(Executable),
    /// A `.cmo` file.
    Object(CompilationUnit),
    /// A `.cma` file.
    Library(Library),
}

/// Describes a file as `ocamlobjinfo FILE` does; `path` is what its first line shows.
///
/// # Errors
///
/// When the bytes are not a bytecode file of a known version, or are malformed.
pub fn describe(path: &str, bytes: &[u8]) -> Result<String> {
    Ok(format!("File {path}\n{}", Info::read(bytes)?))
}

impl Info {
    /// The version that the file was compiled by.
    pub fn dialect(&self) -> &'static Dialect {
        match self {
            Info::Executable(exe) => exe.dialect(),
            Info::Object(unit) => unit.dialect,
            Info::Library(library) => library.dialect,
        }
    }

    /// Reads a bytecode file of any kind.
    ///
    /// # Errors
    ///
    /// When the bytes are not a bytecode file of a known version, or are malformed.
    pub fn read(bytes: &[u8]) -> Result<Info> {
        match FileKind::sniff(bytes) {
            Some(FileKind::Executable) => Executable::read(bytes).map(Info::Executable),
            Some(FileKind::Object) => CompilationUnit::read(bytes).map(Info::Object),
            Some(FileKind::Library) => Library::read(bytes).map(Info::Library),
            Some(FileKind::Interface) | None => {
                let found = String::from_utf8_lossy(&bytes[..bytes.len().min(12)]).into_owned();
                let expected = "an OCaml bytecode file (executable, .cmo or .cma)";
                Err(Error::at(0, ErrorKind::NotThisKind { expected, found }))
            }
        }
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Info::Executable(exe) => executable(exe, f),
            Info::Object(unit) => object(unit, f),
            Info::Library(library) => archive(library, f),
        }
    }
}

fn lines<'a>(
    title: &str,
    names: impl IntoIterator<Item = &'a str>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    writeln!(f, "{title}:")?;
    names.into_iter().try_for_each(|name| writeln!(f, "\t{name}"))
}

fn imported(title: &str, imports: &Imports, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{title}:")?;
    imports.iter().try_for_each(|(name, digest)| writeln!(f, "\t{}\t{name}", hex(digest)))
}

fn hex(digest: &Option<Digest>) -> String {
    match digest {
        Some(digest) => digest.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
        None => "-".repeat(32),
    }
}

/// Unreadable sections are skipped, as `ocamlobjinfo` does.
fn executable(exe: &Executable, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let dialect = exe.dialect();
    if dialect.libraries == LibraryEncoding::Suffixed
        && let Some(runtime) = exe.runtime()
    {
        self::runtime(&runtime, f)?;
    }
    let mut names: Vec<_> = exe.sections().iter().map(|section| (section.name, section.data.len())).collect();
    if !dialect.info_in_file_order {
        names.sort_unstable();
    }
    for (name, _) in names {
        let list = |title, names: Result<Vec<&str>>, f: &mut fmt::Formatter<'_>| match names {
            Ok(names) if names.is_empty() => Ok(()),
            Ok(names) if dialect.info_in_file_order => lines(title, names, f),
            Ok(names) => lines(title, names.into_iter().rev(), f),
            Err(_) => Ok(()),
        };
        match &name {
            b"CRCS" => match exe.crcs() {
                Ok(crcs) if !crcs.is_empty() => imported("Imported units", &crcs, f)?,
                _ => {}
            },
            b"DLLS" => list("Used DLLs", exe.dll_entries(), f)?,
            b"DLPT" => list("Additional DLL paths", exe.dllpath(), f)?,
            b"PRIM" => list("Primitives used", exe.prims(), f)?,
            b"SYMB" => {
                if let Ok(Some(symbols)) = exe.symbols() {
                    writeln!(f, "Globals defined:")?;
                    symbols.slots.keys().try_for_each(|ident| global(ident, dialect, f))?;
                }
            }
            b"OSLD" if dialect.libraries == LibraryEncoding::Suffixed => {
                let folder = String::from_utf8_lossy(exe.standard_library().unwrap_or_default());
                writeln!(f, "caml_standard_library_default: {folder}")?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn global(ident: &Ident, dialect: &Dialect, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (dialect.idents, ident) {
        (IdentEncoding::Ident, ident) => writeln!(f, "\t{}", ident.name()),
        (IdentEncoding::UnitOrPredef, Ident::Unit(name)) => writeln!(f, "\tcompilation unit `{name}'"),
        (IdentEncoding::UnitOrPredef, Ident::Predef(name)) => writeln!(f, "\tpredefined exception `{name}'"),
    }
}

fn runtime(runtime: &Runtime, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let name = match runtime.id {
        Some(id) => format!("{}-{id}", runtime.name),
        None => runtime.name.clone(),
    };
    match &runtime.search {
        Search::Only(folder) => writeln!(f, "Runtime:\n\t{folder}{name}")?,
        Search::First(folder) => writeln!(f, "Runtime:\n\t[{folder}]{name}")?,
        Search::Anywhere => writeln!(f, "Runtime:\n\t{name}")?,
    }
    let Some(id) = runtime.id else { return Ok(()) };
    // The releases of OCaml 4 were numbered from 4.00 on; only 5.5 and later write their number.
    let version = match id.release() {
        release @ 16..=21 => format!(" (OCaml 5.{})", release - 16),
        release @ 1..=15 => format!(" (OCaml 4.{:02})", release - 1),
        _ => String::new(),
    };
    let development = if id.is_development() { " - development/altered version" } else { "" };
    writeln!(f, "\t{id} = Release {}{version}{development}", id.release())?;
    match id.reserved_bits() {
        0 => {}
        1 => writeln!(f, "\t  - 1 reserved header bit")?,
        bits => writeln!(f, "\t  - {bits} reserved header bits")?,
    }
    id.remarks().try_for_each(|remark| writeln!(f, "\t  - {remark}"))
}

fn object(unit: &CompilationUnit, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "Unit name: {}", unit.name)?;
    imported("Interfaces imported", &unit.imports, f)?;
    lines("Required globals", unit.required_globals.iter().map(|ident| ident.name()), f)?;
    write!(f, "Uses unsafe features: ")?;
    if unit.primitives.is_empty() {
        writeln!(f, "no")?;
    } else {
        writeln!(f, "YES")?;
        lines("Primitives declared in this module", unit.primitives.iter().map(String::as_str), f)?;
    }
    writeln!(f, "Force link: {}", yes_no(unit.force_link))
}

fn archive(library: &Library, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "Force custom: {}", yes_no(library.custom))?;
    // These lists are kept in reverse order of linking.
    let spaced = |names: &[String]| names.iter().rev().map(|name| format!(" {name}")).collect::<String>();
    let shared = |library: &SharedLibrary| match library.suffixed {
        true => format!(" {}-<target>-<bytecode-runtime-id>", library.name),
        false => format!(" {}", library.name),
    };
    let dllibs: String = library.dllibs.iter().rev().map(shared).collect();
    writeln!(f, "Extra C object files:{}", spaced(&library.ccobjs))?;
    writeln!(f, "Extra C options:{}", spaced(&library.ccopts))?;
    writeln!(f, "Extra dynamically-loaded libraries:{dllibs}")?;
    library.units.iter().try_for_each(|unit| object(unit, f))
}

fn yes_no(flag: bool) -> &'static str {
    if flag { "YES" } else { "no" }
}
