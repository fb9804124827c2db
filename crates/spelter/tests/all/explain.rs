//! `why_alive` finds every kind of root, and describes it so that a person can act on it.

use std::fmt::Write;

use spelter::{Dispatch, Grade, HeapMode, Strategy, Unit, UnitId, Value, Vm, VmBuilder, explain};

use crate::{Shared, graded, raw};

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/explain/", $name)).as_slice())
    };
}

/// A machine with the host program, and the notes of its primitive.
fn host(builder: VmBuilder) -> (Vm, Shared<String>) {
    let noted = Shared::new(String::new());
    let notes = noted.clone();
    let builder = builder.primitive_in_context("explain_why", 1, move |cx, _| {
        for why in cx.why_all_alive() {
            writeln!(notes.lock(), "{why}").unwrap();
        }
        Ok(cx.unit())
    });
    let mut vm = builder.build();
    let (name, bytes) = fixture!("host.byte");
    vm.run_bytes(name, bytes).unwrap();
    (vm, noted)
}

fn load(vm: &mut Vm, (name, bytes): (&str, &[u8])) -> Unit {
    vm.load_bytes(name, bytes).unwrap()
}

/// Why all units are alive after a collection.
fn report(vm: &mut Vm) -> String {
    vm.collect_once().expect("it collects");
    vm.why_all_alive().iter().map(|why| format!("{why}\n")).collect()
}

/// The same for a plug-in that keeps itself alive in one of many ways.
fn kind(builder: VmBuilder, kind: &str) -> String {
    let (mut vm, noted) = host(builder);
    load(&mut vm, fixture!("kinds.cmo"));
    vm.call::<Value>("run", (kind,)).unwrap();
    let noted = std::mem::take(&mut *noted.lock());
    if noted.is_empty() { report(&mut vm) } else { noted }
}

/// The text from each machine.
fn on_each_machine(text: impl Fn(VmBuilder) -> String) -> String {
    let mut texts = Vec::new();
    for strategy in [Strategy::Carry, Strategy::Stub] {
        for dispatch in [Dispatch::Loop, Dispatch::Tail] {
            for grade in [Grade::Trusted, Grade::Checked] {
                for mode in [HeapMode::Plain, HeapMode::Torture] {
                    let builder = Vm::builder().strategy(strategy).dispatch(dispatch).heap_mode(mode);
                    let builder = graded(builder, grade);
                    texts.push((format!("{strategy:?} {dispatch:?} {grade:?} {mode:?}"), text(builder)));
                }
            }
        }
    }
    for (machine, text) in &texts {
        assert_eq!(*text, texts[0].1, "{machine}");
    }
    texts.swap_remove(0).1
}

#[test]
fn each_kind_of_root() {
    let kinds = [
        "named",
        "captured",
        "recursive",
        "partial",
        "list",
        "lazy",
        "ephemeron",
        "exception",
        "finaliser",
        "at_exit",
        "signal",
        "frame",
        "trap",
        "local",
        "argument",
    ];
    let mut all = String::new();
    for name in kinds {
        let text = on_each_machine(|builder| kind(builder, name));
        write!(all, "# {name}\n{text}\n").unwrap();
    }
    // The signal handler belongs to the process.
    assert_eq!(kind(Vm::builder(), "no signal"), "");
    insta::assert_snapshot!(all);
}

#[test]
fn what_the_host_holds() {
    let text = on_each_machine(|builder| {
        let (mut vm, _) = host(builder);
        let (name, bytes) = fixture!("base.cmo");
        let unit = vm.load_public(name, bytes).unwrap();
        let mut text = format!("# its name, and a handle on the unit\n{}", report(&mut vm));
        let function: Value = vm.field(&unit, 1).unwrap();
        drop(unit);
        assert!(vm.withdraw("Base"));
        write!(text, "# a handle on a function\n{}", report(&mut vm)).unwrap();
        drop(function);
        assert_eq!(report(&mut vm), "");
        text
    });
    insta::assert_snapshot!(text);
}

#[test]
fn other_units() {
    let text = on_each_machine(|builder| {
        let (mut vm, _) = host(builder);
        let (name, bytes) = fixture!("base.cmo");
        vm.load_public(name, bytes).unwrap();
        load(&mut vm, fixture!("user.cmo"));
        assert!(vm.withdraw("Base"));
        let text = report(&mut vm);
        vm.call::<()>("clear", ((),)).unwrap();
        assert_eq!(report(&mut vm), "");
        text
    });
    insta::assert_snapshot!(text);
}

#[test]
fn without_debug_data() {
    let text = on_each_machine(|builder| {
        let (mut vm, _) = host(builder);
        load(&mut vm, fixture!("bare.cmo"));
        report(&mut vm)
    });
    insta::assert_snapshot!(text);
}

/// The host and a plug-in of `liveness.rs`.
#[test]
fn an_object() {
    let text = on_each_machine(|builder| {
        let mut vm = builder
            .primitive("liveness_alive", |()| 0i64)
            .primitive("liveness_call_back", |_: Value, n: i64| n)
            .primitive("liveness_hold", |_: Value| ())
            .build();
        vm.run_bytes("host.byte", include_bytes!("../fixtures/liveness/host.byte")).unwrap();
        vm.load_bytes("objects.cmo", include_bytes!("../fixtures/liveness/objects.cmo")).unwrap();
        report(&mut vm)
    });
    insta::assert_snapshot!(text);
}

#[test]
fn units_that_nothing_leads_to() {
    let (mut vm, _) = host(Vm::builder());
    let unit = load(&mut vm, fixture!("bare.cmo"));
    let id = UnitId::from(&unit);
    let roots = |vm: &mut Vm| vm.why_alive(id).into_iter().map(|path| path.root).collect::<Vec<_>>();
    use explain::Root::{Global, Handle, Named};
    assert!(matches!(roots(&mut vm)[..], [Named(_), Handle, Global(..)]));
    drop(unit);
    assert!(matches!(roots(&mut vm)[..], [Named(_), Global(..)]));
    vm.call::<()>("clear", ((),)).unwrap();
    assert_eq!(roots(&mut vm), []);
    let waiting = "unit Bare (#2) is not reachable: the next full major collection frees it";
    assert_eq!(vm.why_all_alive()[0].to_string(), waiting);
    vm.collect_once().expect("it collects");
    assert_eq!(roots(&mut vm), []);
    assert!(vm.why_all_alive().is_empty());
}

#[test]
fn asking_changes_nothing() {
    let (mut vm, _) = host(Vm::builder());
    let unit = load(&mut vm, fixture!("kinds.cmo"));
    vm.call::<()>("run", ("list",)).unwrap();
    let tables = |vm: &mut Vm| {
        let m = raw(vm);
        (
            m.stack_depth(),
            m.kept_count(),
            m.heap().root_count(),
            m.heap().weak_count(),
            m.heap().stats().live_words,
        )
    };
    vm.collect_once().expect("it collects");
    let before = tables(&mut vm);
    let first = vm.why_alive(&unit);
    assert_eq!(vm.why_alive(&unit), first);
    assert_eq!(tables(&mut vm), before);
}

#[test]
fn a_recording_counts_what_comes_and_goes() {
    let (mut vm, _) = host(Vm::builder());
    assert!(vm.code_events().is_none());
    load(&mut vm, fixture!("bare.cmo"));
    vm.record_code_events();
    for _ in 0..3 {
        load(&mut vm, fixture!("kinds.cmo"));
    }
    vm.collect_once().expect("it collects");
    let recording = vm.code_events().unwrap();
    let named: Vec<_> =
        recording.by_name().iter().map(|(name, n)| (name.as_str(), n.loaded, n.freed)).collect();
    assert_eq!(named, [("Bare", 1, 1), ("Kinds", 3, 2)]);
    assert!(recording.majors() > 0);
    let last = recording.events().last().unwrap();
    assert_eq!((last.counts.loaded, last.counts.freed), (4, 3));
}
