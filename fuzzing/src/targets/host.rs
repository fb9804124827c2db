//! A host that calls everything in any order: it creates machines, runs them, reads values as the wrong types, and
//! drops machines while it still holds their values.

use spelter::{Error, Value, Vm};
use spelter_bytecode::Dialect;

use crate::engine::{Engine, Notes, machine};
use crate::generate;
use crate::source::Source;
use crate::watchdog::Watch;

struct Guest {
    dialect: &'static Dialect,
    vm: Vm,
    notes: Notes,
    watch: Watch,
}

/// Performs up to forty operations on up to three machines.
pub(crate) fn run(bytes: &[u8]) {
    let mut source = Source::of_bytes(bytes);
    let source = &mut source;
    let mut guests: Vec<Guest> = Vec::new();
    let mut values: Vec<(usize, Value)> = Vec::new();
    let mut machines = 0;
    for _ in 0..40 {
        if source.is_empty() {
            break;
        }
        if guests.is_empty() || source.one_in(16) && guests.len() < 3 {
            let (vm, notes) = machine(Engine::of(source));
            let watch = Watch::new(&vm);
            machines += 1;
            let dialect = generate::dialect(source);
            guests.push(Guest { dialect, vm, notes, watch });
            continue;
        }
        let at = source.below(guests.len());
        if source.one_in(20) {
            // Values outlive their machine.
            guests.swap_remove(at);
            values.retain(|(machine, _)| *machine != usize::MAX);
            continue;
        }
        step(source, &mut guests[at], &mut values, machines);
    }
}

fn step(source: &mut Source<'_>, guest: &mut Guest, values: &mut Vec<(usize, Value)>, machines: usize) {
    let vm = &mut guest.vm;
    guest.notes.refuel();
    guest.watch.next(vm);
    match source.below(12) {
        0..3 => {
            let program = generate::program_of(source, guest.dialect);
            match vm.run_bytes("program", &program.bytes) {
                Err(Error::Format { source, .. }) => {
                    assert!(program.wild, "generated code is refused: {source}")
                }
                Err(error) => assert!(!error.to_string().is_empty()),
                Ok(_) => {}
            }
        }
        3 | 4 => {
            let name = source.of(&["a", "b", "nobody"]);
            typed(source, vm, name);
        }
        5 | 6 => {
            if let Ok(value) = vm.call::<Value>("a", (1, 2.5, "three", vec![4, 5], Some(6))) {
                values.push((machines, value));
            }
            if let Ok(value) = vm.value::<Value>("b") {
                values.push((machines, value));
            }
        }
        7 => {
            // Only with a single machine so far: using another machine's value is a host error.
            if machines == 1 && !values.is_empty() {
                let (_, value) = &values[source.below(values.len())];
                let _ = vm.call_value::<Value>(value, (value, ((1, true), "x")));
            }
        }
        8 => {
            let _ = vm.collect();
        }
        9 => {
            let _ = vm.compact();
        }
        10 => {
            vm.unregister("a");
            let n = source.below(values.len() + 1);
            values.truncate(n);
        }
        _ => {
            let _ = (vm.stats(), vm.ledger(), guest.watch.has_fired());
        }
    }
}

/// Reads values as types that they may not have.
fn typed(source: &mut Source<'_>, vm: &mut Vm, name: &str) {
    match source.below(8) {
        0 => drop(vm.value::<i64>(name)),
        1 => drop(vm.value::<f64>(name)),
        2 => drop(vm.value::<String>(name)),
        3 => drop(vm.value::<Option<String>>(name)),
        4 => drop(vm.value::<(i64, f64, Value)>(name)),
        5 => drop(vm.call::<bool>(name, ((), ""))),
        6 => drop(vm.call::<(Value, Value)>(name, (i64::MAX, f64::NAN))),
        _ => drop(vm.call::<()>(name, (Vec::<i64>::new(),))),
    }
}
