//! A program without a compiler: assembles `let rec sum n = if n = 0 then 0 else n + sum (n - 1)`, loads it into a
//! machine, and calls the function from Rust, with each kind of dispatch.
//!
//! Run it with `cargo run -p spelter-interp --example by_hand`.

use std::error::Error;

use spelter_bytecode::marshal::{BlockColour, Encoder};
use spelter_bytecode::{Dialect, Opcode};
use spelter_interp::inspect::backtrace::DebugInfo;
use spelter_interp::{Dispatch, Engine, Machine, Program, Raise, Settings};

/// The global in which the program stores its function, after OCaml's predefined exceptions.
const SUM: usize = Dialect::V4_13.predefined.len();

/// The code. Branch targets are relative to the word that holds them.
#[rustfmt::skip]
fn words() -> Vec<i32> {
    use Opcode::*;
    let op = Opcode::word;
    vec![
        op(BRANCH), 17 - 1,
        op(ACC0), // at 2: the function, whose argument is on the stack
        op(BRANCHIFNOT), 14 - 4,
        op(ACC0),
        op(OFFSETINT), -1,
        op(PUSHOFFSETCLOSURE0),
        op(APPLY1),
        op(PUSHACC1),
        op(ADDINT),
        op(RETURN), 1,
        op(CONST0), // at 14: sum 0
        op(RETURN), 1,
        op(CLOSUREREC), 1, 0, 2 - 20, // at 17: the program
        op(ACC0),
        op(SETGLOBAL), SUM as i32,
        op(POP), 1,
        op(STOP),
    ]
}

/// The table of globals, in the form that an executable has.
fn globals() -> Vec<u8> {
    let mut data = Encoder::new(BlockColour::White);
    data.block(0, SUM + 1);
    for (i, (exception, _)) in Dialect::V4_13.predefined.iter().enumerate() {
        data.block(248, 2);
        data.string(exception.name().as_bytes());
        data.int(-1 - i as i64);
    }
    data.int(0);
    data.finish()
}

/// The sum of the numbers up to `n`.
fn sum(m: &mut Machine, n: i64) -> Result<i64, Raise> {
    let f = m.push(|m| Ok(m.globals().field(SUM)?))?;
    let n = m.push_int(n);
    Ok(m.call(f, &[n])?.int()?)
}

/// A machine that has run the program.
fn machine(dispatch: Dispatch) -> Result<Machine, Box<dyn Error>> {
    let mut m = Machine::new(Settings { engine: Engine::checked(dispatch), ..Settings::default() });
    let data = globals();
    let program = Program {
        name: "sum".to_owned(),
        dialect: Dialect::V4_13,
        words: words().into(),
        prims: Vec::new(),
        data: &data,
        globals: SUM + 1,
        debug: DebugInfo::None,
        shared: None,
    };
    // Loading verifies the code; running it makes the closure.
    let program = m.load_program(program)?;
    m.run_loaded(&program).map_err(|raise| format!("{raise:?}"))?;
    Ok(m)
}

fn main() -> Result<(), Box<dyn Error>> {
    for dispatch in [Dispatch::Loop, Dispatch::Tail, Dispatch::Profile] {
        let mut m = machine(dispatch)?;
        let sum = sum(&mut m, 100).map_err(|raise| format!("{raise:?}"))?;
        assert_eq!(sum, 5050);
        println!("{dispatch:?}: {sum}");
        if dispatch == Dispatch::Profile {
            println!("in {} instructions", m.profile().total());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs() {
        main().unwrap();
    }
}
