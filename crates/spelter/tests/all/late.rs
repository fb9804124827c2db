//! A program's functions are translated when first entered, in whatever way they are entered.

use spelter::{Error, Vm, VmBuilder};

use spelter::Bytes;

use crate::{every_builder, fixture};

fn late(builder: VmBuilder) -> Vm {
    let mut vm = builder.build();
    let (name, bytes) = fixture!("late.byte");
    vm.run_bytes(name, bytes).expect("the program runs");
    vm
}

#[test]
fn closures_are_read_before_their_code_is_entered() {
    for (name, builder) in every_builder() {
        let message: Bytes = late(Vm::builder()).call("write", ((),)).expect("it writes");
        let mut vm = late(builder);
        assert_eq!(vm.call::<i64>("read", (&message.0[..],)).expect(&name), 128, "{name}");
    }
}

#[test]
fn a_return_enters_a_function() {
    for (name, builder) in every_builder() {
        match late(builder).call::<i64>("traced", (21,)) {
            Ok(answer) => assert_eq!(answer, 42, "{name}"),
            Err(error) => {
                assert!(name.contains("Checked"), "{name}: {error}");
                assert!(error.to_string().contains("functions cannot be traced in checked code"), "{error}");
            }
        }
    }
}

/// Replaces the instruction after a constant that occurs only in the function `rare` by an invalid one.
fn damaged() -> Vec<u8> {
    let mut bytes = fixture!("late.byte").1.to_vec();
    let constant = 7_654_321i32.to_le_bytes();
    let at = bytes.windows(4).position(|word| word == constant).expect("the constant");
    bytes[at + 4..at + 8].copy_from_slice(&9999i32.to_le_bytes());
    bytes
}

/// Either the program is refused, or every call of its function fails; then the rest still runs.
#[test]
fn a_damaged_function_never_runs() {
    for (name, builder) in every_builder() {
        let mut vm = builder.build();
        let complaint = |error: Error| {
            let text = error.to_string();
            assert!(
                text.contains("9999 is not an instruction") && text.contains("late.byte"),
                "{name}: {text}"
            );
            assert_eq!(text.lines().count(), 1, "{text}");
        };
        match vm.run_bytes("late.byte", &damaged()) {
            Err(error) => complaint(error),
            Ok(_) => {
                for _ in 0..3 {
                    complaint(vm.call::<i64>("rare", (1,)).expect_err(&name));
                }
                assert!(vm.call::<Bytes>("write", ((),)).is_ok(), "{name}");
            }
        }
    }
}

#[test]
fn a_program_comes_before_units() {
    let mut vm = Vm::builder().build();
    let (name, bytes) = fixture!("probe.cmo");
    let unit = vm.load_bytes(name, bytes).expect("it needs nothing");
    let (name, bytes) = fixture!("host.byte");
    let refused = vm.run_bytes(name, bytes).expect_err("it is late");
    assert!(matches!(refused, Error::LateProgram { .. }), "{refused}");
    drop(unit);
    vm.collect().expect("no finaliser raises");
    assert!(vm.run_bytes(name, bytes).is_err());
}
