//! Values of the host that guests hold: their life, their types, and what guests try with them.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use spelter::{Context, Error, Host, Raise, Value, Vm, VmBuilder};

use crate::every_builder;

const HOST: (&str, &[u8]) = ("host.byte", include_bytes!("../fixtures/functions/host.byte"));
const GUEST: (&str, &[u8]) = ("objects.cmo", include_bytes!("../fixtures/functions/objects.cmo"));

/// Counts how many there are.
struct Counter {
    n: RefCell<i64>,
    alive: Arc<AtomicI64>,
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
        assert!(*self.n.borrow() != -13, "an unlucky number");
    }
}

/// A value of another type, of the same size.
struct Other {
    _n: Cell<i64>,
}

/// Adds what the guest's function makes of it, while it is borrowed.
fn change(cx: &mut Context<'_>, counter: &Host<Counter>, f: Value) -> Result<i64, Raise> {
    let mut n = counter.n.try_borrow_mut().map_err(|e| Raise::failure(e.to_string()))?;
    *n = cx.call_value(&f, (*n,))?;
    cx.collect();
    Ok(*n)
}

/// A machine with the guest, and the number of counters that it holds.
fn machine(builder: VmBuilder, holding: usize) -> (Vm, Arc<AtomicI64>) {
    let alive = Arc::new(AtomicI64::new(0));
    let count = Arc::clone(&alive);
    let create = move |n: i64| {
        count.fetch_add(1, Ordering::SeqCst);
        Host::new(Counter { n: RefCell::new(n), alive: Arc::clone(&count) }).holding(holding)
    };
    let add = |counter: &Host<Counter>, by: i64| {
        *counter.n.borrow_mut() += by;
        *counter.n.borrow()
    };
    let read_both = |a: &Host<Counter>, b: &Host<Counter>| *a.n.borrow() + *b.n.borrow();
    let mut vm = builder
        .primitive("host_create", create)
        .primitive("host_add", add)
        .primitive("host_read_both", read_both)
        .primitive("host_other", || Host::new(Other { _n: Cell::new(7) }))
        .primitive("host_change", change)
        .build();
    vm.run_bytes(HOST.0, HOST.1).expect("the host program runs");
    drop(vm.load_bytes(GUEST.0, GUEST.1).expect("it loads"));
    (vm, alive)
}

#[test]
fn a_guest_holds_a_value_until_it_lets_go() {
    for (name, builder) in every_builder() {
        let (mut vm, alive) = machine(builder, 0);
        assert_eq!(vm.call::<i64>("use", (5i64,)).expect(&name), 42, "{name}");
        assert_eq!(vm.call::<String>("both", ((),)).expect(&name), "61", "{name}");
        vm.collect().expect(&name);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "{name}");
        for n in 0..10i64 {
            vm.call::<()>("hold", (n,)).expect(&name);
        }
        vm.collect().expect(&name);
        assert_eq!((alive.load(Ordering::SeqCst), vm.call::<i64>("sum", ((),)).expect(&name)), (10, 45));
        vm.call::<()>("let go", ((),)).expect(&name);
        vm.collect().expect(&name);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "{name}");
        // The machine's end is that of what it still holds.
        vm.call::<()>("hold", (1i64,)).expect(&name);
        drop(vm);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "{name}");
    }
}

#[test]
fn the_host_looks_into_values_that_it_keeps() {
    for (name, builder) in every_builder() {
        let (mut vm, alive) = machine(builder, 0);
        let counter: Value = vm.call("create", (30i64,)).expect(&name);
        vm.collect().expect(&name);
        assert_eq!(vm.call::<String>("add", (&counter, 12i64)).expect(&name), "42", "{name}");
        let n = vm.with(|cx| {
            let counter = cx.kept(&counter);
            let seen = cx.host::<Counter>(counter)?;
            cx.collect();
            Ok(*seen.n.borrow())
        });
        assert_eq!(n.expect(&name), 42, "{name}");
        drop(counter);
        vm.collect().expect(&name);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "{name}");
    }
}

#[test]
fn a_value_of_another_type_is_refused() {
    for (name, builder) in every_builder() {
        let (mut vm, _) = machine(builder, 0);
        let refused = vm.call::<String>("another type", ((),)).expect(&name);
        assert_eq!(
            refused,
            "Invalid_argument argument 1: expected a value of the host's type all::objects::Counter, not of another one, \
             found a block without fields"
        );
        let refused = vm.call::<String>("no object", ((),)).expect(&name);
        let texts: Vec<&str> = refused.split("; ").collect();
        assert_eq!(texts.len(), 3, "{refused}");
        for (text, found) in
            texts.iter().zip(["the integer 5", "a string of 4 bytes", "a block without fields"])
        {
            assert!(
                text.starts_with("Invalid_argument argument 1: expected a value of the host's type"),
                "{text}"
            );
            assert!(text.ends_with(found), "{text}");
        }
    }
}

#[test]
fn a_value_of_the_host_is_abstract() {
    for (name, builder) in every_builder() {
        let (mut vm, _) = machine(builder, 0);
        let compared = vm.call::<String>("compare", ((),)).expect(&name);
        assert_eq!(compared, "Invalid_argument compare: abstract value; true", "{name}");
        let marshalled = vm.call::<String>("marshal", ((),)).expect(&name);
        assert_eq!(marshalled, "Invalid_argument output_value: abstract value (Custom)", "{name}");
        assert!(vm.call::<bool>("hash", ((),)).expect("it contributes nothing"), "{name}");
    }
}

#[test]
fn a_guest_that_calls_back_does_not_get_a_second_exclusive_borrow() {
    for (name, builder) in every_builder() {
        let (mut vm, _) = machine(builder, 0);
        assert_eq!(vm.call::<String>("change", ((),)).expect(&name), "42", "{name}");
        let refused = vm.call::<String>("change twice", ((),)).expect(&name);
        assert!(refused.starts_with("Failure ") && refused.contains("already"), "{refused}, {name}");
    }
}

#[test]
fn a_drop_that_panics_ends_the_call_in_which_it_happens() {
    let (mut vm, alive) = machine(Vm::builder(), 0);
    vm.call::<()>("hold", (-13i64,)).expect("it runs");
    vm.call::<()>("hold", (1i64,)).expect("it runs");
    vm.call::<()>("let go", ((),)).expect("it runs");
    let outcome = crate::panics::quietly(|| vm.collect());
    assert!(
        matches!(&outcome, Err(Error::Panic { message, .. }) if message == "an unlucky number"),
        "{outcome:?}"
    );
    vm.collect().expect("the others are dropped");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert_eq!(vm.call::<i64>("use", (5i64,)).expect("the machine goes on"), 42);
}

/// How many minor and major collections a thousand values take that declare this much memory.
fn most_alive(holding: usize) -> i64 {
    let (mut vm, alive) = machine(Vm::builder(), holding);
    let mut most = 0;
    for _ in 0..2000 {
        vm.call::<i64>("use", (1i64,)).expect("it runs");
        most = most.max(alive.load(Ordering::SeqCst));
    }
    most
}

#[test]
fn declared_memory_makes_the_collector_run() {
    let (little, much) = (most_alive(0), most_alive(1 << 20));
    assert!(much * 4 < little, "{much} values of a megabyte are alive at once, {little} small ones");
}
