//! Tests of the machine as a host sees it. The OCaml code is in `tests/fixtures`, compiled.

mod calls;
mod checked;
mod dispatch;
mod dynlink_slots;
mod exceptions;
mod explain;
mod failures;
mod handles;
mod hazards;
mod lack_of_memory;
mod late;
mod limits;
mod liveness;
mod lives;
mod namespaces;
mod ocaml_side;
#[path = "../../examples/plugin.rs"]
mod plugin;
mod reload;
mod revoke;
mod service;
mod threads;

use spelter::{Dispatch, Grade, HeapMode, Strategy, Vm, VmBuilder};

/// A compiled file of `tests/fixtures`.
macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/", $name)).as_slice())
    };
}
pub(crate) use fixture;

/// Settings that all programs must give the same answers under.
fn every_builder() -> impl Iterator<Item = (String, VmBuilder)> {
    let mut builders = Vec::new();
    for strategy in [Strategy::Stub, Strategy::Carry] {
        for dispatch in [Dispatch::Loop, Dispatch::Tail] {
            for grade in [Grade::Trusted, Grade::Checked] {
                for heap in [HeapMode::Plain, HeapMode::Torture] {
                    let name = format!("{strategy:?} {dispatch:?} {grade:?} {heap:?}");
                    let builder = Vm::builder();
                    let builder = builder.strategy(strategy).dispatch(dispatch).grade(grade).heap_mode(heap);
                    builders.push((name, builder));
                }
            }
        }
    }
    builders.into_iter()
}

/// A machine that has run the host program.
fn host(builder: VmBuilder) -> Vm {
    let mut vm = builder.build();
    let (name, bytes) = fixture!("host.byte");
    vm.run_bytes(name, bytes).expect("the host program runs");
    vm
}

/// A string of any bytes.
struct Bytes(Vec<u8>);

impl spelter::FromOcaml for Bytes {
    fn from_ocaml(m: &mut spelter::Machine, s: spelter::Slot) -> Result<Self, spelter_interp::WrongType> {
        m.val(s).bytes().map(|b| Bytes(b.to_owned()))
    }
}
