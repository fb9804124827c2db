//! Where OCaml's own files come from: a directory of the system, or bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs, io};

use spelter::{Access, MemoryDir, World};
use spelter_bytecode::Executable;
use spelter_bytecode::dialect::{Dialect, FileKind};
use spelter_bytecode::exe::ExecutableBuilder;

use crate::error::Error;

/// The length of a magic number.
const MAGIC: usize = 12;

/// Where a library that was given as bytes is for guests.
const LIBRARY: &str = "/lib/ocaml";

/// As much may the files have that were given as bytes.
const MOST: usize = 1 << 30;

/// The compiler, as a bytecode executable, and the toplevel.
const COMPILER: [&str; 2] = ["ocamlc.byte", "ocamlc"];
const TOPLEVEL: [&str; 1] = ["ocaml"];

/// OCaml's own files: the library directory, which has `stdlib.cma`, and the compiler's bytecode (`ocamlc.byte`) and the
/// toplevel (`ocaml`). Clones share them.
#[derive(Clone, Debug)]
pub struct Installation(Arc<Files>);

#[derive(Debug)]
struct Files {
    version: &'static Dialect,
    /// The library's directory, as guests see it.
    library: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// A directory, and those in which programs are looked up.
    System { library: PathBuf, programs: Vec<PathBuf> },
    /// The library, and programs by name.
    Bytes { library: MemoryDir, programs: BTreeMap<String, Vec<u8>> },
}

impl Installation {
    /// Finds the system's OCaml: `OCAMLLIB`, else what `ocamlc -where` says, else the usual directories.
    ///
    /// # Errors
    /// [`Error::NoInstallation`] when there is none of a version that runs here.
    ///
    /// ```
    /// use spelter_compiler::Installation;
    ///
    /// match Installation::find() {
    ///     Ok(installation) => println!("OCaml {} in {}", installation.version(), installation.library()),
    ///     Err(error) => println!("{error}"), // which package to install, which variable to set
    /// }
    /// ```
    pub fn find() -> Result<Installation, Error> {
        let mut looked = Vec::new();
        for library in spelter::ocaml_directories() {
            match Installation::at(&library) {
                Ok(found) => return Ok(found),
                // What the user has asked for is not passed over.
                Err(error) if env::var_os("OCAMLLIB").is_some_and(|it| !it.is_empty()) => return Err(error),
                Err(_) => looked.push(library),
            }
        }
        Err(Error::NoInstallation { looked })
    }

    /// The OCaml whose library is in this directory (`ocamlc -where` prints it). Its programs are looked up in the
    /// folders `bin` beside and above it, and in `PATH`; their version must be the library's.
    ///
    /// # Errors
    /// When `stdlib.cma` is not there, or of no version that runs here.
    pub fn at(library: impl AsRef<Path>) -> Result<Installation, Error> {
        let library = fs::canonicalize(library.as_ref()).map_err(|e| missing_library(library.as_ref(), e))?;
        let stdlib = library.join("stdlib.cma");
        let bytes = fs::read(&stdlib).map_err(|e| missing_library(&library, e))?;
        let version = version(&stdlib.display().to_string(), &bytes)?;
        let above = library.ancestors().map(|dir| dir.join("bin"));
        let path = env::var_os("PATH").unwrap_or_default();
        let programs = above.chain(env::split_paths(&path)).collect();
        let name = library.to_str().map(str::to_owned).ok_or_else(|| Error::BadFile {
            file: library.display().to_string(),
            reason: "its name is not UTF-8".to_owned(),
        })?;
        Ok(Installation(Arc::new(Files {
            version,
            library: name,
            source: Source::System { library, programs },
        })))
    }

    /// An OCaml whose files the host has: `ocamlc.byte`, `ocaml` (for toplevels) and those of the library directory
    /// (`stdlib.cma`, `stdlib.cmi`, `std_exit.cmo` and so on), whose names begin with lib and a slash.
    ///
    /// # Errors
    /// When `stdlib.cma` is not among them with that prefix, or of no version that runs here.
    pub fn from_files<N: Into<String>>(
        files: impl IntoIterator<Item = (N, Vec<u8>)>,
    ) -> Result<Installation, Error> {
        let (library, mut programs) = (MemoryDir::new(MOST), BTreeMap::new());
        for (name, bytes) in files {
            let name = name.into();
            match name.strip_prefix("lib/") {
                Some(below) => {
                    library.write(below, bytes).map_err(|error| Error::Io { path: name, error })?
                }
                None => drop(programs.insert(name, bytes)),
            }
        }
        let stdlib = library.read("stdlib.cma").ok_or_else(|| Error::Missing {
            file: "lib/stdlib.cma".to_owned(),
            place: "among the given files".to_owned(),
            help: "give the files of OCaml's library with lib/ before their names",
        })?;
        let version = version("lib/stdlib.cma", &stdlib)?;
        let source = Source::Bytes { library, programs };
        Ok(Installation(Arc::new(Files { version, library: LIBRARY.to_owned(), source })))
    }

    /// OCaml's version: `4.13`.
    pub fn version(&self) -> &'static str {
        self.0.version.version
    }

    /// What is particular to the version's files.
    pub fn dialect(&self) -> &'static Dialect {
        self.0.version
    }

    /// The library's directory, as the compiler sees it.
    pub fn library(&self) -> &str {
        &self.0.library
    }

    /// Whether the library has a file of this name.
    pub fn has(&self, name: &str) -> bool {
        match &self.0.source {
            Source::System { library, .. } => library.join(name).exists(),
            Source::Bytes { library, .. } => library.read(name).is_some(),
        }
    }

    /// Lets guests read the library.
    pub(crate) fn grant(&self, world: World) -> Result<World, Error> {
        let world = world.env("OCAMLLIB", self.library());
        match &self.0.source {
            Source::System { library, .. } => {
                let io = |error| Error::Io { path: self.0.library.clone(), error };
                world.dir(self.library(), library, Access::ReadOnly).map_err(io)
            }
            Source::Bytes { library, .. } => Ok(world.memory(self.library(), library, Access::ReadOnly)),
        }
    }

    /// The compiler's executable.
    pub(crate) fn compiler(&self) -> Result<Vec<u8>, Error> {
        self.program(&COMPILER, "install OCaml's bytecode compiler (Debian: apt-get install ocaml)")
    }

    /// The toplevel's executable.
    pub(crate) fn toplevel(&self) -> Result<Vec<u8>, Error> {
        self.program(&TOPLEVEL, "install OCaml's toplevel (Debian: apt-get install ocaml-interp)")
    }

    /// The path of the toplevel's executable.
    ///
    /// # Errors
    /// When there is none of the library's version, or it is among given bytes.
    pub fn toplevel_path(&self) -> Result<PathBuf, Error> {
        let found = self.paths(&TOPLEVEL).find(|path| self.is_of_version(path));
        found.ok_or_else(|| Error::Missing {
            file: TOPLEVEL[0].to_owned(),
            place: format!(
                "in the folders `bin` above {} or in PATH, in version {}",
                self.library(),
                self.version()
            ),
            help: "install OCaml's toplevel (Debian: apt-get install ocaml-interp)",
        })
    }

    fn paths<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = PathBuf> + 'a {
        let programs = match &self.0.source {
            Source::System { programs, .. } => programs.as_slice(),
            Source::Bytes { .. } => &[],
        };
        names.iter().flat_map(move |name| programs.iter().map(move |dir| dir.join(name)))
    }

    fn is_of_version(&self, path: &Path) -> bool {
        magic_at_end(path).is_some_and(|magic| magic == self.0.version.magic(FileKind::Executable))
    }

    /// A program without its debug data, which nothing here reads.
    fn program(&self, names: &[&str], help: &'static str) -> Result<Vec<u8>, Error> {
        let (name, bytes) = match &self.0.source {
            Source::System { .. } => {
                let path = self.paths(names).find(|path| self.is_of_version(path));
                let path = path.ok_or_else(|| Error::Missing {
                    file: names[0].to_owned(),
                    place: format!(
                        "in the folders `bin` above {} or in PATH, in version {}",
                        self.library(),
                        self.version()
                    ),
                    help,
                })?;
                let io = |error| Error::Io { path: path.display().to_string(), error };
                (path.display().to_string(), fs::read(&path).map_err(io)?)
            }
            Source::Bytes { programs, .. } => {
                let found =
                    names.iter().find_map(|name| Some(((*name).to_owned(), programs.get(*name)?.clone())));
                found.ok_or_else(|| Error::Missing {
                    file: names[0].to_owned(),
                    place: "among the given files".to_owned(),
                    help: "give its bytes under this name",
                })?
            }
        };
        without_debug_data(&bytes).map_err(|reason| Error::BadFile { file: name, reason: reason.to_string() })
    }
}

fn without_debug_data(bytes: &[u8]) -> spelter_bytecode::Result<Vec<u8>> {
    let program = Executable::read(bytes)?;
    let kept = program.sections().iter().filter(|section| &section.name != b"DBUG");
    let builder = kept.fold(ExecutableBuilder::new(program.dialect()), |builder, section| {
        builder.section(section.name, section.data.clone())
    });
    Ok(builder.finish()?.write())
}

fn missing_library(library: &Path, e: io::Error) -> Error {
    if e.kind() != io::ErrorKind::NotFound {
        return Error::Io { path: library.display().to_string(), error: e };
    }
    Error::Missing {
        file: "stdlib.cma".to_owned(),
        place: format!("in {}", library.display()),
        help: "name the directory that `ocamlc -where` prints (OCAMLLIB)",
    }
}

/// The version of a library by its magic number.
fn version(file: &str, bytes: &[u8]) -> Result<&'static Dialect, Error> {
    let known = |dialect: &&&Dialect| bytes.starts_with(&dialect.magic(FileKind::Library));
    Dialect::KNOWN.iter().find(known).copied().ok_or_else(|| Error::BadFile {
        file: file.to_owned(),
        reason: "this is no library of OCaml 4.13 to 5.5, which run here".to_owned(),
    })
}

fn magic_at_end(path: &Path) -> Option<[u8; MAGIC]> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = fs::File::open(path).ok()?;
    file.seek(SeekFrom::End(-(MAGIC as i64))).ok()?;
    let mut magic = [0; MAGIC];
    file.read_exact(&mut magic).ok()?;
    Some(magic)
}
