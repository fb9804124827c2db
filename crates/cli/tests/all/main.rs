//! Tests of the `spelter` command from the outside.

mod book;
mod debugger;
mod demo;
mod help;
mod libraries;
mod limits;
mod ocamlrun;
mod run;
mod sandbox;
mod tools;
mod toplevel;

use std::path::PathBuf;
use std::process::{Command, Output};

/// The command, without environment variables that affect it.
fn spelter() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_spelter")))
}

fn clean(mut command: Command) -> Command {
    for name in ["OCAMLRUNPARAM", "CAMLRUNPARAM", "NO_COLOR", "RUST_BACKTRACE", "SPELTER_OCAML"] {
        command.env_remove(name);
    }
    command
}

/// A compiled file of the fixtures of `spelter` or of this crate.
fn file(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    ["tests/fixtures", "assets"]
        .map(|dir| root.join(dir).join(name))
        .into_iter()
        .find(|path| path.exists())
        .expect(name)
}

/// Runs a command to its end: exit code (none after a signal), standard output and error.
fn outcome(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code(), text(&stdout), text(&stderr))
}
