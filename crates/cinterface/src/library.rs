//! Finding and opening libraries.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use spelter_interp::Machine;
use spelter_interp::prim::foreign::Foreign;

use crate::call::call;

/// The handles of the libraries that have been opened, in that order. They are never closed: values, roots and kinds of
/// custom blocks may lead to them.
static OPEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Opens the library in a file, so that its names can be found by libraries that are opened later, and returns its
/// handle. A file without a slash is looked up by the system.
///
/// # Errors
/// The system's reason, which names what is missing.
pub fn open(m: &mut Machine, file: &str) -> Result<usize, String> {
    let name = CString::new(file).map_err(|_| format!("{file:?}: a name with a NUL"))?;
    crate::prepare(m);
    // SAFETY: opening a library runs its initialisers, which whoever names it answers for.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) } as usize;
    if handle == 0 {
        return Err(last_error());
    }
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if !open.contains(&handle) {
        open.push(handle);
    }
    Ok(handle)
}

fn last_error() -> String {
    // SAFETY: the system's message for this thread, copied at once.
    unsafe {
        let message = libc::dlerror();
        match message.is_null() {
            true => "unknown error".to_owned(),
            false => CStr::from_ptr(message).to_string_lossy().into_owned(),
        }
    }
}

/// The function of that name in a library, or in the first of all open ones that has it.
pub fn find(library: Option<usize>, name: &str) -> Option<Foreign> {
    let name = CString::new(name).ok()?;
    let address = |handle: &usize| {
        // SAFETY: handles are never closed.
        let at = unsafe { libc::dlsym(*handle as *mut _, name.as_ptr()) } as usize;
        (at != 0).then_some(Foreign { call, entry: at })
    };
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    match library {
        Some(handle) => address(&handle),
        None => open.iter().find_map(address),
    }
}

/// The file of a library: the first one with its name in the folders of `CAML_LD_LIBRARY_PATH`, those that the program
/// names, and those that `ld.conf` in OCaml's library folder lists; else the bare name, which the system looks up.
pub fn locate(m: &Machine, name: &str, of_program: &[&str]) -> String {
    let file = format!("{name}.so");
    if file.contains('/') {
        return file;
    }
    let folders = search_path(of_program, &standard_library(m));
    let found = folders.iter().map(|folder| folder.join(&file)).find(|path| path.exists());
    found.map_or(file, |path| path.to_string_lossy().into_owned())
}

/// OCaml's library folder: what the environment says, else what the program or the version was configured with.
fn standard_library(m: &Machine) -> PathBuf {
    let of_environment = ["OCAMLLIB", "CAMLLIB"].into_iter().find_map(std::env::var_os).map(PathBuf::from);
    of_environment.unwrap_or_else(|| PathBuf::from(OsStr::from_bytes(&m.params().standard_library)))
}

fn search_path(of_program: &[&str], standard_library: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some(path) = std::env::var_os("CAML_LD_LIBRARY_PATH") {
        folders
            .extend(path.as_bytes().split(|byte| *byte == b':').map(|part| OsStr::from_bytes(part).into()));
    }
    folders.extend(of_program.iter().map(PathBuf::from));
    if let Ok(lines) = std::fs::read(standard_library.join("ld.conf")) {
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        folders.extend(lines.map(|line| OsStr::from_bytes(line).into()));
    }
    folders
}
