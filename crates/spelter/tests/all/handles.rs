//! Handles: strong, weak, by number; sizes; notification when a unit is freed.

use spelter::Vm;

use crate::{Shared, raw};

use crate::service::{API_1, API_2, CALLER, WORKER, alive, forget, machine, on_each, tables};

#[test]
fn a_weak_handle_keeps_nothing_alive() {
    on_each(|builder| {
        let mut vm = machine(builder);
        let before = tables(&mut vm);
        let unit = vm.load_bytes(API_1.0, API_1.1).unwrap();
        let (id, weak) = (unit.id(), unit.downgrade());
        let again = weak.upgrade(&mut vm).unwrap();
        assert_eq!((again.id(), again.name(), weak.name()), (id, "Api", "Api"));
        drop(unit);
        assert_eq!(alive(&mut vm), 1, "there is another strong one");
        assert_eq!(vm.field::<i64>(&again, 0).unwrap(), 1);
        drop(again);
        assert!(vm.is_alive(id));
        assert_eq!(alive(&mut vm), 0);
        assert!(!vm.is_alive(id));
        assert!(weak.upgrade(&mut vm).is_none() && vm.unit(id).is_none());
        assert_eq!(tables(&mut vm), before);
    });
}

#[test]
fn a_clone_is_as_strong() {
    let mut vm = machine(Vm::builder());
    let unit = vm.load_bytes(API_1.0, API_1.1).unwrap();
    let other = unit.clone();
    drop(unit);
    assert_eq!(alive(&mut vm), 1);
    assert_eq!(vm.field::<i64>(&other, 0).unwrap(), 1);
}

#[test]
fn versions_are_counted_while_they_are_alive() {
    on_each(|builder| {
        let mut vm = machine(builder);
        let first = vm.load_public(API_1.0, API_1.1).unwrap();
        let second = vm.load_public(API_2.0, API_2.1).unwrap();
        let ids = |vm: &Vm| vm.versions("Api").iter().map(|unit| unit.id).collect::<Vec<_>>();
        assert_eq!(ids(&vm), [first.id(), second.id()]);
        assert!(vm.versions("Nothing").is_empty());
        drop(first);
        alive(&mut vm);
        assert_eq!(ids(&vm), [second.id()]);
        let unit = vm.unit(second.id()).unwrap();
        drop(second);
        assert_eq!(vm.withdraw_unit(&unit), 1);
        assert_eq!(vm.withdraw_unit(&unit), 0);
        drop(unit);
        alive(&mut vm);
        assert!(ids(&vm).is_empty());
    });
}

#[test]
fn sizes_are_those_of_the_unit() {
    let mut vm = machine(Vm::builder());
    let plain = vm.load_bytes(API_1.0, API_1.1).unwrap().info(&vm);
    // The code as words and as cells; one literal, of 19 bytes: a header and three words.
    assert!(plain.code_bytes > 0 && plain.code_bytes.is_multiple_of(4), "{plain:?}");
    assert_eq!(plain.constant_bytes, 8 * (1 + 3));
    assert!(!plain.revoked);
    let caller = vm.load_bytes(CALLER.0, CALLER.1).unwrap();
    assert_eq!(caller.info(&vm).debug_bytes, 0, "nobody has asked for it");
    assert!(caller.info(&vm).code_bytes > plain.code_bytes);
}

#[test]
fn who_asked_is_told_once_that_a_unit_has_gone() {
    on_each(|builder| {
        let mut vm = machine(builder);
        let told = Shared::new(Vec::new());
        let mut ids = Vec::new();
        for i in 0..3 {
            let unit = vm.load_bytes(API_1.0, API_1.1).unwrap();
            ids.push((i, unit.id(), "Api".to_owned(), unit.info(&vm).code_bytes));
            let told = told.clone();
            unit.on_unload(&mut vm, move |gone| {
                told.lock().push((i, gone.id, gone.name.clone(), gone.bytes.code));
            });
        }
        assert!(told.lock().is_empty());
        vm.collect().unwrap();
        let mut found = told.lock().clone();
        found.sort();
        assert_eq!(found, ids);
        vm.collect().unwrap();
        assert_eq!(told.lock().len(), 3);
    });
}

/// The notification arrives while OCaml code runs, at a safe point.
#[test]
fn who_asked_is_told_while_the_program_runs() {
    on_each(|builder| {
        let mut vm = builder.primitive("host_revoke", |(): ()| ()).build();
        let (name, bytes) = crate::service::service!("host.byte");
        vm.run_bytes(name, bytes).unwrap();
        let told = Shared::new(0);
        let unit = vm.load_bytes(API_1.0, API_1.1).unwrap();
        let count = told.clone();
        unit.on_unload(&mut vm, move |_| *count.lock() += 1);
        drop(unit);
        vm.load_bytes(WORKER.0, WORKER.1).unwrap();
        raw(&mut vm).collect_major();
        raw(&mut vm).collect_major();
        assert!(vm.call::<bool>("odd", (7,)).unwrap());
        assert_eq!(*told.lock(), 1);
        let names =
            ["plain", "partial", "odd", "method", "counter", "stubborn", "suspended", "inside", "table"];
        forget(&mut vm, &names);
        assert_eq!(alive(&mut vm), 0);
    });
}

#[test]
#[should_panic(expected = "a unit of another machine")]
fn of_another_machine() {
    let (mut one, mut two) = (machine(Vm::builder()), machine(Vm::builder()));
    let weak = one.load_bytes(API_1.0, API_1.1).unwrap().downgrade();
    let _ = weak.upgrade(&mut two);
}
