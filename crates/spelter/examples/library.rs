//! Plug-ins without a host program: what they use of OCaml's standard library is linked from `stdlib.cma` when they are
//! loaded. The library is read once; machines share its code.
//!
//! It takes the standard library of the OCaml that is installed, of any version from 4.13 on; the plug-in here is compiled by
//! 4.13, so it needs that. Run it with `cargo run -p spelter --example library [DIRECTORY]`.

use std::thread;

use spelter::{Error, Library, Vm};

const PLUGIN: &[u8] = include_bytes!("../tests/fixtures/examples/tally.cmo");

/// Counts words in a machine of its own.
fn count(stdlib: &Library, text: &str) -> Result<Vec<(String, i64)>, Error> {
    let mut vm = Vm::builder().library(stdlib).build();
    let _plugin = vm.load_bytes("tally.cmo", PLUGIN)?;
    vm.call("count", (text,))
}

/// What two machines count, each in its thread.
pub(crate) fn run(stdlib: &Library) -> Result<Vec<Vec<(String, i64)>>, Error> {
    let texts = ["code is garbage and garbage is code", "tin and zinc"];
    thread::scope(|s| {
        let counts: Vec<_> = texts.into_iter().map(|text| s.spawn(|| count(stdlib, text))).collect();
        counts.into_iter().map(|count| count.join().expect("no panic")).collect()
    })
}

#[allow(dead_code, reason = "the tests include this file to call `run`")]
fn main() -> Result<(), Error> {
    let stdlib = match std::env::args_os().nth(1) {
        Some(directory) => Library::stdlib_in(directory)?,
        None => Library::stdlib()?,
    };
    for counts in run(&stdlib)? {
        println!("{counts:?}");
    }
    Ok(())
}
