//! Host functions: their arguments, what they return and raise, and functions that are called while they run.

use std::fmt;

use spelter::{Context, Error, Raise, Value, Vm, VmBuilder};

use crate::{every_builder, host};

const GUEST: (&str, &[u8]) = ("guest.cmo", include_bytes!("../fixtures/functions/guest.cmo"));

/// An error with a cause.
#[derive(Debug)]
struct Caused(std::num::ParseIntError);

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no price")
    }
}

impl std::error::Error for Caused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn each(cx: &mut Context<'_>, f: Value, n: i64) -> Result<i64, Raise> {
    let mut sum = 0;
    for i in 0..n {
        sum += cx.call_value::<i64>(&f, (i,))?;
    }
    Ok(sum)
}

#[expect(clippy::too_many_arguments, reason = "they are counted")]
fn eight(
    a: i64,
    b: f64,
    c: &str,
    d: bool,
    e: char,
    f: &[i64],
    (g, h): (String, i64),
    i: Option<i64>,
) -> String {
    format!("{a} {b} {c} {d} {e} {f:?} {g} {h} {i:?}")
}

fn raising(cx: &mut Context<'_>, which: i64) -> Result<i64, Raise> {
    Err(match which {
        0 => cx.raise_named("Guest.Short", (12i64, "EUR")),
        1 => cx.raise_constant("Guest.Closed"),
        2 => cx.raise_constant("Not_found"),
        3 => cx.raise_named("Failure", ("by name",)),
        4 => cx.raise_named("Match_failure", ("file.ml", 3i64, 4i64)),
        5 => cx.raise_named("Guest.Unknown", (1i64,)),
        6 => cx.raise_constant("not an exception"),
        7 => Raise::NotFound,
        8 => cx.raise_named("Guest.Short", (i64::MAX, "EUR")),
        _ => return Ok(which),
    })
}

fn failing(which: i64) -> Result<i64, Box<dyn std::error::Error + Send + Sync>> {
    Err(match which {
        0 => Box::new("x".parse::<i64>().map_err(Caused).expect_err("no number")),
        1 => "plain text".into(),
        2 => Raise::invalid("boxed").into(),
        3 => Box::new(Error::Io { path: "p".to_owned(), source: std::io::Error::other("no disk") }),
        _ => return Ok(which),
    })
}

/// A machine with the guest and the functions that it calls.
fn machine(builder: VmBuilder) -> Vm {
    let mut calls = 0i64;
    let count = move |n: i64| {
        calls += n;
        calls
    };
    let nested = |cx: &mut Context<'_>, f: Value, n: i64| cx.call_value::<i64>(&f, (n,));
    let builder = builder
        .primitive("host_none", || 42)
        .primitive("host_one", |text: &str| text.len())
        .primitive("host_bytes", |bytes: &[u8]| bytes.iter().map(|b| i64::from(*b)).sum::<i64>())
        .primitive("host_sum", |items: &[i64]| items.iter().sum::<i64>())
        .primitive("host_eight", eight)
        .primitive("host_each", each)
        .primitive_mut("host_count", count)
        .primitive_mut("host_nested", nested)
        .primitive("host_raising", raising)
        .primitive("host_failing", failing);
    let mut vm = host(builder);
    drop(vm.load_bytes(GUEST.0, GUEST.1).expect("it loads"));
    vm
}

#[test]
fn arguments_of_every_number_and_sort() {
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        assert_eq!(vm.call::<i64>("none", ((),)).expect(&name), 42, "{name}");
        assert_eq!(vm.call::<String>("one", ("söben",)).expect(&name), "returned 6", "{name}");
        assert_eq!(vm.call::<i64>("bytes", (b"\xff\x01",)).expect(&name), 256, "{name}");
        assert_eq!(vm.call::<i64>("sum", ([1i64, 2, 39],)).expect(&name), 42, "{name}");
        let all = vm.call::<String>("eight", (9i64,)).expect(&name);
        assert_eq!(all, "9 0.5 s true c [1, 2] p 7 Some(8)", "{name}");
    }
}

#[test]
fn an_argument_that_does_not_fit_raises_with_its_position() {
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        let text = vm.call::<String>("wrong", ((),)).expect(&name);
        assert_eq!(text, "Invalid_argument argument 1: expected a string, found the integer 5", "{name}");
        let text = vm.call::<String>("one", (b"\xff",)).expect(&name);
        assert_eq!(
            text, "Invalid_argument argument 1: expected a string in UTF-8, found a string of 1 byte",
            "{name}"
        );
        let refused = vm.call::<i64>("none", (1i64,)).expect_err(&name).to_string();
        assert!(refused.contains("argument 1: expected ()"), "{refused}, {name}");
    }
}

#[test]
fn a_host_function_calls_back() {
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        assert_eq!(vm.call::<i64>("squares", (10i64,)).expect(&name), 285, "{name}");
        let error = vm.call::<i64>("give up", (10i64,)).expect_err(&name);
        assert_eq!(error.to_string(), "uncaught exception Guest.Short(3, \"up\")", "{name}");
        let refused = vm.call::<i64>("each", (1i64, 1i64)).expect_err(&name);
        assert!(
            refused.to_string().contains("expected a function, found the integer 1"),
            "{refused}, {name}"
        );
    }
}

#[test]
fn a_function_with_state_is_not_entered_twice() {
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        assert_eq!(vm.call::<String>("count", (5i64,)).expect(&name), "returned 5", "{name}");
        assert_eq!(vm.call::<String>("count", (6i64,)).expect(&name), "returned 11", "{name}");
        // It calls back the guest, and the guest another function: that is no second entry.
        assert_eq!(vm.call::<String>("again", (1i64,)).expect(&name), "returned 12", "{name}");
        let refused = vm.call::<String>("within", (1i64,)).expect(&name);
        assert_eq!(
            refused, "Failure primitive host_nested is running, and cannot be called again before it returns",
            "{name}"
        );
        assert_eq!(vm.call::<String>("again", (1i64,)).expect(&name), "returned 13", "{name}");
    }
}

#[test]
fn a_panic_in_a_function_with_state_leaves_it_callable() {
    let mut turns = 0;
    let builder = Vm::builder()
        .primitive_mut("host_double", move |n: i64| {
            turns += 1;
            assert!(turns > 1, "the first turn");
            turns * n
        })
        .primitive("host_join", |a: String, b: String| a + &b)
        .primitive("host_fail", |_: &str| 0);
    let mut vm = host(builder);
    let (file, bytes) = crate::fixture!("calls.cmo");
    vm.load_bytes(file, bytes).expect("it loads");
    assert!(matches!(vm.call::<i64>("double", (21i64,)), Err(Error::Panic { .. })));
    assert_eq!(vm.call::<i64>("double", (21i64,)).expect("it can be called again"), 42);
}

#[test]
fn named_exceptions_with_arguments() {
    let expected = [
        "Short 12 EUR",
        "Closed",
        "Not_found",
        "Failure by name",
        "Match_failure file.ml 3 4",
        "Invalid_argument the host raises \"Guest.Unknown\", but no exception is registered under that name; \
         the OCaml code must call Callback.register_exception",
        "Invalid_argument the host raises \"not an exception\", but no exception is registered under that name; \
         the OCaml code must call Callback.register_exception",
        "Not_found",
        "Invalid_argument the integer 9223372036854775807 does not fit OCaml's int, which has 63 bits; int64 takes 64",
        "returned 9",
    ];
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        for (which, expected) in (0i64..).zip(expected) {
            assert_eq!(vm.call::<String>("raising", (which,)).expect(&name), expected, "{name}");
        }
    }
}

#[test]
fn errors_become_failures_with_their_causes() {
    let expected = [
        "Failure no price: invalid digit found in string",
        "Failure plain text",
        "Invalid_argument boxed",
        // Its own text ends with that of its source.
        "Failure p: no disk",
        "returned 4",
    ];
    for (name, builder) in every_builder() {
        let mut vm = machine(builder);
        for (which, expected) in (0i64..).zip(expected) {
            assert_eq!(vm.call::<String>("failing", (which,)).expect(&name), expected, "{name}");
        }
    }
}

#[test]
fn what_a_host_learns_of_an_exception() {
    use spelter::ExceptionArgument::{Bytes, Float, Int, Other, Text};
    let mut vm = machine(Vm::builder());
    let mut learn = |raise: fn(&mut Context<'_>) -> Raise| match vm.with(|cx| Err::<(), _>(raise(cx))) {
        Err(Error::Uncaught { name, arguments, .. }) => (name, arguments),
        other => panic!("{other:?}"),
    };
    assert_eq!(learn(|_| Raise::NotFound), ("Not_found".to_owned(), vec![]));
    assert_eq!(learn(|cx| cx.raise_constant("Guest.Closed")), ("Guest.Closed".to_owned(), vec![]));
    let (name, arguments) = learn(|cx| {
        let large = "x".repeat(70_000);
        cx.raise_named("Guest.Short", (1.5, &b"\xff"[..], true, large, [1i64, 2]))
    });
    assert_eq!(name, "Guest.Short");
    assert_eq!(arguments, [Float(1.5), Bytes(b"\xff".to_vec()), Int(1), Other, Other]);
    assert_eq!(learn(|_| Raise::failure("text")).1, [Text("text".to_owned())]);
    // What is no exception has neither name nor arguments.
    for text in [false, true] {
        let odd = vm.with(|cx| {
            let nothing = if text { cx.string("text")? } else { cx.int(5) };
            Err::<(), _>(cx.raise(nothing))
        });
        assert!(matches!(odd, Err(Error::Uncaught { name, .. }) if name.is_empty()));
    }
}

#[test]
fn a_fault_says_where_it_was_and_what_to_check() {
    let (file, bytes) = ("faulty.cmo", include_bytes!("../fixtures/functions/faulty.cmo"));
    let program = include_bytes!("../fixtures/functions/host.byte");
    for (name, builder) in every_builder().filter(|(name, _)| name.contains("Checked")) {
        let mut vm = builder.build();
        vm.run_bytes("host.byte", program).expect("it runs");
        drop(vm.load_bytes(file, bytes).expect("it loads"));
        let outcome = vm.call::<i64>("sum of points", ([1i64, 2],));
        let Err(Error::Fault { unit, function, line, file, text }) = outcome else {
            panic!("{outcome:?}, {name}")
        };
        assert_eq!(unit.as_deref(), Some("Faulty"), "{name}");
        assert_eq!(function.as_deref(), Some("Faulty.sum.(fun)"), "{name}");
        assert_eq!((file.as_deref(), line), (Some("faulty.ml"), Some(5)), "{name}");
        assert!(text.contains("an integer where a block is needed; "), "{text}");
        assert!(text.contains("check what the host passes") && !text.contains('\n'), "{text}");
        let sum = vm.call::<i64>("sum of points", ([(1i64, 2i64), (3, 4)],)).expect(&name);
        assert_eq!(sum, 10, "the machine goes on");
    }
}

#[test]
fn a_fault_in_code_without_debug_data_names_the_unit() {
    let mut vm = Vm::builder().build();
    vm.run_bytes("host.byte", include_bytes!("../fixtures/functions/host.byte")).expect("it runs");
    drop(vm.load_bytes("bare.cmo", include_bytes!("../fixtures/functions/bare.cmo")).expect("it loads"));
    let outcome = vm.call::<i64>("sum of points", ([1i64, 2],));
    let Err(Error::Fault { unit, function: None, line: None, text, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(text.starts_with("checked code was stopped in Bare near byte 0x"), "{text}");
    assert_eq!(unit.as_deref(), Some("Bare"));
}
