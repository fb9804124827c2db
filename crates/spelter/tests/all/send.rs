//! A machine and its handles may go to another thread, each by itself.

use std::sync::mpsc::channel;
use std::thread;

use spelter::{
    Captured, Error, Function, InterruptHandle, Ledger, Namespace, Program, Reloaded, Stats, TypedUnit, Unit,
    UnitInfo, Value, Vm, VmBuilder, WeakUnit, World,
};

use crate::service::{self, API_1, CALLER, forget, tables};
use crate::{every_builder, fixture, host};

fn is_send<T: Send>() {}
fn is_shared<T: Send + Sync>() {}

#[test]
fn what_may_go_to_another_thread() {
    is_send::<Vm>();
    is_send::<VmBuilder>();
    is_send::<World>();
    is_shared::<Captured>();
    is_shared::<Error>();
    is_shared::<Function<(i64,), i64>>();
    is_shared::<InterruptHandle>();
    is_shared::<Ledger>();
    is_shared::<Namespace>();
    is_shared::<Program>();
    is_shared::<Reloaded>();
    is_shared::<Stats>();
    is_shared::<TypedUnit>();
    is_shared::<Unit>();
    is_shared::<UnitInfo>();
    is_shared::<Value>();
    is_shared::<WeakUnit>();
}

#[test]
fn a_machine_works_in_each_thread_that_has_it() {
    for (name, builder) in every_builder() {
        let mut vm = host(builder);
        let unit = vm.load_bytes("greet.cmo", fixture!("greet.cmo").1).expect(&name);
        for i in 0..3 {
            let (mut moved, greeting) = thread::spawn(move || {
                let greeting = vm.call::<String>("greet", (format!("thread {i}"),));
                vm.collect().expect("it collects");
                (vm, greeting)
            })
            .join()
            .expect("no panic");
            assert_eq!(greeting.expect(&name), format!("hello, thread {i}"));
            assert_eq!(moved.call::<String>("greet", ("home",)).expect(&name), "hello, home");
            vm = moved;
        }
        // The handle is dropped in one thread, and the machine finds that in another one.
        thread::spawn(move || drop(unit)).join().expect("no panic");
        let gone = thread::spawn(move || {
            vm.unregister("greet");
            vm.collect().expect("it collects");
            vm.units().len()
        });
        assert_eq!(gone.join().expect("no panic"), 0, "{name}");
    }
}

/// Handles are copied and dropped in one thread while the machine collects in another.
#[test]
fn handles_are_copied_and_dropped_anywhere() {
    for (_, builder) in every_builder() {
        let mut vm = service::machine(builder);
        let space = vm.namespace();
        let unit = vm.load_in(&space, API_1.0, API_1.1).expect("it loads");
        let value: Value = vm.with(|cx| cx.string("kept").map(|v| cx.keep(v))).expect("a string");
        let before = tables(&mut vm);
        let (give, take) = channel::<(Unit, Value)>();
        thread::scope(|s| {
            s.spawn(|| {
                for (unit, value) in take {
                    let copies = [unit.clone(), unit.clone()];
                    assert!(!space.withdraw("Absent"));
                    space.grant("Mine", &copies[0]);
                    assert!(space.withdraw("Mine"));
                    drop((value.clone(), value, copies, unit));
                }
            });
            for i in 0..100 {
                give.send((unit.clone(), value.clone())).expect("it listens");
                let made: Value = vm.with(|cx| cx.string("x").map(|v| cx.keep(v))).expect("a string");
                let _caller = vm.load_private_in(&space, CALLER.0, CALLER.1).expect("it loads");
                if i % 10 == 0 {
                    vm.collect().expect("it collects");
                }
                let read: (String, String) = vm
                    .with(|cx| {
                        let locals = [cx.kept(&made), cx.kept(&value)];
                        Ok((cx.read(locals[0])?, cx.read(locals[1])?))
                    })
                    .expect("two strings");
                assert_eq!(read, ("x".to_owned(), "kept".to_owned()));
            }
            drop(give);
        });
        forget(&mut vm, &["protect", "send", "force", "nested", "declare"]);
        vm.collect().expect("it collects");
        assert_eq!(vm.units().len(), 1, "{:?}", vm.why_all_alive());
        assert_eq!(tables(&mut vm).differences(&before).collect::<Vec<_>>(), []);
    }
}
