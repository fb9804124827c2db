//! Guests with every limit and no grant do no more than use their budget. A process of its own, which is looked at: so
//! this is one test.

use spelter::{Error, Outcome};
use spelter_bytecode::Dialect;
use spelter_fuzzing::confined::{self, After, Confined, Large};
use spelter_fuzzing::source::input_of_seed;
use spelter_fuzzing::{Engine, attacks, targets};

/// Attacks that gain nothing, and are neither refused nor stopped.
const VAIN: [&str; 5] = [
    "deep values",
    "replaces a descriptor",
    "reads a closure as numbers",
    "a forged backtrace",
    "code that is released twice",
];

#[test]
fn no_attack_does_more_than_use_its_budget() {
    confined::begin();
    let program = attacks::program();
    for engine in Engine::all() {
        for name in attacks::names() {
            let large = Large { fuel: true, heap: true };
            let mut guest = Confined::new(engine, Dialect::V4_13, large, &["attacks", &name]);
            let (outcome, _) = guest.attack(|vm| vm.run(&program));
            let vain = VAIN.contains(&name.as_str());
            match &outcome {
                Ok(Outcome::Finished) => assert!(vain, "{engine:?}, {name}: it succeeded"),
                Ok(Outcome::Exited(3)) => assert_eq!(name, "ends the process"),
                Err(Error::Limit(_) | Error::Uncaught { .. } | Error::Fault { .. }) => {}
                other => panic!("{engine:?}, {name}: {other:?}"),
            }
            let after = guest.works();
            assert!(matches!(after, After::Answered | After::Limited), "{engine:?}, {name}: {after:?}");
            drop(guest);
            confined::check_process();
        }
    }
    for seed in 0..1500 {
        targets::run("attack", &input_of_seed(seed));
    }
    confined::check_process();
}
