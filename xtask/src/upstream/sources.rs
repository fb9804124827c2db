//! OCaml's sources, unpacked from Debian's package `ocaml-source` below `target/`, and the suite's own libraries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::plan::Places;
use crate::workspace;

/// Unpacks the sources if that has not been done, and compiles what the suite's tests link.
///
/// # Errors
///
/// If the package is not installed, or its contents cannot be unpacked or compiled.
pub fn places() -> Result<Places> {
    let folder = workspace::target()?.join("upstream");
    let places =
        Places { sources: unpacked(&folder)?, helpers: folder.join("helpers"), runs: folder.join("run") };
    if !places.helpers.join("testing.cma").exists() {
        compile_helpers(&places)?;
    }
    Ok(places)
}

/// The folder of OCaml's sources below `folder`.
///
/// # Errors
///
/// If the package is not installed, or its contents cannot be unpacked.
pub fn unpacked(folder: &Path) -> Result<PathBuf> {
    let version = workspace::OCAML_VERSION;
    let sources = folder.join(format!("ocaml-{version}"));
    if sources.exists() {
        return Ok(sources);
    }
    let outer = format!("/usr/src/ocaml-source-{version}.tar");
    ensure!(Path::new(&outer).exists(), "{outer} is missing (Debian: apt-get install ocaml-source)");
    fs::create_dir_all(folder)?;
    // Unpack to a temporary place first, so that an interrupted unpacking is not mistaken for a complete one.
    let temp = tempfile::tempdir_in(folder)?;
    let script =
        format!("tar -xf {outer} && cat */*.orig.tar.gz | tar -xz --one-top-level=all --strip-components=1");
    let done = Command::new("sh").args(["-c", &script]).current_dir(temp.path()).output()?;
    ensure!(done.status.success(), "cannot unpack {outer}: {}", String::from_utf8_lossy(&done.stderr));
    fs::rename(temp.path().join("all"), &sources)?;
    Ok(sources)
}

fn compile_helpers(places: &Places) -> Result<()> {
    fs::create_dir_all(&places.helpers)?;
    for name in ["testing.mli", "testing.ml", "lib.ml"] {
        let from = places.sources.join("testsuite/lib").join(name);
        fs::copy(&from, places.helpers.join(name))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let script = "ocamlc -c testing.mli testing.ml lib.ml && ocamlc -a -linkall -o testing.cma testing.cmo";
    let done = Command::new("sh").args(["-c", script]).current_dir(&places.helpers).status()?;
    ensure!(done.success(), "the suite's libraries do not compile");
    Ok(())
}
