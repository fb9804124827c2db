//! One test for each kind of reference that keeps a loaded unit alive: the unit lives while the reference exists, is
//! freed by the first full major collection after it is gone, and all tables then have their original size.
//!
//! Each runs under both strategies, both ways of dispatch, both grades of trust, and on a plain and a torture heap.

use std::path::Path;

use spelter::Bytes;
use spelter::{
    Dispatch, Error, Grade, HeapMode, Ledger, Outcome, Params, Stats, Strategy, Unit, Value, Vm, VmBuilder,
    World,
};

use crate::{Shared, graded, raw};

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/liveness/", $name)).as_slice())
    };
}

const HOST: (&str, &[u8]) = fixture!("host.byte");

/// The host's own handles, which its primitives can drop.
type Held = Shared<Vec<Unit>>;

/// The values that a host primitive keeps.
type Function = Shared<Option<Value>>;

/// A machine with the host program, and the sizes of its tables before any unit was loaded.
struct Rig {
    vm: Vm,
    held: Held,
    function: Function,
    before: Ledger,
}

impl Rig {
    fn new(builder: VmBuilder) -> Rig {
        let held = Held::default();
        let handles = held.clone();
        let function = Function::default();
        let holder = function.clone();
        let builder = builder
            .primitive_in_context("liveness_alive", 1, |cx, _| {
                let alive = cx.units().len();
                Ok(cx.int(alive as i64))
            })
            .primitive_in_context("liveness_call_back", 2, move |cx, args| {
                handles.lock().clear();
                cx.collect();
                let result = cx.call(args[0], &[args[1]])?;
                let result: i64 = cx.read(result)?;
                cx.collect();
                Ok(cx.int(result))
            })
            .primitive_in_context("liveness_hold", 1, move |cx, args| {
                *holder.lock() = Some(cx.keep(args[0]));
                Ok(cx.unit())
            });
        let mut vm = builder.build();
        vm.run_bytes(HOST.0, HOST.1).unwrap();
        vm.collect().unwrap();
        let before = vm.ledger();
        Rig { vm, held, function, before }
    }

    /// Loads a unit that is kept alive only by its own actions.
    fn load(&mut self, (name, bytes): (&str, &[u8])) {
        self.vm.load_bytes(name, bytes).unwrap();
    }

    fn load_public(&mut self, (name, bytes): (&str, &[u8])) {
        self.vm.load_public(name, bytes).unwrap();
    }

    /// A value that the host program registered.
    fn call<T: spelter::FromOcaml>(&mut self, name: &str, args: impl spelter::Args) -> T {
        self.vm.call(name, args).unwrap()
    }

    fn apply(&mut self, n: i64) -> i64 {
        self.call("apply", (n,))
    }

    fn clear(&mut self) {
        self.call("clear", ((),))
    }

    /// The number of units alive after a full collection.
    fn alive(&mut self) -> usize {
        self.vm.collect_once().expect("it collects");
        self.vm.units().len()
    }

    /// Checks that nothing is left of any unit.
    fn check_gone(&mut self) {
        assert_eq!(self.alive(), 0, "units that outlive what held them");
        assert_eq!(self.vm.ledger(), self.before);
    }
}

/// Runs a scenario twice on each kind of machine. At its end, nothing may keep a unit alive.
fn on_each_machine(scenario: impl Fn(&mut Rig)) {
    on_machines(&[Grade::Trusted, Grade::Checked], scenario);
}

fn on_machines(grades: &[Grade], scenario: impl Fn(&mut Rig)) {
    for strategy in [Strategy::Carry, Strategy::Stub] {
        for dispatch in [Dispatch::Loop, Dispatch::Tail] {
            for mode in [HeapMode::Plain, HeapMode::Torture] {
                for grade in grades {
                    eprintln!("{strategy:?} {dispatch:?} {mode:?} {grade:?}");
                    let builder = Vm::builder().strategy(strategy).dispatch(dispatch).heap_mode(mode);
                    let mut rig = Rig::new(graded(builder, *grade));
                    for _ in 0..2 {
                        scenario(&mut rig);
                        rig.check_gone();
                    }
                }
            }
        }
    }
}

/// A unit whose kept function turns `n` into `result` as often as it is called.
fn lives_while_kept(unit: (&str, &[u8]), n: i64, result: i64) {
    on_each_machine(|rig| {
        rig.load(unit);
        for _ in 0..2 {
            assert_eq!(rig.alive(), 1);
            assert_eq!(rig.apply(n), result);
        }
        rig.clear();
    });
}

/// A unit whose kept function drops the last reference to itself, and returns how many units were alive then.
fn lives_while_it_runs(unit: (&str, &[u8]), n: i64, result: i64) {
    on_each_machine(|rig| {
        rig.load(unit);
        assert_eq!(rig.apply(n), result);
    });
}

#[test]
fn a_closure() {
    lives_while_kept(fixture!("closure.cmo"), 10, 11);
}

#[test]
fn a_closure_inside_a_recursive_block() {
    lives_while_kept(fixture!("siblings.cmo"), 7, 20);
}

#[test]
fn a_partial_application() {
    lives_while_kept(fixture!("partial.cmo"), 6, 1 + 4 + 9 + 16 + 30);
}

#[test]
fn a_functors_result() {
    lives_while_kept(fixture!("functors.cmo"), 10, 15);
}

#[test]
fn recursion_through_values() {
    lives_while_kept(fixture!("let_rec.cmo"), -1, 4);
    lives_while_kept(fixture!("let_rec.cmo"), 3, 6);
}

/// A unit that one kind of root keeps alive: `call` uses it successfully; `release` removes the root. `why` is a part
/// of the explanation.
fn lives_by(kind: &str, why: &str, call: impl Fn(&mut Rig), release: impl Fn(&mut Rig)) {
    on_each_machine(|rig| {
        rig.call::<()>("choose", (kind,));
        rig.load(fixture!("roots.cmo"));
        for _ in 0..2 {
            assert_eq!(rig.alive(), 1, "{kind}");
            let explained = rig.vm.why_all_alive()[0].to_string();
            assert!(explained.contains(why), "{explained}");
            call(rig);
        }
        release(rig);
    });
}

#[test]
fn a_partial_application_of_one_step() {
    lives_by("once", "partial application", |rig| assert_eq!(rig.apply(2), 3), Rig::clear);
}

#[test]
fn a_first_class_module() {
    lives_by("module", "closure Roots", |rig| assert_eq!(rig.call::<i64>("run", (2,)), 3), Rig::clear);
}

#[test]
fn a_registered_value() {
    let call = |rig: &mut Rig| assert!(rig.call::<i64>("named", (2,)) > 2);
    lives_by("named", "registered as \"named\"", call, |rig| assert!(rig.vm.unregister("named")));
}

/// A handler set by `Printexc.set_uncaught_exception_handler`.
#[test]
fn a_hook_for_uncaught_exceptions() {
    const HOOK: &str = "Printexc.handle_uncaught_exception";
    let call = |rig: &mut Rig| rig.call::<()>(HOOK, (0, false));
    lives_by("hook", HOOK, call, |rig| assert!(rig.vm.unregister(HOOK)));
}

#[test]
fn a_function_for_the_end() {
    on_machines(&[Grade::Trusted], |rig| {
        rig.call::<()>("remember_exit", ((),));
        rig.call::<()>("choose", ("at_exit",));
        rig.load(fixture!("roots.cmo"));
        assert_eq!(rig.alive(), 1);
        rig.call::<()>("do_at_exit", ((),));
        assert_eq!(rig.alive(), 1, "it has run, but the chain of functions is there");
        rig.call::<()>("forget_exit", ((),));
    });
}

#[test]
fn a_finaliser() {
    let release = |rig: &mut Rig| {
        rig.call::<()>("new_key", ((),));
        assert_eq!(rig.alive(), 1, "it is due, and has not run");
        rig.vm.collect().unwrap();
    };
    lives_by("finaliser", "finaliser", |_| (), release);
}

#[test]
fn an_ephemeron_while_its_key_lives() {
    let release = |rig: &mut Rig| {
        rig.call::<()>("new_key", ((),));
        assert_eq!(rig.alive(), 0, "the ephemeron is there, its key is not");
        rig.clear();
    };
    lives_by("ephemeron", "ephemeron", |_| (), release);
}

#[test]
fn a_primitive_that_holds_a_function() {
    let call = |rig: &mut Rig| {
        let function = rig.function.lock().clone().unwrap();
        assert!(rig.vm.call_value::<i64>(&function, (2,)).unwrap() > 2);
    };
    lives_by("primitive", "host", call, |rig| *rig.function.lock() = None);
}

#[test]
fn an_over_application_under_way() {
    lives_while_it_runs(fixture!("over.cmo"), 10, 117);
}

#[test]
fn a_running_frame() {
    lives_while_it_runs(fixture!("running.cmo"), 5, 105);
}

#[test]
fn a_trap_frame() {
    lives_while_it_runs(fixture!("trap.cmo"), 5, 100 + 100 + 5 + 5000 + 1);
}

/// Only trusted code can do that to a closure.
#[test]
fn a_closure_overwritten_while_it_runs() {
    on_machines(&[Grade::Trusted], |rig| {
        rig.load(fixture!("wiped.cmo"));
        assert_eq!(rig.apply(5), 100 + 5 + 7 + 2 + 1);
    });
    let mut rig = Rig::new(Vm::builder());
    rig.load(fixture!("wiped.cmo"));
    let refused = rig.vm.call::<i64>("apply", (5,)).unwrap_err();
    assert!(refused.to_string().contains("not a closure"), "{refused}");
}

#[test]
fn a_call_back_by_the_host() {
    on_each_machine(|rig| {
        let (name, bytes) = fixture!("callback.cmo");
        let unit = rig.vm.load_bytes(name, bytes).unwrap();
        rig.held.lock().push(unit);
        assert_eq!(rig.apply(5), 106);
        assert!(rig.held.lock().is_empty());
    });
}

#[test]
fn another_units_data() {
    on_each_machine(|rig| {
        rig.load_public(fixture!("holder.cmo"));
        rig.load(fixture!("guest.cmo"));
        assert_eq!(rig.alive(), 2);
        assert!(rig.vm.withdraw("Holder"));
        assert_eq!(rig.alive(), 2);
        assert_eq!(rig.apply(10), 15);
        rig.clear();
    });
}

#[test]
fn a_public_name() {
    on_each_machine(|rig| {
        rig.load_public(fixture!("base.cmo"));
        assert_eq!(rig.alive(), 1);
        // A second unit of the same name takes the name from the first.
        rig.load_public(fixture!("base.cmo"));
        assert_eq!(rig.alive(), 1);
        assert!(rig.vm.withdraw("Base"));
        assert!(!rig.vm.withdraw("Base"));
    });
}

#[test]
fn an_import() {
    on_each_machine(|rig| {
        rig.load_public(fixture!("base.cmo"));
        rig.load(fixture!("user.cmo"));
        assert!(rig.vm.withdraw("Base"));
        assert_eq!(rig.alive(), 2);
        assert_eq!((rig.apply(10), rig.apply(10)), (11, 12));
        rig.load_public(fixture!("base.cmo"));
        assert_eq!(rig.apply(10), 13, "linked with the first of the name");
        assert!(rig.vm.withdraw("Base"));
        rig.clear();
    });
}

#[test]
fn a_handle() {
    on_each_machine(|rig| {
        let (name, bytes) = fixture!("base.cmo");
        let unit = rig.vm.load_bytes(name, bytes).unwrap();
        assert_eq!(rig.alive(), 1);
        let next: Value = rig.vm.field(&unit, 1).unwrap();
        drop(unit);
        assert_eq!(rig.alive(), 1, "the host holds a function");
        assert_eq!(rig.vm.call_value::<i64>(&next, ((),)).unwrap(), 1);
    });
}

#[test]
fn nothing_but_itself() {
    on_each_machine(|rig| rig.load(fixture!("knot.cmo")));
}

#[test]
fn a_suspension() {
    on_each_machine(|rig| {
        rig.load(fixture!("suspension.cmo"));
        assert_eq!(rig.alive(), 1);
        assert_eq!(rig.call::<i64>("force", ((),)), 141);
        assert_eq!(rig.alive(), 0, "a forced suspension is but its value");
        assert_eq!(rig.call::<i64>("force", ((),)), 141);
        rig.clear();
    });
}

#[test]
fn an_object() {
    on_each_machine(|rig| {
        rig.load(fixture!("objects.cmo"));
        for _ in 0..2 {
            assert_eq!(rig.alive(), 1);
            assert_eq!(rig.call::<i64>("send", (3,)), 10);
        }
        rig.clear();
    });
}

#[test]
fn not_an_exception() {
    on_each_machine(|rig| {
        rig.load(fixture!("exceptions.cmo"));
        rig.call::<()>("catch", (3,));
        assert_eq!(rig.alive(), 0, "an exception's constructor is data");
        assert_eq!(rig.call::<String>("constructor", ((),)), "Exceptions.Own");
        assert_eq!(rig.call::<i64>("argument", ((),)), 4);
        rig.clear();
    });
}

#[test]
fn not_a_failed_load() {
    on_each_machine(|rig| {
        let (name, bytes) = fixture!("failing.cmo");
        let failure = rig.vm.load_public(name, bytes).unwrap_err();
        assert_eq!(failure.to_string(), "uncaught exception Not_found");
        let (name, bytes) = fixture!("user.cmo");
        let failure = rig.vm.load_bytes(name, bytes).unwrap_err();
        assert!(matches!(failure, Error::Link { .. }), "{failure}");
    });
}

/// The number of a marshalled header's field: counted in words from its start, most significant byte first.
fn header_field(message: &[u8], i: usize) -> u32 {
    u32::from_be_bytes(message[4 * i..][..4].try_into().unwrap())
}

/// Sends a unit's kept closure through `Marshal`; the message's header must state `words` words.
fn marshalled(unit: (&'static str, &'static [u8]), words: u32, n: i64, result: i64) {
    on_each_machine(move |rig| {
        rig.load(unit);
        let message: Bytes = rig.call("write", ((),));
        assert_eq!(header_field(&message.0, 0), 0x8495_A6BE);
        assert_eq!(header_field(&message.0, 4), words, "words, as stock OCaml would count them");
        rig.call::<()>("read", (&message.0[..],));
        assert_eq!(rig.alive(), 1, "only the closure that has been read leads to the unit");
        assert_eq!(rig.apply(n), result);
        let again: Bytes = rig.call("write", ((),));
        assert_eq!(message.0, again.0);
        rig.clear();
        assert_eq!(rig.alive(), 0);
        let gone = rig.vm.call::<()>("read", (&message.0[..],)).unwrap_err();
        assert!(gone.to_string().contains("unknown code module"), "{gone}");
    });
}

#[test]
fn a_closure_that_has_been_marshalled() {
    marshalled(fixture!("closure.cmo"), 1 + 3, 10, 11);
}

#[test]
fn a_closure_inside_a_block_that_has_been_marshalled() {
    marshalled(fixture!("siblings.cmo"), 1 + 9, 7, 20);
}

#[test]
fn a_partial_application_that_has_been_marshalled() {
    marshalled(fixture!("partial.cmo"), (1 + 7) + (1 + 2), 6, 60);
}

#[test]
fn twenty_thousand_loads() {
    for strategy in [Strategy::Carry, Strategy::Stub] {
        let mut rig = Rig::new(Vm::builder().strategy(strategy));
        let (mut most_units, mut most_weaks) = (0, 0);
        let mut heap_words = 0;
        for i in 0..20_000 {
            rig.load(fixture!("closure.cmo"));
            let m = raw(&mut rig.vm);
            most_units = m.units().counts.alive().max(most_units);
            most_weaks = m.heap().weak_count().max(most_weaks);
            if i == 5_000 {
                heap_words = rig.vm.stats().top_heap_words;
            }
        }
        eprintln!("{strategy:?}: at most {most_units} units, {heap_words} words");
        assert_eq!(rig.vm.stats().units_loaded, 20_000);
        let top = rig.vm.stats().top_heap_words;
        assert!(top <= heap_words + heap_words / 8, "the heap goes on growing: {heap_words}, {top}");
        assert!(most_units < 4_000 && most_weaks < 4_000, "units pile up: {most_units}, {most_weaks}");
        rig.clear();
        rig.check_gone();
    }
}

// ---- code loaded by OCaml's own programs -----------------------------------------------------------------

/// Runs a program that loads code itself, on each kind of machine; `check` inspects the state after a collection.
fn runs(program: &Path, args: &[String], mode: HeapMode, check: impl Fn(Stats)) {
    let bytes = std::fs::read(program).unwrap();
    for strategy in [Strategy::Carry, Strategy::Stub] {
        for dispatch in [Dispatch::Loop, Dispatch::Tail] {
            let builder = Vm::builder().strategy(strategy).dispatch(dispatch).heap_mode(mode);
            let params = Params {
                executable_name: program.as_os_str().as_encoded_bytes().to_owned(),
                argv: args.iter().map(|arg| arg.clone().into_bytes()).collect(),
                ..Params::default()
            };
            let mut vm = builder.params(params).world(World::process()).build();
            let outcome = vm.run_bytes(&args[0], &bytes).unwrap();
            assert!(matches!(outcome, Outcome::Finished | Outcome::Exited(0)), "{outcome:?}");
            vm.collect().unwrap();
            check(vm.stats());
        }
    }
}

/// Runs the conformance corpus's host of `Dynlink` with an action on a plug-in.
fn dynlink(plugin: &str, actions: &[&str], check: impl Fn(Stats)) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (program, plugin) = (here.join("../../xtask/fixtures/dynlink/host.byte"), here.join(plugin));
    let args = actions.iter().map(|action| match action.strip_suffix(":plugin") {
        Some(what) => format!("{what}:{}", plugin.display()),
        None => (*action).to_owned(),
    });
    let args: Vec<String> = std::iter::once("host".to_owned()).chain(args).collect();
    runs(&program, &args, HeapMode::Plain, check);
}

#[test]
fn what_dynlink_loads_while_the_program_holds_it() {
    let plugin = "tests/fixtures/liveness/double.cmo";
    let repeat = "repeat:50:plugin";
    dynlink(plugin, &[repeat, "call:double"], |stats| {
        assert_eq!((stats.units_loaded, stats.units_alive), (50, 1), "the last one is registered");
    });
    dynlink(plugin, &[repeat, "forget:double"], |stats| {
        assert_eq!((stats.units_loaded, stats.units_alive), (50, 0));
    });
}

#[test]
fn the_toplevels_phrases_until_they_are_redefined() {
    let toplevel = Path::new("/usr/bin/ocaml");
    if !toplevel.exists() {
        eprintln!("skipped: needs {}", toplevel.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let phrases = |count: usize, name: fn(usize) -> String| {
        let file = folder.path().join("phrases.ml");
        let text: String = (0..count)
            .map(|i| format!("let {} = let k = {i} in fun n -> n + Sys.opaque_identity k;;\n", name(i)))
            .collect();
        std::fs::write(&file, text).unwrap();
        vec!["ocaml".to_owned(), "-noinit".to_owned(), file.display().to_string()]
    };
    runs(toplevel, &phrases(100, |i| format!("f{i}")), HeapMode::Plain, |stats| {
        assert!(stats.units_alive >= 100, "{} alive", stats.units_alive);
    });
    runs(toplevel, &phrases(100, |_| "f".to_owned()), HeapMode::Plain, |stats| {
        assert!(stats.units_loaded >= 100, "{} loaded", stats.units_loaded);
        assert!(stats.units_alive <= 2, "{} alive", stats.units_alive);
    });
}
