//! Loads a plug-in, calls it, and lets go of it: what it took is given back.
//!
//! Run it with `cargo run -p spelter --example plugin`.

use spelter::{Error, Vm};

const HOST: &[u8] = include_bytes!("../tests/fixtures/host.byte");
const PLUGIN: &[u8] = include_bytes!("../tests/fixtures/greet.cmo");

/// What loaded units take: how many there are, and their bytes of code.
fn loaded(vm: &Vm) -> (usize, usize) {
    let units = vm.units();
    (units.len(), units.iter().map(|unit| unit.code_bytes).sum())
}

/// Says what it does, and gives what units took before, during and after.
pub(crate) fn run() -> Result<[(usize, usize); 3], Error> {
    let mut vm = Vm::builder().build();
    vm.run_bytes("host.byte", HOST)?;
    let before = loaded(&vm);
    println!("before:  {} units, {} bytes", before.0, before.1);

    // The plug-in registers `greet`. The handle keeps it alive, and so does what it registered.
    let unit = vm.load_bytes("greet.cmo", PLUGIN)?;
    let greeting: String = vm.call("greet", ("world",))?;
    let during = loaded(&vm);
    println!("during:  {} units, {} bytes: {greeting}", during.0, during.1);

    // When both are gone, nothing leads to the unit's code.
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
