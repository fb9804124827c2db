//! Runs one target on many inputs, in a separate process that `cargo xtask fuzz` starts and supervises.
#![deny(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;

use nix::sys::resource::{Resource, setrlimit};
use spelter_fuzzing::cases::Case;
use spelter_fuzzing::source::input_of_seed;
use spelter_fuzzing::targets::{self, TARGETS};

const USAGE: &str = "usage: spelter-fuzzing list
       spelter-fuzzing TARGET FIRST COUNT PROGRESS-FILE
       spelter-fuzzing TARGET --input FILE
       spelter-fuzzing show SEED
       spelter-fuzzing show --input FILE
       spelter-fuzzing input SEED FILE
       spelter-fuzzing case WHAT-IT-FOUND INPUT-FILE
       spelter-fuzzing replay CASE-FILE
       spelter-fuzzing endings COUNT";

/// Limits memory, so that a finding cannot exhaust the machine. Not with an address sanitizer, which reserves much
/// more address space and has its own option.
const MEMORY: u64 = 3 << 30;
const SANITIZER: &str = "ASAN_OPTIONS";

fn main() -> ExitCode {
    if std::env::var_os(SANITIZER).is_none()
        && let Err(error) = setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY)
    {
        eprintln!("cannot limit memory: {error}");
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["list"] => {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            ExitCode::SUCCESS
        }
        ["show", seed] => seed.parse().map_or_else(|_| usage(), |seed| show(&input_of_seed(seed))),
        ["input", seed, file] => match seed.parse().map(|seed| std::fs::write(file, input_of_seed(seed))) {
            Ok(Ok(())) => ExitCode::SUCCESS,
            _ => usage(),
        },
        ["replay", file] => match std::fs::read_to_string(file).ok().and_then(|text| Case::read(&text)) {
            Some(case) => {
                case.run();
                ExitCode::SUCCESS
            }
            None => usage(),
        },
        ["case", found, file] => match std::fs::read(file) {
            Ok(bytes) => {
                print!("{}", Case::of_input(found, &bytes).write());
                ExitCode::SUCCESS
            }
            Err(_) => usage(),
        },
        ["endings", count] => count.parse().map_or_else(|_| usage(), endings),
        ["show", "--input", file] => std::fs::read(file).map_or_else(|_| usage(), |bytes| show(&bytes)),
        [target, "--input", file] => input(target, file),
        [target, first, count, progress] => match (first.parse(), count.parse()) {
            (Ok(first), Ok(count)) => seeds(target, first, count, progress),
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn input(target: &str, file: &str) -> ExitCode {
    let (Some(target), Ok(bytes)) = (targets::find(target), std::fs::read(file)) else { return usage() };
    (target.run)(&bytes);
    ExitCode::SUCCESS
}

/// Lists the program that an input encodes.
fn show(bytes: &[u8]) -> ExitCode {
    println!("{}", targets::show(bytes));
    ExitCode::SUCCESS
}

/// Prints how programs end: programs that are stopped early find nothing.
fn endings(count: u64) -> ExitCode {
    let mut all: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for seed in 0..count {
        let (end, notes) = targets::ending(&input_of_seed(seed));
        let of = all.entry(end).or_default();
        *of = (of.0 + 1, of.1 + notes);
    }
    for (end, (programs, notes)) in all {
        println!("{programs:>8} {:>8.1}  {end}", notes as f64 / programs as f64);
    }
    ExitCode::SUCCESS
}

/// Writes the current seed to the file, so that the supervisor knows it if this process dies.
fn seeds(target: &str, first: u64, count: u64, progress: &str) -> ExitCode {
    let target = targets::find(target);
    let progress = OpenOptions::new().write(true).create(true).truncate(false).open(progress);
    let (Some(target), Ok(progress)) = (target, progress) else { return usage() };
    for seed in first..first.saturating_add(count) {
        if progress.write_all_at(&seed.to_le_bytes(), 0).is_err() {
            return ExitCode::from(2);
        }
        (target.run)(&input_of_seed(seed));
    }
    targets::summary().into_iter().for_each(|summary| print!("{summary}"));
    ExitCode::SUCCESS
}
