//! Where OCaml is installed: which library folder belongs to a program.
//!
//! An `ocamlrun` knows the folder that it was configured with. This runtime is one for all versions and
//! installations, so it looks for one of the program's version: first that of the `ocamlrun` that the program names
//! in its first line, then that of the `ocamlrun` in `PATH`, then where systems install OCaml.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use spelter_bytecode::Dialect;
use spelter_bytecode::dialect::FileKind;
use spelter_bytecode::exe::{Runtime, Search};
use spelter_interp::Behaviour;

/// The system as OCaml's configuration names it.
pub const HOST: &str = match cfg!(target_arch = "x86_64") {
    true => "x86_64-pc-linux-gnu",
    false => "aarch64-unknown-linux-gnu",
};

/// How much of a file is read to find the name of its runtime.
const HEAD: u64 = 4096;

/// The runtime that a program names.
pub(crate) fn runtime_of(program: &Path) -> Option<Runtime> {
    let mut head = Vec::new();
    File::open(program).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    Runtime::of_head(&head)
}

/// The library folder of an installation of this version, for a program if there is one.
pub fn standard_library(dialect: &Dialect, program: Option<&Path>) -> Option<PathBuf> {
    let named = program.and_then(runtime_of).and_then(|runtime| match runtime.search {
        Search::Only(folder) | Search::First(folder) => Some(PathBuf::from(folder)),
        Search::Anywhere => None,
    });
    let folders = named.into_iter().chain(folder_of_ocamlrun());
    let prefixes = folders.filter_map(|folder| folder.parent().map(Path::to_owned));
    let usual = ["/usr/local", "/usr"].into_iter().map(PathBuf::from);
    prefixes.chain(usual).find_map(|prefix| {
        let mut candidates = vec![prefix.join("lib/ocaml"), prefix.join("lib64/ocaml")];
        candidates.extend(of_release(&prefix, dialect));
        candidates.into_iter().find(|folder| is_of(folder, dialect))
    })
}

/// What a version's `ocamlrun` prints as the folders in which libraries are looked up: `first`, those of the environment
/// if the version names them, those of the installation.
///
/// # Errors
/// When a loader configuration cannot be read: OCaml's message.
pub fn search_path(dialect: &Dialect, first: Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
    let behaviour = Behaviour::of(dialect);
    let mut search = crate::search::Search::of_environment(first);
    search.path.take_if(|_| !behaviour.config_lists_environment);
    search.folders(&[], behaviour.loader_configurations_add_up, || standard_library(dialect, None))
}

/// The folder in `PATH` with an `ocamlrun` that is not this program.
fn folder_of_ocamlrun() -> Option<PathBuf> {
    let this = std::env::current_exe().and_then(|exe| exe.canonicalize()).ok();
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find_map(|folder| {
        let file = folder.join("ocamlrun").canonicalize().ok()?;
        (file.is_file() && Some(&file) != this.as_ref()).then(|| file.parent().map(Path::to_owned))?
    })
}

/// Where a system keeps a folder for each release: the last one of the version.
fn of_release(prefix: &Path, dialect: &Dialect) -> Option<PathBuf> {
    let folder = prefix.join("lib").join(HOST.replace("-pc-", "-").replace("-unknown-", "-")).join("ocaml");
    let is_release = |name: &OsStr| {
        let rest = name.to_str().and_then(|name| name.strip_prefix(dialect.version));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '+', '~']))
    };
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    entries.filter(|entry| is_release(&entry.file_name())).map(|entry| entry.path()).max()
}

/// Whether a folder is a library folder of this version. It is not known of an installation without the compiler's
/// files, which is believed then.
fn is_of(folder: &Path, dialect: &Dialect) -> bool {
    let magic = dialect.magic(FileKind::Library);
    let mut found = magic;
    let read = File::open(folder.join("stdlib.cma")).and_then(|mut file| file.read_exact(&mut found));
    folder.join("ld.conf").exists() && (read.is_err() || found == magic)
}
