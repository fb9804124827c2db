//! Tail dispatch is enabled where it should be, and uses no native stack: millions of instructions of every group run
//! on a small stack.

use std::thread;

use spelter::{Dispatch, Grade, Outcome, Vm};

use crate::{fixture, graded};

/// A missed sibling call takes at least 16 bytes, so the program would need a hundred megabytes.
const NATIVE_STACK: usize = 64 * 1024;

#[test]
fn no_instruction_takes_native_stack() {
    for dispatch in [Dispatch::Loop, Dispatch::Tail] {
        for grade in [Grade::Trusted, Grade::Checked] {
            let spin = move || {
                let (name, bytes) = fixture!("spin.byte");
                let mut vm = graded(Vm::builder().dispatch(dispatch), grade).build();
                vm.run_bytes(name, bytes).map_err(|e| e.to_string())
            };
            let thread = thread::Builder::new().stack_size(NATIVE_STACK).spawn(spin).unwrap();
            assert_eq!(thread.join().unwrap(), Ok(Outcome::Finished), "{dispatch:?} {grade:?}");
        }
    }
}

/// If it is not, `Dispatch::Tail` is the loop, and no other test would notice. Both profiles optimise the machine.
#[test]
fn tail_dispatch_is_on_unless_told_otherwise() {
    let able = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    let wanted = able && !cfg!(spelter_portable);
    assert_eq!(
        Dispatch::TAIL_CALLS,
        wanted,
        "is the machine built at another opt-level than the workspace's?"
    );
}
