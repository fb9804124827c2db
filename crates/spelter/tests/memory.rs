//! What a machine with a limit of its memory really holds: counted by the process's allocator, and by the system.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use spelter::{Bytes, Error, Limit, Vm, World};

/// Counts what is allocated.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn count(more: usize) {
    let now = NOW.fetch_add(more, Relaxed) + more;
    MOST.fetch_max(now, Relaxed);
}

// SAFETY: it only passes on.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A figure of /proc/self/status, in bytes.
fn status(name: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").expect("the system's figures");
    let line = text.lines().find(|line| line.starts_with(name)).expect("the figure");
    let kib: usize = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib << 10
}

/// Calls `f`; returns how many bytes more than before the process had allocated, and had in memory, at most.
fn measured<T>(f: impl FnOnce() -> T) -> (T, usize, usize) {
    fs::write("/proc/self/clear_refs", "5").expect("the peak can be reset");
    let (allocated, resident) = (NOW.load(Relaxed), status("VmRSS"));
    MOST.store(allocated, Relaxed);
    let result = f();
    (result, MOST.load(Relaxed) - allocated, status("VmHWM") - resident)
}

const LIMIT: usize = 48 << 20;

const HUNGER: &[u8] = include_bytes!("fixtures/hunger.byte");

fn hunger(name: &str) -> (Result<spelter::Outcome, Error>, Vm) {
    let mut vm = Vm::builder().args(["hunger", name]).world(World::process()).memory_limit(LIMIT).build();
    vm.own_process();
    let outcome = vm.run_bytes("hunger.byte", HUNGER);
    (outcome, vm)
}

#[test]
fn hungry_programs_are_stopped() {
    let (outcome, mut vm) = hunger("list");
    outcome.expect("it lists them");
    let names: Bytes = vm.value("names").expect("registered");
    drop(vm);
    let mut failed = Vec::new();
    for name in String::from_utf8(names.0).expect("text").lines() {
        if std::env::var("ONLY").is_ok_and(|only| only != name) {
            continue;
        }
        let start = std::time::Instant::now();
        let (outcome, allocated, resident) = measured(|| hunger(name).0);
        let good = matches!(outcome, Err(Error::Limit(Limit::Memory)));
        let over = |bytes: usize| bytes as f64 / LIMIT as f64 * 100.0;
        println!(
            "{} {name}: {:.1} % allocated, {:.1} % resident, {:?} {}",
            if good { "ok " } else { "BAD" },
            over(allocated),
            over(resident),
            start.elapsed(),
            outcome.map_or_else(|e| e.to_string(), |_| String::new())
        );
        if !good || over(allocated) > 101.0 || over(resident) > 101.0 {
            failed.push(name.to_owned());
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
