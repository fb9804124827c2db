//! Programs that many machines run: what they share, and what they do not.

use std::thread;

use spelter::{Dispatch, Error, Outcome, Program, Vm, World};

use crate::{every_builder, fixture};

fn host_program() -> Program {
    let (name, bytes) = fixture!("host.byte");
    Program::new(name, bytes).expect("a program")
}

#[test]
fn each_kind_of_machine_runs_it() {
    let program = host_program();
    for _ in 0..2 {
        for (name, builder) in every_builder() {
            let mut vm = builder.build();
            assert_eq!(vm.run(&program).expect(&name), Outcome::Finished);
            let _unit = vm.load_bytes("greet.cmo", fixture!("greet.cmo").1).expect(&name);
            assert_eq!(vm.call::<String>("greet", ("you",)).expect(&name), "hello, you");
        }
    }
}

/// Programs with objects, whose code has method caches, and machines of several kinds, in several threads at once.
#[test]
fn machines_in_many_threads_share_it() {
    let (name, bytes) = fixture!("spin.byte");
    let program = Program::new(name, bytes).expect("a program");
    let alone = |builder: spelter::VmBuilder| {
        let mut vm = builder.fuel(200_000).build();
        let outcome = vm.run(&program);
        assert!(matches!(outcome, Ok(_) | Err(Error::Limit(_))), "{outcome:?}");
        (vm.output(), vm.fuel())
    };
    let expected = alone(Vm::builder());
    thread::scope(|s| {
        for dispatch in [Dispatch::Loop, Dispatch::Tail, Dispatch::Loop, Dispatch::Tail] {
            let (alone, expected) = (&alone, &expected);
            s.spawn(move || {
                for _ in 0..5 {
                    assert_eq!(alone(Vm::builder().dispatch(dispatch)), *expected);
                }
            });
        }
    });
}

/// Machines share what the numbers of primitives mean, but each calls its own host's functions, also if they are more than
/// the kinds that a program remembers, and have other names, numbers of arguments, or an order of their own.
#[test]
fn host_functions_are_each_machines_own() {
    let program = host_program();
    let double = |vm: &mut Vm| {
        vm.load_bytes("calls.cmo", fixture!("calls.cmo").1).expect("it loads");
        vm.call::<i64>("double", (4,))
    };
    for round in 0..30 {
        let builder = (0..round % 15)
            .fold(Vm::builder(), |builder, i| builder.primitive(&format!("other_{i}"), |n: i64| n));
        let mut vm = builder
            .primitive("host_double", move |n: i64| 2 * n + round)
            .primitive("host_join", |a: String, b: String| a + &b)
            .primitive("host_fail", |_: String| 0i64)
            .build();
        vm.run(&program).expect("it runs");
        assert_eq!(double(&mut vm).expect("it returns"), 8 + round);
    }
}

/// What the machine can reach decides which primitives are called, not what other machines with the program could.
#[test]
fn grants_are_each_machines_own() {
    let (name, bytes) = fixture!("world/probe.byte");
    let program = Program::new(name, bytes).expect("a program");
    let probe = |world: World| {
        let output = spelter::Captured::default();
        let mut vm = Vm::builder().args(["probe", "settings"]).world(world.stdout(output.clone())).build();
        vm.run(&program).expect("it runs");
        String::from_utf8(output.take()).expect("text")
    };
    for _ in 0..2 {
        assert!(probe(World::nothing().env("LANG", "C")).contains("getenv LANG: C"));
        assert!(probe(World::nothing()).contains("getenv LANG: Not_found"));
    }
}

/// A primitive of the host that stands for an instruction, in one machine only.
#[test]
fn the_hosts_primitives_are_each_machines_own() {
    let program = host_program();
    let greeting = |builder: spelter::VmBuilder| {
        let mut vm = builder.build();
        vm.run(&program)?;
        let _unit = vm.load_bytes("greet.cmo", fixture!("greet.cmo").1)?;
        vm.call::<String>("greet", ("you",))
    };
    for _ in 0..2 {
        assert_eq!(greeting(Vm::builder()).expect("a string"), "hello, you");
        let shorter = Vm::builder().primitive("caml_ml_string_length", |s: String| s.len() as i64 - 1);
        assert_eq!(greeting(shorter).expect("a string"), "hello,yo");
    }
}

#[test]
fn damaged_programs_are_refused_each_time() {
    let (name, bytes) = fixture!("host.byte");
    assert!(matches!(Program::new(name, &bytes[..bytes.len() - 1]), Err(Error::Format { .. })));
    let unknown = Program::new("host.byte", fixture!("threads/host.byte").1).expect("a program");
    for _ in 0..2 {
        assert!(matches!(
            Vm::of(&unknown),
            Err(Error::MissingPrimitive { .. } | Error::MissingLibrary { .. })
        ));
    }
}

#[test]
fn a_machine_has_one_program() {
    let program = host_program();
    let mut vm = Vm::of(&program).expect("it runs");
    assert!(matches!(vm.run(&program), Err(Error::SecondProgram { .. })));
}
