//! `spelter info`: prints about bytecode files what `ocamlobjinfo` prints.

use std::path::PathBuf;

use clap::Args;
use spelter_bytecode::info::describe;

use super::{print, read};

const HELP: &str = "\
Examples:
  spelter info plugin.cmo
  spelter info prog.byte stdlib.cma

The output is byte for byte that of `ocamlobjinfo`.";

/// Describe executables, .cmo and .cma files, as ocamlobjinfo does.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Info {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Info {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        for file in &self.files {
            print(&read(file, |bytes| describe(&file.display().to_string(), bytes))?)?;
        }
        Ok(())
    }
}
