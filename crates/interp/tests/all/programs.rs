//! Programs: refusals when they are loaded, results, and agreement of both backends.

use spelter_bytecode::Opcode::{self, *};
use spelter_bytecode::{ErrorKind, verify};
use spelter_interp::{LoadError, Raise};

use crate::{load, machines, own_global, run, words};

/// The code, followed by code that stores accu in the program's global.
fn answering(code: &[(Opcode, &[i32])]) -> Vec<i32> {
    words(&[code, &[(SETGLOBAL, &[own_global()]), (STOP, &[])]].concat())
}

#[test]
fn arithmetic_and_a_function() {
    let double = answering(&[
        (BRANCH, &[6]),
        (ACC0, &[]), // at 2: the function
        (PUSHACC1, &[]),
        (ADDINT, &[]),
        (RETURN, &[1]),
        (CLOSURE, &[0, -7]), // at 7
        (PUSHCONSTINT, &[21]),
        (PUSHACC1, &[]),
        (APPLY1, &[]),
        (POP, &[1]),
    ]);
    for mut m in machines() {
        assert_eq!(run(&mut m, double.clone(), &[]), Ok(42));
        assert_eq!(m.stack_depth(), 0);
    }
}

#[test]
fn an_uncaught_exception_ends_the_program() {
    let divide = answering(&[(CONST0, &[]), (PUSHCONST1, &[]), (DIVINT, &[])]);
    for mut m in machines() {
        let program = load(&mut m, divide.clone(), &[]).expect("valid code");
        assert_eq!(m.run_loaded(&program), Err(Raise::Exn));
    }
}

#[test]
fn an_exception_handler_is_found() {
    let handled = answering(&[
        (PUSHTRAP, &[5]), // handler at 6
        (CONST0, &[]),
        (PUSHCONST1, &[]),
        (DIVINT, &[]),
        (POPTRAP, &[]),
        (CONSTINT, &[7]), // at 6
    ]);
    for mut m in machines() {
        assert_eq!(run(&mut m, handled.clone(), &[]), Ok(7));
    }
}

#[test]
fn code_that_breaks_a_rule_is_refused() {
    let bad: [(&str, Vec<i32>); 3] = [
        ("runs off the end", words(&[(CONST0, &[])])),
        ("pops an empty stack", words(&[(POP, &[3]), (STOP, &[])])),
        ("branches out of the code", words(&[(BRANCH, &[9]), (STOP, &[])])),
    ];
    for mut m in machines() {
        for (what, code) in &bad {
            let error = load(&mut m, code.clone(), &[]).err();
            let Some(LoadError::Format(error)) = error else { panic!("{what}: {error:?}") };
            let fault = error.kind();
            assert!(
                matches!(
                    (what.split(' ').next(), fault),
                    (Some("runs"), ErrorKind::Verify(verify::Fault::FallsOff))
                        | (Some("pops"), ErrorKind::Verify(verify::Fault::Underflow { .. }))
                        | (Some("branches"), ErrorKind::Verify(verify::Fault::Target { .. }))
                ),
                "{what}: {fault:?}"
            );
        }
        // A refused program leaves nothing behind: another one can be loaded.
        assert_eq!(run(&mut m, answering(&[(CONST3, &[])]), &[]), Ok(3));
    }
}

#[test]
fn damaged_data_is_refused() {
    for mut m in machines() {
        let program = spelter_interp::Program {
            name: "damaged".to_owned(),
            dialect: m.dialect(),
            words: words(&[(STOP, &[])]).into(),
            prims: Vec::new(),
            data: b"no marshalled value",
            globals: 0,
            debug: Default::default(),
            shared: None,
        };
        assert!(matches!(m.load_program(program), Err(LoadError::Format(_))));
    }
}
