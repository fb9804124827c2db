//! Compiles libraries in C for OCaml. Nothing else here needs a C compiler, so what uses these is left out without one.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::ocaml::Tools;

/// Whether `spelter run` loads libraries in C on this system.
pub const LOADS: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// Whether there is a C compiler, whose libraries can be loaded.
pub fn is_here() -> bool {
    let version =
        || Command::new("gcc").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    LOADS && version().is_ok()
}

/// Compiles a source to a shared library, with the headers of a version of OCaml.
///
/// # Errors
///
/// If the compiler refuses it; also for a warning.
pub fn library(tools: &Tools, source: &Path, to: &Path) -> Result<()> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-fPIC", "-O2", "-g", "-Wall", "-Werror", "-pthread", "-I"])
        .arg(&tools.library)
        .arg("-o")
        .args([to, source]);
    let out = gcc.output().context("gcc")?;
    ensure!(out.status.success(), "{gcc:?} fails:\n{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}
