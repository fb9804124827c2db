//! Prints about bytecode files what `ocamlobjinfo` prints, byte for byte.

use std::fmt::{self, Write};

use crate::dialect::FileKind;
use crate::error::{Error, ErrorKind, Result};
use crate::exe::Executable;
use crate::obj::{CompilationUnit, Library};
use crate::view::{Digest, Imports};

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
            None => {
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

/// Sections in the order of their names; unreadable ones are skipped, as `ocamlobjinfo` does.
fn executable(exe: &Executable, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut names: Vec<_> = exe.sections().iter().map(|section| (section.name, section.data.len())).collect();
    names.sort_unstable();
    for (name, _) in names {
        let list = |title, names: Result<Vec<&str>>, f: &mut fmt::Formatter<'_>| match names {
            // `ocamlobjinfo` prints these lists from the end.
            Ok(names) if !names.is_empty() => lines(title, names.iter().rev().copied(), f),
            _ => Ok(()),
        };
        match &name {
            b"CRCS" => match exe.crcs() {
                Ok(crcs) if !crcs.is_empty() => imported("Imported units", &crcs, f)?,
                _ => {}
            },
            b"DLLS" => list("Used DLLs", exe.dlls(), f)?,
            b"DLPT" => list("Additional DLL paths", exe.dllpath(), f)?,
            b"PRIM" => list("Primitives used", exe.prims(), f)?,
            b"SYMB" => {
                if let Ok(Some(symbols)) = exe.symbols() {
                    lines("Globals defined", symbols.slots.keys().map(|ident| ident.name()), f)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
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
    writeln!(f, "Extra C object files:{}", spaced(&library.ccobjs))?;
    writeln!(f, "Extra C options:{}", spaced(&library.ccopts))?;
    writeln!(f, "Extra dynamically-loaded libraries:{}", spaced(&library.dllibs))?;
    library.units.iter().try_for_each(|unit| object(unit, f))
}

fn yes_no(flag: bool) -> &'static str {
    if flag { "YES" } else { "no" }
}
