//! Loads a plug-in, calls it, and drops it: its memory is freed.
//!
//! Run it with `cargo run -p spelter --example plugin`.

use spelter::{Error, Vm};

const HOST: &[u8] = include_bytes!("../tests/fixtures/host.byte");
const PLUGIN: &[u8] = include_bytes!("../tests/fixtures/greet.cmo");

/// The number of loaded units, and their bytes of code.
fn loaded(vm: &Vm) -> (usize, usize) {
    let units = vm.units();
    (units.len(), units.iter().map(|unit| unit.code_bytes).sum())
}

/// Prints each step, and returns the usage before, during and after.
pub(crate) fn run() -> Result<[(usize, usize); 3], Error> {
    let mut vm = Vm::builder().build();
    vm.run_bytes("host.byte", HOST)?;
    let before = loaded(&vm);
    println!("before:  {} units, {} bytes", before.0, before.1);

    // The plug-in registers `greet`. The handle and the registered function both keep it alive.
    let unit = vm.load_bytes("greet.cmo", PLUGIN)?;
    let greeting: String = vm.call("greet", ("world",))?;
    let during = loaded(&vm);
    println!("during:  {} units, {} bytes: {greeting}", during.0, during.1);

    // Once both are gone, the unit's code is unreachable.
    drop(unit);
    vm.unregister("greet");
    vm.collect()?;
    let after = loaded(&vm);
    println!("after:   {} units, {} bytes", after.0, after.1);
    Ok([before, during, after])
}

#[allow(dead_code, reason = "the tests include this file to call `run`")]
fn main() -> Result<(), Error> {
    run().map(drop)
}
