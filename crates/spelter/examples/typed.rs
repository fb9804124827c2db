//! A plug-in whose functions have types on both sides: they are found by name in its compiled interface, and their types
//! are compared with those of Rust when they are bound.
//!
//! Run it with `cargo run -p spelter --example typed`.

use spelter::{Error, FromOcaml, Function, ToOcaml, Vm};

const HOST: &[u8] = include_bytes!("../tests/fixtures/typed/host.byte");
const PLUGIN: &[u8] = include_bytes!("../tests/fixtures/typed/rule.cmo");
const INTERFACE: &[u8] = include_bytes!("../tests/fixtures/typed/rule.cmi");

/// `type order = { item : string; mutable count : int; price : float }`
#[derive(ToOcaml, FromOcaml, Debug, PartialEq)]
pub(crate) struct Order {
    item: String,
    count: i64,
    price: f64,
}

/// The OCaml type `verdict`: its constructors in the same order. Its name is free.
#[derive(FromOcaml, Debug, PartialEq)]
pub(crate) enum Verdict {
    Accept,
    Refuse(String),
    Later,
    Split(Order, i64),
    Ask { who: String, until: Option<i64> },
}

/// What the plug-in decides about some orders, and why a function of another type is refused.
pub(crate) fn run() -> Result<(Vec<Verdict>, String), Error> {
    let mut vm = Vm::builder().build();
    vm.run_bytes("host.byte", HOST)?;
    let unit = vm.load_bytes("rule.cmo", PLUGIN)?.with_interface(INTERFACE)?;

    // val decide : order -> verdict
    let decide: Function<(&Order,), Verdict> = vm.function(&unit, "decide")?;
    let mut verdicts = Vec::new();
    for (item, count, price) in [("tin", 3, 0.5), ("zinc", 0, 2.0), ("gallium", 2, 4000.0)] {
        let order = Order { item: item.to_owned(), count, price };
        let verdict = decide.call(&mut vm, (&order,))?;
        println!("{count} {item} at {price}: {verdict:?}");
        verdicts.push(verdict);
    }

    // A function of another type is refused here, not when it is called.
    let refused =
        vm.function::<(&Order,), String>(&unit, "decide").expect_err("it returns a verdict").to_string();
    println!("refused: {refused}");
    Ok((verdicts, refused))
}

#[allow(dead_code, reason = "the tests include this file to call `run`")]
fn main() -> Result<(), Error> {
    run().map(drop)
}
