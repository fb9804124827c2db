//! Attacks with names: OCaml programs, compiled, that try to do more than they may. `docs/security.md` lists those of
//! `attacks.ml`, with what becomes of each.

use std::sync::OnceLock;

use spelter::{Bytes, Program, Vm};

/// The program `attacks.ml`, which attacks as its argument says.
const ATTACKS: &[u8] = include_bytes!("../../crates/spelter/tests/fixtures/attacks.byte");
/// The program `hunger.ml`, which wants one kind of thing without end, as its argument says.
const HUNGER: &[u8] = include_bytes!("../../crates/spelter/tests/fixtures/hunger.byte");

/// The names of all attacks of `attacks.ml`.
pub fn names() -> Vec<String> {
    let mut vm = Vm::builder().args(["attacks", "list"]).build();
    vm.run_bytes("attacks.byte", ATTACKS).expect("it lists them");
    String::from_utf8_lossy(&vm.output()).lines().map(str::to_owned).collect()
}

/// The names of all programs of `hunger.ml`.
fn hungry() -> Vec<String> {
    let mut vm = Vm::builder().args(["hunger", "list"]).build();
    vm.run_bytes("hunger.byte", HUNGER).expect("it lists them");
    let names: Bytes = vm.value("names").expect("it registers them");
    String::from_utf8_lossy(&names.0).lines().map(str::to_owned).collect()
}

/// The program `attacks.ml`.
pub fn program() -> Program {
    Program::new("attacks.byte", ATTACKS).expect("a fixture")
}

/// All attacks with names: programs, and the argument of each.
pub(crate) fn all() -> &'static [(Program, String)] {
    static ALL: OnceLock<Vec<(Program, String)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let of =
            |program: Program, names: Vec<String>| names.into_iter().map(move |name| (program.clone(), name));
        let hunger = Program::new("hunger.byte", HUNGER).expect("a fixture");
        of(program(), names()).chain(of(hunger, hungry())).collect()
    })
}
