//! Primitives: they are found by name and called only with the right number of arguments, and a panic ends the call.

use spelter_bytecode::Opcode::*;
use spelter_interp::{Machine, Raise, Res, Slot, Val, families, prims};

use crate::{machines, own_global, run, words};

fn add(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
    Ok(Val::from_int(m.int(a)? + m.int(b)?))
}

fn give_up(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    panic!("given up")
}

prims! {
    "test_add" P2 add,
    "test_give_up" P1 give_up,
}

families! {
    static FAMILIES = [TABLE];
}

fn with_primitives() -> impl Iterator<Item = Machine> {
    machines().map(|mut m| {
        // SAFETY: the functions use their own slots only, and leave the machine where it is.
        unsafe { m.add_families(&FAMILIES) };
        m
    })
}

#[test]
fn a_primitive_is_called_by_its_number() {
    let code = words(&[
        (CONSTINT, &[40]),
        (PUSHCONST2, &[]),
        (C_CALL2, &[0]),
        (SETGLOBAL, &[own_global()]),
        (STOP, &[]),
    ]);
    for mut m in with_primitives() {
        assert_eq!(run(&mut m, code.clone(), &["test_add"]), Ok(42));
    }
}

#[test]
fn another_number_of_arguments_is_refused() {
    let one = words(&[(CONST1, &[]), (C_CALL1, &[0]), (STOP, &[])]);
    let three = words(&[(CONST1, &[]), (PUSHCONST1, &[]), (PUSHCONST1, &[]), (C_CALL3, &[0]), (STOP, &[])]);
    let many = words(&[(CONST1, &[]), (PUSHCONST1, &[]), (PUSHCONST1, &[]), (C_CALLN, &[3, 0]), (STOP, &[])]);
    for code in [one, three, many] {
        for mut m in with_primitives() {
            let outcome = run(&mut m, code.clone(), &["test_add"]);
            let Err(Raise::Fatal(message)) = outcome else { panic!("{outcome:?}") };
            assert!(message.contains("test_add"), "{message}");
        }
    }
}

#[test]
fn an_unknown_primitive_fails_only_when_it_is_called() {
    let code = words(&[(CONST1, &[]), (C_CALL1, &[0]), (STOP, &[])]);
    for mut m in with_primitives() {
        let outcome = run(&mut m, code.clone(), &["test_absent"]);
        let Err(Raise::Fatal(message)) = outcome else { panic!("{outcome:?}") };
        assert!(message.contains("test_absent"), "{message}");
    }
}

#[test]
fn a_panic_ends_the_call_and_not_the_machine() {
    let code = words(&[(CONST1, &[]), (C_CALL1, &[0]), (STOP, &[])]);
    for mut m in with_primitives() {
        let depth = m.stack_depth();
        let outcome = run(&mut m, code.clone(), &["test_give_up"]);
        let Err(Raise::Panic(panicked)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(
            (panicked.primitive.as_deref(), panicked.message.as_str()),
            (Some("test_give_up"), "given up")
        );
        assert_eq!(m.stack_depth(), depth);
        m.collect_full();
    }
}
