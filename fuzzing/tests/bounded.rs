//! Runs the targets on a fixed number of inputs, and every recorded case.

use std::path::Path;
use std::time::Instant;

use spelter_fuzzing::cases::Case;
use spelter_fuzzing::source::input_of_seed;
use spelter_fuzzing::{targets, targets::find};

/// Runs a target on this many inputs.
fn bounded(name: &str, count: u64) {
    let target = find(name).expect("it is in the table");
    let start = Instant::now();
    for seed in 0..count {
        let named = Named(name, seed);
        (target.run)(&input_of_seed(seed));
        drop(named);
    }
    println!("{name}: {count} executions in {:.1} s", start.elapsed().as_secs_f64());
}

/// Names the input that panicked.
struct Named<'a>(&'a str, u64);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} panicked: cargo xtask fuzz {} --seed {0} --executions 1", self.1, self.0);
        }
    }
}

#[test]
fn readers() {
    bounded("readers", 300);
}

#[test]
fn verifier() {
    bounded("verifier", 2000);
}

#[test]
fn machine() {
    bounded("machine", 2000);
}

#[test]
fn marshal() {
    bounded("marshal", 500);
}

#[test]
fn host() {
    bounded("host", 1000);
}

#[test]
fn units() {
    bounded("units", 500);
}

/// Programs must run long enough to find bugs, and none may be refused.
#[test]
fn programs_are_neither_tame_nor_wild() {
    // Most notes come from few programs, those with loops.
    let endings: Vec<(String, usize)> = (0..1600).map(|seed| targets::ending(&input_of_seed(seed))).collect();
    let count = |what: &str| endings.iter().filter(|(end, _)| end.starts_with(what)).count();
    assert!(count("program: verify error") < 100, "{endings:?}");
    assert!(count("Finished") > 400, "{endings:?}");
    assert!(count("uncaught") > 80, "{endings:?}");
    let notes: usize = endings.iter().map(|(_, notes)| notes.min(&100)).sum();
    assert!(notes > 1200, "{notes} notes");
}

#[test]
fn cases_that_found_something() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut names: Vec<_> =
        std::fs::read_dir(folder).expect("it is there").map(|e| e.expect("an entry").path()).collect();
    names.sort();
    assert!(!names.is_empty());
    for path in names {
        let text = std::fs::read_to_string(&path).expect("a text");
        let case = Case::read(&text).unwrap_or_else(|| panic!("{} is not a case", path.display()));
        eprintln!("{}: {}", path.display(), case.found);
        case.run();
    }
}

#[test]
fn interfaces() {
    bounded("interfaces", 3000);
}
