//! Benches grouped by pipeline stage, so that a regression identifies its stage: load, link, run, dynlink, collect,
//! call-out. `cargo bench -p spelter-benches`; with `-- --test`, each runs once.

mod machines;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use machines::{PROGRAM, UNIT, call, large_unit, machine, machine_with_plugin};
use spelter::{Strategy, Vm};
use spelter_bytecode::Executable;
use spelter_bytecode::obj::CompilationUnit;

/// A minor collection.
fn minor(vm: &mut Vm) {
    // SAFETY: the heap is only collected, and not used otherwise.
    unsafe { vm.machine() }.collect_minor();
}

/// Reading files.
fn load(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    group.bench_function("executable", |b| {
        b.iter(|| Executable::read(black_box(PROGRAM)).unwrap().code().unwrap())
    });
    group.bench_function("unit", |b| b.iter(|| CompilationUnit::read(black_box(UNIT)).unwrap()));
    group.finish();
}

/// From an executable's bytes to the end of the program.
fn link(c: &mut Criterion) {
    let mut group = c.benchmark_group("link");
    group.bench_function("start", |b| b.iter(|| machine(Strategy::Carry)));
    group.finish();
}

/// The program's own code, and the same code loaded under each strategy.
fn three_ways() -> [(&'static str, Vm); 3] {
    [
        ("static", machine(Strategy::Carry)),
        ("carry", machine_with_plugin(Strategy::Carry)),
        ("stub", machine_with_plugin(Strategy::Stub)),
    ]
}

/// The most common operations of programs.
fn run(c: &mut Criterion) {
    let mut group = c.benchmark_group("run");
    for (name, size) in [("trees", 12), ("sieve", 20_000)] {
        for (how, mut vm) in three_ways() {
            group.bench_function(format!("{name}/{how}"), |b| b.iter(|| call(&mut vm, name, size)));
        }
    }
    group.finish();
}

/// The cost of running, loading and freeing loaded code.
fn dynlink(c: &mut Criterion) {
    let mut group = c.benchmark_group("dynlink");
    for (name, function, size) in
        [("call", "fib", 20), ("closure", "closures", 10_000), ("partial", "partial", 10_000)]
    {
        for (how, mut vm) in three_ways() {
            group.bench_function(format!("{name}/{how}"), |b| b.iter(|| call(&mut vm, function, size)));
        }
    }
    let large = large_unit(1000);
    for strategy in [Strategy::Carry, Strategy::Stub] {
        for (size, name, bytes) in [("small", "unit", UNIT), ("large", "large", &large)] {
            group.bench_function(format!("load_to_first_call/{size}/{strategy:?}"), |b| {
                let mut vm = machine(strategy);
                b.iter(|| {
                    vm.load_bytes("unit.cmo", bytes).unwrap();
                    call(&mut vm, name, 3)
                });
            });
        }
        // The additional time of a collection that frees units over one that frees none.
        group.bench_function(format!("free/{strategy:?}"), |b| {
            let mut vm = machine(strategy);
            b.iter_custom(|units| free(&mut vm, units));
        });
        // Load, call, drop, and the collection that frees the unit, which must visit all the others.
        group.bench_function(format!("cycle_among_10000/{strategy:?}"), |b| {
            let mut vm = machine(strategy);
            let others: Vec<_> = (0..10_000).map(|_| vm.load_bytes("unit.cmo", UNIT).unwrap()).collect();
            b.iter(|| {
                vm.load_bytes("unit.cmo", UNIT).unwrap();
                call(&mut vm, "unit", 3);
                vm.unregister("unit");
                vm.collect_once().expect("it collects");
            });
            assert_eq!(vm.units().len(), others.len(), "the cycles leave nothing behind");
        });
    }
    group.finish();
}

/// The time to free this many units, a thousand in each collection.
fn free(vm: &mut Vm, units: u64) -> Duration {
    let mut time = Duration::ZERO;
    let mut left = units;
    while left > 0 {
        vm.collect_once().expect("it collects");
        let before = Instant::now();
        vm.collect_once().expect("it collects");
        let empty = before.elapsed();
        let batch = left.min(1000);
        let unit: Vec<_> = (0..batch).map(|_| vm.load_bytes("unit.cmo", UNIT).unwrap()).collect();
        vm.unregister("unit");
        minor(vm);
        drop(unit);
        let before = Instant::now();
        vm.collect_once().expect("it collects");
        time += before.elapsed().saturating_sub(empty);
        assert_eq!(vm.units().len(), 0);
        left -= batch;
    }
    time
}

/// Collections, of a heap with a tree of 65535 nodes and of one without.
fn collect(c: &mut Criterion) {
    let mut group = c.benchmark_group("collect");
    group.bench_function("minor", |b| {
        let mut vm = machine(Strategy::Carry);
        // Two thousand live nodes, as in a running program.
        let fill = |vm: &mut Vm| call(vm, "keep", 10);
        b.iter_custom(|rounds| {
            let time = |_| {
                fill(&mut vm);
                let before = Instant::now();
                minor(&mut vm);
                before.elapsed()
            };
            (0..rounds).map(time).sum()
        });
    });
    for (name, size) in [("full/small", 0), ("full/tree", 16)] {
        group.bench_function(name, |b| {
            let mut vm = machine(Strategy::Carry);
            call(&mut vm, "keep", size);
            vm.collect_once().expect("it collects");
            b.iter(|| vm.collect_once().expect("it collects"));
        });
    }
    group.finish();
}

/// Calls between the host and OCaml, a thousand of each kind.
fn call_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("call-out");
    let mut vm = machine_with_plugin(Strategy::Carry);
    group.bench_function("host_calls", |b| {
        b.iter(|| (0..1000).map(|n| call(&mut vm, "nothing", n)).sum::<i64>());
    });
    group.bench_function("primitive", |b| b.iter(|| call(&mut vm, "call_out", 1000)));
    group.bench_function("callback", |b| b.iter(|| call(&mut vm, "call_back", 1000)));
    group.finish();
}

fn main() {
    let settings = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    let mut c = settings.configure_from_args();
    for stage in [load, link, run, dynlink, collect, call_out] {
        stage(&mut c);
    }
    c.final_summary();
}
