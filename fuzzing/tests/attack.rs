//! Guests with every limit and no grant do no more than use their budget. A process of its own, which is looked at: so
//! this is one test.

use std::collections::BTreeSet;

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

/// The names in the table of attacks, and of those the ones that nothing has to stop.
fn documented() -> [BTreeSet<&'static str>; 2] {
    let text = include_str!("../../docs/security.md");
    let (_, table) = text.split_once("## Attacks by name\n").expect("a section");
    let (table, _) = table.split_once("\n## ").expect("a section after it");
    let (mut all, mut vain) = (BTreeSet::new(), BTreeSet::new());
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        for name in columns[1].split(", ") {
            let name = name.trim_matches('`');
            assert!(all.insert(name), "{name}: twice");
            if columns[3].starts_with("nothing has to") {
                vain.insert(name);
            }
        }
    }
    [all, vain]
}

#[test]
fn no_attack_does_more_than_use_its_budget() {
    let [all, vain] = documented();
    assert_eq!(all, attacks::names().iter().map(String::as_str).collect());
    assert_eq!(vain, VAIN.into());
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
