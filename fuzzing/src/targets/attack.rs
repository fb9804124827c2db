//! Guests with every limit and no grant: what was generated, mutants of it, and the attacks that docs/security.md lists.
//! None does more than use its budget ([`confined`](crate::confined)).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use spelter::{Error, Outcome, Program, Value};
use spelter_bytecode::code::{bytes_of_words, words_of_bytes};
use spelter_bytecode::exe::Section;
use spelter_bytecode::obj::CompilationUnit;
use spelter_bytecode::{Dialect, Executable};

use super::{marshal, readers, verifier};
use crate::attacks;
use crate::confined::{After, Confined, Large, check_process, measured};
use crate::engine::Engine;
use crate::generate;
use crate::source::Source;

/// How many guests run between two looks at the process.
const LOOK: u64 = 256;
/// How many guests run between two of which the memory is measured.
const MEASURE: u64 = 64;

static RUNS: AtomicU64 = AtomicU64::new(0);
/// How the guests of each kind ended.
static ENDS: Mutex<BTreeMap<(&str, String), u64>> = Mutex::new(BTreeMap::new());

/// The functions of `patterns.ml`: `pattern` allocates in a way that a number determines.
const PATTERNS: &[u8] = include_bytes!("../../../crates/spelter/tests/fixtures/patterns.byte");

fn patterns() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| Program::new("patterns.byte", PATTERNS).expect("a fixture"))
}

/// Some words of an executable changed, or some bytes of its data.
fn mutate(source: &mut Source<'_>, bytes: &[u8]) -> Vec<u8> {
    let exe = Executable::read(bytes).expect("it was just made");
    let mut sections: Vec<Section> = exe.sections().to_vec();
    let data = source.one_in(4);
    for section in &mut sections {
        match &section.name {
            b"CODE" if !data => {
                let mut words = words_of_bytes(&section.data).expect("it is code");
                verifier::mutate(source, &mut words);
                section.data = bytes_of_words(&words);
            }
            b"DATA" if data => marshal::damage(source, &mut section.data),
            _ => {}
        }
    }
    Executable::from_parts(exe.dialect(), Vec::new(), sections).expect("the same sections").write()
}

/// The same for a unit.
fn mutate_unit(source: &mut Source<'_>, bytes: &[u8]) -> Vec<u8> {
    let mut unit = CompilationUnit::read(bytes).expect("it was just made");
    let mut words = unit.words().expect("it is code");
    verifier::mutate(source, &mut words);
    unit.code = bytes_of_words(&words);
    unit.write()
}

/// Runs one guest.
pub(crate) fn run(bytes: &[u8]) {
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let look = |run: u64| run.is_multiple_of(LOOK);
    if look(run) {
        check_process();
    }
    let mut source = Source::of_bytes(bytes);
    let engine = Engine::of(&mut source);
    let (kind, end, after) = match run % MEASURE {
        1 => measured(engine, || guest(&mut source, engine)),
        _ => guest(&mut source, engine),
    };
    let mut ends = ENDS.lock().unwrap_or_else(PoisonError::into_inner);
    *ends.entry((kind, end)).or_default() += 1;
    *ends.entry(("afterwards", format!("{after:?}"))).or_default() += 1;
}

/// How all guests ended, and what the process has in memory.
pub(crate) fn summary() -> Option<String> {
    let runs = RUNS.load(Ordering::Relaxed);
    if runs == 0 {
        return None;
    }
    let resident = check_process() >> 20;
    let ends = ENDS.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = ends.iter().map(|((kind, end), count)| format!("{count:>9}  {kind}: {end}\n"));
    Some(format!("{runs} guests, {resident} MiB in memory\n{}", lines.collect::<String>()))
}

/// An outcome without what differs between guests.
fn end_of<T: std::fmt::Debug>(outcome: &Result<T, Error>) -> String {
    match outcome {
        Ok(_) => "it ended".to_owned(),
        Err(Error::Limit(limit)) => format!("{limit:?} used up"),
        Err(Error::Uncaught { name, .. }) if name.is_empty() => "what is no exception".to_owned(),
        Err(Error::Uncaught { name, .. }) => match name.as_str() {
            "Out_of_memory" | "Stack_overflow" | "Sys_error" | "Invalid_argument" => name.clone(),
            _ => "another exception".to_owned(),
        },
        Err(Error::Fatal(why)) => {
            format!("Fatal: {}", why.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default())
        }
        Err(error) => {
            let text = format!("{error:?}");
            text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
        }
    }
}

/// Lets a guest of some kind attack; returns the kind, how it ended, and whether the machine works.
fn guest(source: &mut Source<'_>, engine: Engine) -> (&'static str, String, After) {
    let large = Large { fuel: source.one_in(8), heap: source.one_in(2) };
    let dialect = generate::dialect(source);
    let of = |args: &[&str], dialect| Confined::new(engine, dialect, large, args);
    match source.below(64) {
        0 => {
            let all = attacks::all();
            let (program, name) = &all[source.below(all.len())];
            let large = Large { fuel: source.one_in(2), ..large };
            let mut guest = Confined::new(engine, Dialect::V4_13, large, &["guest", name]);
            let (outcome, _) = guest.attack(|vm| vm.run(program));
            ("named attacks", end_of(&outcome), guest.works())
        }
        1 => {
            let large = Large { fuel: source.one_in(2), ..large };
            let mut guest = Confined::new(engine, Dialect::V4_13, large, &["guest"]);
            let (ran, _) = guest.attack(|vm| vm.run(patterns()));
            let (outcome, _) = match ran {
                Ok(_) => guest.attack(|vm| vm.call::<()>("pattern", (i64::from(source.word() >> 2),))),
                Err(error) => (Err(error), Vec::new()),
            };
            ("patterns of allocation", end_of(&outcome), guest.works())
        }
        2..22 => {
            let program = generate::program_of(source, dialect);
            program_runs("generated programs", of(&["program"], dialect), &program.bytes)
        }
        22..38 => {
            let program = generate::program_of(source, dialect);
            let bytes = mutate(source, &program.bytes);
            program_runs("mutants of programs", of(&["program"], dialect), &bytes)
        }
        38..44 => {
            let mut bytes = generate::program_of(source, dialect).bytes;
            readers::damage(source, &mut bytes);
            program_runs("damaged programs", of(&["program"], dialect), &bytes)
        }
        44..56 => units(source, of(&["host"], dialect), dialect),
        _ => messages(source, engine, large),
    }
}

fn program_runs(kind: &'static str, mut guest: Confined, bytes: &[u8]) -> (&'static str, String, After) {
    let (outcome, _) = guest.attack(|vm| vm.run_bytes("program", bytes));
    if !matches!(outcome, Ok(Outcome::Exited(_))) {
        for name in ["a", "b"] {
            let _ = guest.attack(|vm| vm.call::<Value>(name, (1, 2)).map(drop));
        }
    }
    let _ = guest.attack(|vm| vm.collect());
    (kind, end_of(&outcome), guest.works())
}

/// Units, or mutants of them, loaded and called.
fn units(
    source: &mut Source<'_>,
    mut guest: Confined,
    dialect: &'static Dialect,
) -> (&'static str, String, After) {
    let program = generate::host(dialect);
    let (ran, _) = guest.attack(|vm| vm.run_bytes("program", &program.bytes));
    let mut end = end_of(&ran);
    let mut infos = vec![program.info];
    for number in 0..1 + source.below(3) {
        let unit = generate::unit(source, dialect, number, 0, &infos);
        let mutant = source.one_in(2);
        let bytes = if mutant { mutate_unit(source, &unit.bytes) } else { unit.bytes };
        infos.push(unit.info);
        let (loaded, _) = guest.attack(|vm| vm.load_public("unit", &bytes));
        end = end_of(&loaded);
        let Ok(unit) = loaded else { continue };
        for i in 0..2 {
            let _ = guest.attack(|vm| {
                let value: Value = vm.field(&unit, i)?;
                vm.call_value::<Value>(&value, (1, "two")).map(drop)
            });
        }
    }
    let _ = guest.attack(|vm| vm.collect());
    ("units", end, guest.works())
}

/// Damaged marshalled data, read by a program.
fn messages(source: &mut Source<'_>, engine: Engine, large: Large) -> (&'static str, String, After) {
    let program = generate::reader(source);
    let dialect = Executable::read(&program.bytes).expect("it was just made").dialect();
    let mut guest = Confined::new(engine, dialect, large, &["program"]);
    let (ran, _) = guest.attack(|vm| vm.run_bytes("program", &program.bytes));
    let mut end = end_of(&ran);
    for _ in 0..1 + source.below(4) {
        let mut message = generate::message(source.word(), std::slice::from_ref(&program.info));
        marshal::damage(source, &mut message);
        let (read, _) = guest.attack(|vm| vm.call::<Value>("round", (message.as_slice(),)).map(drop));
        end = end_of(&read);
    }
    ("marshalled data", end, guest.works())
}
