//! A reference that compresses nothing ([`write_plain_compiler`]). Spelter runs the compiler as it is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Result;
use xtask::ocaml::{Tools, write_plain_compiler};

/// Which compiler is in place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    /// For the reference.
    Reference,
    /// For Spelter.
    Installed,
}

/// The compiler, under a name that stays the same for both roles, because files tell it.
#[derive(Clone, Debug)]
pub(super) struct Compiler {
    program: PathBuf,
    /// The folder with both, if they differ.
    folder: Option<PathBuf>,
}

impl Compiler {
    /// Prepares `folder` if the installed interfaces are compressed.
    pub(super) fn prepare(tools: &Tools, folder: &Path) -> Result<Self> {
        let program = PathBuf::from(tools.program("ocamlc.byte"));
        if !write_plain_compiler(tools, &folder.join("reference"))? {
            return Ok(Self { program, folder: None });
        }
        symlink(&program, folder.join("installed"))?;
        Ok(Self { program: folder.join("ocamlc.byte"), folder: Some(folder.to_path_buf()) })
    }

    /// Puts the one for this role in place.
    pub(super) fn take(&self, role: Role) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        if self.program.exists() {
            fs::remove_file(&self.program)?;
        }
        let target = match role {
            Role::Reference => "reference",
            Role::Installed => "installed",
        };
        Ok(symlink(folder.join(target), &self.program)?)
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }
}
