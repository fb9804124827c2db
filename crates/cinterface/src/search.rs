//! Finding the files of libraries (`runtime/dynlink.c`): the folders in which they are looked up.
#![cfg_attr(not(with_arch), allow(dead_code, reason = "without libraries, only the folders are shown"))]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use spelter_bytecode::exe::SharedLibrary;
use spelter_interp::Machine;
use spelter_interp::prim::foreign::{Folders, Located};

use crate::installation;

/// Where a machine looks for libraries, apart from the folders that its program names. The environment's part is that
/// of the start: what the program sets later is for programs that it starts.
#[derive(Default)]
pub(crate) struct Search {
    /// The folders given at the start.
    first: Vec<PathBuf>,
    /// `CAML_LD_LIBRARY_PATH`.
    pub(crate) path: Option<OsString>,
    /// OCaml's library folders that the environment names.
    libraries: Vec<OsString>,
}

impl Search {
    /// With these folders first.
    pub(crate) fn of_environment(first: Vec<PathBuf>) -> Search {
        Search {
            first,
            path: std::env::var_os("CAML_LD_LIBRARY_PATH"),
            libraries: ["OCAMLLIB", "CAMLLIB"].into_iter().filter_map(std::env::var_os).collect(),
        }
    }

    /// All folders, in the order in which they are searched. `default` finds the installation's library folder.
    ///
    /// # Errors
    /// When a loader configuration cannot be read: OCaml's message.
    pub(crate) fn folders(
        &self,
        of_program: &[&str],
        add_up: bool,
        default: impl FnOnce() -> Option<PathBuf>,
    ) -> Folders {
        let mut folders = self.first.clone();
        if let Some(path) = &self.path {
            folders.extend(
                path.as_bytes().split(|byte| *byte == b':').map(|part| OsStr::from_bytes(part).into()),
            );
        }
        folders.extend(of_program.iter().map(PathBuf::from));
        let default = || default().map(PathBuf::into_os_string);
        if add_up {
            for library in self.libraries.iter().cloned().chain(default()) {
                folders.extend(listed_since_5_5(&library)?);
            }
        } else if let Some(library) = self.libraries.first().cloned().or_else(default) {
            folders.extend(listed(&library)?);
        }
        Ok(folders)
    }
}

/// The text of a loader configuration, if there is one.
fn configuration(file: OsString) -> Result<Option<Vec<u8>>, String> {
    let path = Path::new(&file);
    if path.metadata().is_err() {
        return Ok(None);
    }
    let Ok(mut opened) = File::open(path) else {
        return Err(format!("cannot read loader config file {}", path.display()));
    };
    let mut text = Vec::new();
    match opened.read_to_end(&mut text) {
        Ok(_) => Ok(Some(text.split(|byte| *byte == 0).next().unwrap_or_default().to_owned())),
        Err(_) => Err(format!("error while reading loader config file {}", path.display())),
    }
}

/// The folders that `ld.conf` in a library folder lists: one a line, each as it is.
fn listed(library: &OsStr) -> Folders {
    let file = [library.as_bytes(), b"/ld.conf"].concat();
    let text = configuration(OsString::from_vec(file))?.unwrap_or_default();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    // A newline ends a line; only a last line without one is a line by itself.
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    Ok(text.split(|byte| *byte == b'\n').map(|line| OsStr::from_bytes(line).into()).collect())
}

/// The same, where lines can be relative to the file.
fn listed_since_5_5(library: &OsStr) -> Folders {
    let library = library.as_bytes();
    let end = library.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let library = &library[..end];
    let file = OsString::from_vec([library, b"/ld.conf"].concat());
    let Some(text) = configuration(file)? else { return Ok(Vec::new()) };
    let lines = spelter_primitives::loader_configuration(library, &text);
    Ok(lines.into_iter().map(|line| OsString::from_vec(line).into()).collect())
}

/// The folders in which a machine's libraries are looked up.
pub(crate) fn folders(m: &mut Machine, of_program: &[&str], looked_up: bool) -> Folders {
    let (dialect, add_up) = (m.dialect(), m.behaviour().loader_configurations_add_up);
    let program = PathBuf::from(OsStr::from_bytes(&m.params().executable_name));
    let search = m.ext::<Search>();
    search.folders(of_program, add_up, || match looked_up {
        true => installation::standard_library(dialect, Some(&program)),
        false => None,
    })
}

/// The name and the file of a library: in the first folder that has a file with its name; else the bare name, which the
/// system looks up.
pub(crate) fn locate(m: &Machine, folders: &[PathBuf], library: &SharedLibrary<&str>) -> Located {
    let name = match (library.suffixed, m.behaviour().runtime_id) {
        (true, Some(id)) => {
            let program = PathBuf::from(OsStr::from_bytes(&m.params().executable_name));
            let id = installation::runtime_of(&program)
                .and_then(|runtime| runtime.id)
                .map_or(id.to_owned(), |id| id.to_string());
            format!("{}-{}-{id}", library.name, installation::HOST)
        }
        _ => library.name.to_owned(),
    };
    let file = format!("{name}.so");
    let found = match file.contains('/') {
        true => None,
        false => folders.iter().map(|folder| within(folder, &file)).find(|path| path.is_file()),
    };
    Located { name, file: found.unwrap_or_else(|| file.into()) }
}

/// A file in a folder; an empty name is the current folder's. The path is shown in messages as OCaml has it.
fn within(folder: &Path, file: &str) -> PathBuf {
    let folder = match folder.as_os_str().as_bytes() {
        b"" => b".",
        folder => folder,
    };
    OsString::from_vec([folder, b"/", file.as_bytes()].concat()).into()
}
