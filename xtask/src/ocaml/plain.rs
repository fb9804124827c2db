//! Compilers that compress nothing.
//!
//! Some packages of OCaml have a runtime that compresses what compilers write (`.cmi`, `.cmt`, debug data). Spelter
//! does not. Decompressing afterwards would not make the files comparable: an interface's digest is that of its bytes,
//! and stands in all files that refer to it. So where files are compared, a copy of the compiler runs that writes values
//! without any flags.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use spelter_bytecode::exe::Section;
use spelter_bytecode::{Executable, Instr, Instructions, Opcode};

use super::Tools;

/// The first bytes of compressed marshalled data.
const COMPRESSED: [u8; 4] = [0x84, 0x95, 0xA6, 0xBD];

/// The length of the magic number of an interface.
const MAGIC: usize = 12;

/// The primitive that writes values. Its last argument is a list of flags.
const WRITER: &str = "caml_output_value";

/// Writes a copy of `ocamlc.byte` that compresses nothing, if the installed one compresses. Returns whether it does.
///
/// # Errors
///
/// If the compiler cannot be read, or does not write values as it is expected to.
pub fn write_plain_compiler(tools: &Tools, to: &Path) -> Result<bool> {
    let interface = fs::read(tools.library.join("stdlib.cmi"))?;
    let compresses = interface.get(MAGIC..).is_some_and(|value| value.starts_with(&COMPRESSED));
    if compresses {
        fs::write(to, without_flags(&fs::read(tools.program("ocamlc.byte"))?)?)?;
    }
    Ok(compresses)
}

/// The program with the constant list of flags replaced by the empty one, where it writes values with such a list.
fn without_flags(bytes: &[u8]) -> Result<Vec<u8>> {
    let exe = Executable::read(bytes)?;
    let writer =
        exe.prims()?.iter().position(|name| *name == WRITER).context("the compiler writes no values")?;
    let mut code = exe.code()?;
    let places = constant_flags(&code, i32::try_from(writer)?, &exe)?;
    ensure!(places.len() == 1, "the compiler writes values with flags in {} places", places.len());
    for place in places {
        code[place] = Opcode::CONSTINT as i32;
        code[place + 1] = 0;
    }
    let sections = exe.sections().iter().map(|section| Section {
        name: section.name,
        data: match &section.name {
            b"CODE" => spelter_bytecode::code::bytes_of_words(&code),
            _ => section.data.clone(),
        },
    });
    Ok(Executable::from_parts(exe.dialect(), exe.prefix().to_vec(), sections.collect())?.write())
}

/// Where code reads a constant, pushes it and another value, and calls the writer.
fn constant_flags(code: &[i32], writer: i32, exe: &Executable) -> Result<Vec<usize>> {
    let all: Vec<Instr<'_>> = Instructions::new(code, exe.dialect().opcodes).collect::<Result<_, _>>()?;
    let calls = all.windows(4).filter(|part| {
        part[0].op == Opcode::GETGLOBAL && part[3].op == Opcode::C_CALL3 && part[3].operands == [writer]
    });
    Ok(calls.map(|part| part[0].pos).collect())
}
