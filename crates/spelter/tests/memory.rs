//! What a machine with a limit of its memory really holds: counted by the process's allocator, and by the system.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use spelter::{Bytes, Captured, Error, Limit, Outcome, Vm, World};

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

/// What the process holds, apart from what its allocator keeps for later.
struct Start {
    allocated: usize,
    resident: usize,
}

impl Start {
    fn now() -> Start {
        tidy_up();
        Start { allocated: NOW.load(Relaxed), resident: status("VmRSS") }
    }

    /// Calls `f`; returns how many bytes more than at the start the process had allocated, and had in memory, at most.
    fn measure<T>(&self, f: impl FnOnce() -> T) -> (T, usize, usize) {
        tidy_up();
        fs::write("/proc/self/clear_refs", "5").expect("the peak can be reset");
        MOST.store(NOW.load(Relaxed), Relaxed);
        let result = f();
        let resident = status("VmHWM").saturating_sub(self.resident);
        (result, MOST.load(Relaxed).saturating_sub(self.allocated), resident)
    }
}

/// Makes the process's allocator return what is free, now and later.
fn tidy_up() {
    // SAFETY: these change nothing that a program can see.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 10);
        libc::malloc_trim(0);
    }
}

fn measured<T>(f: impl FnOnce() -> T) -> (T, usize, usize) {
    Start::now().measure(f)
}

/// Tests measure the whole process, so they take turns.
static TURNS: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is more than the limit and one percent of it.
fn excess(bytes: usize, limit: usize) -> Option<f64> {
    (bytes > limit + limit / 100).then(|| bytes as f64 / limit as f64 * 100.0)
}

const HUNGRY: usize = 48 << 20;

fn hunger(name: &str) -> (Result<Outcome, Error>, Vm) {
    let builder = Vm::builder().args(["hunger", name]).world(World::process()).memory_limit(HUNGRY);
    let mut vm = builder.build();
    vm.own_process();
    let outcome = vm.run_bytes("hunger.byte", include_bytes!("fixtures/hunger.byte"));
    (outcome, vm)
}

#[test]
fn hungry_programs_are_stopped() {
    let _turn = turn();
    let (outcome, mut vm) = hunger("list");
    outcome.expect("it lists them");
    let names: Bytes = vm.value("names").expect("registered");
    drop(vm);
    for name in String::from_utf8(names.0).expect("text").lines() {
        let (outcome, allocated, resident) = measured(|| hunger(name).0);
        // This one ends by itself, in any case.
        let ends = name == "remembered" && matches!(outcome, Err(Error::Uncaught { .. }));
        assert!(ends || matches!(outcome, Err(Error::Limit(Limit::Memory))), "{name}: {outcome:?}");
        assert_eq!(excess(allocated, HUNGRY), None, "{name} allocated too much");
        assert_eq!(excess(resident, HUNGRY), None, "{name} had too much in memory");
    }
}

#[test]
fn fibers_count() {
    let _turn = turn();
    let run = || {
        let mut vm = Vm::builder().memory_limit(HUNGRY).build();
        vm.run_bytes("fibers.byte", include_bytes!("fixtures/effects/fibers.byte"))
    };
    let (outcome, allocated, resident) = measured(run);
    assert!(matches!(outcome, Err(Error::Limit(Limit::Memory))), "{outcome:?}");
    assert_eq!((excess(allocated, HUNGRY), excess(resident, HUNGRY)), (None, None));
}

const LIMIT: usize = 8 << 20;
/// The patterns that a machine gets before another one takes its place.
const AT_ONCE: usize = 50;
/// What the process itself takes between two looks at it.
const PROCESS: usize = 256 << 10;

/// Calls the patterns of these seeds in a machine, each of which must be stopped within the limit.
fn check_patterns(seeds: Range<usize>) {
    let start = Start::now();
    let output = Captured::default();
    let world = World::nothing().stdout(output.clone()).file("cfg", vec![b'x'; 10_000]);
    let mut vm = Vm::builder().world(world).memory_limit(LIMIT).build();
    vm.run_bytes("patterns.byte", include_bytes!("fixtures/patterns.byte"))
        .expect("it registers its functions");
    for seed in seeds {
        let (outcome, allocated, resident) = start.measure(|| vm.call::<()>("pattern", (seed as i64,)));
        assert!(matches!(outcome, Err(Error::Limit(Limit::Memory))), "{seed}: {outcome:?}");
        assert_eq!(excess(allocated, LIMIT), None, "pattern {seed} allocated too much");
        let resident = resident.saturating_sub(PROCESS);
        assert_eq!(excess(resident, LIMIT), None, "pattern {seed} had too much in memory");
        drop(output.take());
        let alive = vm.call::<i64>("alive", (seed as i64,));
        assert_eq!(alive.expect("the machine works"), seed as i64 + 20_100_000, "{seed}");
    }
}

#[test]
fn no_pattern_of_allocation_escapes() {
    let _turn = turn();
    for first in (0..1000).step_by(AT_ONCE) {
        check_patterns(first..first + AT_ONCE);
    }
}
