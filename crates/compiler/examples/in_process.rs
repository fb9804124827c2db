//! Source compiled in the process: a rule that a user edits is compiled, loaded and called, and an error is shown where it
//! is. No file is written.
//!
//! Run it with `cargo run -p spelter-compiler --example in_process`; it needs an OCaml installation.

use spelter::{Function, Vm};
use spelter_compiler::{Compiler, Error, Installation};

/// What a user types, one version after the other.
const VERSIONS: [&str; 3] = [
    "let discount count = if count > 10 then 0.1 else 0.0",
    "let discount count = if count > 10 then 0.1 else 0",
    "let discount = function 0 -> 0.0 | n -> 1.0 -. (1.0 /. float_of_int n)",
];

fn main() -> Result<(), Error> {
    let mut compiler = Compiler::new(Installation::find()?)?;
    let mut vm = Vm::builder().build();
    vm.run_bytes("host", compiler.host()?)?;
    println!("OCaml {}", compiler.installation().version());

    for text in VERSIONS {
        let rule = match compiler.compile("rule", text) {
            Ok(rule) => rule,
            Err(Error::Rejected(diagnostics)) => {
                // The old version stays in use.
                println!("refused:\n{diagnostics}");
                continue;
            }
            Err(error) => return Err(error),
        };
        let unit = vm.load_bytes("rule", &rule.cmo)?.with_interface(&rule.cmi)?;
        let discount: Function<(i64,), f64> = vm.function(&unit, "discount")?;
        println!("20 pieces: {:.0} % less", 100.0 * discount.call(&mut vm, (20,))?);
        // Nothing reaches the unit after this, so the collector frees it.
    }
    vm.collect()?;
    println!("{} units are loaded", vm.units().len());
    Ok(())
}
