//! Two ways to end a plug-in that runs, whatever it does about it: the host revokes its code, in a function that the plug-in
//! calls, or from another thread. In both cases its code is freed, although its functions are still referenced.
//!
//! Run it with `cargo run -p spelter --example revoked`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use spelter::{Error, Unit, Vm};

const HOST: &[u8] = include_bytes!("../tests/fixtures/examples/host.byte");
const PLUGIN: &[u8] = include_bytes!("../tests/fixtures/examples/ticker.cmo");

/// How many calls the first plug-in gets.
const TICKS: i64 = 1_000;

/// The errors that ended calls of a plug-in, and the number of units that are in memory afterwards.
type End = (Vec<String>, usize);

/// Revokes a plug-in while it runs: its frames unwind, and its own handlers do not see it.
fn revoke_inside() -> Result<End, Error> {
    let condemned: Arc<Mutex<Option<Unit>>> = Arc::default();
    let chosen = Arc::clone(&condemned);
    let take = move || chosen.lock().unwrap_or_else(PoisonError::into_inner).take();
    let builder = Vm::builder().primitive_in_context("host_tick", 1, move |cx, args| {
        if cx.get(args[0]).int() == Ok(TICKS)
            && let Some(unit) = take()
        {
            cx.revoke(unit)?;
        }
        Ok(cx.unit())
    });
    let mut vm = builder.build();
    vm.run_bytes("host.byte", HOST)?;
    *condemned.lock().unwrap_or_else(PoisonError::into_inner) = Some(vm.load_bytes("ticker.cmo", PLUGIN)?);
    let end = vm.call::<()>("run", (0,)).expect_err("it goes on for ever").to_string();
    vm.collect()?;
    println!("{end}; {} units in memory", vm.units().len());
    Ok((vec![end], vm.units().len()))
}

/// Revokes a plug-in from another thread once it has begun.
fn revoke_from_outside() -> Result<End, Error> {
    let ticks = Arc::new(AtomicI64::new(0));
    let counter = Arc::clone(&ticks);
    let count = move |n: i64| counter.store(n, Ordering::Relaxed);
    let mut vm = Vm::builder().primitive("host_tick", count).build();
    vm.run_bytes("host.byte", HOST)?;
    let unit = vm.load_bytes("ticker.cmo", PLUGIN)?;
    let handle = vm.revoke_handle(&unit);
    drop(unit);
    let watchdog = thread::spawn(move || {
        while ticks.load(Ordering::Relaxed) < TICKS {
            thread::sleep(Duration::from_millis(1));
        }
        handle.revoke();
    });
    let end = vm.call::<()>("run", (0,)).expect_err("it goes on for ever").to_string();
    watchdog.join().expect("the watchdog does not panic");
    vm.collect()?;
    println!("{end}; {} units in memory", vm.units().len());
    Ok((vec![end], vm.units().len()))
}

/// How both ended.
pub(crate) fn run() -> Result<[End; 2], Error> {
    Ok([revoke_inside()?, revoke_from_outside()?])
}

#[allow(dead_code, reason = "the tests include this file to call `run`")]
fn main() -> Result<(), Error> {
    run().map(drop)
}
