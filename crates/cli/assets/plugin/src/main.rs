//! A host for a plug-in in OCaml: typed calls in both directions, and limits.

use std::time::Duration;

use spelter::{Error, FromOcaml, Function, ToOcaml, Vm};

// Compiled by build.rs.
const STDLIB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/host.byte"));
const RULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rule.cmo"));
const INTERFACE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rule.cmi"));

#[derive(ToOcaml)]
struct Order {
    item: String,
    count: i64,
    price: f64,
}

#[derive(FromOcaml, Debug)]
enum Verdict {
    Accept,
    Refuse(String),
}

fn main() -> Result<(), Error> {
    // The plug-in reaches nothing but the functions that are registered here.
    let mut vm = Vm::builder()
        .primitive("host_log", |line: String| println!("  the plug-in says: {line}"))
        .time_limit(Duration::from_secs(1))
        .build();
    vm.run_bytes("host", STDLIB)?;

    let unit = vm.load_bytes("rule", RULE)?.with_interface(INTERFACE)?;
    let decide: Function<(Order,), Verdict> = vm.function(&unit, "decide")?;
    for (item, count, price) in [("tin", 3, 0.5), ("zinc", 0, 2.0), ("gallium", 2, 4000.0)] {
        let verdict = decide.call(&mut vm, (Order { item: item.to_owned(), count, price },))?;
        match verdict {
            Verdict::Accept => println!("{item}: accepted"),
            Verdict::Refuse(reason) => println!("{item}: refused, {reason}"),
        }
    }
    Ok(())
}
