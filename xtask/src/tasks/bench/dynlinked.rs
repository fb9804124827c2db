//! Checks that loaded code costs static code nothing: the program's own code takes exactly as many instructions with
//! many loaded units alive as with none, and calls of loaded code take as many as calls of the program's own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::workspace;

/// Units that are alive in the second of two measurements.
const UNITS: &str = "1000";

/// Pairs of calls of the fixtures of `benches/counts.rs` that must take the same number of instructions: how the code
/// was loaded, function, size, units alive.
const ALIKE: [[[&str; 4]; 2]; 4] = [
    [["static", "fib", "16", "0"], ["static", "fib", "16", UNITS]],
    [["static", "closures", "2000", "0"], ["static", "closures", "2000", UNITS]],
    [["static", "partial", "2000", "0"], ["static", "partial", "2000", UNITS]],
    [["static", "fib", "16", "0"], ["carry", "fib", "16", "0"]],
];

pub(super) fn run() -> Result<bool> {
    let example = workspace::example("spelter-benches", "counts")?;
    let mut good = true;
    for [one, other] in ALIKE {
        let (count, others) = (counted(&example, one)?, counted(&example, other)?);
        let verdict = if count == others { "" } else { "  NOT ALIKE" };
        println!("{:<28} {count:>9}   {:<28} {others:>9}{verdict}", one.join(" "), other.join(" "));
        good &= count == others;
    }
    Ok(good)
}

/// The instructions of one call only.
fn counted(example: &Path, call: [&str; 4]) -> Result<u64> {
    let valgrind =
        ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counts::measured*"];
    let mut command = Command::new("valgrind");
    let out = command.args(valgrind).arg(example).arg("call").args(call).output();
    let out = out.context("cannot start valgrind, from Debian's package of that name")?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{} fails:\n{said}", call.join(" "));
    let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.with_context(|| format!("callgrind printed no count for {}:\n{said}", call.join(" ")))
}
