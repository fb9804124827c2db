//! Spelter's own OCaml module, `crates/dynlink/ocaml/spelter.mli`, in a program that uses all of it.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use spelter::{Dispatch, HeapMode, Outcome, Params, Strategy, Vm, World};

/// Runs the program in a separate process (this test again), because it writes to standard output.
fn output_of(strategy: Strategy, dispatch: Dispatch, mode: HeapMode) -> String {
    let settings = format!("{strategy:?} {dispatch:?} {mode:?}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "ocaml_side::the_program_itself"])
        .env("SPELTER_TEST_MANAGER", settings)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, text) = text.split_once("--- begin\n").unwrap();
    text.split_once("--- end\n").unwrap().0.to_owned()
}

#[test]
fn the_program_itself() {
    let Ok(settings) = std::env::var("SPELTER_TEST_MANAGER") else { return };
    let strategy = if settings.contains("Stub") { Strategy::Stub } else { Strategy::Carry };
    let dispatch = if settings.contains("Loop") { Dispatch::Loop } else { Dispatch::Tail };
    let mode = if settings.contains("Torture") { HeapMode::Torture } else { HeapMode::Plain };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/service");
    let unit = folder.join("offered.cmo").display().to_string();
    let params =
        Params { argv: vec![b"manager.byte".to_vec(), unit.clone().into_bytes()], ..Params::default() };
    let builder = Vm::builder().strategy(strategy).dispatch(dispatch).heap_mode(mode).world(World::process());
    let mut vm = builder.params(params).build();
    std::io::stdout().write_all(b"--- begin\n").unwrap();
    let outcome = vm.run_file(folder.join("manager.byte")).unwrap();
    assert!(matches!(outcome, Outcome::Finished | Outcome::Exited(0)), "{outcome:?}");
    std::io::stdout().write_all(b"--- end\n").unwrap();
}

#[test]
fn a_program_manages_its_units() {
    let first = output_of(Strategy::Carry, Dispatch::Loop, HeapMode::Plain);
    insta::assert_snapshot!(first);
    for strategy in [Strategy::Carry, Strategy::Stub] {
        for dispatch in [Dispatch::Loop, Dispatch::Tail] {
            for mode in [HeapMode::Plain, HeapMode::Torture] {
                assert_eq!(output_of(strategy, dispatch, mode), first, "{strategy:?} {dispatch:?} {mode:?}");
            }
        }
    }
}
