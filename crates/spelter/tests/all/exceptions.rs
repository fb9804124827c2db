//! Exceptions and `exit` between host and OCaml, in both directions, under every engine.

use spelter::{Error, ExceptionArgument, Outcome, Vm};

use crate::{every_builder, fixture, host};

#[test]
fn what_ocaml_raises_is_an_error_with_its_text() {
    for (name, builder) in every_builder() {
        let mut vm = host(builder);
        let (file, bytes) = fixture!("raises.cmo");
        vm.load_bytes(file, bytes).expect("it loads");
        for depth in [0i64, 1000] {
            let error = vm.call::<i64>("odd", (depth,)).expect_err(&name);
            assert_eq!(error.to_string(), "uncaught exception Raises.Odd(3, \"three\")", "{name}");
            let Error::Uncaught { name: exception, arguments, .. } = error else { panic!("{error:?}") };
            assert_eq!(exception, "Raises.Odd", "{name}");
            assert_eq!(arguments, [ExceptionArgument::Int(3), ExceptionArgument::Text("three".to_owned())]);
        }
    }
}

#[test]
fn a_backtrace_names_the_loaded_unit() {
    let mut vm = host(Vm::builder().backtrace(true));
    let (file, bytes) = fixture!("raises.cmo");
    vm.load_bytes(file, bytes).expect("it loads");
    let Err(Error::Uncaught { backtrace, .. }) = vm.call::<i64>("odd", (1i64,)) else {
        panic!("it raises");
    };
    let first = backtrace.lines().next().expect("a line");
    assert!(first.starts_with("Raised at Raises.deep in file \"raises.ml\", line 3"), "{backtrace}");
}

#[test]
fn what_the_host_raises_can_be_caught_or_comes_back() {
    for (name, builder) in every_builder() {
        let builder = builder
            .primitive("host_double", |n: i64| n)
            .primitive("host_join", |a: String, _: String| a)
            .primitive("host_fail", |why: String| Err::<i64, String>(format!("host: {why}")));
        let mut vm = host(builder);
        let (file, bytes) = fixture!("calls.cmo");
        vm.load_bytes(file, bytes).expect("it loads");
        assert_eq!(vm.call::<String>("caught", ("no",)).expect(&name), "caught host: no");
        let error = vm.call::<i64>("fail", ("no",)).expect_err(&name);
        assert_eq!(error.to_string(), "uncaught exception Failure(\"host: no\")", "{name}");
    }
}

#[test]
fn exit_leaves_the_machine_usable() {
    for (name, builder) in every_builder() {
        let mut vm = host(builder);
        let (file, bytes) = fixture!("raises.cmo");
        vm.load_bytes(file, bytes).expect("it loads");
        for code in [0, 7] {
            assert!(
                matches!(vm.call::<()>("leave", (i64::from(code),)), Err(Error::Exit(c)) if c == code),
                "{name}"
            );
        }
        assert!(matches!(vm.call::<i64>("odd", (3i64,)), Err(Error::Uncaught { .. })), "{name}");
    }
}

#[test]
fn a_program_runs_once() {
    let mut vm = Vm::builder().build();
    let (file, bytes) = fixture!("host.byte");
    assert_eq!(vm.run_bytes(file, bytes).expect("it runs"), Outcome::Finished);
    assert!(matches!(vm.run_bytes(file, bytes), Err(Error::SecondProgram { .. })));
}
