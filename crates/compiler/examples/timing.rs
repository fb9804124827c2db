//! How long compiling, linking and evaluating take: the median of some repetitions, in milliseconds.
//!
//! Run it with `cargo run --release -p spelter-compiler --example timing`; it needs an OCaml installation.

use std::time::Instant;

use spelter::Vm;
use spelter_compiler::{Compiler, Error, Installation, Toplevel};

const RULE: &str = "let decide price = if price > 100 then Printf.sprintf \"%d is much\" price else \"buy\"";

/// Prints the median time of a work.
fn time(what: &str, mut work: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    const REPETITIONS: usize = 21;
    let mut times = Vec::new();
    for _ in 0..REPETITIONS {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("{what:<45} {:>7.1} ms", times[REPETITIONS / 2]);
    Ok(())
}

fn main() -> Result<(), Error> {
    let installation = Installation::find()?;
    println!("OCaml {}", installation.version());
    let mut compiler = Compiler::new(installation.clone())?;
    compiler.host()?;
    time("find and read the compiler", || Compiler::new(installation.clone()).map(drop))?;
    time("compile an empty unit", || compiler.compile("empty", "").map(drop))?;
    time("compile a rule", || compiler.compile("rule", RULE).map(drop))?;
    let rule = compiler.compile("rule", RULE)?;
    time("link it", || compiler.program(&[&rule]).map(drop))?;
    let mut vm = Vm::builder().build();
    vm.run_bytes("host", compiler.host()?)?;
    time("load it", || Ok(vm.load_bytes("rule", &rule.cmo).map(drop)?))?;
    time("start a toplevel", || Toplevel::new(&installation).map(drop))?;
    let mut toplevel = Toplevel::new(&installation)?;
    time("evaluate a phrase", || toplevel.eval("1 + 2").map(drop))?;
    time("evaluate the rule", || toplevel.eval(RULE).map(drop))
}
