//! `cargo xtask files`: compares what `spelter-bytecode` reads, edits and links with what a version's own tools do, over
//! all files that the version has installed.
//!
//! Interfaces are printed as `ocamlc -i` prints their sources. All units stay as they are when their code is lifted
//! and lowered. A program that is linked here is, byte for byte, the one that `ocamlc` writes. One whose code is moved
//! everywhere, one whose debug events are written anew, and one that counts its lines do the same under `ocamlrun`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask::corpus::files_under;
use xtask::ocaml::{Named, Tools};

#[path = "files/interfaces.rs"]
mod interfaces;
#[path = "files/programs.rs"]
mod programs;
#[path = "files/units.rs"]
mod units;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The version of OCaml: 4.13, the system's, by default; others as `cargo xtask ocaml` makes them
    #[arg(long, value_name = "VERSION", default_value = "4.13", hide_default_value = true)]
    ocaml: Named,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let tools = Tools::find(options.ocaml.0)?;
    let mut good = interfaces::compare(&tools)?;
    good &= units::compare(&tools)?;
    good &= programs::compare(&tools)?;
    Ok(good)
}

/// The version's installed files with these extensions.
fn installed(tools: &Tools, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let has =
        |path: &Path| extensions.iter().any(|wanted| path.extension().is_some_and(|known| known == *wanted));
    let names = files_under(&tools.library)?;
    let paths = names.iter().map(|name| tools.library.join(name)).filter(|path| has(path));
    Ok(paths.collect())
}

/// The version's compiler, to be given arguments.
fn compiler(tools: &Tools) -> Command {
    let mut command = tools.command(&tools.ocamlrun());
    // Programs were built for another place than where they are.
    command.arg(tools.program("ocamlc.byte"));
    command
}

/// What a command prints on its standard output.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{command:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
