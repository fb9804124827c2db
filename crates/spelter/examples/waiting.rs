//! Guests that wait: their host function is a future, and while one guest waits for it, others in the same thread go on. A
//! guest that only computes does not hold them up either: each poll of its call has so much fuel.
//!
//! Any executor will do; this is smol's, in one thread. Run it with `cargo run -p spelter --example waiting`.

use std::time::Duration;

use smol::{LocalExecutor, Timer, block_on};
use spelter::{Async, Error, Vm};

const HOST: &[u8] = include_bytes!("../tests/fixtures/examples/host.byte");
const PLUGIN: &[u8] = include_bytes!("../tests/fixtures/examples/orders.cmo");

/// Asks for a price, which takes a while.
async fn price(item: String) -> Result<i64, &'static str> {
    Timer::after(Duration::from_millis(20)).await;
    match item.as_str() {
        "zinc" => Ok(3),
        "tin" => Ok(2),
        _ => Err("no such metal"),
    }
}

fn guest() -> Result<Vm, Error> {
    let builder = Vm::builder().primitive("host_price", |item: String| Async(price(item)));
    let mut vm = builder.fuel_per_poll(10_000).build();
    vm.run_bytes("host.byte", HOST)?;
    vm.load_bytes("orders.cmo", PLUGIN)?;
    Ok(vm)
}

/// What the guests say, in the order in which they have finished.
pub(crate) fn run() -> Result<Vec<String>, Error> {
    let finished = std::cell::RefCell::new(Vec::new());
    let orders = [("first", vec!["zinc"; 8]), ("second", vec!["tin", "zinc"]), ("third", vec!["gold"])];
    let executor = LocalExecutor::new();
    let mut tasks = Vec::new();
    for (name, items) in &orders {
        let (mut vm, finished) = (guest()?, &finished);
        tasks.push(executor.spawn(async move {
            let total = vm.call_async::<i64>("total", (items,)).await;
            let text = total.map_or_else(|e| e.to_string(), |total| total.to_string());
            finished.borrow_mut().push(format!("{name}: {text}"));
        }));
    }
    let mut busy = guest()?;
    let finished_busy = &finished;
    tasks.push(executor.spawn(async move {
        // 100,000,000 calls: it is dropped before they are done.
        let _ = busy.call_async::<i64>("busy", (100_000_000i64,)).await;
        finished_busy.borrow_mut().push("busy".to_owned());
    }));
    let busy = tasks.pop();
    block_on(executor.run(async {
        for task in tasks {
            task.await;
        }
    }));
    drop(busy);
    Ok(finished.take())
}

#[allow(dead_code, reason = "the tests include this file to call `run`")]
fn main() -> Result<(), Error> {
    for line in run()? {
        println!("{line}");
    }
    Ok(())
}
