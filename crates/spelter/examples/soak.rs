//! Loads, runs and drops units repeatedly; `cargo xtask soak` runs this to check that memory stays flat.
//!
//! `soak N STEP` runs N cycles and prints, after each STEP of them and a compaction, the cycles so far and the resident
//! memory in kB.
//! Each cycle loads one unit and drops it: small or large, private or public, with debug data, importing another,
//! raising through it, failing to link. At the end every table of the ledger must be as large as it was at the start.

use std::error::Error;
use std::io::Write;

use spelter::Vm;

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../tests/fixtures/", $name)).as_slice())
    };
}

type Done = Result<(), Box<dyn Error>>;

/// One cycle out of this many loads the large unit.
const LARGE_EVERY: u64 = 50;

fn main() -> Done {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let cycles = args.next().unwrap_or(Ok(10_000))?;
    let step = args.next().unwrap_or(Ok(1_000))?.max(1);
    let (name, bytes) = fixture!("host.byte");
    let mut vm = Vm::builder().backtrace(true).build();
    vm.run_bytes(name, bytes)?;
    vm.collect()?;
    let before = vm.ledger();
    for i in 1..=cycles {
        cycle(&mut vm, i)?;
        if i % step == 0 {
            vm.compact()?;
            writeln!(std::io::stdout(), "{i} {}", resident_kb()?)?;
        }
    }
    vm.collect()?;
    let after = vm.ledger();
    let grown: Vec<_> = after.differences(&before).collect();
    if grown.is_empty() { Ok(()) } else { Err(format!("tables differ from before: {grown:?}").into()) }
}

fn cycle(vm: &mut Vm, i: u64) -> Done {
    if i.is_multiple_of(LARGE_EVERY) {
        return large(vm);
    }
    match i % 5 {
        0 => private(vm),
        1 => public(vm),
        2 => importing(vm),
        3 => raising(vm),
        _ => failing(vm),
    }
}

fn private(vm: &mut Vm) -> Done {
    let (name, bytes) = fixture!("greet.cmo");
    let unit = vm.load_bytes(name, bytes)?;
    let greeting: String = vm.call("greet", ("world",))?;
    drop(unit);
    vm.unregister("greet");
    if greeting == "hello, world" { Ok(()) } else { Err(format!("greet said {greeting:?}").into()) }
}

fn public(vm: &mut Vm) -> Done {
    let (name, bytes) = fixture!("supply.cmo");
    vm.load_public(name, bytes)?;
    // A newer version takes the older one's name.
    vm.load_public(name, bytes)?;
    vm.withdraw("Supply");
    Ok(())
}

fn importing(vm: &mut Vm) -> Done {
    let (name, bytes) = fixture!("supply.cmo");
    vm.load_public(name, bytes)?;
    let (name, bytes) = fixture!("demand.cmo");
    vm.load_bytes(name, bytes)?;
    vm.withdraw("Supply");
    let answer: i64 = vm.call("answer", ((),))?;
    vm.unregister("answer");
    if answer == 42 { Ok(()) } else { Err(format!("the answer was {answer}").into()) }
}

/// The backtrace reads the unit's debug data.
fn raising(vm: &mut Vm) -> Done {
    let (name, bytes) = fixture!("raises.cmo");
    vm.load_bytes(name, bytes)?;
    let raised = vm.call::<i64>("odd", (3,));
    for name in ["odd", "leave"] {
        vm.unregister(name);
    }
    match raised {
        Err(spelter::Error::Uncaught { backtrace, .. }) if backtrace.contains("raises.ml") => Ok(()),
        other => Err(format!("raises.cmo did not raise: {other:?}").into()),
    }
}

/// The unit's import is missing.
fn failing(vm: &mut Vm) -> Done {
    let (name, bytes) = fixture!("demand.cmo");
    match vm.load_bytes(name, bytes) {
        Err(spelter::Error::Link { .. }) => Ok(()),
        other => Err(format!("demand.cmo was linked without its import: {other:?}").into()),
    }
}

fn large(vm: &mut Vm) -> Done {
    let (name, bytes) = fixture!("soak/large.cmo");
    vm.load_bytes(name, bytes)?;
    let sum: i64 = vm.call("large", (7,))?;
    vm.unregister("large");
    if sum > 0 { Ok(()) } else { Err(format!("large said {sum}").into()) }
}

/// Resident memory, from the second number of `/proc/self/statm`, in pages of 4 kB.
fn resident_kb() -> Result<u64, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split_whitespace().nth(1).ok_or("no second number in /proc/self/statm")?;
    Ok(4 * pages.parse::<u64>()?)
}
