//! `spelter dis`: lists a file's code, with names in place of numbers.

use std::path::PathBuf;

use clap::Args;
use spelter_bytecode::disasm::{Listing, ProgramNames, UnitNames};
use spelter_bytecode::info::Info;
use spelter_bytecode::obj::CompilationUnit;

use super::{print, read};

const HELP: &str = "\
Examples:
  spelter dis plugin.cmo
  spelter dis prog.byte | less

Each line has the instruction's byte offset; targets are byte offsets too. Globals, literals and primitives
are shown by name.";

/// List the instructions of an executable, a .cmo or a .cma.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Dis {
    /// The file
    file: PathBuf,
}

impl Dis {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let text = read(&self.file, |bytes| match Info::read(bytes)? {
            Info::Executable(exe) => {
                let names = ProgramNames::new(&exe)?;
                Ok(Listing::new(&exe.code()?, exe.dialect().opcodes, &names).to_string())
            }
            Info::Object(unit) => listing(&unit),
            Info::Library(library) => library
                .units
                .iter()
                .map(|unit| Ok(format!("Unit {}\n{}", unit.name, listing(unit)?)))
                .collect(),
        })?;
        print(&text)
    }
}

fn listing(unit: &CompilationUnit) -> spelter_bytecode::Result<String> {
    Ok(Listing::new(&unit.words()?, unit.dialect.opcodes, &UnitNames::new(unit)).to_string())
}
