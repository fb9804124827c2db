//! Ten thousand guests in one process: each has a machine of its own, with a heap and a state that no other can see, and
//! all share the code of their program. Prints the memory of the process before, with them, and after they are dropped.
//!
//! Run it with `cargo run --release -p spelter --example pool [GUESTS]`.

use std::time::Instant;

use spelter::{Error, Program, Value, Vm};

const GUEST: &[u8] = include_bytes!("../tests/fixtures/examples/counter.byte");

/// A guest, and its function.
struct Guest {
    vm: Vm,
    add: Value,
}

impl Guest {
    fn new(program: &Program) -> Result<Guest, Error> {
        let mut vm = Vm::of(program)?;
        let add = vm.value("add")?;
        Ok(Guest { vm, add })
    }

    fn add(&mut self, n: i64) -> Result<i64, Error> {
        self.vm.call_value(&self.add, (n,))
    }
}

/// The kilobytes of this process that are in memory; 0 where the system does not say.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Makes so many guests and calls each twice. Returns the sum of their sums, and the memory before, with and after them.
pub(crate) fn run(guests: usize) -> Result<(i64, [usize; 3]), Error> {
    let program = Program::new("counter.byte", GUEST)?;
    let mut first = Guest::new(&program)?; // verifies and translates the program, which the others share
    let before = resident();

    let start = Instant::now();
    let mut pool = (0..guests).map(|_| Guest::new(&program)).collect::<Result<Vec<Guest>, Error>>()?;
    let made = start.elapsed();
    let mut sum = 0;
    for (n, guest) in (1..).zip(&mut pool) {
        guest.add(n)?;
        sum += guest.add(1)?;
    }
    let with = resident();

    drop(pool);
    first.vm.compact()?; // the allocator keeps what was freed in small pieces until it is told to give it back
    let after = resident();
    println!("{guests} guests, each made in {:.1} µs", made.as_secs_f64() * 1e6 / guests.max(1) as f64);
    println!("memory: {before} kB before, {with} kB with them, {after} kB after");
    Ok((sum, [before, with, after]))
}

#[allow(dead_code, reason = "the tests include this file to call `run`")]
fn main() -> Result<(), Error> {
    let guests = std::env::args().nth(1).and_then(|guests| guests.parse().ok());
    run(guests.unwrap_or(10_000)).map(drop)
}
