//! Effects in loaded code: a suspended fiber keeps its unit alive, and lives exactly as long as its continuation. And
//! guests that do with continuations what they must not.

use spelter::{Error, Unit, Value, Vm, VmBuilder};

use crate::every_builder;
use crate::kept::{Things, everywhere, keeping, outcome};

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/effects/", $name)).as_slice())
    };
}

/// A machine whose guests can give the host values by name, and let it call functions.
fn host(builder: VmBuilder) -> (Vm, Things) {
    let (builder, things) = keeping(builder);
    let builder = builder.primitive_in_context("host_call", 1, |cx, args| {
        let unit = cx.unit();
        cx.call(args[0], &[unit])
    });
    (builder.build(), things)
}

fn load(vm: &mut Vm, (name, bytes): (&str, &[u8])) -> Unit {
    vm.load_bytes(name, bytes).unwrap()
}

/// Runs a test on each kind of machine.
fn on_each_machine(test: impl Fn(VmBuilder)) {
    every_builder().for_each(|(_, builder)| test(builder));
}

/// A machine with a unit that is suspended in an effect, and one that can resume it.
fn suspended(builder: VmBuilder) -> (Vm, Things, Unit) {
    let (mut vm, things) = host(builder);
    load(&mut vm, fixture!("resume.cmo"));
    let unit = load(&mut vm, fixture!("suspend.cmo"));
    assert!(things.lock().contains_key("continuation"));
    (vm, things, unit)
}

fn take(things: &Things, name: &str) -> Value {
    things.lock().remove(name).expect("a guest kept it")
}

#[test]
fn a_dropped_continuation_frees_its_unit() {
    on_each_machine(|builder| {
        let (mut vm, things, unit) = suspended(builder);
        let id = unit.id();
        drop(unit);
        vm.collect().unwrap();
        assert!(vm.is_alive(id), "the continuation holds a frame of the unit");
        assert_eq!(vm.stats().fibers, 2, "the suspended one, and the first");
        drop(take(&things, "continuation"));
        vm.collect().unwrap();
        assert!(!vm.is_alive(id));
        assert_eq!(vm.stats().fibers, 1);
    });
}

#[test]
fn a_resumed_continuation_frees_its_unit() {
    on_each_machine(|builder| {
        let (mut vm, things, unit) = suspended(builder);
        let id = unit.id();
        drop(unit);
        let (continuation, resume) = (take(&things, "continuation"), take(&things, "resume"));
        let result: i64 = vm.call_value(&resume, (&continuation, 3)).unwrap();
        assert_eq!(result, 1023, "20 + 3, and the handler of results adds 1000");
        vm.collect().unwrap();
        assert!(!vm.is_alive(id), "the continuation has been taken");
        let again = vm.call_value::<i64>(&resume, (&continuation, 3)).unwrap_err();
        assert!(!matches!(again, Error::Panic { .. }), "{again}");
    });
}

#[test]
fn why_alive_names_the_continuation_and_the_function() {
    let (mut vm, _things, unit) = suspended(Vm::builder());
    let id = unit.id();
    drop(unit);
    vm.collect().unwrap();
    let why: Vec<String> = vm.why_alive(id).iter().map(|path| path.to_string()).collect();
    let text = why.join("\n");
    assert!(text.contains("→ continuation"), "{text}");
    let frame = "suspended fiber, which will continue in Suspend.work (suspend.ml, line 21)";
    assert!(text.contains(frame), "{text}");
}

#[test]
fn revoking_reaches_suspended_fibers() {
    on_each_machine(|builder| {
        let (mut vm, things, unit) = suspended(builder);
        let id = unit.id();
        vm.revoke(unit).unwrap();
        let (continuation, resume) = (take(&things, "continuation"), take(&things, "resume"));
        let error = vm.call_value::<i64>(&resume, (&continuation, 3)).unwrap_err();
        assert!(error.to_string().contains("Revoked"), "{error}");
        drop(continuation);
        vm.collect().unwrap();
        assert!(!vm.is_alive(id));
    });
}

#[test]
fn fibers_that_are_dropped_leave_nothing() {
    let (mut vm, things) = host(Vm::builder());
    load(&mut vm, fixture!("resume.cmo"));
    for _ in 0..500 {
        load(&mut vm, fixture!("suspend.cmo"));
    }
    drop(take(&things, "continuation"));
    vm.collect().unwrap();
    let stats = vm.stats();
    assert_eq!((stats.fibers, vm.units().len()), (1, 1), "the first stack, and the unit that resumes");
}

#[test]
fn larger_frames_may_be_loaded_between_two_effects() {
    on_each_machine(|builder| {
        let (mut vm, things, _unit) = suspended(builder);
        let (continuation, resume) = (take(&things, "continuation"), take(&things, "resume"));
        // From now on each function entry needs more room, in the suspended fiber, too.
        load(&mut vm, fixture!("forge.cmo"));
        let result: i64 = vm.call_value(&resume, (&continuation, 3)).unwrap();
        assert_eq!(result, 1023);
    });
}

/// What each attack of the guest ends in.
fn attacks(builder: VmBuilder, guest: (&str, &[u8])) -> String {
    let (mut vm, things) = host(builder);
    load(&mut vm, guest);
    let mut text = String::new();
    let all = std::mem::take(&mut *things.lock());
    for (name, attack) in &all {
        text += &format!("{name}: {}\n", outcome(&mut vm, attack));
        vm.collect().unwrap();
    }
    drop(all);
    vm.collect().unwrap();
    assert!(vm.units().is_empty() && vm.stats().fibers <= 1, "{text}");
    text
}

#[test]
fn forged_continuations_are_refused() {
    insta::assert_snapshot!(everywhere(|builder| attacks(builder, fixture!("forge.cmo"))));
}

#[test]
fn only_suspended_fibers_are_dropped() {
    insta::assert_snapshot!(everywhere(|builder| attacks(builder, fixture!("drop.cmo"))));
}
