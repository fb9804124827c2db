//! Benches in groups that follow the pipeline, so that a regression names its stage: load, link, run, collect,
//! call-out. `cargo bench -p spelter-benches`; with `-- --test`, each runs once.

use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use spelter::{Strategy, Vm};
use spelter_bytecode::Executable;
use spelter_bytecode::obj::CompilationUnit;

const PROGRAM: &[u8] = include_bytes!("fixtures/program.byte");
const PLUGIN: &[u8] = include_bytes!("fixtures/plugin.cmo");
const UNIT: &[u8] = include_bytes!("fixtures/unit.cmo");

/// A machine with the program; its functions are registered.
fn machine(strategy: Strategy) -> Vm {
    let mut vm = Vm::builder().strategy(strategy).primitive("bench_add", |a: i64, b: i64| a + b).build();
    vm.machine().prims.add_host("bench_apply", 2, Rc::new(|m, args| m.call(args[0], &[args[1]])));
    vm.run_bytes("program.byte", PROGRAM).expect("the program runs");
    vm
}

/// A machine whose functions are those of the plug-in: loaded code.
fn machine_with_plugin(strategy: Strategy) -> Vm {
    let mut vm = machine(strategy);
    vm.load_bytes("plugin.cmo", PLUGIN).expect("the plug-in loads");
    vm
}

fn call(vm: &mut Vm, name: &str, n: i64) -> i64 {
    vm.call(name, (black_box(n),)).expect("the function returns")
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

/// From a file's bytes to code that has run, and back.
fn link(c: &mut Criterion) {
    let mut group = c.benchmark_group("link");
    group.bench_function("start", |b| b.iter(|| machine(Strategy::Carry)));
    for strategy in [Strategy::Carry, Strategy::Stub] {
        group.bench_function(format!("load_to_first_call/{strategy:?}"), |b| {
            let mut vm = machine(strategy);
            b.iter(|| {
                vm.load_bytes("unit.cmo", UNIT).unwrap();
                call(&mut vm, "unit", 3)
            });
        });
        // What a collection that frees a unit takes beyond one that frees none.
        group.bench_function(format!("free/{strategy:?}"), |b| {
            let mut vm = machine(strategy);
            b.iter_custom(|units| free(&mut vm, units));
        });
    }
    group.finish();
}

/// The time to free so many units, a thousand in each collection.
fn free(vm: &mut Vm, units: u64) -> Duration {
    let mut time = Duration::ZERO;
    let mut left = units;
    while left > 0 {
        vm.machine().collect_full();
        let before = Instant::now();
        vm.machine().collect_full();
        let empty = before.elapsed();
        let batch = left.min(1000);
        let unit: Vec<_> = (0..batch).map(|_| vm.load_bytes("unit.cmo", UNIT).unwrap()).collect();
        vm.unregister("unit");
        vm.machine().collect_minor();
        drop(unit);
        let before = Instant::now();
        vm.machine().collect_full();
        time += before.elapsed().saturating_sub(empty);
        assert_eq!(vm.units().len(), 0);
        left -= batch;
    }
    time
}

/// The same functions as the program's own code, and as loaded code under either strategy.
fn run(c: &mut Criterion) {
    let mut group = c.benchmark_group("run");
    for (name, size) in
        [("fib", 20), ("closures", 10_000), ("partial", 10_000), ("trees", 12), ("sieve", 20_000)]
    {
        let machines = [
            ("static", machine(Strategy::Carry)),
            ("carry", machine_with_plugin(Strategy::Carry)),
            ("stub", machine_with_plugin(Strategy::Stub)),
        ];
        for (how, mut vm) in machines {
            group.bench_function(format!("{name}/{how}"), |b| b.iter(|| call(&mut vm, name, size)));
        }
    }
    group.finish();
}

/// Collections, of a heap with a tree of 65535 nodes and of one without.
fn collect(c: &mut Criterion) {
    let mut group = c.benchmark_group("collect");
    group.bench_function("minor", |b| {
        let mut vm = machine(Strategy::Carry);
        // Two thousand nodes that are alive, as in the middle of a program's work.
        let fill = |vm: &mut Vm| call(vm, "keep", 10);
        b.iter_custom(|rounds| {
            let time = |_| {
                fill(&mut vm);
                let before = Instant::now();
                vm.machine().collect_minor();
                before.elapsed()
            };
            (0..rounds).map(time).sum()
        });
    });
    for (name, size) in [("full/small", 0), ("full/tree", 16)] {
        group.bench_function(name, |b| {
            let mut vm = machine(Strategy::Carry);
            call(&mut vm, "keep", size);
            vm.machine().collect_full();
            b.iter(|| vm.machine().collect_full());
        });
    }
    group.finish();
}

/// Between the host and OCaml, a thousand times each.
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
    for stage in [load, link, run, collect, call_out] {
        stage(&mut c);
    }
    c.final_summary();
}
