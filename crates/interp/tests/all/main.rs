//! The machine alone, through the API of this crate: programs of a few words, units installed by hand, primitives.

mod primitives;
mod programs;
mod roots;
mod units;

use spelter_bytecode::marshal::{BlockColour, Encoder};
use spelter_bytecode::{Dialect, Opcode};
use spelter_interp::inspect::backtrace::DebugInfo;
use spelter_interp::{Dispatch, Engine, LoadError, Machine, Program, Raise, Settings};

/// Both backends, to run checked code.
const DISPATCH: [Dispatch; 2] = [Dispatch::Loop, Dispatch::Tail];

/// A machine of each kind.
fn machines() -> impl Iterator<Item = Machine> {
    DISPATCH.into_iter().map(|dispatch| {
        let engine = Engine::checked(dispatch);
        Machine::new(Settings { engine, ..Settings::default() })
    })
}

/// The marshalled table of globals of a program with a single global of its own, an integer.
fn globals() -> Vec<u8> {
    let mut data = Encoder::new(BlockColour::White);
    let predefined = Dialect::V4_13.predefined;
    data.block(0, predefined.len() + 1);
    for (i, (exception, _)) in predefined.iter().enumerate() {
        data.block(248, 2);
        data.string(exception.name().as_bytes());
        data.int(-1 - i as i64);
    }
    data.int(0);
    data.finish()
}

/// The number of the program's own global.
fn own_global() -> i32 {
    Dialect::V4_13.predefined.len() as i32
}

/// Instructions with their operands, as words.
fn words(code: &[(Opcode, &[i32])]) -> Vec<i32> {
    code.iter()
        .flat_map(|(op, operands)| std::iter::once(op.word()).chain(operands.iter().copied()))
        .collect()
}

/// Loads a program that calls these primitives.
fn load(
    m: &mut Machine,
    words: Vec<i32>,
    prims: &[&str],
) -> Result<spelter_interp::LoadedProgram, LoadError> {
    m.load_program(Program {
        name: "handmade".to_owned(),
        dialect: Dialect::V4_13,
        words: words.into(),
        prims: prims.to_vec(),
        data: &globals(),
        globals: Dialect::V4_13.predefined.len() + 1,
        debug: DebugInfo::None,
        shared: None,
    })
}

/// Runs a program in a new machine, and returns the value of its global.
fn run(m: &mut Machine, words: Vec<i32>, prims: &[&str]) -> Result<i64, Raise> {
    let program = load(m, words, prims).expect("valid code");
    m.run_loaded(&program)?;
    Ok(m.globals().field(own_global() as usize)?.int()?)
}
