//! Lists the command's functions that most programs run, so that the linker can place them together.
//!
//! The system maps in 64 kB around each accessed address of a file, so scattered functions cost more memory than
//! their size. Callgrind reports what runs; names are written with a star for the parts that change from build to
//! build. A linker silently ignores a name that matches nothing, so a list that is stale after changes of the code
//! has no effect and goes unnoticed. [`check`] detects this.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use regex::Regex;
use xtask::process::path_text;
use xtask::workspace;

use super::counts::{in_parallel, stderr_of};
use super::programs::Job;

/// A function belongs to the list if at least one in this many programs runs it.
const ONE_IN: usize = 4;
/// The name of all chains, without the parts that change; most of them run in few programs.
const CHAINS: &str = "chain_functions";

/// How much of the list must match functions of the binary, in percent.
const LEAST: usize = 90;
/// How many unmatched names are shown.
const SHOWN: usize = 20;

fn file() -> PathBuf {
    workspace::root().join("crates/cli/layout.ld")
}

/// The header of the list.
const HEAD: &str = "\
/* Functions to place together: those that at least one in four benchmark programs runs, except chains.

   This saves memory: a program that only prints hello takes 3.3 MB with it and 4.1 MB without, a start of the compiler 10.1
   and 10.5 MB. It saves 9 of 150 page faults, no instructions, and no measurable time.
   Written by: cargo xtask bench --layout
   Checked by: cargo xtask bench --check-layout (functions that are renamed or moved to other modules no longer match; if less
   than 90 % of the list matches the binary, regenerate it) */
";

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
    let lines: String = names.iter().map(|(name, _)| format!("    {OPEN}{name}{CLOSE}\n")).collect();
    let file = file();
    let text = format!("{HEAD}SECTIONS\n{{\n  .text.most :\n  {{\n{lines}  }}\n}}\nINSERT BEFORE .text;\n");
    fs::write(&file, text).with_context(|| file.display().to_string())?;
    println!("{}: {} of {} functions", file.display(), names.len(), programs.len());
    Ok(true)
}

/// Before and after a name in the list.
const OPEN: &str = "*(.text*";
const CLOSE: &str = ")";

/// Reports how much of the list matches functions of the binary, and whether that is enough.
pub(super) fn check(spelter: &Path) -> Result<bool> {
    let file = file();
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let out = Command::new("nm")
        .arg(spelter)
        .output()
        .context("nm cannot be started; it is in the package binutils")?;
    ensure!(out.status.success(), "nm failed on {}", spelter.display());
    let (listed, stale) = stale(&text, &String::from_utf8_lossy(&out.stdout))?;
    ensure!(listed > 0, "{} lists nothing", file.display());
    let fits = 100 * (listed - stale.len()) / listed;
    println!("{}: {fits} % of {listed} names match functions of the binary", file.display());
    let good = fits >= LEAST;
    if !good {
        stale.iter().take(SHOWN).for_each(|name| println!("  no match: {name}"));
        println!("regenerate the list: cargo xtask bench --layout");
    }
    Ok(good)
}

/// The number of names in the list, and those that match none of nm's symbols.
fn stale(list: &str, symbols: &str) -> Result<(usize, Vec<String>)> {
    let functions: BTreeSet<&str> = symbols
        .lines()
        .filter_map(|line| {
            let mut words = line.rsplit(' ');
            let (name, kind) = (words.next()?, words.next()?);
            matches!(kind, "t" | "T" | "w" | "W").then_some(name)
        })
        .collect();
    let all = functions.into_iter().collect::<Vec<_>>().join("\n");
    let names: Vec<&str> =
        list.lines().filter_map(|line| line.trim().strip_prefix(OPEN)?.strip_suffix(CLOSE)).collect();
    let mut stale = Vec::new();
    for name in &names {
        // A star of the linker's, within a line.
        let fits = Regex::new(&format!("(?m)^{}$", regex::escape(name).replace(r"\*", ".*")))?;
        if !fits.is_match(&all) {
            stale.push((*name).to_owned());
        }
    }
    Ok((names.len(), stale))
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

/// The names in callgrind's output: at the first mention, `fn=(12) name` where it runs, or `cfn=(12) name` where it
/// is called; `name'2` is a recursive `name`.
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
    fn names_that_fit_nothing_are_stale() {
        let list = "/* head */\n    *(.text*_RNvCs*_3std3run)\n    *(.text*_RNvCs*_3std4gone)\n  }\n";
        let symbols = "0000000000001000 t _RNvCsjrHSEGnQ3l9_3std3run\n\
                       0000000000002000 d _RNvCsjrHSEGnQ3l9_3std4gone\n\
                       0000000000003000 T main\n                 U malloc\n";
        let expected = (2, vec!["_RNvCs*_3std4gone".to_owned()]);
        assert_eq!(stale(list, symbols).expect("regular expressions"), expected);
    }

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
