//! Panics in host code and in values that the machine drops: each ends only the call into the machine.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use spelter::{Error, Host, Raise, Reply, Vm, VmBuilder};

use crate::{Shared, every_builder, fixture, host, raw};

const GUEST: (&str, &[u8]) = ("guest.cmo", include_bytes!("../fixtures/panics/guest.cmo"));

/// From this argument on, `host_boom` panics with the argument as payload; it returns smaller arguments, except 0.
const LEAST: i64 = 100;

fn boom(n: i64) -> i64 {
    match n {
        n if n >= LEAST => std::panic::panic_any(n),
        0 => panic!("nothing but zero"),
        n => n,
    }
}

/// A machine whose guest calls a primitive that panics.
fn machine(builder: VmBuilder) -> Vm {
    let builder = builder
        .primitive("host_boom", boom)
        .primitive_in_context("host_apply", 2, |cx, args| cx.call(args[0], &[args[1]]));
    let mut vm = host(builder);
    vm.load_bytes(GUEST.0, GUEST.1).expect("it loads");
    vm
}

/// The primitive and the text of the panic that a call ended with.
fn panicked<T: std::fmt::Debug>(outcome: Result<T, Error>) -> (Option<String>, String) {
    match outcome {
        Err(Error::Panic { primitive, message }) => (primitive, message),
        other => panic!("{other:?} is no panic"),
    }
}

/// Prevents the default hook from printing expected panics.
pub(crate) fn quietly<T>(f: impl FnOnce() -> T) -> T {
    thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    QUIET.set(false);
    outcome.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}

#[test]
fn a_panic_ends_the_call_and_leaves_nothing_behind() {
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        let depth = raw(&mut vm).stack_depth();
        let primitive = Some("host_boom".to_owned());
        for function in ["boom", "caught", "deep", "nested"] {
            let argument = if function == "deep" { 40i64 } else { 0 };
            let outcome = quietly(|| vm.call::<i64>(function, (argument,)));
            assert_eq!(
                panicked(outcome),
                (primitive.clone(), "nothing but zero".to_owned()),
                "{function}, {name}"
            );
            assert_eq!(raw(&mut vm).stack_depth(), depth, "{function}, {name}");
            assert_eq!(vm.call::<i64>("add", (40i64, 2i64)).expect(&name), 42);
        }
        let outcome = quietly(|| vm.call::<i64>("boom", (LEAST,)));
        assert_eq!(panicked(outcome), (primitive.clone(), "a panic that says nothing".to_owned()), "{name}");
        // No frame keeps the unit alive.
        for registered in ["boom", "caught", "deep", "nested", "finalised", "add"] {
            assert!(vm.unregister(registered));
        }
        vm.collect().expect(&name);
        assert_eq!(vm.units().len(), 0, "{name}");
    }
}

#[test]
fn a_finaliser_that_panics() {
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        let outcome = quietly(|| vm.call::<i64>("finalised", (0i64,)));
        assert_eq!(panicked(outcome).0.as_deref(), Some("host_boom"), "{name}");
        assert_eq!(vm.call::<i64>("finalised", (5i64,)).expect("finalisers run as before"), 5, "{name}");
        vm.collect().expect(&name);
    }
}

#[test]
fn a_panic_between_calls_is_the_hosts_to_pass_on_or_not() {
    for (name, builder) in every_builder() {
        let swallowed = Shared::new(0);
        let seen = swallowed.clone();
        let builder =
            builder.primitive("host_boom", boom).primitive_in_context("host_apply", 2, move |cx, args| {
                match cx.call(args[0], &[args[1]]) {
                    Err(Raise::Panic(panicked)) => {
                        assert_eq!(panicked.primitive.as_deref(), Some("host_boom"));
                        *seen.lock() += 1;
                        Ok(cx.int(-1))
                    }
                    other => other,
                }
            });
        let mut vm = host(builder);
        vm.load_bytes(GUEST.0, GUEST.1).expect("it loads");
        assert_eq!(quietly(|| vm.call::<i64>("nested", (0i64,))).expect(&name), -1, "{name}");
        assert_eq!(*swallowed.lock(), 1, "{name}");
    }
}

#[test]
fn ten_thousand_panics() {
    let mut vm = machine(Vm::builder());
    vm.collect().expect("it collects");
    let before = vm.ledger();
    for _ in 0..10_000 {
        panicked(quietly(|| vm.call::<i64>("deep", (10i64,))));
    }
    vm.collect().expect("it collects");
    assert_eq!(vm.ledger(), before);
}

#[test]
fn what_is_told_of_units_that_have_gone_may_panic() {
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        let told = Shared::new(0);
        for _ in 0..3 {
            let unit = vm.load_bytes("shapes.cmo", crate::fixture!("shapes.cmo").1).expect("it loads");
            let told = told.clone();
            unit.on_unload(&mut vm, move |_| {
                *told.lock() += 1;
                panic!("told");
            });
        }
        for registered in ["succ", "not", "half", "twice", "rev", "swap", "next", "adder", "ignore"] {
            vm.unregister(registered);
        }
        let outcome = quietly(|| vm.collect());
        assert_eq!(panicked(outcome).1, "told", "{name}");
        assert_eq!(*told.lock(), 3, "each is told once, {name}");
        vm.collect().expect(&name);
        assert_eq!(vm.call::<i64>("add", (40i64, 2i64)).expect(&name), 42);
    }
}

#[test]
fn a_closure_that_is_lent_the_machine_panics_as_the_hosts_code_does() {
    let mut vm = machine(Vm::builder());
    let depth = raw(&mut vm).stack_depth();
    let outcome = quietly(|| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            vm.with(|cx| -> Result<(), Raise> {
                cx.string("left behind")?;
                panic!("the host's own")
            })
        }))
    });
    assert_eq!(outcome.unwrap_err().downcast_ref::<&str>(), Some(&"the host's own"));
    assert_eq!(raw(&mut vm).stack_depth(), depth);
    assert_eq!(vm.call::<i64>("add", (40i64, 2i64)).unwrap(), 42);
}

/// The primitive owns another machine and a handle to a value in it, and drops both when it is called.
#[test]
fn what_a_primitive_owns_may_drop_other_machines_and_handles() {
    let mut inner = machine(Vm::builder());
    let kept: spelter::Value = inner.value("add").unwrap();
    let inner = Mutex::new(Some((inner, kept)));
    let builder = Vm::builder().primitive("host_boom", move |n: i64| {
        drop(inner.lock().unwrap().take());
        n
    });
    let mut vm = host(builder.primitive("host_apply", |_: spelter::Value, n: i64| n));
    vm.load_bytes(GUEST.0, GUEST.1).expect("it loads");
    assert_eq!(vm.call::<i64>("boom", (3i64,)).unwrap(), 3);
    vm.collect().unwrap();
}

/// A primitive cannot have its own machine again.
#[test]
fn re_entry_through_a_lock_is_a_panic_and_no_harm() {
    let shared = Arc::new(Mutex::new(None::<Vm>));
    let again = Arc::clone(&shared);
    let builder = Vm::builder().primitive("host_boom", move |n: i64| {
        again.try_lock().expect("it is locked already").take();
        n
    });
    let mut vm = host(builder.primitive("host_apply", |_: spelter::Value, n: i64| n));
    vm.load_bytes(GUEST.0, GUEST.1).expect("it loads");
    *shared.lock().unwrap() = Some(vm);
    let outcome =
        quietly(|| shared.lock().unwrap().as_mut().expect("it is there").call::<i64>("boom", (3i64,)));
    assert!(panicked(outcome).1.contains("already"), "the lock is taken");
    let sum: i64 = shared.lock().unwrap().as_mut().unwrap().call("add", (1i64, 2i64)).unwrap();
    assert_eq!(sum, 3);
    shared.lock().unwrap().take();
}

#[test]
fn what_another_thread_asks_for_may_drop_a_value_that_panics() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        let (unit_name, bytes) = fixture!("greet.cmo");
        let unit = vm.load_bytes(unit_name, bytes).expect("a unit");
        vm.with(|cx| Host::new(Bomb).reply(cx).map(drop)).expect("memory");
        let handle = vm.revoke_handle(&unit);
        std::thread::spawn(move || handle.revoke()).join().expect("no panic");
        // The torture heap may have dropped it before.
        let first = quietly(|| vm.call::<String>("greet", ("you",)));
        assert!(matches!(first, Err(Error::Panic { .. } | Error::Uncaught { .. })), "{name}: {first:?}");
        let error = vm.call::<String>("greet", ("you",)).expect_err("it has been revoked");
        assert_eq!(error.to_string(), "uncaught exception Spelter.Revoked(\"Greet\")", "{name}");
    }
}
