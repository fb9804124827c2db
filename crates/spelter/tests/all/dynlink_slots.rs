//! Tests each rule ([`ModuleSlots`]) for modules that OCaml's own `Dynlink` loads: which units stay alive, and that
//! the global table does not grow if none does.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use spelter::{Grade, Ledger, ModuleSlots, Outcome, Params, Strategy, Vm, World};

use crate::graded;

/// The folder of the conformance corpus's host of `Dynlink`.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../xtask/fixtures/dynlink")
}

/// The same host and some of its plug-ins, compiled by OCaml 5.4, whose `Dynlink` hides private names late.
fn folder_of_5_4() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dynlink_5_4")
}

/// Runs the host's actions on plug-ins; file names in actions such as `repeat:N:FILE` are made absolute.
fn act(slots: ModuleSlots, strategy: Strategy, grade: Grade, actions: &[&str]) -> Vm {
    act_in(&folder(), slots, strategy, grade, actions)
}

fn act_in(folder: &Path, slots: ModuleSlots, strategy: Strategy, grade: Grade, actions: &[&str]) -> Vm {
    let program = folder.join("host.byte");
    let args = actions.iter().map(|action| match action.rsplit_once(':') {
        Some((what, file)) if file.ends_with(".cmo") || file.ends_with(".cma") => {
            format!("{what}:{}", folder.join(file).display())
        }
        _ => (*action).to_owned(),
    });
    let params = Params {
        executable_name: program.as_os_str().as_encoded_bytes().to_owned(),
        argv: std::iter::once("host".to_owned()).chain(args).map(String::into_bytes).collect(),
        ..Params::default()
    };
    let builder = Vm::builder().module_slots(slots).strategy(strategy).params(params).world(World::process());
    let mut vm = graded(builder, grade).build();
    assert_eq!(vm.run_file(&program).expect("it runs"), Outcome::Finished);
    vm.collect().expect("it collects");
    vm
}

fn alive(slots: ModuleSlots, actions: &[&str]) -> usize {
    alive_in(&folder(), slots, actions)
}

fn alive_in(folder: &Path, slots: ModuleSlots, actions: &[&str]) -> usize {
    let mut alive = Vec::new();
    for strategy in [Strategy::Carry, Strategy::Stub] {
        for grade in [Grade::Trusted, Grade::Checked] {
            alive.push(act_in(folder, slots, strategy, grade, actions).units().len());
        }
    }
    alive.dedup();
    assert_eq!(alive.len(), 1, "the engines differ: {alive:?}");
    alive[0]
}

/// These units are reachable only from their modules' slots.
const PRIVATE: [&str; 3] = ["repeat:5:retained.cmo", "forget:retained", "drop"];
const PUBLIC: [&str; 2] = ["public:simple.cmo", "forget:simple"];

#[test]
fn a_private_module_belongs_to_its_unit() {
    assert_eq!(alive(ModuleSlots::Strict, &PRIVATE), 5);
    assert_eq!(alive(ModuleSlots::Auto, &PRIVATE), 0);
    assert_eq!(alive(ModuleSlots::Eager, &PRIVATE), 0);
}

#[test]
fn a_public_module_stays_while_it_has_a_name() {
    assert_eq!(alive(ModuleSlots::Strict, &PUBLIC), 1);
    assert_eq!(alive(ModuleSlots::Auto, &PUBLIC), 1);
    assert_eq!(alive(ModuleSlots::Eager, &PUBLIC), 0);
}

#[test]
fn a_private_unit_uses_public_ones_that_came_before_and_after_private_ones() {
    let actions = [
        "repeat:3:retained.cmo",
        "public:simple.cmo",
        "repeat:3:retained.cmo",
        "gc",
        "private:needs_simple.cmo",
        "repeat:3:retained.cmo",
        "gc",
        "call:needs_simple",
        "forget:needs_simple",
        "forget:simple",
        "forget:retained",
        "drop",
    ];
    // The public one has a name for ever.
    assert_eq!(alive(ModuleSlots::Auto, &actions), 1);
    // Of the private ones, `needs_simple` registers nothing, so it is unreachable.
    assert_eq!(alive(ModuleSlots::Strict, &actions), 1 + 9);
}

fn ledger(actions: &[&str]) -> Ledger {
    act(ModuleSlots::Auto, Strategy::default(), Grade::default(), actions).ledger()
}

#[test]
fn a_thousand_loads_leave_the_tables_as_large_as_one() {
    let drop = ["forget:retained", "drop"];
    let one = ledger(&[&["repeat:1:retained.cmo"], &drop[..]].concat());
    let many = ledger(&[&["repeat:1000:retained.cmo"], &drop[..]].concat());
    assert_eq!(many.differences(&one).collect::<Vec<_>>(), [], "\n{many}");
}

/// Its `Dynlink` removes the names after the units have run, when nothing is loaded: the machine looks at the table when
/// the file is closed, and when the program collects.
#[test]
fn a_private_module_of_5_4_belongs_to_its_unit_once_its_name_is_hidden() {
    let folder = folder_of_5_4();
    assert_eq!(alive_in(&folder, ModuleSlots::Strict, &PRIVATE), 5);
    assert_eq!(alive_in(&folder, ModuleSlots::Auto, &PRIVATE), 0);
    assert_eq!(alive_in(&folder, ModuleSlots::Auto, &PUBLIC), 1);
    let both = ["public:simple.cmo", "repeat:3:retained.cmo", "private:needs_simple.cmo", "gc"];
    let both = [&both[..], &["call:needs_simple", "forget:needs_simple", "forget:simple"], &PRIVATE].concat();
    assert_eq!(alive_in(&folder, ModuleSlots::Auto, &both), 1);
}

#[test]
fn a_thousand_loads_under_5_4_leave_the_tables_as_large_as_one() {
    let drop = ["forget:retained", "drop"];
    let ledger = |times: &str| {
        let actions = [&[times], &drop[..]].concat();
        act_in(&folder_of_5_4(), ModuleSlots::Auto, Strategy::default(), Grade::default(), &actions).ledger()
    };
    let (one, many) = (ledger("repeat:1:retained.cmo"), ledger("repeat:1000:retained.cmo"));
    assert_eq!(many.differences(&one).collect::<Vec<_>>(), [], "\n{many}");
}

/// Reused slot numbers must not be confused with their earlier meaning.
#[test]
fn constants_outlive_their_numbers() {
    let toplevel = Path::new("/usr/bin/ocaml");
    if !toplevel.exists() {
        eprintln!("skipped: needs {}", toplevel.display());
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("constants.ml");
    // Each phrase's constants have the same numbers; closures are marshalled with the identity of their code.
    let mut text = String::new();
    for i in 0..20 {
        writeln!(text, "let f{i} () = \"literal {i}\";;").expect("memory");
    }
    for i in 0..20 {
        writeln!(text, "if f{i} () <> \"literal {i}\" then exit 3;;").expect("memory");
    }
    text += "let again (f : unit -> string) : unit -> string = \
             Marshal.from_string (Marshal.to_string f [Marshal.Closures]) 0;;\n";
    for i in 0..20 {
        writeln!(text, "if again f{i} () <> \"literal {i}\" then exit 4;;").expect("memory");
    }
    std::fs::write(&script, text).expect("the script is written");
    let argv = ["ocaml", "-noinit", script.to_str().expect("a name in UTF-8")];
    let params = Params {
        executable_name: toplevel.as_os_str().as_encoded_bytes().to_owned(),
        argv: argv.map(|arg| arg.as_bytes().to_owned()).to_vec(),
        ..Params::default()
    };
    let mut vm = Vm::builder().params(params).world(World::process()).build();
    assert_eq!(vm.run_file(toplevel).expect("it runs"), Outcome::Exited(0));
}
