//! Machines leave no thread behind, whatever their programs' threads wait for when a machine is dropped. A process of its
//! own, whose threads are counted: so this is one test.

use std::time::{Duration, Instant};

use spelter::{Bytes, Captured, Error, HeapConfig, Limit, Program, Vm, World};
use spelter_fuzzing::{Engine, confined};

const WAITS: &[u8] = include_bytes!("../../crates/spelter/tests/fixtures/waits.byte");

/// What the host calls before it drops the machine, and the limit that stops the call.
const CALLS: [(&str, Option<Limit>); 5] = [
    ("give way", None),
    ("spin", Some(Limit::Fuel)),
    ("write", Some(Limit::Output)),
    ("fill", Some(Limit::Memory)),
    ("sleep", Some(Limit::Time)),
];

/// Dropping a machine must not wait until its threads' waits end, nor until it loses patience.
const SOON: Duration = Duration::from_millis(900);

fn machine(engine: Engine, program: &Program) -> Vm {
    let heap =
        HeapConfig { mode: engine.heap, nursery_words: 1 << 12, torture_period: 40, ..HeapConfig::default() };
    let mut vm = Vm::builder()
        .dispatch(engine.dispatch)
        .strategy(engine.strategy)
        .heap(heap)
        .fuel(1_000_000)
        .memory_limit(8 << 20)
        .output_limit(4096)
        .thread_limit(4)
        .world(World::nothing().stdout(Captured::default()))
        .build();
    vm.run(program).expect("it runs");
    vm
}

#[test]
fn a_dropped_machine_leaves_no_thread() {
    confined::begin();
    let program = Program::new("waits.byte", WAITS).expect("a fixture");
    let engines: Vec<Engine> = Engine::all().collect();
    let ways: Bytes = machine(engines[0], &program).value("ways").expect("it registers them");
    let ways = String::from_utf8(ways.0).expect("they are text");
    let ways: Vec<&str> = ways.lines().collect();
    let mut slowest = Duration::ZERO;
    for (i, way) in ways.iter().enumerate() {
        for j in 0..2 * engines.len() {
            let mut vm = machine(engines[j / 2], &program);
            // One that begins to wait, and one that may not have begun at all.
            let others = [*way, ways[(i + 1 + j) % ways.len()]];
            for other in others {
                // The threads may use up the fuel, or the memory.
                match vm.call::<()>("wait", (other,)) {
                    Ok(()) | Err(Error::Limit(_)) => {}
                    Err(other) => panic!("{way}: {other}"),
                }
            }
            let (call, limit) = CALLS[(i + j / 2) % CALLS.len()];
            if j % 2 == 0 {
                vm.set_fuel(1_000_000).expect("it has fuel");
                vm.set_time_limit((limit == Some(Limit::Time)).then_some(Duration::from_millis(5)));
                match (vm.call::<()>(call, ((),)), limit) {
                    (Ok(()), None) | (Err(Error::Limit(_)), _) => {}
                    (other, _) => panic!("{others:?}, {call}: {other:?}"),
                }
            }
            let began = Instant::now();
            drop(vm);
            slowest = slowest.max(began.elapsed());
            assert!(slowest < SOON, "{others:?}: it took {slowest:?} to drop the machine");
        }
        confined::check_process();
    }
}
