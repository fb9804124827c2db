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
    done(gcc(tools).args(["-shared", "-o"]).args([to, source]))
}

/// The same for a command that has an address sanitizer: each access by the library's own code is checked, too.
///
/// The command exports the functions that the code calls, from LLVM's sanitizer; gcc's code fits, since both have the
/// same version of that interface (code checks it when it is loaded) and the same place for the shadow memory. gcc must
/// not link its own sanitizer to the library: a process cannot have two.
///
/// # Errors
///
/// As [`library`].
pub fn sanitized_library(tools: &Tools, source: &Path, to: &Path) -> Result<()> {
    let object = to.with_extension("o");
    done(
        gcc(tools)
            .args(["-fsanitize=address", "-fno-omit-frame-pointer", "-c", "-o"])
            .arg(&object)
            .arg(source),
    )?;
    done(Command::new("gcc").args(["-shared", "-pthread", "-o"]).arg(to).arg(&object))
}

fn gcc(tools: &Tools) -> Command {
    let mut gcc = Command::new("gcc");
    gcc.args(["-fPIC", "-O2", "-g", "-Wall", "-Werror", "-pthread", "-I"]).arg(&tools.library);
    gcc
}

fn done(gcc: &mut Command) -> Result<()> {
    let out = gcc.output().context("gcc")?;
    ensure!(out.status.success(), "{gcc:?} fails:\n{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}
