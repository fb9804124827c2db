//! Generated programs on several engines, which must agree.

use spelter::Value;

use crate::engine::{End, Engine, end_of, machine};
use crate::generate::{Generated, program};
use crate::source::Source;
use crate::watchdog::Watch;

/// What a run has shown.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    end: End,
    after: Vec<String>,
    notes: Vec<i64>,
}

/// Runs a program; what it registered is called afterwards, and garbage is collected. None when it ran into a limit.
fn observe(program: &Generated, engine: Engine) -> Option<Seen> {
    let (mut vm, notes) = machine(engine);
    let watch = Watch::new(&vm);
    let end = end_of(&vm.run_bytes("program", &program.bytes));
    let mut after = Vec::new();
    let mut limited = matches!(end, End::Limit(_));
    for name in ["a", "b"] {
        notes.refuel();
        let result = vm.call::<Value>(name, (1, 2));
        let told = match end_of(&result.map(drop)) {
            End::Told(text) => text,
            End::Limit(text) => {
                limited = true;
                text
            }
        };
        after.push(told);
    }
    notes.refuel();
    let collected = vm.collect();
    limited |= collected.is_err();
    notes.refuel();
    let _ = vm.compact();
    let limited = limited || watch.has_fired();
    (!limited).then(|| Seen { end, after, notes: notes.all() })
}

/// Runs what the bytes stand for on one engine, on one with the other dispatch, and on one with other memory.
pub(crate) fn run(bytes: &[u8]) {
    let mut source = Source::of_bytes(bytes);
    let engine = Engine::of(&mut source);
    let program = program(&mut source);
    let Some(seen) = observe(&program, engine) else { return };
    if let Some(other) = observe(&program, engine.other_dispatch()) {
        assert_eq!(seen, other, "{engine:?} and its other dispatch do not agree");
    }
    if !program.volatile
        && let Some(other) = observe(&program, engine.other_memory())
    {
        assert_eq!(seen, other, "{engine:?} and one with other memory do not agree");
    }
}
