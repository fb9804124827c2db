//! Lists the code of an executable or of a `.cmo`, or, without an argument, of a small program that it assembles and
//! verifies.
//!
//! Run it with `cargo run -p spelter-bytecode --example listing -- prog.byte`.

use std::error::Error;

use spelter_bytecode::code::encode;
use spelter_bytecode::disasm::{Listing, ProgramNames, UnitNames};
use spelter_bytecode::info::Info;
use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::verify::{Entry, Limits, verify};
use spelter_bytecode::{Instructions, Opcode};

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).filter(|_| !cfg!(test)) {
        Some(path) => print!("{}", of_file(&std::fs::read(path)?)?),
        None => print!("{}", of_countdown()?),
    }
    Ok(())
}

/// The listing of a file's code, with names in place of numbers.
fn of_file(bytes: &[u8]) -> Result<String, Box<dyn Error>> {
    let listing = match Info::read(bytes)? {
        Info::Executable(exe) => {
            let names = ProgramNames::new(&exe)?;
            Listing::new(&exe.code()?, exe.dialect().opcodes, &names).to_string()
        }
        Info::Object(unit) => {
            Listing::new(&unit.words()?, unit.dialect.opcodes, &UnitNames::new(&unit)).to_string()
        }
        Info::Library(_) => return Err("an archive; its units are in `Library::units`".into()),
    };
    Ok(listing)
}

/// The listing of a loop from ten down to zero, and the verifier's results about it.
fn of_countdown() -> Result<String, Box<dyn Error>> {
    let mut words = Vec::new();
    encode(Opcode::CONSTINT, &[10], &mut words)?;
    let start = words.len();
    encode(Opcode::OFFSETINT, &[-1], &mut words)?;
    // Targets count from the word that holds them.
    let back = start as i32 - (words.len() as i32 + 1);
    encode(Opcode::BRANCHIF, &[back], &mut words)?;
    encode(Opcode::STOP, &[], &mut words)?;

    let limits = Limits { globals: 0, prims: 0, slots: 0 };
    let verified = verify(&words, OpcodeSet::V4, Entry::Program, &limits)?;
    let count = Instructions::new(&words, OpcodeSet::V4).count();
    let height = verified.functions[0].max_height;
    let listing = Listing::new(&words, OpcodeSet::V4, &());
    Ok(format!("{count} instructions, of which none needs more than {height} words of stack:\n{listing}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs() {
        main().unwrap();
        assert!(of_countdown().unwrap().contains("BRANCHIF @8"), "{}", of_countdown().unwrap());
        let file = include_bytes!("../tests/fixtures/tiny.byte");
        assert!(of_file(file).unwrap().contains("STOP"));
    }
}
