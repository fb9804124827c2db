//! What a machine costs that runs a program which others have run before it: the processor time to make it and to drop it,
//! and the memory that a process has for each of a thousand idle ones, each called once.
//!
//! ```sh
//! cargo run --release -p spelter-benches --example instances
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*instances::measured*' \
//!     target/release/examples/instances 100
//! ```
//!
//! With an argument, only that many are made and dropped, so that callgrind counts their instructions.

use std::hint::black_box;

use nix::time::ClockId;
use spelter::{Program, Value, Vm};

const PROGRAM: &[u8] = include_bytes!("peers/guests/program.byte");
const IDLE: usize = 1000;

fn instance(program: &Program) -> (Vm, Value) {
    let mut vm = Vm::builder().primitive("host_next", |n: i64| n + 1).build();
    vm.run(program).expect("it runs");
    let add = vm.value("add").expect("it is registered");
    (vm, add)
}

/// Makes and drops `n` instances.
#[inline(never)]
fn measured(program: &Program, n: usize) {
    // Not a closure, whose name would be toggled like this one.
    for _ in 0..n {
        drop(black_box(instance(program)));
    }
}

fn now() -> f64 {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("the clock");
    time.tv_sec() as f64 * 1e6 + time.tv_nsec() as f64 / 1e3
}

/// The kilobytes of the process that are in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    4 * pages.expect("a number of pages")
}

fn main() {
    let program = Program::new("program.byte", PROGRAM).expect("it is a program");
    let first = instance(&program);
    if let Some(n) = std::env::args().nth(1) {
        return measured(&program, n.parse().expect("a number"));
    }
    let before = resident();
    let mut idle: Vec<_> = (0..IDLE).map(|_| instance(&program)).collect();
    for (vm, add) in &mut idle {
        assert_eq!(vm.call_value::<i64>(add, (1, 1)).expect("it returns"), 2);
    }
    println!("{:.1} kB for each of {IDLE} idle machines", (resident() - before) as f64 / IDLE as f64);
    drop(idle);
    println!(
        "{:.1} kB for each after they were dropped",
        (resident().saturating_sub(before)) as f64 / IDLE as f64
    );
    let mut times: Vec<f64> = (0..21)
        .map(|_| {
            let start = now();
            measured(&program, 200);
            (now() - start) / 200.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{:.1} µs to make and drop one (median {:.1})", times[0], times[10]);
    drop(first);
}
