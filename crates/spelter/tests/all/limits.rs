//! Resource limits: a program cannot change the host's limits, and when memory is short it gets `Out_of_memory` while
//! the process continues.

use std::process::Command;
use std::sync::Mutex;

use spelter::{Bytes, Error, Grade, HeapConfig, Limit, Vm, VmBuilder, World};

use crate::{every_builder, fixture, graded};

/// The limits that `greedy.ml` could set, and the results of exceeding them.
fn greedy(builder: VmBuilder, words: &str) -> Vec<String> {
    let mut vm = builder.args(["greedy", words]).build();
    let (name, bytes) = fixture!("greedy.byte");
    vm.run_bytes(name, bytes).expect("it catches what it may");
    let outcomes: Bytes = vm.value("outcomes").expect("it has registered them");
    String::from_utf8(outcomes.0).expect("text").split(' ').map(str::to_owned).collect()
}

#[test]
fn what_the_host_set_is_a_ceiling() {
    for grade in [Grade::Trusted, Grade::Checked] {
        let heap = HeapConfig { max_words: Some(1 << 20), ..HeapConfig::default() };
        let builder = || graded(Vm::builder(), grade).stack_limit_words(1 << 18).heap(heap.clone());
        let nursery = (1 << 20).to_string();
        let max = i64::MAX >> 1;
        for words in [max.to_string(), "1000000".to_owned()] {
            assert_eq!(
                greedy(builder(), &words),
                ["262144", &nursery, "30000", "overflow", "0", "overflow", "overflow", "overflow"]
            );
        }
        // It can have less.
        assert_eq!(greedy(builder(), "8192")[..4], ["8192", &nursery, "overflow", "overflow"]);
    }
}

#[test]
fn where_the_host_set_nothing_the_program_sets_the_limit() {
    let outcomes = greedy(Vm::builder(), "16777216");
    assert_eq!(outcomes[2..], ["30000", "3000000", "0", "overflow", "overflow", "overflow"]);
    assert_eq!(outcomes[0], "16777216");
    // If the limit exceeds the available memory, `Out_of_memory` is raised instead.
    let max = (i64::MAX >> 1).to_string();
    let outcomes = greedy(Vm::builder(), &max);
    assert_eq!(outcomes[2..], ["30000", "3000000", "0", "memory", "memory", "memory"]);
}

#[test]
fn what_is_held_outside_counts_with_the_heap() {
    for grade in [Grade::Trusted, Grade::Checked] {
        let heap = HeapConfig { max_words: Some(2 << 20), ..HeapConfig::default() };
        let mut vm = graded(Vm::builder(), grade).heap(heap).build();
        let (name, bytes) = fixture!("outside.byte");
        vm.run_bytes(name, bytes).expect("it catches what it may");
        let outcomes: Bytes = vm.value("outcomes").expect("registered");
        let outcomes = String::from_utf8(outcomes.0).expect("text");
        assert_eq!(
            outcomes,
            "memory fine fine memory memory memory memory failure memory fine memory memory fine"
        );
    }
}

const PROGRAM: &str = "SPELTER_TESTS_HUNGER";
/// The address space of the process in kilobytes.
const ADDRESSES: u32 = 250_000;

/// Runs a program of `hunger.ml` in this process.
fn hunger(name: &str) -> Result<Vm, Error> {
    let mut vm = Vm::builder().args(["hunger", name]).world(World::process()).build();
    vm.own_process();
    let (file, bytes) = fixture!("hunger.byte");
    vm.run_bytes(file, bytes).map(|_| vm)
}

/// The process that [`lack_of_memory_is_an_exception`] starts for each program; otherwise there is none to run.
#[test]
fn one_program_where_memory_is_short() {
    let Ok(name) = std::env::var(PROGRAM) else { return };
    match hunger(&name) {
        Err(Error::Uncaught { exception, .. }) => println!("{name} ended: {exception}"),
        Err(other) => println!("{name} ended: {other}"),
        Ok(_) => println!("{name} had enough"),
    }
}

/// Runs a program of `hunger.ml` in a process with limited memory; returns a description if it fails.
fn starve(name: &str) -> Option<String> {
    let limited = format!("ulimit -v {ADDRESSES}; exec timeout -k 1 60 \"$0\" \"$@\"");
    let child = Command::new("sh")
        .args(["-c", &limited])
        .arg(std::env::current_exe().expect("this test's path"))
        .args(["limits::one_program_where_memory_is_short", "--exact", "--nocapture", "--test-threads=1"])
        .env(PROGRAM, name)
        .output()
        .expect("a shell");
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    let ended = child.status.success() && out.contains(&format!("{name} ended: Out_of_memory"));
    let start = err.chars().take(300).collect::<String>();
    (!ended).then(|| format!("{name}: {}\n{out}\n{start}", child.status))
}

#[test]
fn lack_of_memory_is_an_exception() {
    let names: Bytes = hunger("list").expect("it lists them").value("names").expect("registered");
    let names = String::from_utf8(names.0).expect("text");
    // Filling memory takes most of the time.
    let (waiting, failed) = (Mutex::new(names.lines()), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(name) = next() {
                    failed.lock().unwrap().extend(starve(name));
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(names.lines().count() > 60 && failed.is_empty(), "{}", failed.join("\n"));
}

/// A machine with a limit that is too low for anything says so, and does no more.
#[test]
fn the_lowest_limits_of_memory() {
    let (name, bytes) = fixture!("host.byte");
    for limit in [0, 1, 1 << 10, 1 << 14, 1 << 16, 1 << 18] {
        for (engine, builder) in every_builder() {
            let mut vm = builder.memory_limit(limit).build();
            for _ in 0..2 {
                let outcome = vm.run_bytes(name, bytes);
                let is_limit = matches!(outcome, Err(Error::Limit(Limit::Memory)));
                assert!(is_limit, "{engine}, {limit}: {outcome:?}");
            }
        }
    }
}
