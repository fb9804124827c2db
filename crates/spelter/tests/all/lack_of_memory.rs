//! Loads that run out of memory: each allocation of a load fails in turn, and each time all tables must be unchanged.

use spelter::{Error, HeapConfig, Strategy, Vm};

use crate::host;
use crate::{fixture, raw};

/// An upper bound for the words that any fixture's load takes from the old generation.
const MOST_ALLOCATIONS: usize = 10_000;

/// Makes the first allocation of a load fail, then the second, and so on until the load succeeds; returns how many
/// there were.
fn refuse_each(strategy: Strategy, (name, bytes): (&str, &[u8]), public: bool) -> usize {
    let mut vm = host(Vm::builder().strategy(strategy).heap(HeapConfig::default()));
    vm.collect().expect("it collects");
    let before = vm.ledger();
    for refused in 0..MOST_ALLOCATIONS {
        raw(&mut vm).fail_allocations_after(Some(refused));
        let load = if public { vm.load_public(name, bytes) } else { vm.load_bytes(name, bytes) };
        raw(&mut vm).fail_allocations_after(None);
        match load {
            Ok(unit) => {
                drop(unit);
                vm.withdraw(&spelter_bytecode::CompilationUnit::read(bytes).expect("a fixture").name);
                return refused;
            }
            Err(error) => {
                assert!(is_lack_of_memory(&error), "allocation {refused} of {name}: {error}");
                vm.collect().expect("it collects");
                let after = vm.ledger();
                let grown: Vec<_> = after.differences(&before).collect();
                assert_eq!(grown, [], "allocation {refused} of {name} was refused\n{after}");
            }
        }
    }
    panic!("{name} never loads");
}

fn is_lack_of_memory(error: &Error) -> bool {
    match error {
        Error::Link { source, .. } => matches!(source, spelter::LinkError::OutOfMemory { .. }),
        // The initialiser's own exception.
        Error::Uncaught { exception, .. } => exception == "Out of memory",
        _ => false,
    }
}

#[test]
fn each_allocation_of_a_load_may_fail() {
    for strategy in [Strategy::Carry, Strategy::Stub] {
        for public in [false, true] {
            for file in [fixture!("greet.cmo"), fixture!("supply.cmo"), fixture!("shapes.cmo")] {
                let allocations = refuse_each(strategy, file, public);
                assert!(allocations >= 3, "{} loads with {allocations} allocations", file.0);
            }
        }
    }
}
