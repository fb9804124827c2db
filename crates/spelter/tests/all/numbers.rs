//! Big arrays that the host and its guests share without copies.

use spelter::{BigArray, Context, Elements, ElementsMut, Error, HeapConfig, Raise, Value, Vm, VmBuilder};

use crate::every_builder;

const HOST: (&str, &[u8]) = ("host.byte", include_bytes!("../fixtures/functions/host.byte"));
const GUEST: (&str, &[u8]) = ("numbers.cmo", include_bytes!("../fixtures/functions/numbers.cmo"));

fn callback(cx: &mut Context<'_>, array: Value, f: Value) -> Result<f64, Raise> {
    let array = cx.kept(&array);
    let before: f64 = cx.elements::<f64>(array)?.iter().sum();
    cx.call_value::<()>(&f, ((),))?;
    let after: f64 = cx.elements::<f64>(array)?.iter().sum();
    cx.elements_mut::<f64>(array)?.fill(0.0);
    Ok(after - before)
}

fn add(mut to: ElementsMut<'_, f64>, from: Elements<'_, f64>) {
    for (to, from) in to.iter_mut().zip(from.iter()) {
        *to += from;
    }
}

fn machine(builder: VmBuilder) -> Vm {
    let mut vm = builder
        .primitive("host_sum_floats", |all: Elements<'_, f64>| all.iter().sum::<f64>())
        .primitive("host_scale", |mut all: ElementsMut<'_, f64>, by: f64| {
            all.iter_mut().for_each(|x| *x *= by)
        })
        .primitive("host_add_to", add)
        .primitive("host_dot", |a: Elements<'_, f64>, b: Elements<'_, f64>| {
            a.iter().zip(b.iter()).map(|(a, b)| a * b).sum::<f64>()
        })
        .primitive("host_sum_bytes", |all: Elements<'_, u8>| all.iter().map(|b| i64::from(*b)).sum::<i64>())
        .primitive("host_given", |n: u32| BigArray::new((0..n).map(f64::from).collect()))
        .primitive("host_callback", callback)
        .build();
    vm.run_bytes(HOST.0, HOST.1).expect("the host program runs");
    drop(vm.load_bytes(GUEST.0, GUEST.1).expect("it loads"));
    vm
}

#[test]
fn a_host_function_reads_and_writes_an_array_of_the_guest() {
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        assert_eq!(vm.call::<f64>("sum", (10i64,)).expect(&name), 45.0, "{name}");
        assert_eq!(vm.call::<f64>("sum", (0i64,)).expect(&name), 0.0, "{name}");
        assert_eq!(vm.call::<f64>("scale", (10i64,)).expect(&name), 90.0, "{name}");
        assert_eq!(vm.call::<f64>("add", (10i64,)).expect(&name), 90.0, "{name}");
        assert_eq!(vm.call::<f64>("dot", (4i64,)).expect(&name), 14.0, "{name}");
        assert_eq!(vm.call::<i64>("bytes", (3i64,)).expect(&name), 3 * 98, "{name}");
        assert_eq!(vm.call::<f64>("callback", (4i64,)).expect(&name), 10.0, "{name}");
    }
}

#[test]
fn two_views_of_a_memory_are_refused_if_one_writes() {
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        let refused = "Invalid_argument arguments 1 and 2 share memory, which one changes";
        assert_eq!(vm.call::<String>("add to itself", (4i64,)).expect(&name), refused, "{name}");
        assert_eq!(vm.call::<String>("add to a part", (4i64,)).expect(&name), refused, "{name}");
        assert_eq!(vm.call::<String>("add parts", (4i64,)).expect(&name), "done 11.", "{name}");
    }
}

#[test]
fn arrays_of_another_kind_are_refused() {
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        let refused = vm.call::<String>("other kind", (4i64,)).expect(&name);
        assert_eq!(
            refused,
            "Invalid_argument argument 1: expected a big array of kind float64, not of Float32, \
             found a block without fields",
            "{name}"
        );
        let refused = vm.call::<String>("no array", (4i64,)).expect(&name);
        assert_eq!(
            refused, "Invalid_argument argument 1: expected a big array of kind float64, found the integer 4",
            "{name}"
        );
    }
}

#[test]
fn a_vector_of_the_host_becomes_an_array_that_owns_it() {
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        assert_eq!(vm.call::<f64>("given", (10i64,)).expect(&name), 45.5 + 9.0, "{name}");
        let same = vm.with(|cx| {
            let elements = vec![1i32, -2, 3];
            let place = elements.as_ptr();
            let array = cx.new_big_array(BigArray::new(elements))?;
            cx.collect();
            Ok(cx.elements::<i32>(array)?.as_ptr() == place && cx.elements::<i32>(array)? == [1, -2, 3])
        });
        assert!(same.expect(&name), "it is not copied, {name}");
        let chars = vm.with(|cx| {
            let array = cx.new_big_array(BigArray::chars(b"abc".to_vec()))?;
            Ok((cx.elements::<u8>(array)?.to_vec(), cx.elements::<i8>(array).is_err()))
        });
        assert_eq!(chars.expect(&name), (b"abc".to_vec(), true), "{name}");
    }
}

#[test]
fn vectors_count_towards_the_limit_of_the_heap_and_are_freed() {
    let limited = HeapConfig { max_words: Some(1 << 20), ..HeapConfig::default() };
    let mut vm = machine(Vm::builder().heap(limited));
    // Each is an eighth of what the heap may have: garbage is freed, what is kept is not.
    for _ in 0..40 {
        assert_eq!(vm.call::<f64>("given", (1i64 << 17,)).expect("it is freed"), 8589869056.5 + 131071.0);
    }
    let mut kept = 0;
    let refused = loop {
        match vm.call::<()>("keep", (1i64 << 17,)) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 20, "the limit holds");
    };
    assert!(matches!(&refused, Error::Uncaught { name, .. } if name == "Out_of_memory"), "{refused:?}");
    assert!((4..8).contains(&kept), "{kept}");
    assert_eq!(vm.call::<f64>("kept", ((),)).expect("it runs"), f64::from(kept));
    vm.call::<()>("let go", ((),)).expect("it runs");
    for _ in 0..10 {
        vm.call::<f64>("given", (1i64 << 17,)).expect("there is room again");
    }
}
