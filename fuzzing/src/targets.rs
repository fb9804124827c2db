//! The targets, by name.

pub(crate) mod attack;
mod host;
mod interfaces;
pub(crate) mod machine;
mod marshal;
mod readers;
mod units;
mod verifier;

/// A fuzzing target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Panics when the bytes cause a failure.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 8] = [
    Target { name: "readers", run: readers::run },
    Target { name: "verifier", run: verifier::run },
    Target { name: "machine", run: machine::run },
    Target { name: "marshal", run: marshal::run },
    Target { name: "host", run: host::run },
    Target { name: "units", run: units::run },
    Target { name: "interfaces", run: interfaces::run },
    Target { name: "attack", run: attack::run },
];

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// A listing of the program that the target `machine` generates from some bytes.
pub fn show(bytes: &[u8]) -> String {
    machine::show(bytes)
}

/// How that program ends, and how many notes it sends to its host before.
pub fn ending(bytes: &[u8]) -> (String, usize) {
    machine::ending(bytes)
}

/// What the target `attack` has done in this process, if it has run.
pub fn summary() -> Option<String> {
    attack::summary()
}

/// Runs the target of this name.
///
/// # Panics
/// When there is no such target, and when it finds a bug.
pub fn run(name: &str, bytes: &[u8]) {
    let target = find(name).expect("the name of a target");
    (target.run)(bytes);
}
