//! A rule engine whose rules are replaced while it runs: a new version takes over at once and as a whole, or not at all,
//! and the code of the old one is freed.
//!
//! Run it with `cargo run -p spelter --example rules`.

use spelter::{Error, FromOcaml, Function, ToOcaml, Vm};

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../tests/fixtures/examples/", $name))
    };
}

#[derive(ToOcaml)]
struct Order {
    item: &'static str,
    count: i64,
    price: f64,
}

#[derive(FromOcaml, Debug, PartialEq)]
pub(crate) enum Verdict {
    Accept,
    Refuse(String),
    Discount { percent: f64, why: String },
}

/// The rule in force.
struct Engine {
    vm: Vm,
    decide: Function<(Order,), Verdict>,
}

impl Engine {
    fn new(rule: &[u8]) -> Result<Engine, Error> {
        let mut vm = Vm::builder().fuel(1_000_000).build();
        vm.run_bytes("host.byte", file!("host.byte"))?;
        let unit = vm.load_public("pricing.cmo", rule)?.with_interface(file!("pricing.cmi"))?;
        let decide = vm.function(&unit, "decide")?;
        Ok(Engine { vm, decide })
    }

    /// Replaces the rule. After an error, the old one is in force.
    fn replace(&mut self, rule: &[u8]) -> Result<(), Error> {
        let new = self.vm.reload("pricing.cmo", rule)?.current.with_interface(file!("pricing.cmi"))?;
        self.decide = self.vm.function(&new, "decide")?;
        Ok(())
    }

    fn decide(&mut self, count: i64) -> Result<Verdict, Error> {
        self.vm.set_fuel(1_000_000)?;
        self.decide.call(&mut self.vm, (Order { item: "zinc", count, price: 25.0 },))
    }
}

/// What the rules decide about fifty, one after the other, and how many of them are left in memory.
pub(crate) fn run() -> Result<(Vec<Verdict>, usize), Error> {
    let mut engine = Engine::new(file!("pricing.cmo"))?;
    let mut verdicts = vec![engine.decide(50)?];
    engine.replace(file!("v2/pricing.cmo"))?;
    verdicts.push(engine.decide(50)?);
    if let Err(error) = engine.replace(file!("broken/pricing.cmo")) {
        println!("not replaced: {error}");
    }
    verdicts.push(engine.decide(50)?);
    engine.vm.collect()?;
    let alive = engine.vm.versions("Pricing").len();
    println!("{verdicts:?}, {alive} version in memory");
    Ok((verdicts, alive))
}

#[allow(dead_code, reason = "the tests include this file to call `run`")]
fn main() -> Result<(), Error> {
    run().map(drop)
}
