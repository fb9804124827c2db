//! `spelter verify`: checks that code obeys the rules that the machine relies on.

use std::path::PathBuf;

use clap::Args;
use spelter_bytecode::info::Info;
use spelter_bytecode::obj::CompilationUnit;
use spelter_bytecode::verify::{Entry, Limits, verify};
use spelter_bytecode::{Executable, Opcode, Result};

use super::read;

const HELP: &str = "\
Examples:
  spelter verify prog.byte
  spelter verify plugins/*.cmo && echo all right

This checks control flow, the height of the stack, frames, operands and indices. Failures are reported on
stderr, one line per file, and the exit code is 1.";

/// Verify the code of executables, .cmo and .cma files.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Verify {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Verify {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let mut all_right = true;
        for file in &self.files {
            if let Err(e) = read(file, check) {
                eprintln!("{e:#}");
                all_right = false;
            }
        }
        if !all_right {
            std::process::exit(1);
        }
        Ok(())
    }
}

fn check(bytes: &[u8]) -> Result<()> {
    match Info::read(bytes)? {
        Info::Executable(exe) => program(&exe),
        Info::Object(object) => unit(&object),
        Info::Library(library) => library.units.iter().try_for_each(unit),
    }
}

fn program(exe: &Executable) -> Result<()> {
    let globals = exe.symbols()?.unwrap_or_default().count;
    let limits = Limits { globals, prims: exe.prims()?.len(), slots: 0 };
    verify(&exe.code()?, exe.dialect().opcodes, Entry::Program, &limits)
        .map(drop)
        .map_err(|e| e.in_section("CODE"))
}

/// Verifies a unit as it is in the file. Operands that a linker will fill in are 0 there, and no other operands may
/// refer to globals and primitives. So the verifier assumes one global and one primitive.
fn unit(unit: &CompilationUnit) -> Result<()> {
    let mut words = unit.words()?;
    words.extend([Opcode::RETURN.word(), 1]);
    let limits = Limits { globals: 1, prims: 1, slots: 0 };
    verify(&words, unit.dialect.opcodes, Entry::Unit, &limits)
        .map(drop)
        .map_err(|e| e.in_section(&format!("unit {}", unit.name)))
}
