//! `spelter info`: prints about bytecode files what `ocamlobjinfo` prints, and the version.

use std::path::PathBuf;

use clap::Args;
use spelter_bytecode::info;

use super::{print, read};

const HELP: &str = "\
Examples:
  spelter info plugin.cmo
  spelter info prog.byte stdlib.cma

After a line with the version, the output is byte for byte that of the version's `ocamlobjinfo`.";

/// Describe executables, .cmo and .cma files: their version, and what ocamlobjinfo prints.
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
            print(&read(file, |bytes| {
                let info = info::Info::read(bytes)?;
                Ok(format!("OCaml {}\nFile {}\n{info}", info.dialect().version, file.display()))
            })?)?;
        }
        Ok(())
    }
}
