//! Programs under OCaml's own debugger: `ocamldebug` starts the `ocamlrun` that it finds in `PATH`.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

use crate::engine::Engine;
use crate::ocaml::Tools;
use crate::process::path_text;

/// The command line that debugs `program`.
pub fn command(tools: &Tools, program: &str) -> Vec<String> {
    vec![tools.program("ocamldebug"), program.to_owned()]
}

/// An `ocamlrun` that is an engine, in a folder of its own.
#[derive(Debug)]
pub struct Runtime(TempDir);

impl Runtime {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or the binary's path is not UTF-8.
    pub fn new(engine: &Engine, spelter: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let words: Vec<String> = engine
            .runtime(spelter)?
            .iter()
            .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
            .collect();
        let script = folder.path().join("ocamlrun");
        fs::write(&script, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))?;
        fs::set_permissions(&script, Permissions::from_mode(0o755))?;
        Ok(Self(folder))
    }

    /// A version's environment, in which this `ocamlrun` is found first.
    ///
    /// # Errors
    ///
    /// If the folder's path is not UTF-8.
    pub fn env(&self, tools: &Tools) -> Result<BTreeMap<String, String>> {
        let mut env = tools.env.clone();
        let rest = env.get("PATH").cloned().or_else(|| std::env::var("PATH").ok()).unwrap_or_default();
        env.insert("PATH".to_owned(), format!("{}:{rest}", path_text(self.0.path())?));
        Ok(env)
    }
}
