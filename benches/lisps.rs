//! Compares scopes with gc-arena: the same Lisp interpreter on both, in both without unsafe code.
//!
//!     cargo run --release -p spelter-benches --example lisps
//!
//! Runs each program alternately, and prints the least processor time of each interpreter. For a profiler:
//! `--example lisps scopes|gc-arena PROGRAM TIMES`.

mod lisp;

use std::time::Duration;

use lisp::{PROGRAMS, arena, scopes};
use nix::time::ClockId;
use spelter_heap::Config;

/// How often each program runs on each.
const TIMES: usize = 300;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, which, program, times] = arguments.as_slice() {
        return profile(which, program, times);
    }
    println!("{:<52} {:>10} {:>10} {:>6}", "", "scopes, µs", "gc-arena", "ratio");
    for (name, program, expected) in PROGRAMS {
        let (mut scopes, mut arena) = interpreters();
        let (mut of_scopes, mut of_arena) = (Duration::MAX, Duration::MAX);
        for _ in 0..TIMES {
            of_scopes =
                of_scopes.min(time(|| assert_eq!(scopes.run(program).ok().as_deref(), Some(expected))));
            of_arena = of_arena.min(time(|| assert_eq!(arena.run(program).ok().as_deref(), Some(expected))));
        }
        let [a, b] = [of_scopes, of_arena].map(|it| it.as_secs_f64() * 1e6);
        println!("{name:<52} {a:>10.0} {b:>10.0} {:>6.2}", a / b);
    }
}

fn interpreters() -> (scopes::Lisp, arena::Lisp) {
    (scopes::Lisp::new(Config::default()).expect("an interpreter"), arena::Lisp::new())
}

/// The processor time of `f`, which is independent of other load on the machine.
fn time(f: impl FnOnce()) -> Duration {
    let now = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("a clock of every thread"));
    let start = now();
    f();
    now() - start
}

fn profile(which: &str, program: &str, times: &str) {
    let (_, program, _) = PROGRAMS.iter().find(|(name, ..)| name.starts_with(program)).expect("a program");
    let (mut scopes, mut arena) = interpreters();
    for _ in 0..times.parse().expect("a number") {
        match which {
            "scopes" => drop(scopes.run(program)),
            _ => drop(arena.run(program)),
        }
    }
}
