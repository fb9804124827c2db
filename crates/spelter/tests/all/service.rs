//! Shared code of the tests of namespaces, handles, reloading and revoking: the units in `fixtures/service`, and a
//! machine to load them into.

use spelter::{Ledger, Unit, Vm, VmBuilder};

use crate::{Shared, every_builder};

macro_rules! service {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/service/", $name)).as_slice())
    };
}
pub(crate) use service;

/// A compiled file: its name and its bytes.
pub(crate) type File = (&'static str, &'static [u8]);

pub(crate) const API_1: File = service!("v1/api.cmo");
pub(crate) const API_2: File = service!("v2/api.cmo");
pub(crate) const API_OTHER: File = service!("v3/api.cmo");
pub(crate) const API_BROKEN: File = service!("broken/api.cmo");
pub(crate) const CLIENT: File = service!("client.cmo");
pub(crate) const WORKER: File = service!("worker.cmo");
pub(crate) const CALLER: File = service!("caller.cmo");

/// The unit that the primitive `host_revoke` revokes.
pub(crate) type Condemned = Shared<Option<Unit>>;

/// A machine that has run the host program.
pub(crate) fn machine(builder: VmBuilder) -> Vm {
    let mut vm = builder.build();
    let (name, bytes) = service!("host.byte");
    vm.run_bytes(name, bytes).unwrap();
    vm
}

/// The same with a primitive by which OCaml code revokes what the host chose.
pub(crate) fn machine_that_revokes(builder: VmBuilder) -> (Vm, Condemned) {
    let condemned = Condemned::default();
    let chosen = condemned.clone();
    let builder = builder.primitive_in_context("host_revoke", 1, move |cx, _| {
        if let Some(unit) = chosen.lock().take() {
            assert!(cx.revoke(unit)?);
        }
        Ok(cx.unit())
    });
    let mut vm = builder.build();
    let (name, bytes) = service!("host.byte");
    vm.run_bytes(name, bytes).unwrap();
    (vm, condemned)
}

/// Runs a test on each kind of machine.
pub(crate) fn on_each(test: impl Fn(VmBuilder)) {
    for (name, builder) in every_builder() {
        eprintln!("{name}");
        test(builder);
    }
}

/// The number of units alive after a full collection.
pub(crate) fn alive(vm: &mut Vm) -> usize {
    vm.collect_once().expect("it collects");
    vm.units().len()
}

/// The size of each table in which loading has entries, without dead entries.
pub(crate) fn tables(vm: &mut Vm) -> Ledger {
    vm.collect().unwrap();
    vm.ledger()
}

/// Unregisters all values that the units registered.
pub(crate) fn forget(vm: &mut Vm, names: &[&str]) {
    for name in names {
        assert!(vm.unregister(name), "{name}");
    }
}
