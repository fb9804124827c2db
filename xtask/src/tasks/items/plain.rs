//! A reference that compresses nothing.
//!
//! Some packages of OCaml have a runtime that compresses what compilers write (`.cmi`, `.cmt`, debug data). Spelter
//! does not. Decompressing afterwards would not make files comparable: an interface's digest is that of its bytes,
//! and stands in all files that refer to it. So the reference, and only it, is asked not to compress: it runs a copy
//! of the compiler in which the primitive that prepares compression is exchanged for one that answers no. Since this
//! primitive also prepares decompression, it finds the installed interfaces decompressed. Spelter runs the compiler
//! as it is, and reads the interfaces as they are.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use spelter_bytecode::Executable;
use spelter_bytecode::exe::Section;
use spelter_bytecode::marshal::{BlockColour, Graph};
use xtask::ocaml::Tools;

/// The first bytes of compressed marshalled data.
const COMPRESSED: [u8; 4] = [0x84, 0x95, 0xA6, 0xBD];

/// The length of the magic number of an interface.
const MAGIC: usize = 12;

/// The primitive that prepares compression, and one of the same type that answers no.
const EXCHANGED: [&str; 2] = ["caml_zstd_initialize", "caml_ml_runtime_warnings_enabled"];

/// Which compiler is in place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    /// For the reference.
    Reference,
    /// For Spelter.
    Installed,
}

/// The compiler and its library folder, under names that stay the same for both roles, because files tell them.
#[derive(Clone, Debug)]
pub(super) struct Compiler {
    program: PathBuf,
    library: PathBuf,
    /// The folder with both pairs, if they differ.
    folder: Option<PathBuf>,
}

impl Compiler {
    /// Prepares `folder` if the installed interfaces are compressed.
    pub(super) fn prepare(tools: &Tools, folder: &Path) -> Result<Self> {
        let program = PathBuf::from(tools.program("ocamlc.byte"));
        let interface = fs::read(tools.library.join("stdlib.cmi"))?;
        if !interface[MAGIC..].starts_with(&COMPRESSED) {
            return Ok(Self { program, library: tools.library.clone(), folder: None });
        }
        let plain = folder.join("reference");
        fs::create_dir_all(plain.join("lib"))?;
        fs::write(plain.join("ocamlc.byte"), without_compression(&fs::read(&program)?)?)?;
        for entry in fs::read_dir(&tools.library)? {
            let path = entry?.path();
            let copy = plain.join("lib").join(path.file_name().context("an entry has a name")?);
            match path.extension().is_some_and(|end| end == "cmi") {
                true => fs::write(copy, decompressed(&fs::read(&path)?)?)?,
                false => symlink(&path, copy)?,
            }
        }
        let installed = folder.join("installed");
        fs::create_dir(&installed)?;
        symlink(&program, installed.join("ocamlc.byte"))?;
        symlink(&tools.library, installed.join("lib"))?;
        let now = folder.join("now");
        Ok(Self {
            program: now.join("ocamlc.byte"),
            library: now.join("lib"),
            folder: Some(folder.to_path_buf()),
        })
    }

    /// Puts the one for this role in place.
    pub(super) fn take(&self, role: Role) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let now = folder.join("now");
        if now.exists() {
            fs::remove_file(&now)?;
        }
        let target = match role {
            Role::Reference => "reference",
            Role::Installed => "installed",
        };
        Ok(symlink(target, now)?)
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn library(&self) -> &Path {
        &self.library
    }
}

/// The program with the primitive exchanged.
fn without_compression(bytes: &[u8]) -> Result<Vec<u8>> {
    let exe = Executable::read(bytes)?;
    let names = exe.prims()?;
    ensure!(names.contains(&EXCHANGED[0]), "the compiler does not prepare compression");
    let table: String = names
        .iter()
        .map(|name| format!("{}\0", if *name == EXCHANGED[0] { EXCHANGED[1] } else { name }))
        .collect();
    let sections = exe.sections().iter().map(|section| Section {
        name: section.name,
        data: if section.name == *b"PRIM" { table.clone().into_bytes() } else { section.data.clone() },
    });
    Ok(Executable::from_parts(exe.dialect(), exe.prefix().to_vec(), sections.collect())?.write())
}

/// An interface with its values decompressed: a magic number, then marshalled values.
fn decompressed(bytes: &[u8]) -> Result<Vec<u8>> {
    let (magic, mut rest) = bytes.split_at_checked(MAGIC).context("an interface is longer")?;
    let mut plain = magic.to_vec();
    while !rest.is_empty() {
        let (value, size) = Graph::decode(rest)?;
        plain.extend(value.encode(BlockColour::Black));
        rest = &rest[size..];
    }
    Ok(plain)
}
