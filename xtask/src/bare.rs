//! A library folder whose standard library has no debug data.
//!
//! A program that is linked with `-g` gets the debug data of all modules that it links, and that of the standard
//! library alone is ten times as large as a program of the corpus. Backtraces of the recorded programs do not lead
//! through its functions, or are the same without: then it is not committed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use spelter_bytecode::Library;
use tempfile::TempDir;

/// Where the system's OCaml has its libraries.
const SYSTEM: &str = "/usr/lib/ocaml";

/// The folder's name where programs are built.
const NAME: &str = "library";

/// The library that is replaced.
const STDLIB: &str = "stdlib.cma";

/// The folder, which exists as long as this value.
#[derive(Debug)]
pub struct BareLibrary(TempDir);

impl BareLibrary {
    /// Makes the folder: links to everything that the system has, and a standard library of its own.
    ///
    /// # Errors
    ///
    /// If the system's libraries cannot be read, or the folder cannot be written.
    pub fn make() -> Result<Self> {
        let system = Path::new(SYSTEM);
        let folder = tempfile::tempdir()?;
        for entry in fs::read_dir(system).with_context(|| format!("cannot read {SYSTEM}"))? {
            let entry = entry?;
            if entry.file_name() != STDLIB {
                symlink(entry.path(), folder.path().join(entry.file_name()))?;
            }
        }
        let mut library = Library::read(&fs::read(system.join(STDLIB))?).context(STDLIB)?;
        for unit in &mut library.units {
            unit.debug = None;
        }
        fs::write(folder.path().join(STDLIB), library.write())?;
        Ok(Self(folder))
    }

    /// Lets a command that runs in `folder` use it. Debug data names the path of the library folder, so that this is
    /// a relative one.
    ///
    /// # Errors
    ///
    /// If `folder` cannot be written.
    pub fn serve(&self, command: &mut Command, folder: &Path) -> Result<()> {
        let link = folder.join(NAME);
        if !link.exists() {
            symlink(self.0.path(), link)?;
        }
        command.env("OCAMLLIB", NAME);
        Ok(())
    }
}
