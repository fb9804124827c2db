//! Where an installed OCaml has its standard library.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;

/// The directories in which the library of the system's OCaml may be (`stdlib.cma` and the rest), the most likely one first:
/// only what `OCAMLLIB` names, if it is set; else what `ocamlc -where` prints, that of the current opam switch, and the
/// usual ones.
pub fn ocaml_directories() -> Vec<PathBuf> {
    if let Some(set) = env::var_os("OCAMLLIB").filter(|set| !set.is_empty()) {
        return vec![set.into()];
    }
    let mut found = Vec::new();
    if let Ok(output) = Command::new("ocamlc").arg("-where").output()
        && output.status.success()
    {
        found.push(PathBuf::from(OsStr::from_bytes(output.stdout.trim_ascii_end())));
    }
    if let Some(switch) = env::var_os("OPAM_SWITCH_PREFIX") {
        found.push(PathBuf::from(switch).join("lib/ocaml"));
    }
    found.extend(["/usr/lib/ocaml", "/usr/local/lib/ocaml"].map(PathBuf::from));
    found
}
