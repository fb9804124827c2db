//! The same plug-in in several threads: a machine for each, without locks, because machines share nothing.
//!
//! Run it with `cargo run -p spelter --example parallel`.

use std::thread;

use spelter::{Error, FromOcaml, Function, ToOcaml, Vm};

const HOST: &[u8] = include_bytes!("../tests/fixtures/examples/host.byte");
const PLUGIN: &[u8] = include_bytes!("../tests/fixtures/examples/pricing.cmo");
const INTERFACE: &[u8] = include_bytes!("../tests/fixtures/examples/pricing.cmi");

#[derive(ToOcaml, Clone)]
pub(crate) struct Order {
    item: String,
    count: i64,
    price: f64,
}

#[derive(FromOcaml, Debug, PartialEq)]
pub(crate) enum Verdict {
    Accept,
    Refuse(String),
    Discount { percent: f64, why: String },
}

/// What the plug-in decides about these orders, in a machine of this thread.
fn decide_all(orders: &[Order]) -> Result<Vec<Verdict>, Error> {
    let mut vm = Vm::builder().build();
    vm.run_bytes("host.byte", HOST)?;
    let unit = vm.load_bytes("pricing.cmo", PLUGIN)?.with_interface(INTERFACE)?;
    let decide: Function<(&Order,), Verdict> = vm.function(&unit, "decide")?;
    orders.iter().map(|order| decide.call(&mut vm, (order,))).collect()
}

/// The same in so many threads, each with a part of the orders.
fn decide_in_parallel(orders: &[Order], threads: usize) -> Result<Vec<Verdict>, Error> {
    let part = orders.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = orders.chunks(part).map(|part| scope.spawn(move || decide_all(part))).collect();
        let mut verdicts = Vec::with_capacity(orders.len());
        for worker in workers {
            // A panic of a worker goes on here.
            verdicts.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(verdicts)
    })
}

/// The verdicts of one thread and of several.
pub(crate) fn run() -> Result<[Vec<Verdict>; 2], Error> {
    let order = |count| Order { item: "zinc".to_owned(), count, price: 2.5 };
    let orders: Vec<Order> = (-10..190).map(order).collect();
    let threads = thread::available_parallelism().map_or(2, |n| n.get().max(2));
    let both = [decide_in_parallel(&orders, 1)?, decide_in_parallel(&orders, threads)?];
    let accepted = both[1].iter().filter(|verdict| **verdict == Verdict::Accept).count();
    println!("{accepted} of {} accepted, in {threads} threads", orders.len());
    Ok(both)
}

#[allow(dead_code, reason = "the tests include this file to call `run`")]
fn main() -> Result<(), Error> {
    run().map(drop)
}
