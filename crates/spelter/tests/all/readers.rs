//! Conversions check what they read, terminate, and report what was wrong and where.

use spelter::{Bytes, Error, FromOcaml, Raise, Value, Vm};

use crate::{every_builder, host};

fn machine(builder: spelter::VmBuilder) -> Vm {
    let mut vm = host(builder);
    vm.load_bytes("values.cmo", include_bytes!("../fixtures/panics/values.cmo")).expect("it loads");
    vm
}

/// The error when `name` is read as a `T`.
fn refusal<T: FromOcaml + std::fmt::Debug>(vm: &mut Vm, name: &str) -> String {
    match vm.value::<T>(name) {
        Err(Error::WrongType(wrong)) => wrong.to_string(),
        other => panic!("{name} was read: {other:?}"),
    }
}

#[test]
fn what_has_another_form_is_refused() {
    for (_, builder) in every_builder() {
        let mut vm = machine(builder);
        let vm = &mut vm;
        assert_eq!(
            refusal::<Vec<i64>>(vm, "cycle"),
            "expected a list that ends, found a block of 2 fields with tag 0"
        );
        assert_eq!(
            refusal::<Vec<i64>>(vm, "array"),
            "element 0: expected a list, found a block of 3 fields with tag 0"
        );
        assert_eq!(
            refusal::<(i64, i64)>(vm, "longer"),
            "expected a pair, found a block of 3 fields with tag 0"
        );
        assert_eq!(
            refusal::<(Option<i64>, Option<i64>)>(vm, "tagged"),
            "field 1: expected an option, found a block of 1 field with tag 1"
        );
        assert_eq!(refusal::<Vec<i64>>(vm, "improper"), "expected the end of a list, found the integer 2");
        assert_eq!(
            refusal::<Vec<(i64, i64)>>(vm, "deep"),
            "element 0, field 1: expected an integer, found a string of 1 byte"
        );
        assert_eq!(
            refusal::<Vec<(i64, f64)>>(vm, "wrong_deep"),
            "element 0, field 1: expected a float, found a string of 1 byte"
        );
        assert_eq!(refusal::<(i64, i64)>(vm, "function"), "expected a pair, found a function");
        assert_eq!(refusal::<String>(vm, "floats"), "expected a string, found an array of 2 floats");
        assert_eq!(refusal::<()>(vm, "object"), "expected (), found an object");
        assert_eq!(refusal::<bool>(vm, "object"), "expected a boolean, found an object");
        let deep: Vec<(i64, Bytes)> = vm.value("deep").expect("a list of pairs");
        assert_eq!(deep, [(1, Bytes(b"a".to_vec())), (2, Bytes(b"b".to_vec()))]);
    }
}

#[test]
fn functions_have_no_fields_and_take_no_writes() {
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        let function: Value = vm.value("function").expect(&name);
        vm.with(|cx| {
            let function = cx.kept(&function);
            assert!(cx.is_function(function), "{name}");
            for i in 0..5 {
                let expected = format!("expected a block with a field {i}, found a function");
                assert_eq!(cx.field(function, i).unwrap_err().to_string(), expected, "{name}");
                let zero = cx.int(0);
                assert_eq!(cx.set_field(function, i, zero).unwrap_err().to_string(), expected, "{name}");
            }
            let one = cx.int(1);
            let two = cx.call(function, &[one])?;
            assert_eq!(cx.read::<i64>(two), Ok(2), "{name}");
            for (f, args) in [(one, [two].as_slice()), (function, &[])] {
                let refused = cx.call(f, args).unwrap_err();
                assert!(
                    matches!(&refused, Raise::Invalid(why) if why.contains("not a closure")),
                    "{name}: {refused:?}"
                );
            }
            Ok(())
        })
        .expect(&name);
    }
}

#[test]
fn a_list_of_a_million() {
    let mut vm = machine(Vm::builder());
    let long: Vec<i64> = (0..1_000_000).collect();
    let back: Vec<i64> = vm
        .with(|cx| {
            let list = cx.make(&long)?;
            Ok(cx.read(list)?)
        })
        .unwrap();
    assert!(back == long);
}

#[test]
fn scopes_give_back_what_they_took() {
    let mut vm = machine(Vm::builder());
    let total = vm
        .with(|cx| {
            let cell = cx.int(0);
            let cell = cx.block(0, &[cell])?;
            for i in 0..100_000 {
                cx.scope([cell], |cx, [cell]| {
                    let sum = cx.field(cell, 0)?;
                    let sum: i64 = cx.read(sum)?;
                    let next = cx.int(sum + i);
                    cx.set_field(cell, 0, next)
                })?;
            }
            let sum = cx.field(cell, 0)?;
            Ok(cx.read::<i64>(sum)?)
        })
        .unwrap();
    assert_eq!(total, 99_999 * 100_000 / 2);
}
