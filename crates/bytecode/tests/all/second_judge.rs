//! Checks the verifier against an independent model: code that it accepts must run on the machine of shapes without
//! doing harm.
//!
//! `SPELTER_MODEL_RUNS=1000000 cargo test --release -p spelter-bytecode second_judge -- --nocapture` tests that many
//! programs of each kind (with other seeds if `SPELTER_MODEL_SEED` is set), and reports how strict each judge is.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use spelter_bytecode::Opcode::{self, *};
use spelter_bytecode::info::Info;
use spelter_bytecode::marshal::{Graph, Item, Node};
use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::verify::{Entry, Limits, verify};
use spelter_bytecode::{CompilationUnit, Executable};

use crate::model::judge::{Effort, Hole, Verdict, judge, run};
use crate::model::lines::{Line, Lines};
use crate::model::machine::{Heights, Violation, Wrong};
use crate::model::world::Chance;
use crate::model::{grow, mutate};

/// The number of programs of each kind.
fn programs(usually: usize) -> usize {
    number("SPELTER_MODEL_RUNS").unwrap_or(usually)
}

fn number(name: &str) -> Option<usize> {
    env::var(name).ok()?.parse().ok()
}

fn chance(kind: u64) -> Chance {
    Chance::new(kind << 48 ^ number("SPELTER_MODEL_SEED").unwrap_or(1) as u64)
}

fn entry(unit: bool) -> Entry {
    if unit { Entry::Unit } else { Entry::Program }
}

// Counting the results.

/// The judges' agreement on one kind of programs.
#[derive(Default)]
struct Tally {
    accepted: usize,
    steps: usize,
    refused: usize,
    both_refuse: usize,
    /// For each of the verifier's reasons: how often the machine saw harm, how often not, and the smallest program of
    /// the latter.
    reasons: BTreeMap<String, (usize, usize, Option<Vec<i32>>)>,
    seen: BTreeMap<Wrong, usize>,
    holes: Vec<Hole>,
}

impl Tally {
    fn count(&mut self, words: &[i32], unit: bool, limits: &Limits, verdict: &Verdict) {
        self.steps += verdict.steps;
        match (&verdict.refused, verdict.seen) {
            (None, None) => self.accepted += 1,
            (None, Some(violation)) => {
                self.accepted += 1;
                self.hole(words, unit, limits, violation);
            }
            (Some(error), seen) => {
                self.refused += 1;
                let reason = self.reasons.entry(reason(&error.to_string())).or_default();
                if let Some(violation) = seen {
                    self.both_refuse += 1;
                    reason.0 += 1;
                    *self.seen.entry(violation.wrong).or_default() += 1;
                } else {
                    reason.1 += 1;
                    if reason.2.as_ref().is_none_or(|example| words.len() < example.len()) {
                        reason.2 = Some(words.to_vec());
                    }
                }
            }
        }
    }

    fn hole(&mut self, words: &[i32], unit: bool, limits: &Limits, violation: Violation) {
        if self.holes.iter().filter(|hole| hole.wrong == violation.wrong).count() < 3 {
            self.holes.push(Hole::shrunk(words, unit, limits, violation));
        }
    }

    /// Prints the results, and asserts that there was no hole.
    fn end(self, kind: &str) {
        let Tally { accepted, steps, refused, both_refuse, reasons, seen, holes } = self;
        println!("{kind}: accepted {accepted}, {steps} steps; refused {refused}, by both {both_refuse}");
        println!("  harm seen in what is refused: {seen:?}");
        for (reason, (yes, no, example)) in reasons {
            println!("  {yes:7} seen {no:7} not: {reason}");
            if let Some(words) = example.filter(|_| env::var("SPELTER_MODEL_SHOW").is_ok()) {
                println!("{words:?}\n{}", Lines::of(&words).unwrap_or_default());
            }
        }
        let text: String = holes.iter().map(ToString::to_string).collect();
        assert!(holes.is_empty(), "{kind}: the verifier accepts what does harm\n{text}");
    }
}

/// An error's text without its position and numbers.
fn reason(error: &str) -> String {
    let text = error.split_once(": ").map_or(error, |(_, text)| text);
    let words =
        text.split(' ').map(|word| if word.contains(|c: char| c.is_ascii_digit()) { "#" } else { word });
    let words = words.map(|word| if Opcode::ALL.iter().any(|op| op.name() == word) { "OP" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

// Random programs.

#[test]
fn grown_programs_are_right_and_run() {
    let mut chance = chance(1);
    let mut tally = Tally::default();
    for round in 0..programs(3000) {
        let unit = round % 2 == 0;
        let size = 1 + chance.below(60);
        let words = grow::program(entry(unit), size, &mut chance).words();
        let verdict =
            judge(&words, entry(unit), &grow::LIMITS, Effort { runs: 12, steps: 400 }, chance.next());
        if let Some(error) = &verdict.refused {
            panic!("{error}\n{words:?}\n{}", Lines::of(&words).unwrap_or_default());
        }
        tally.count(&words, unit, &grow::LIMITS, &verdict);
    }
    tally.end("grown");
}

#[test]
fn what_the_verifier_accepts_of_mutants_runs() {
    let mut chance = chance(2);
    let mut tally = Tally::default();
    for round in 0..programs(20_000) {
        let unit = round % 2 == 0;
        let size = 1 + chance.below(25);
        let mut lines = grow::program(entry(unit), size, &mut chance);
        for _ in 0..=chance.below(3) {
            mutate::mutate(&mut lines, &mut chance);
        }
        let mut words = lines.words();
        if chance.one_in(8) {
            mutate::mutate_word(&mut words, &mut chance);
        }
        let effort = Effort { runs: 16, steps: 300 };
        let verdict = judge(&words, entry(unit), &grow::LIMITS, effort, chance.next());
        tally.count(&words, unit, &grow::LIMITS, &verdict);
    }
    tally.end("mutants");
}

#[test]
fn what_the_verifier_accepts_of_soup_runs() {
    let mut chance = chance(3);
    let mut tally = Tally::default();
    for round in 0..programs(100_000) {
        let unit = round % 2 == 0;
        let words = grow::soup(entry(unit), &mut chance).words();
        let verdict =
            judge(&words, entry(unit), &grow::LIMITS, Effort { runs: 16, steps: 60 }, chance.next());
        tally.count(&words, unit, &grow::LIMITS, &verdict);
    }
    tally.end("soup");
}

/// The machine reaches the highest frames, and detects heights that are too low by one word.
#[test]
fn heights_are_looked_at() {
    let mut chance = chance(6);
    let mut seen = 0;
    let programs = 300;
    for _ in 0..programs {
        let words = grow::program(Entry::Unit, 12, &mut chance).words();
        let mut verified =
            verify(&words, OpcodeSet::V5_2, Entry::Unit, &grow::LIMITS).expect("a right program");
        verified.functions.iter_mut().for_each(|function| function.max_height -= 1);
        let heights = Heights::of(&verified, Entry::Unit);
        let effort = Effort { runs: 60, steps: 200 };
        match run(&words, Entry::Unit, &grow::LIMITS, &heights, effort, chance.next()).seen {
            Some(Violation { wrong: Wrong::Height | Wrong::Room, .. }) => seen += 1,
            None => {}
            Some(other) => panic!("{other:?} in {words:?}"),
        }
    }
    println!("heights: {seen} of {programs} are reached");
    assert!(seen > programs * 9 / 10, "only {seen} of {programs} programs reach their heights");
}

// Compiled code.

/// Code from a file.
struct Fixture {
    name: String,
    words: Vec<i32>,
    unit: bool,
    limits: Limits,
}

impl Fixture {
    fn judge(&self, effort: Effort, seed: u64) -> Verdict {
        judge(&self.words, entry(self.unit), &self.limits, effort, seed)
    }
}

/// The code of all fixtures up to that size: of this crate, and of the others if present.
fn fixtures(up_to: usize) -> Vec<Fixture> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut fixtures = Vec::new();
    for folder in ["tests/fixtures", "../spelter/tests/fixtures", "../../xtask/fixtures"] {
        collect(&here.join(folder), up_to, &mut fixtures);
    }
    fixtures
}

fn collect(folder: &Path, up_to: usize, fixtures: &mut Vec<Fixture>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a folder that can be listed").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, up_to, fixtures);
        } else if path.extension().is_some_and(|ext| ext == "byte" || ext == "cmo" || ext == "cma") {
            let bytes = fs::read(&path).expect("a file that can be read");
            if bytes.len() <= up_to {
                add(&path.display().to_string(), &bytes, fixtures);
            }
        }
    }
}

fn add(name: &str, bytes: &[u8], fixtures: &mut Vec<Fixture>) {
    match Info::read(bytes) {
        // The model knows the instructions for effects as they are since 5.2.
        Ok(info) if info.dialect().opcodes == OpcodeSet::V5_0 => {}
        Ok(Info::Executable(exe)) => fixtures.push(of_executable(name, &exe)),
        Ok(Info::Object(unit)) => fixtures.push(of_unit(name, &unit)),
        Ok(Info::Library(library)) => fixtures.extend(library.units.iter().map(|unit| of_unit(name, unit))),
        // Some are intentionally damaged, or of another version.
        Err(_) => {}
    }
}

fn of_executable(name: &str, exe: &Executable) -> Fixture {
    let words = exe.code().expect("code");
    let (graph, _) = Graph::decode(exe.data()).expect("globals");
    let globals = match graph.root() {
        Item::Obj(block) => match graph.node(block) {
            Node::Block { fields, .. } => fields.len(),
            _ => 0,
        },
        _ => 0,
    };
    let limits = Limits { globals, prims: exe.prims().expect("primitives").len(), slots: 0 };
    Fixture { name: name.to_owned(), words, unit: false, limits }
}

/// Appends `RETURN 1`, as the loader does; operands that the linker would fill in remain zero.
fn of_unit(name: &str, unit: &CompilationUnit) -> Fixture {
    let mut words = unit.words().expect("words");
    words.extend([RETURN.word(), 1]);
    Fixture { name: name.to_owned(), words, unit: true, limits: Limits { globals: 4, prims: 4, slots: 0 } }
}

#[test]
fn both_accept_what_compilers_write() {
    let everything = number("SPELTER_MODEL_RUNS").is_some();
    let fixtures = fixtures(if everything { usize::MAX } else { 300_000 });
    assert!(fixtures.len() >= 5, "at least this crate's own");
    let mut chance = chance(4);
    let (mut steps, mut instructions, mut reached) = (0, 0, 0);
    for fixture in &fixtures {
        let runs = 20 + fixture.words.len() / if everything { 20 } else { 200 };
        let verdict = fixture.judge(Effort { runs, steps: 500 }, chance.next());
        assert!(verdict.refused.is_none(), "{}: {}", fixture.name, verdict.refused.expect("it is there"));
        assert_eq!(verdict.seen, None, "{}", fixture.name);
        steps += verdict.steps;
        reached += verdict.reached;
        instructions += Lines::of(&fixture.words).expect("it was verified").len();
    }
    println!("fixtures: {} of them, {steps} steps, {reached} of {instructions} instructions", fixtures.len());
}

#[test]
fn what_the_verifier_accepts_of_mutated_fixtures_runs() {
    let mut chance = chance(5);
    let mut tally = Tally::default();
    let fixtures = fixtures(if number("SPELTER_MODEL_RUNS").is_some() { 60_000 } else { 10_000 });
    let fixtures: Vec<_> = fixtures.iter().map(|fixture| (fixture, Lines::of(&fixture.words))).collect();
    for _ in 0..programs(3000) {
        let (fixture, lines) = chance.pick(&fixtures);
        let mut lines = lines.clone().expect("every fixture decodes");
        for _ in 0..=chance.below(2) {
            mutate::mutate(&mut lines, &mut chance);
        }
        let mut words = lines.words();
        if chance.one_in(8) {
            mutate::mutate_word(&mut words, &mut chance);
        }
        let effort = Effort { runs: 12, steps: 300 };
        let verdict = judge(&words, entry(fixture.unit), &fixture.limits, effort, chance.next());
        tally.count(&words, fixture.unit, &fixture.limits, &verdict);
    }
    tally.end("mutated fixtures");
}

// Specific programs.

/// A program that both must refuse.
#[track_caller]
fn both_refuse(lines: &[Line], wrong: Wrong) {
    let words = Lines(lines.to_vec()).words();
    let verdict = judge(&words, Entry::Program, &grow::LIMITS, Effort { runs: 400, steps: 1000 }, 1);
    assert_eq!(verdict.seen.map(|seen| seen.wrong), Some(wrong), "{words:?}");
    assert!(verdict.refused.is_some(), "the verifier accepts {words:?}");
}

fn line(op: Opcode, operands: &[i32], targets: &[usize]) -> Line {
    Line::new(op, operands, targets)
}

/// `RESTART` before anything but `GRAB`: marshalled data could create partial applications with any number of
/// arguments that continue there, and no function's height would leave room for them.
#[test]
fn restart_stands_before_grab() {
    both_refuse(&[line(STOP, &[], &[]), line(RESTART, &[], &[])], Wrong::Restart);
    let function = [line(RESTART, &[], &[]), line(ACC0, &[], &[]), line(RETURN, &[1], &[])];
    both_refuse(&[&[line(STOP, &[], &[])], &function[..]].concat(), Wrong::Restart);
    let twice =
        [line(RESTART, &[], &[]), line(RESTART, &[], &[]), line(GRAB, &[1], &[]), line(RETURN, &[2], &[])];
    let made = [line(CLOSURE, &[0], &[4]), line(STOP, &[], &[])];
    both_refuse(&[&made[..], &twice[..]].concat(), Wrong::Restart);
}

/// For each kind of harm, the smallest program that does it: both judges must detect these.
#[test]
fn both_see_each_kind_of_harm() {
    let stop = || line(STOP, &[], &[]);
    let function = |body: &[Line]| [&[line(CLOSURE, &[0], &[2]), stop()], body].concat();
    both_refuse(&[line(BRANCH, &[], &[1])], Wrong::NoInstruction);
    both_refuse(&[line(GETGLOBAL, &[6], &[]), stop()], Wrong::Operand);
    both_refuse(&[line(MAKEBLOCK1, &[247], &[]), stop()], Wrong::Operand);
    both_refuse(&[line(ATOM, &[252], &[]), stop()], Wrong::Operand);
    both_refuse(&[line(ACC0, &[], &[]), stop()], Wrong::BelowFrame);
    both_refuse(&function(&[line(ACC1, &[], &[]), line(RETURN, &[1], &[])]), Wrong::BelowFrame);
    both_refuse(&[line(PUSHTRAP, &[], &[2]), line(ASSIGN, &[0], &[]), stop()], Wrong::NotAValue);
    both_refuse(&[line(PUSH_RETADDR, &[], &[2]), line(POP, &[3], &[]), stop()], Wrong::NotAValue);
    both_refuse(&function(&[line(PUSH, &[], &[]), line(RETURN, &[1], &[])]), Wrong::FrameSize);
    both_refuse(&function(&[line(PUSH, &[], &[]), line(APPTERM1, &[1], &[])]), Wrong::FrameSize);
    both_refuse(
        &[line(PUSH, &[], &[]), line(PUSH, &[], &[]), line(RESUME, &[], &[]), stop()],
        Wrong::BelowFrame,
    );
    both_refuse(&function(&[line(RESUMETERM, &[1], &[])]), Wrong::BelowFrame);
    both_refuse(&function(&[line(PUSH, &[], &[]), line(REPERFORMTERM, &[1], &[])]), Wrong::FrameSize);
    both_refuse(&[line(RETURN, &[0], &[])], Wrong::NoReturnFrame);
    let pushes = [PUSH, PUSH, PUSH, PUSH].map(|op| line(op, &[], &[]));
    both_refuse(&[&pushes[..], &[line(APPLY, &[1], &[]), stop()]].concat(), Wrong::NoReturnFrame);
    both_refuse(&[&pushes[..], &[line(POPTRAP, &[], &[]), stop()]].concat(), Wrong::NoTrapFrame);
    both_refuse(&function(&[line(ENVACC2, &[], &[]), line(RETURN, &[1], &[])]), Wrong::NoVariable);
    both_refuse(&function(&[line(OFFSETCLOSURE3, &[], &[]), line(RETURN, &[1], &[])]), Wrong::NoSibling);
    both_refuse(&function(&[line(GRAB, &[1], &[]), line(RETURN, &[2], &[])]), Wrong::Grab);
    both_refuse(&[line(PUSH, &[], &[]), stop()], Wrong::Stop);
    both_refuse(&function(&[stop()]), Wrong::Stop);
    both_refuse(&[line(PUSH, &[], &[]), line(BRANCH, &[], &[0])], Wrong::Height);
    // A function that two closures provide with different numbers of variables has those that both provide.
    let twice = [line(CLOSURE, &[1], &[3]), line(CLOSURE, &[0], &[3]), stop()];
    both_refuse(
        &[&twice[..], &[line(ENVACC2, &[], &[]), line(RETURN, &[1], &[])]].concat(),
        Wrong::NoVariable,
    );
    // A second `GRAB`, when its function already has its arguments, saves words that are not arguments.
    let again = [line(RESTART, &[], &[]), line(GRAB, &[1], &[]), line(BRANCH, &[], &[3])];
    both_refuse(&[&[line(CLOSURE, &[0], &[3]), stop()], &again[..]].concat(), Wrong::Grab);
}

/// A program that the verifier refuses although the machine sees no harm.
#[track_caller]
fn only_the_verifier_refuses(why: &str, lines: &[Line]) {
    let words = Lines(lines.to_vec()).words();
    let verdict = judge(&words, Entry::Program, &grow::LIMITS, Effort { runs: 400, steps: 200 }, 1);
    assert_eq!(verdict.seen, None, "{words:?}");
    let error = verdict.refused.expect("refused").to_string();
    assert!(error.contains(why), "{error}: {words:?}");
}

/// Harmless programs that the verifier refuses. This is intentional: accepting them would cost more, and no compiler
/// generates such code.
#[test]
fn the_verifier_is_stricter() {
    let stop = || line(STOP, &[], &[]);
    // Unreachable code is checked too, so that every instruction is valid on its own.
    only_the_verifier_refuses("global 6 does not exist", &[stop(), line(GETGLOBAL, &[6], &[])]);
    // Code must not be shared by two functions, whose frames may differ.
    let shared =
        [line(ACC0, &[], &[]), line(BRANCH, &[], &[6]), line(ACC0, &[], &[]), line(RETURN, &[1], &[])];
    let made = [line(CLOSURE, &[0], &[3]), line(CLOSURE, &[0], &[5]), stop()];
    only_the_verifier_refuses("belongs to two functions", &[&made[..], &shared[..]].concat());
    // A height must be the same on every path, even where nothing depends on it.
    let meet = [line(BRANCHIF, &[], &[2]), line(PUSH, &[], &[]), line(RAISE, &[], &[])];
    only_the_verifier_refuses("different stacks", &meet);
    // The same holds for trap frames, and the instructions that pushed them.
    let trap = |end: usize| line(PUSHTRAP, &[], &[end]);
    let traps = [
        line(BRANCHIF, &[], &[3]),
        trap(5),
        line(BRANCH, &[], &[4]),
        trap(5),
        line(POPTRAP, &[], &[]),
        stop(),
    ];
    only_the_verifier_refuses("different stacks", &traps);
    // `GRAB 0` requires nothing, and a second `GRAB` is harmless where its function has popped its arguments.
    only_the_verifier_refuses("at the entry of a function", &[line(GRAB, &[0], &[]), stop()]);
    let again =
        [line(RESTART, &[], &[]), line(GRAB, &[1], &[]), line(POP, &[1], &[]), line(BRANCH, &[], &[3])];
    let again = [&[line(CLOSURE, &[0], &[3]), stop()], &again[..]].concat();
    only_the_verifier_refuses("at the entry of a function", &again);
    // Main code has an environment, but it is not a closure.
    only_the_verifier_refuses("the environment has nothing", &[line(OFFSETCLOSURE0, &[], &[]), stop()]);
}
