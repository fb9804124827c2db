//! The programs under valgrind, on the default engine.
//!
//! It sees what C and the runtime do with malloc'ed memory and with the stack: reads of what was never written, accesses
//! out of bounds or after a free. The heap's blocks lie in large areas, of which it sees the borders only, so a value
//! that a collection has moved looks valid to it: the torture heap finds those.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use xtask::matrix::{Subject as _, in_parallel};
use xtask::process::{Outcome, path_text};

use super::Case;

/// The exit code by which valgrind tells of errors.
const ERRORS: i32 = 99;

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(600);

pub(super) fn run(cases: &[Case], spelter: &Path) -> Result<bool> {
    let spelter = path_text(spelter)?;
    let told = in_parallel("checked", cases, 2, |case| check(case, &spelter).with_context(|| case.name()))?;
    let wrong: Vec<&String> = told.iter().flatten().collect();
    for text in &wrong {
        println!("{text}");
    }
    println!("stubs: {} runs under valgrind, {} with errors", cases.len(), wrong.len());
    Ok(wrong.is_empty())
}

/// What valgrind says of a run, if it found errors.
fn check(case: &Case, spelter: &str) -> Result<Option<String>> {
    let code = format!("--error-exitcode={ERRORS}");
    let words = ["valgrind", "--quiet", "--num-callers=20", "--log-fd=9", &code, spelter, "run"];
    // Its report goes to a file of its own: programs write to stderr, too.
    let report = tempfile::NamedTempFile::new()?;
    let shell = format!("exec 9>{}; exec \"$@\"", path_text(report.path())?);
    let command = ["sh", "-c", &shell, "sh"].into_iter().chain(words).map(str::to_owned).collect();
    let outcome = case.invoke(command, LIMIT)?;
    let said = std::fs::read_to_string(report.path())?;
    Ok(match outcome {
        Outcome::TimedOut(limit) => Some(format!("{}: not done after {limit:?}", case.name())),
        Outcome::Answered(answer) if answer.exit == ERRORS || said.contains("Invalid ") => {
            Some(format!("{}\n{said}", case.name()))
        }
        Outcome::Answered(_) => None,
    })
}
