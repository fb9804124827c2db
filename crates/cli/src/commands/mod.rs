//! The subcommands, one per file.

pub(crate) mod demo;
pub(crate) mod dis;
pub(crate) mod eval;
pub(crate) mod info;
pub(crate) mod new;
pub(crate) mod repl;
pub(crate) mod run;
pub(crate) mod verify;

use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Context;

/// Reads a file and converts its bytes; errors name the file.
fn read<T>(file: &Path, parse: impl FnOnce(&[u8]) -> spelter_bytecode::Result<T>) -> anyhow::Result<T> {
    let name = || file.display().to_string();
    let bytes = std::fs::read(file).with_context(name)?;
    parse(&bytes).with_context(name)
}

/// Prints a text. If the reader is gone (such as `head`), the process ends quietly.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        outcome => outcome.context("standard output"),
    }
}
