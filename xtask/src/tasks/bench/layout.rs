//! Which of the command's functions most programs run: the linker is to place them side by side.
//!
//! The system maps in 64 kB around each place of a file that is touched, so that functions that lie scattered cost more
//! memory than they are large. Callgrind tells what runs; names are written with a star for what changes from build to
//! build. A name that fits nothing is no error to a linker, and costs nothing but its place in the list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use regex::Regex;
use xtask::process::path_text;
use xtask::workspace;

use super::counts::{in_parallel, stderr_of};
use super::programs::Job;

/// A function belongs to the list if one in so many programs runs it.
const ONE_IN: usize = 4;
/// All chains have the same name but for what changes; most of them run in few programs.
const CHAINS: &str = "chain_functions";

/// Writes the list for the linker, of what `ours` runs.
pub(super) fn run(jobs: &[Job], ours: &[String]) -> Result<bool> {
    let mut programs: BTreeMap<String, usize> = BTreeMap::new();
    for name in in_parallel(jobs, |job| functions(job, ours))?.into_iter().flatten() {
        *programs.entry(name).or_default() += 1;
    }
    let mut names: Vec<(&String, usize)> =
        programs.iter().filter(|(_, count)| *count * ONE_IN >= jobs.len()).map(|(n, c)| (n, *c)).collect();
    ensure!(!names.is_empty(), "callgrind names no function: is the binary stripped?");
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let lines: String = names.iter().map(|(name, _)| format!("    *(.text*{name})\n")).collect();
    let file = workspace::root().join("crates/cli/layout.ld");
    let text = format!(
        "/* What most programs run lies side by side. Written by: cargo xtask bench --layout */\n\
         SECTIONS\n{{\n  .text.most :\n  {{\n{lines}  }}\n}}\nINSERT BEFORE .text;\n"
    );
    fs::write(&file, text).with_context(|| file.display().to_string())?;
    println!("{}: {} of {} functions", file.display(), names.len(), programs.len());
    Ok(true)
}

/// Names of Rust functions that run in the program.
fn functions(job: &Job, runtime: &[String]) -> Result<BTreeSet<String>> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--demangle=no"]);
    command.arg(format!("--callgrind-out-file={}", path_text(&out)?)).args(runtime);
    stderr_of(&mut command, job, folder.path())?;
    names(&fs::read_to_string(&out).context("callgrind's output")?)
}

/// The names that callgrind's output gives: `fn=(12) name` where it runs, `cfn=(12) name` where it is called, at the
/// first mention; `name'2` is `name` within itself.
fn names(text: &str) -> Result<BTreeSet<String>> {
    let mention = Regex::new(r"(?m)^c?fn=\(\d+\) (_ZN|_R)([^\s']+)")?;
    // A hash in the old way of mangling, a crate's number in the new one, and what LLVM appends.
    let changing = Regex::new(r"17h[0-9a-f]{16}E.*|Cs[0-9A-Za-z]+_|\.llvm\..*")?;
    let star = |found: &regex::Captures<'_>| if found[0].starts_with("Cs") { "Cs*_" } else { "*" };
    Ok(mention
        .captures_iter(text)
        .filter(|found| !found[2].contains(CHAINS))
        .map(|found| format!("{}{}", &found[1], changing.replace_all(&found[2], star)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_from_build_to_build_is_a_star() {
        let text = "fn=(1) _ZN12spelter_heap4mark5slice17h0123456789abcdefE.llvm.42\n\
                    10 20\n\
                    cfn=(2) _RNvNtCsjrHSEGnQ3l9_3std2rt7cleanup'2\n\
                    fn=(3) _ZN7spelter15chain_functions5chain17h0123456789abcdefE\n\
                    fn=(4) memcpy\n\
                    fn=(2)\n";
        let expected = ["_RNvNtCs*_3std2rt7cleanup", "_ZN12spelter_heap4mark5slice*"].map(str::to_owned);
        assert_eq!(names(text).expect("regular expressions"), expected.into());
    }
}
