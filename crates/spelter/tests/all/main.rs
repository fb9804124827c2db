//! Tests of the machine through the host's interface. The OCaml code is in `tests/fixtures`, compiled.

mod arrays;
mod budgets;
mod by_hand;
#[cfg(feature = "serde")]
mod by_serde;
mod calls;
mod chains;
mod checked;
mod dispatch;
mod domains;
mod dynlink_slots;
mod effects;
mod examples;
mod exceptions;
mod explain;
mod failures;
mod foreign;
mod functions;
mod handles;
mod hazards;
mod interrupts;
mod kept;
mod lack_of_memory;
mod late;
mod libraries;
mod limits;
mod liveness;
mod lives;
mod misuse;
mod namespaces;
mod numbers;
mod objects;
mod ocaml_side;
mod panics;
mod pauses;
#[path = "../../examples/plugin.rs"]
mod plugin;
mod readers;
mod reload;
mod revoke;
mod sealed;
mod send;
mod service;
mod shared_programs;
mod threads;
mod typed;
mod typed_disagreements;
#[path = "../../examples/typed.rs"]
mod typed_example;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spelter::{Dispatch, Grade, HeapMode, Strategy, Vm, VmBuilder};

/// A compiled file of `tests/fixtures`.
macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/", $name)).as_slice())
    };
}
pub(crate) use fixture;

/// What a test shares with the functions that it gives to a machine.
#[derive(Default)]
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Shared(Arc::new(Mutex::new(value)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared(Arc::clone(&self.0))
    }
}

/// Settings under which all programs must produce the same results.
fn every_builder() -> impl Iterator<Item = (String, VmBuilder)> {
    let mut builders = Vec::new();
    for strategy in [Strategy::Stub, Strategy::Carry] {
        for dispatch in [Dispatch::Loop, Dispatch::Tail] {
            for grade in [Grade::Trusted, Grade::Checked] {
                for heap in [HeapMode::Plain, HeapMode::Torture] {
                    let name = format!("{strategy:?} {dispatch:?} {grade:?} {heap:?}");
                    let builder = Vm::builder();
                    let builder = builder.strategy(strategy).dispatch(dispatch).heap_mode(heap);
                    let builder = graded(builder, grade);
                    builders.push((name, builder));
                }
            }
        }
    }
    builders.into_iter()
}

/// The builder of machines of this grade.
fn graded(builder: VmBuilder, grade: Grade) -> VmBuilder {
    match grade {
        // SAFETY: everything that tests load into trusted machines was compiled by `ocamlc` and is called with values
        // of its types.
        Grade::Trusted => unsafe { builder.trusted() },
        Grade::Checked => builder,
    }
}

/// The underlying machine.
fn raw(vm: &mut Vm) -> &mut spelter_interp::Machine {
    // SAFETY: tests only inspect the machine, and use only slots that they pushed.
    unsafe { vm.machine() }
}

/// A machine that has run the host program.
fn host(builder: VmBuilder) -> Vm {
    let mut vm = builder.build();
    let (name, bytes) = fixture!("host.byte");
    vm.run_bytes(name, bytes).expect("the host program runs");
    vm
}
