//! References that must not keep a loaded unit alive, and references to its code that the collector does not know:
//! they must never read freed code, nor confuse other code with it.
//!
//! As in `liveness`, each test runs on every kind of machine, and all tables must have their original size
//! afterwards.

use std::path::Path;

use spelter::{Grade, HeapMode, Ledger, Outcome, Params, Strategy, Vm, VmBuilder, World};
use spelter_bytecode::Opcode;
use spelter_bytecode::code::bytes_of_words;

use spelter::Bytes;

use crate::{every_builder, graded};

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/hazards/", $name)).as_slice())
    };
}

type Fixture = (&'static str, &'static [u8]);

const FIRST: Fixture = fixture!("first.cmo");
const SECOND: Fixture = fixture!("second.cmo");
const READER: Fixture = fixture!("reader.cmo");

/// How often a unit is loaded after one has been freed, so that it reuses the address at least once.
const RELOADS: usize = 5;

/// A machine with the host program, and the sizes of its tables before any unit was loaded.
struct Rig {
    vm: Vm,
    before: Ledger,
}

impl Rig {
    fn new(builder: VmBuilder) -> Rig {
        // The host writes to /dev/null.
        let mut vm = builder.world(World::process()).build();
        let (name, bytes) = fixture!("host.byte");
        vm.run_bytes(name, bytes).unwrap();
        vm.collect().unwrap();
        let before = vm.ledger();
        Rig { vm, before }
    }

    /// Loads a unit that is kept alive only by its own actions.
    fn load(&mut self, (name, bytes): Fixture) {
        self.vm.load_bytes(name, bytes).unwrap();
    }

    fn call<T: spelter::FromOcaml>(&mut self, name: &str, args: impl spelter::Args) -> T {
        self.vm.call(name, args).unwrap()
    }

    /// The kept function's result for `n`.
    fn apply(&mut self, n: i64) -> i64 {
        self.call("apply", (n,))
    }

    fn act(&mut self, name: &str) {
        self.call(name, ((),))
    }

    fn text(&mut self, name: &str) -> String {
        self.call(name, ((),))
    }

    /// The number of units alive after a full collection.
    fn alive(&mut self) -> usize {
        self.vm.collect_once().expect("it collects");
        self.vm.units().len()
    }

    /// Drops the kept value: no unit is left then.
    fn drop_all(&mut self) {
        self.act("clear");
        assert_eq!(self.alive(), 0, "units that outlive what held them");
        assert_eq!(self.vm.ledger(), self.before);
    }
}

/// Runs a scenario twice on each kind of machine. At its end, only the kept value's unit may be alive.
fn on_each_machine(scenario: impl Fn(&mut Rig)) {
    on_machines("", scenario);
}

/// The same on machines whose names contain `which`.
fn on_machines(which: &str, scenario: impl Fn(&mut Rig)) {
    for (name, builder) in every_builder().filter(|(name, _)| name.contains(which)) {
        eprintln!("{name}");
        let mut rig = Rig::new(builder);
        for _ in 0..2 {
            scenario(&mut rig);
            rig.drop_all();
        }
    }
}

// ---- references that must not keep a unit alive -----------------------------------------------------------------

/// Their globals refer to each other, and they have literals and digests of each other's interface.
#[test]
fn two_units_that_refer_to_each_other() {
    on_each_machine(|rig| {
        for (name, bytes) in [fixture!("ping.cmo"), fixture!("pong.cmo")] {
            rig.vm.load_public(name, bytes).unwrap();
        }
        rig.act("clear");
        assert_eq!(rig.alive(), 2, "they have names");
        assert!(rig.vm.withdraw("Pong"));
        assert_eq!(rig.alive(), 2, "one is in the data of one that has a name");
        assert!(rig.vm.withdraw("Ping"));
    });
    on_each_machine(|rig| {
        for (name, bytes) in [fixture!("ping.cmo"), fixture!("pong.cmo")] {
            rig.vm.load_public(name, bytes).unwrap();
        }
        assert!(rig.vm.withdraw("Ping") && rig.vm.withdraw("Pong"));
        assert_eq!(rig.alive(), 2, "one function leads to both");
        assert_eq!((rig.apply(4), rig.apply(5)), (100, 19));
    });
}

#[test]
fn a_backtrace_that_has_been_printed() {
    on_each_machine(|rig| {
        rig.load(FIRST);
        assert_eq!(rig.call::<i64>("catch", (2,)), 0);
        for printed in [rig.text("show"), rig.text("print")] {
            assert!(printed.contains("Raised at Stdlib.failwith"), "{printed}");
            assert!(printed.contains("First.fail in file \"first.ml\", line 3"), "{printed}");
        }
        let debug = |rig: &mut Rig| rig.vm.ledger().size("bytes of debug data");
        assert!(debug(rig) > debug_before(rig), "its events have been read");
    });
}

fn debug_before(rig: &Rig) -> Option<usize> {
    rig.before.size("bytes of debug data")
}

#[test]
fn a_method_cache_of_static_code() {
    on_each_machine(|rig| {
        for _ in 0..RELOADS {
            rig.load(fixture!("method.cmo"));
            assert_eq!(rig.call::<i64>("send", (3,)), 30);
            assert_eq!(rig.alive(), 1);
            assert_eq!(rig.call::<i64>("send", (4,)), 32);
            rig.drop_all();
        }
    });
}

#[test]
fn a_weak_pointer_and_an_ephemeron() {
    on_each_machine(|rig| {
        rig.load(READER);
        rig.act("weaken");
        assert_eq!(rig.alive(), 1);
        assert!(!rig.call::<bool>("taken", ((),)));
        assert_eq!(rig.apply(1), 6);
        rig.act("clear");
        assert_eq!(rig.alive(), 0);
        assert!(rig.call::<bool>("taken", ((),)));
    });
}

// ---- references to code that the collector does not know -------------------------------------------------

/// New code at the address of freed code is not confused with it.
fn check_forgotten(rig: &mut Rig, file: &str) {
    rig.act("clear");
    assert_eq!(rig.alive(), 0, "integers keep nothing alive");
    let slots: i64 = rig.call("slots", ((),));
    for _ in 0..RELOADS {
        for name in ["show", "raise_again"] {
            let printed = rig.text(name);
            assert!(printed.contains("unknown location"), "{printed}");
            for known in [file, "first.ml", "second.ml", "reader.ml"] {
                assert!(!printed.contains(known), "{printed}");
            }
            assert!(printed.contains("host.ml"), "what is there still has its name: {printed}");
        }
        assert_eq!(rig.call::<i64>("slots", ((),)), slots);
        rig.act("clear");
        rig.alive();
        rig.load(SECOND);
    }
}

#[test]
fn a_raw_backtrace_of_a_unit_that_is_gone() {
    on_each_machine(|rig| {
        rig.load(FIRST);
        assert_eq!(rig.call::<i64>("catch", (2,)), 0);
        check_forgotten(rig, "first.ml");
    });
}

/// The machine still holds the backtrace when the unit is freed.
#[test]
fn the_last_backtrace_of_a_unit_that_is_gone() {
    on_each_machine(|rig| {
        rig.load(FIRST);
        assert_eq!(rig.call::<i64>("catch", (2,)), 0);
        assert!(rig.text("print").contains("first.ml"));
        for _ in 0..RELOADS {
            rig.act("clear");
            rig.alive();
            let printed = rig.text("print");
            assert!(printed.contains("unknown location"), "{printed}");
            assert!(!printed.contains("first.ml") && !printed.contains("second.ml"), "{printed}");
            rig.load(SECOND);
            let printed = rig.text("print");
            assert!(!printed.contains("first.ml") && !printed.contains("second.ml"), "{printed}");
        }
    });
}

#[test]
fn a_call_stack_of_a_unit_that_is_gone() {
    on_each_machine(|rig| {
        rig.load(fixture!("stack.cmo"));
        rig.act("stack");
        let printed = rig.text("show");
        assert!(printed.contains("Stack.here in file \"stack.ml\", line 2"), "{printed}");
        rig.act("clear");
        assert_eq!(rig.alive(), 0);
        rig.load(FIRST);
        let printed = rig.text("show");
        assert!(!printed.contains("stack.ml") && !printed.contains("first.ml"), "{printed}");
    });
}

#[test]
fn a_code_address_that_was_read_before_its_unit_went() {
    on_each_machine(|rig| {
        rig.load(READER);
        rig.act("read_code");
        assert!(rig.call::<bool>("same_code", ((),)));
        rig.act("clear");
        assert_eq!(rig.alive(), 0, "a number keeps nothing alive");
        for unit in [FIRST, SECOND, READER, READER] {
            rig.act("keep_static");
            assert_eq!(rig.text("write_code"), "Obj.set_raw_field: a closure");
            assert_eq!(rig.apply(1), 2);
            rig.load(unit);
            // If it is accepted, it is the code of a function of this closure again.
            rig.text("write_code");
            if unit == READER {
                assert_eq!(rig.apply(1), 6);
            } else {
                let raised = rig.vm.call::<i64>("apply", (1,)).unwrap_err().to_string();
                assert!(raised.contains("Failure"), "{raised}");
            }
            // The unit is alive, but not because of that closure.
            rig.act("read_code");
            rig.act("swap");
            rig.act("keep_static");
            assert_eq!(rig.text("write_code"), "Obj.set_raw_field: a closure");
            rig.act("swap");
            rig.act("clear");
            assert_eq!(rig.alive(), 0);
            rig.act("swap");
            rig.act("clear");
        }
    });
}

/// This is what the toplevel's `#trace` does; only trusted code may do it.
#[test]
fn a_code_address_that_is_put_back() {
    on_machines("Trusted", |rig| {
        rig.load(READER);
        rig.act("read_code");
        rig.act("write_static");
        assert_eq!(rig.alive(), 1, "the closure has other code, and still leads to its own");
        assert_eq!(rig.apply(1), 1001);
        assert_eq!(rig.text("write_code"), "written");
        assert_eq!(rig.apply(1), 6);
    });
    on_machines("Checked", |rig| {
        rig.load(READER);
        rig.act("read_code");
        assert_eq!(rig.text("write_code"), "Obj.set_raw_field: a closure");
        assert_eq!(rig.apply(1), 6);
    });
}

/// The same file loaded twice has one digest.
#[test]
fn closures_marshalled_by_a_digest_of_two_units() {
    for first_goes in [true, false] {
        on_each_machine(|rig| {
            rig.load(READER);
            let message: Bytes = rig.call("write", ((),));
            rig.act("swap");
            rig.load(READER);
            assert_eq!(rig.call::<Bytes>("write", ((),)).0, message.0);
            assert_eq!(rig.alive(), 2);
            if first_goes {
                rig.act("swap");
            }
            rig.act("clear");
            assert_eq!(rig.alive(), 1, "a digest keeps nothing alive");
            rig.call::<()>("read", (&message.0[..],));
            assert_eq!(rig.apply(1), 6);
            rig.act("swap");
            rig.act("clear");
            assert_eq!(rig.alive(), 1, "what has been read leads to the living one");
            rig.act("swap");
            assert_eq!(rig.apply(2), 7);
            rig.act("clear");
            assert_eq!(rig.alive(), 0);
            let gone = rig.vm.call::<()>("read", (&message.0[..],)).unwrap_err().to_string();
            assert!(gone.contains("input_value: unknown code module"), "{gone}");
        });
    }
}

/// Code without events or literals, whose handle the program releases itself.
#[test]
fn a_handle_that_is_released_by_hand() {
    let words = [Opcode::CONSTINT.word(), 42, Opcode::RETURN.word(), 1];
    let code = bytes_of_words(&words);
    on_each_machine(|rig| {
        rig.call::<()>("reify_by_hand", (&code[..],));
        assert_eq!(rig.call::<i64>("run", ((),)), 42);
        for _ in 0..2 {
            rig.act("release");
            assert_eq!(rig.alive(), 1, "its closure is there");
            assert_eq!(rig.call::<i64>("run", ((),)), 42);
        }
        rig.act("clear");
        assert_eq!(rig.alive(), 0);
        // The code is freed; the handle has no effect any more.
        rig.act("release");
        rig.act("forget");
        let refused = rig.vm.call::<()>("release", ((),)).unwrap_err().to_string();
        assert!(refused.contains("Invalid_argument"), "{refused}");
        // Without a release, the handle keeps the code alive.
        rig.call::<()>("reify_by_hand", (&code[..],));
        rig.act("clear");
        assert_eq!(rig.alive(), 1);
        rig.act("forget");
    });
}

/// After a failed phrase, the toplevel reuses the numbers of its literals for the next phrase. In OCaml's own
/// runtime, a closure that escaped from the failed phrase then sees the next phrase's literals.
#[test]
fn literals_after_a_phrase_that_fails() {
    let toplevel = Path::new("/usr/bin/ocaml");
    if !toplevel.exists() {
        eprintln!("skipped: needs {}", toplevel.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let failing = folder.path().join("failing.ml");
    std::fs::write(&failing, "escaped := (fun () -> \"of the one that failed\"); raise Exit;;\n").unwrap();
    let script = folder.path().join("literals.ml");
    let text = format!(
        "let escaped = ref (fun () -> \"none\");;\n\
         #use {failing:?};;\n\
         let next () = \"of the next\";;\n\
         let later () = \"of a later one\";;\n\
         let all = !escaped (), next (), later ();;\n\
         if all <> (\"of the one that failed\", \"of the next\", \"of a later one\") then exit 3;;\n"
    );
    std::fs::write(&script, text).unwrap();
    // OCaml's own runtime shows the problem, so this test is the right case.
    let stock = std::process::Command::new(toplevel).arg("-noinit").arg(&script).output().unwrap();
    assert_eq!(stock.status.code(), Some(3), "{}", String::from_utf8_lossy(&stock.stderr));
    for strategy in [Strategy::Carry, Strategy::Stub] {
        for grade in [Grade::Trusted, Grade::Checked] {
            let argv = ["ocaml", "-noinit", script.to_str().unwrap()];
            let params = Params {
                executable_name: toplevel.as_os_str().as_encoded_bytes().to_owned(),
                argv: argv.map(|arg| arg.as_bytes().to_owned()).to_vec(),
                ..Params::default()
            };
            let builder =
                graded(Vm::builder().params(params).strategy(strategy).world(World::process()), grade);
            let mut vm = builder.heap_mode(HeapMode::Plain).build();
            assert_eq!(vm.run_file(toplevel).unwrap(), Outcome::Exited(0));
        }
    }
}
