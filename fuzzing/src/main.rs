//! Runs one target on many inputs, in a process of its own: `cargo xtask fuzz` starts it, and looks after it.
#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;

use spelter_fuzzing::source::input_of_seed;
use spelter_fuzzing::targets;

const USAGE: &str = "usage: spelter-fuzzing TARGET FIRST COUNT PROGRESS-FILE | spelter-fuzzing TARGET --input FILE";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
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

/// Says in the file which seed is running, so that whoever finds this process dead knows.
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
    ExitCode::SUCCESS
}
