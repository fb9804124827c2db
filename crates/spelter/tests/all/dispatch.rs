//! Tail dispatch is there where it should be, and takes no native stack: millions of instructions of every group run on a
//! small one.

use std::thread;

use spelter::{Dispatch, Grade, Outcome, Vm};

use crate::{fixture, graded};

/// A lost sibling call takes 16 bytes at least, of which the program would need a hundred megabytes.
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

/// Where it is not, `Dispatch::Tail` is the loop, and no test of it would say so. Both profiles optimise the machine.
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
