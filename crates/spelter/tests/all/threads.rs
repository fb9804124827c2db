//! Programs with threads, from their host's point of view.

use std::time::Duration;

use spelter::{Error, Vm, VmBuilder};

use crate::every_builder;

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/threads/", $name)).as_slice())
    };
}

/// A machine that has run the host program.
fn host(builder: VmBuilder) -> Vm {
    let mut vm = builder.primitive("threads_host_function", |n: i64| 2 * n).build();
    let (name, bytes) = fixture!("host.byte");
    vm.run_bytes(name, bytes).expect("the host program runs");
    vm
}

fn load_guest(vm: &mut Vm) {
    let (name, bytes) = fixture!("guest.cmo");
    vm.load_bytes(name, bytes).expect("the guest loads");
}

/// The number of units alive after a full collection.
fn alive(vm: &mut Vm) -> usize {
    vm.collect_once().expect("it collects");
    vm.units().len()
}

#[test]
fn a_thread_that_waits_keeps_its_code_alive() {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        let mut vm = host(builder);
        vm.collect().unwrap();
        let before = vm.ledger();
        for _ in 0..2 {
            load_guest(&mut vm);
            vm.call::<()>("run", (3,)).unwrap();
            assert_eq!(alive(&mut vm), 1);
            let why = vm.why_all_alive()[0].to_string();
            assert!(why.contains("which waits, in Guest.down (guest.ml, line 2)"), "{why}");
            assert_eq!(vm.call::<i64>("finish", ((),)).unwrap(), 40);
            assert_eq!(alive(&mut vm), 0);
            assert_eq!(vm.ledger(), before);
        }
    }
}

/// The program's threads wait for the machine, whichever thread of the host has it.
#[test]
fn a_machine_goes_to_another_thread_with_its_threads() {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        let mut vm = host(builder);
        for _ in 0..2 {
            load_guest(&mut vm);
            vm.call::<()>("run", (3,)).unwrap();
            vm = std::thread::spawn(move || {
                assert_eq!(alive(&mut vm), 1);
                assert_eq!(vm.call::<i64>("finish", ((),)).unwrap(), 40);
                vm
            })
            .join()
            .expect("no panic");
            assert_eq!(alive(&mut vm), 0);
        }
        vm.call::<()>("count", ((),)).unwrap();
        std::thread::spawn(move || drop(vm)).join().expect("no panic");
    }
}

#[test]
fn a_revoked_unit_raises_in_the_thread_that_comes_back_to_it() {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        let mut vm = host(builder);
        let (name, bytes) = fixture!("guest.cmo");
        let unit = vm.load_bytes(name, bytes).unwrap();
        vm.call::<()>("run", (3,)).unwrap();
        vm.revoke(unit).unwrap();
        assert_eq!(vm.call::<i64>("finish", ((),)).unwrap(), 0);
        assert_eq!(alive(&mut vm), 0);
    }
}

#[test]
fn threads_run_while_the_host_waits() {
    let mut vm = host(Vm::builder());
    vm.call::<()>("count", ((),)).unwrap();
    let before: i64 = vm.call("counter", ((),)).unwrap();
    vm.blocking(|| std::thread::sleep(Duration::from_millis(200))).unwrap();
    assert!(vm.call::<i64>("counter", ((),)).unwrap() > before);
}

#[test]
fn exit_in_another_thread_reaches_the_host() {
    let mut vm = host(Vm::builder());
    assert!(matches!(vm.call::<()>("exit elsewhere", (3,)), Err(Error::Exit(3))));
}

#[test]
fn the_hosts_functions_belong_to_its_thread() {
    let mut vm = host(Vm::builder());
    let answer: String = vm.call("call elsewhere", (4,)).unwrap();
    assert_eq!(answer, "threads_host_function: the host's functions belong to its own thread");
}

#[test]
fn the_hosts_own_thread_cannot_be_ended() {
    let mut vm = host(Vm::builder());
    assert!(matches!(vm.call::<()>("end", ((),)), Err(Error::EndThread)));
}

#[test]
fn a_program_has_no_more_threads_than_it_may() {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        let mut vm = host(builder.thread_limit(3));
        for _ in 0..2 {
            vm.call::<()>("count", ((),)).unwrap();
        }
        let refused = vm.call::<()>("count", ((),)).unwrap_err();
        let expected = "Sys_error(\"Thread.create: Resource temporarily unavailable\")";
        assert!(
            matches!(&refused, Error::Uncaught { exception, .. } if exception == expected),
            "{refused:?}"
        );
    }
}

/// They end with it; `fuzzing/tests/leftover.rs` counts them.
#[test]
fn a_machine_is_dropped_with_threads_under_way() {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        let mut vm = host(builder);
        for _ in 0..4 {
            vm.call::<()>("count", ((),)).unwrap();
        }
        load_guest(&mut vm);
        vm.call::<()>("run", (3,)).unwrap();
        vm.blocking(|| std::thread::sleep(Duration::from_millis(1))).unwrap();
    }
}
