//! Conversions of values in both directions, under every engine.

use spelter::{Error, Value};

use crate::{every_builder, fixture, host};

#[test]
fn values_of_each_kind_go_in_and_come_out() {
    for (name, builder) in every_builder() {
        let mut vm = host(builder);
        let (file, bytes) = fixture!("shapes.cmo");
        vm.load_bytes(file, bytes).expect("it loads");
        let mut all = || -> Result<(), Error> {
            assert_eq!(vm.call::<i64>("succ", (41i64,))?, 42, "{name}");
            assert_eq!(vm.call::<i64>("succ", ((1i64 << 62) - 1,))?, -1 << 62, "63 bits, {name}");
            assert!(!vm.call::<bool>("not", (true,))?, "{name}");
            assert_eq!(vm.call::<f64>("half", (5.0,))?, 2.5, "{name}");
            assert_eq!(vm.call::<String>("twice", ("ab\0é",))?, "ab\0éab\0é", "{name}");
            assert_eq!(vm.call::<Vec<i64>>("rev", (vec![1i64, 2, 3],))?, [3, 2, 1], "{name}");
            assert_eq!(vm.call::<Vec<i64>>("rev", (Vec::<i64>::new(),))?, [0i64; 0], "{name}");
            let swapped: (String, i64) = vm.call("swap", ((7i64, "seven"),))?;
            assert_eq!(swapped, ("seven".to_owned(), 7), "{name}");
            assert_eq!(vm.call::<Option<i64>>("next", (None::<i64>,))?, Some(0), "{name}");
            assert_eq!(vm.call::<Option<i64>>("next", (Some(1i64),))?, Some(2), "{name}");
            assert_eq!(vm.call::<i64>("adder", (1i64, 2i64, 3i64, 4i64, 5i64))?, 15, "{name}");
            vm.call::<()>("ignore", ("anything",))
        };
        all().expect(&name);
    }
}

#[test]
fn partial_applications_can_be_held_and_applied_later() {
    for (name, builder) in every_builder() {
        let mut vm = host(builder);
        let (file, bytes) = fixture!("shapes.cmo");
        drop(vm.load_bytes(file, bytes).expect("it loads"));
        let adder: Value = vm.call("adder", (1i64, 2i64)).expect(&name);
        for registered in ["succ", "not", "half", "twice", "rev", "swap", "next", "adder", "ignore"] {
            assert!(vm.unregister(registered));
        }
        vm.collect().expect(&name);
        assert_eq!(vm.units().len(), 1, "the closure keeps its code, {name}");
        let sum: i64 = vm.call_value(&adder, (3i64, 4i64, 5i64)).expect(&name);
        assert_eq!(sum, 15, "{name}");
        drop(adder);
        vm.collect().expect(&name);
        assert_eq!(vm.units().len(), 0, "{name}");
    }
}

#[test]
fn code_calls_the_hosts_primitives() {
    for (name, builder) in every_builder() {
        let builder = builder
            .primitive("host_double", |n: i64| 2 * n)
            .primitive("host_join", |a: String, b: String| format!("{a}+{b}"))
            .primitive("host_fail", |_: String| 0i64);
        let mut vm = host(builder);
        let (file, bytes) = fixture!("calls.cmo");
        vm.load_bytes(file, bytes).expect("it loads");
        assert_eq!(vm.call::<i64>("double", (21i64,)).expect(&name), 42);
        assert_eq!(vm.call::<String>("join", ("a", "b")).expect(&name), "a+b");
    }
}

#[test]
fn a_result_of_another_type_is_an_error_and_no_harm() {
    let mut vm = host(spelter::Vm::builder());
    let (file, bytes) = fixture!("shapes.cmo");
    vm.load_bytes(file, bytes).expect("it loads");
    assert!(matches!(vm.call::<String>("succ", (1i64,)), Err(Error::WrongType(_))));
    assert!(matches!(vm.call::<Vec<i64>>("twice", ("x",)), Err(Error::WrongType(_))));
    assert!(matches!(vm.call::<i64>("nobody", ((),)), Err(Error::NoSuchValue(_))));
    assert_eq!(vm.call::<i64>("succ", (1i64,)).expect("it still works"), 2);
}
