//! Libraries in place of a program: what is linked when, what machines share, and what is refused.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;

use spelter::{Error, Grade, Grant, Library, Limit, LinkError, Vm, VmBuilder, World};
use spelter_bytecode::{CompilationUnit, Dialect, obj};

use crate::{Shared, every_builder, fixture, graded};

#[path = "../../examples/library.rs"]
mod example;

/// The standard library of the OCaml that the other tests use.
fn stdlib() -> &'static Library {
    static STDLIB: OnceLock<Library> = OnceLock::new();
    STDLIB.get_or_init(|| Library::stdlib_in(installed()).expect("OCaml is installed"))
}

fn installed() -> PathBuf {
    std::env::var_os("SPELTER_TEST_OCAML").map_or_else(|| "/usr/lib/ocaml".into(), PathBuf::from)
}

/// The bytes of a library of these units.
fn archive(units: &[(&str, &[u8])]) -> Vec<u8> {
    let units = units.iter().map(|(_, bytes)| CompilationUnit::read(bytes).expect("a unit")).collect();
    obj::Library::new(Dialect::V4_13, units).write()
}

fn library(name: &str, units: &[(&str, &[u8])]) -> Library {
    Library::new(name, &archive(units)).expect("a library")
}

/// A library without OCaml's: its units tell `host_log` when they are initialised.
fn tools() -> Library {
    let alphabet = [
        fixture!("library/alpha.cmo"),
        fixture!("library/beta.cmo"),
        fixture!("library/gamma.cmo"),
        fixture!("library/delta.cmo"),
        fixture!("library/epsilon.cmo"),
        fixture!("library/zeta.cmo"),
    ];
    library("tools.cma", &alphabet)
}

/// Adds what the units of the library call; what they tell is in the list.
fn logging(builder: VmBuilder, log: &Shared<Vec<String>>) -> VmBuilder {
    let (log, failures) = (log.clone(), Shared::new(1));
    let builder = builder.primitive("host_log", move |line: String| log.lock().push(line));
    builder.primitive("host_fails", move |(): ()| {
        let mut left = failures.lock();
        *left -= 1;
        *left >= 0
    })
}

fn with_tools(builder: VmBuilder) -> (Vm, Shared<Vec<String>>) {
    let log = Shared::default();
    let vm = logging(builder, &log).library(&tools()).build();
    (vm, log)
}

fn load(vm: &mut Vm, (name, bytes): (&str, &[u8])) -> Result<spelter::Unit, Error> {
    vm.load_bytes(name, bytes)
}

#[test]
fn what_a_unit_needs_is_initialised_once_in_order_when_it_is_loaded() {
    let tools = tools();
    for (name, builder) in every_builder() {
        let log = Shared::default();
        let mut vm = logging(builder, &log).library(&tools).build();
        assert_eq!(vm.library_units(), [""; 0]);
        for turn in 1..=2 {
            let unit = load(&mut vm, fixture!("library/user.cmo")).expect(&name);
            assert_eq!(vm.call::<i64>("twice", ((),)).expect(&name), 4 * turn - 1, "{name}");
            drop(unit);
            vm.unregister("twice");
            vm.collect().expect(&name);
            // The library's units are the program: they are not freed, and keep their state.
            assert_eq!(vm.units(), []);
        }
        assert_eq!(*log.lock(), ["alpha", "beta", "user", "user"], "{name}");
        assert_eq!(vm.library_units(), ["Alpha", "Beta"]);
    }
}

#[test]
fn a_plugin_uses_much_of_the_standard_library() {
    for (name, builder) in every_builder() {
        let mut vm = builder.library(stdlib()).build();
        let _unit = load(&mut vm, fixture!("library/report.cmo")).expect(&name);
        let report: String = vm.call("report", ("b a b c a b",)).expect(&name);
        assert_eq!(report, "a:2 b:3 c:1", "{name}");
        // What the runtime finds by its registered name, as in a program.
        assert_eq!(vm.call::<String>("explain", (" ",)).expect(&name), "no words at all");
        assert_eq!(vm.output(), b"[loaded]");
        match vm.call::<i64>("beyond", (3,)) {
            Err(Error::Uncaught { exception, .. }) => {
                assert_eq!(exception, "Invalid_argument(\"index out of bounds\")", "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
        // A host's exception, and the predefined one that the code matches, are the same.
        assert_eq!(vm.call::<i64>("beyond", (2,)).expect(&name), 3);
        assert!(matches!(vm.call::<()>("leave", (3,)), Err(Error::Exit(3))), "{name}");
        assert_eq!(vm.output(), b"[bye]");
    }
}

#[test]
fn the_end_of_a_machine_runs_what_at_exit_registered() {
    let output = spelter::Captured::default();
    let world = World::nothing().stdout(output.clone());
    let mut vm = Vm::builder().world(world).library(stdlib()).build();
    let _unit = load(&mut vm, fixture!("library/report.cmo")).expect("it is loaded");
    assert_eq!(output.take(), b"");
    vm.call::<()>("Pervasives.do_at_exit", ((),)).expect("it runs");
    assert_eq!(output.take(), b"[loaded][bye]");
}

#[test]
fn machines_in_many_threads_share_a_library() {
    let run = || {
        let mut vm = Vm::builder().fuel(1_000_000).library(stdlib()).build();
        let _unit = load(&mut vm, fixture!("library/report.cmo")).expect("it is loaded");
        let report = vm.call::<String>("report", ("x y x",)).expect("a report");
        (report, vm.fuel(), vm.library_units())
    };
    let expected = run();
    assert_eq!(expected.0, "x:2 y:1");
    assert!(expected.2.len() < stdlib().units().count(), "not all of {:?}", expected.2);
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| (0..5).for_each(|_| assert_eq!(run(), expected)));
        }
    });
}

#[test]
fn another_library_is_linked_to_the_standard_one_or_loaded() {
    let str = Library::read(installed().join("str.cma")).expect("OCaml is installed");
    let split = |vm: &mut Vm| {
        let _unit = load(vm, fixture!("library/words.cmo")).expect("it is loaded");
        let words: Vec<String> = vm.call("words", ("tin, zinc lead",)).expect("words");
        assert_eq!(words, ["tin", "zinc", "lead"]);
        vm.unregister("words");
    };
    for (name, builder) in every_builder() {
        let mut vm = builder.library(stdlib()).library(&str).build();
        split(&mut vm);
        assert!(vm.library_units().contains(&"Str".to_owned()), "{name}");
    }
    for (name, builder) in every_builder() {
        let mut vm = builder.library(stdlib()).build();
        let loaded = vm.load_library(&str).expect(&name);
        assert_eq!(loaded.iter().map(spelter::Unit::name).collect::<Vec<_>>(), ["Str"]);
        split(&mut vm);
        drop(loaded);
        // Its name keeps it.
        vm.collect().expect(&name);
        assert_eq!(vm.units().len(), 1, "{name}");
        assert!(vm.withdraw("Str"));
        vm.collect().expect(&name);
        assert_eq!(vm.units().len(), 0, "{name}");
    }
}

#[test]
fn all_units_of_a_library_are_loaded_in_order_or_none() {
    let three = library(
        "three.cma",
        &[fixture!("library/alpha.cmo"), fixture!("library/beta.cmo"), fixture!("library/gamma.cmo")],
    );
    let unknown = library("unknown.cma", &[fixture!("library/alpha.cmo"), fixture!("library/epsilon.cmo")]);
    let failing = library("failing.cma", &[fixture!("library/alpha.cmo"), fixture!("library/zeta.cmo")]);
    for (name, builder) in every_builder() {
        let log = Shared::default();
        let mut vm = logging(builder, &log).build();
        // Nothing has run when a later unit cannot be linked.
        let error = vm.load_library(&unknown).expect_err("it names an unknown primitive");
        let expected = "unknown.cma: unit Epsilon calls primitive host_unknown, which this runtime does not have; register \
                        it before loading";
        assert_eq!(error.to_string(), expected, "{name}");
        assert_eq!(*log.lock(), [""; 0], "{name}");
        vm.collect().expect(&name);
        assert_eq!(vm.units(), [], "{name}");
        // No name is left when an initialiser fails.
        let error = vm.load_library(&failing).expect_err("its second unit fails");
        assert!(matches!(&error, Error::Uncaught { name, .. } if name == "Zeta.Failed"), "{error}");
        vm.collect().expect(&name);
        assert_eq!(vm.units(), [], "{name}");
        assert_eq!(log.lock().split_off(0), ["alpha", "zeta"], "{name}");
        assert!(load(&mut vm, fixture!("library/user.cmo")).is_err(), "{name}");

        let units = vm.load_library(&three).expect(&name);
        let names: Vec<_> = units.iter().map(spelter::Unit::name).collect();
        assert_eq!(names, ["Alpha", "Beta", "Gamma"], "{name}");
        let _user = load(&mut vm, fixture!("library/user.cmo")).expect(&name);
        assert_eq!(vm.call::<i64>("twice", ((),)).expect(&name), 3, "{name}");
        assert_eq!(*log.lock(), ["alpha", "beta", "gamma", "user"], "{name}");
    }
}

#[test]
fn a_library_is_loaded_into_a_namespace() {
    let two = library("two.cma", &[fixture!("library/alpha.cmo"), fixture!("library/beta.cmo")]);
    let mut vm = logging(Vm::builder(), &Shared::default()).build();
    let space = vm.namespace();
    let _units = vm.load_library_in(&space, &two).expect("it is loaded");
    assert_eq!(space.names(), ["Alpha", "Beta"]);
    assert!(load(&mut vm, fixture!("library/user.cmo")).is_err(), "another namespace does not see it");
    let (name, bytes) = fixture!("library/user.cmo");
    vm.load_in(&space, name, bytes).expect("it sees both");
}

#[test]
fn namespaces_show_and_share_the_units_of_libraries() {
    let (mut vm, log) = with_tools(Vm::builder());
    let (name, bytes) = fixture!("library/user.cmo");
    let spaces = [vm.namespace(), vm.namespace_showing(["Alpha", "Beta"])];
    for space in &spaces {
        vm.load_in(space, name, bytes).expect("it sees both");
    }
    assert_eq!(*log.lock(), ["alpha", "beta", "user", "user"]);
    let hiding = vm.namespace_showing(["Alpha"]);
    let error = vm.load_in(&hiding, name, bytes).expect_err("it does not see Beta");
    let Error::Link { source: LinkError::MissingImport { import, .. }, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(import, "Beta");
}

#[test]
fn errors_say_which_unit_is_missing_where() {
    let (mut vm, _) = with_tools(Vm::builder());
    let error = load(&mut vm, fixture!("library/report.cmo")).expect_err("there is no List");
    let expected = "library/report.cmo: unit Report needs module Stdlib, which is neither loaded nor in the \
                    libraries of this machine (tools.cma); load it first, or build the machine with the library that has it";
    assert_eq!(error.to_string(), expected);

    let mut vm = Vm::builder().library(&library("beta.cma", &[fixture!("library/beta.cmo")])).build();
    let error = load(&mut vm, fixture!("library/user.cmo")).expect_err("there is no Alpha");
    let expected = "beta.cma: the units cannot be linked: unit Beta needs Alpha, which no library before it has; give the \
                    library that has Alpha first";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn two_libraries_must_agree_and_differ() {
    let refused = |libraries: &[Library]| {
        let builder = libraries.iter().fold(logging(Vm::builder(), &Shared::default()), VmBuilder::library);
        let mut vm = builder.build();
        let error = load(&mut vm, fixture!("library/user.cmo")).expect_err("the libraries do not fit");
        assert!(matches!(error, Error::Format { .. }), "{error}");
        error.to_string()
    };
    let beta = library("beta.cma", &[fixture!("library/beta.cmo")]);
    let other = library("other.cma", &[fixture!("library/other/alpha.cmo")]);
    let expected = "other.cma, beta.cma: the units cannot be linked: Alpha and Beta were compiled against different \
                    interfaces of Alpha";
    assert_eq!(refused(&[other.clone(), beta]), expected);
    let twice = "tools.cma, other.cma: the units cannot be linked: Alpha and Alpha were compiled against different \
                 interfaces of Alpha";
    assert_eq!(refused(&[tools(), other.clone()]), twice);
    assert_eq!(
        refused(&[tools(), tools()]),
        "tools.cma, tools.cma: the units cannot be linked: there are two units Alpha"
    );

    // The same for a unit that was compiled against another library.
    let mut vm = Vm::builder().library(&other).build();
    let error = load(&mut vm, fixture!("library/beta.cmo")).expect_err("another Alpha");
    assert!(matches!(error, Error::Link { source: LinkError::InterfaceMismatch { .. }, .. }), "{error}");
}

#[test]
fn units_that_call_what_is_not_granted_are_refused_when_they_are_needed() {
    let (mut vm, log) = with_tools(Vm::builder());
    load(&mut vm, fixture!("library/user.cmo")).expect("it needs neither");
    let error = load(&mut vm, fixture!("library/runner.cmo")).expect_err("nothing is granted");
    let Error::Link { source: LinkError::NotGranted { unit, name, .. }, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((&*unit, &*name), ("Delta", "caml_sys_system_command"));
    let error = load(&mut vm, fixture!("library/caller.cmo")).expect_err("there is no such primitive");
    let Error::Link { source: LinkError::MissingPrimitive { unit, name }, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((&*unit, &*name), ("Epsilon", "host_unknown"));
    assert_eq!(*log.lock(), ["alpha", "beta", "user"]);

    let builder = Vm::builder()
        .world(World::nothing().allow(Grant::Processes))
        .primitive("host_unknown", |n: i64| n + 1);
    let (mut vm, _) = with_tools(builder);
    for unit in [fixture!("library/runner.cmo"), fixture!("library/caller.cmo")] {
        load(&mut vm, unit).expect("both are granted");
    }
}

#[test]
fn a_units_failure_is_its_users_and_another_load_tries_again() {
    for grade in [Grade::Checked, Grade::Trusted] {
        let (mut vm, log) = with_tools(graded(Vm::builder(), grade));
        let error = load(&mut vm, fixture!("library/hopeful.cmo")).expect_err("Zeta fails");
        assert!(matches!(&error, Error::Uncaught { name, .. } if name == "Zeta.Failed"), "{error}");
        assert_eq!(vm.library_units(), ["Alpha"]);
        vm.collect().expect("a collection");
        assert_eq!(vm.units(), []);
        load(&mut vm, fixture!("library/hopeful.cmo")).expect("Zeta no longer fails");
        assert_eq!(*log.lock(), ["alpha", "zeta", "zeta", "hopeful"]);
    }
}

#[test]
fn limits_hold_while_libraries_are_linked() {
    let mut least = None;
    for fuel in 0..2000 {
        let mut vm = Vm::builder().fuel(fuel).library(stdlib()).build();
        match load(&mut vm, fixture!("library/report.cmo")) {
            Err(Error::Limit(Limit::Fuel)) => {
                // Another load goes on where this one had to stop.
                vm.set_fuel(1_000_000).expect("it burns fuel");
                load(&mut vm, fixture!("library/report.cmo")).expect("enough fuel");
                assert_eq!(vm.call::<String>("report", ("a",)).expect("a report"), "a:1");
            }
            Err(other) => panic!("{fuel}: {other}"),
            Ok(_) => {
                least = Some(fuel);
                break;
            }
        }
    }
    assert!(least.is_some_and(|fuel| fuel > 20), "{least:?}");

    let mut ends = Vec::new();
    for megabytes in 0..64 {
        let mut vm = Vm::builder().memory_limit(megabytes << 20).library(stdlib()).build();
        match load(&mut vm, fixture!("library/report.cmo")) {
            Err(Error::Limit(Limit::Memory)) => ends.push(false),
            Err(other) => panic!("{megabytes} MiB: {other}"),
            Ok(_) => {
                assert_eq!(vm.call::<String>("report", ("a",)).expect("a report"), "a:1");
                ends.push(true);
                break;
            }
        }
    }
    assert_eq!((ends.first(), ends.last()), (Some(&false), Some(&true)));

    let mut vm = Vm::builder().library(stdlib()).build();
    vm.interrupt_handle().interrupt();
    let outcome = load(&mut vm, fixture!("library/report.cmo"));
    assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
    load(&mut vm, fixture!("library/report.cmo")).expect("the next call is not interrupted");
}

#[test]
fn a_machine_has_libraries_or_a_program() {
    let (name, bytes) = fixture!("host.byte");
    let (mut vm, _) = with_tools(Vm::builder());
    for _ in 0..2 {
        let refused = vm.run_bytes(name, bytes).expect_err("it has libraries");
        let expected =
            "host.byte: this machine has libraries in place of a program (tools.cma); build one without them";
        assert_eq!(refused.to_string(), expected);
        load(&mut vm, fixture!("library/user.cmo")).expect("it is loaded");
    }
}

#[test]
fn a_library_of_another_version_or_kind_is_refused() {
    let cmo = fixture!("library/alpha.cmo");
    assert!(matches!(Library::new(cmo.0, cmo.1), Err(Error::Format { .. })));
    assert!(matches!(Library::new("host.byte", fixture!("host.byte").1), Err(Error::Format { .. })));
    let missing = Library::stdlib_in("/nowhere").expect_err("there is no such directory");
    assert!(missing.to_string().starts_with("/nowhere/stdlib.cma: "), "{missing}");

    let mut later = CompilationUnit::read(fixture!("library/user.cmo").1).expect("a unit");
    later.dialect = Dialect::KNOWN.last().expect("a version");
    let (mut vm, _) = with_tools(Vm::builder());
    let error = vm.load_bytes("later.cmo", &later.write()).expect_err("another version");
    assert!(matches!(error, Error::Link { source: LinkError::OtherVersion { .. }, .. }), "{error}");
}

/// Every byte of an archive, changed: an error or a library, never more; and if it is linked, checked code.
#[test]
fn damaged_archives_do_no_harm() {
    let bytes = archive(&[fixture!("library/alpha.cmo"), fixture!("library/beta.cmo")]);
    let mut outcomes = [0; 3];
    for at in 0..bytes.len() {
        for change in [1, 0x80, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            let Ok(library) = Library::new("damaged.cma", &damaged) else {
                outcomes[0] += 1;
                continue;
            };
            let builder = || logging(Vm::builder().fuel(1000).memory_limit(64 << 20), &Shared::default());
            let mut vm = builder().library(&library).build();
            let linked = load(&mut vm, fixture!("library/user.cmo"));
            let linked = linked.and_then(|_| vm.call::<i64>("twice", ((),)));
            outcomes[if linked.is_ok() { 2 } else { 1 }] += 1;
            let mut vm = builder().build();
            let _ = vm.load_library(&library).and_then(|_| load(&mut vm, fixture!("library/user.cmo")));
            let _ = vm.call::<i64>("twice", ((),));
        }
    }
    assert!(outcomes.iter().all(|count| *count > 50), "{outcomes:?}");
    for len in 0..bytes.len() {
        assert!(Library::new("cut.cma", &bytes[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn the_example_runs() {
    let [one, other] = example::run(stdlib()).expect("the example runs").try_into().expect("two machines");
    let counts = |of: &[(&str, i64)]| of.iter().map(|(word, n)| (word.to_string(), *n)).collect::<Vec<_>>();
    assert_eq!(one, counts(&[("and", 1), ("code", 2), ("garbage", 2), ("is", 2)]));
    assert_eq!(other, counts(&[("and", 1), ("tin", 1), ("zinc", 1)]));
}
