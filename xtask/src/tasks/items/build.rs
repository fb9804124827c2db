//! Compiling with the stock compiler: `ocamlc.byte` compiles a folder of sources under both runtimes, and all written
//! files must be the same, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use xtask::corpus::files_under;
use xtask::engine::Engine;
use xtask::matrix::in_parallel;
use xtask::ocaml::Tools;

use super::plain::{Compiler, Role};

/// Compilations at a time.
const PARALLEL: usize = 2;

/// One file to be compiled.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) target: String,
    pub(super) source: String,
    pub(super) needs: Vec<String>,
    /// Flags in shell syntax.
    pub(super) flags: String,
}

/// Sources with the steps that compile them.
pub(super) struct Build {
    pub(super) tools: Tools,
    pub(super) compiler: Compiler,
    pub(super) name: &'static str,
    pub(super) folder: PathBuf,
    pub(super) steps: Vec<Step>,
}

/// The files written by one whole compilation, and its user time in seconds.
struct Made {
    files: BTreeMap<String, Vec<u8>>,
    seconds: f64,
}

/// Reads a `.depend`: lines `target : source needs…`, continued with backslashes. Native code is left out; only its
/// lines depend on conditions.
pub(super) fn read_depend(text: &str, flags: impl Fn(&str) -> Result<String>) -> Result<Vec<Step>> {
    let text = text.replace("\\\n", " ");
    let mut steps = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("ifeq ") && !line.starts_with("endif")) {
        let (target, rest) =
            line.split_once(" :").with_context(|| format!(".depend: no colon in '{line}'"))?;
        if target.ends_with(".cmx") {
            continue;
        }
        let (sources, needs): (Vec<String>, Vec<String>) = rest
            .split_whitespace()
            .map(str::to_owned)
            .partition(|file| file.ends_with(".ml") || file.ends_with(".mli"));
        let stem = target.rsplit_once('.').map_or(target, |(stem, _)| stem);
        let end = if target.ends_with(".cmi") { "mli" } else { "ml" };
        let source = sources.into_iter().next().unwrap_or_else(|| format!("{stem}.{end}"));
        steps.push(Step { target: target.to_owned(), source, needs, flags: flags(target)? });
    }
    Ok(steps)
}

impl Build {
    /// Compiles under ocamlrun, then on each engine, and prints differences and times.
    pub(super) fn compare(&self, engines: &[Engine], spelter: &Path) -> Result<bool> {
        let name = self.name;
        let rounds = in_rounds(&self.steps)?;
        self.compiler.take(Role::Reference)?;
        let expected = self.compile(&rounds, &[self.tools.ocamlrun()]).context("under ocamlrun")?;
        self.compiler.take(Role::Installed)?;
        println!(
            "{name}: ocamlrun made {} files, {:.2} s of user time",
            expected.files.len(),
            expected.seconds
        );
        let mut good = true;
        for engine in engines {
            let start = Instant::now();
            let got = match self.compile(&rounds, &engine.runtime(spelter)?) {
                Ok(got) => got,
                Err(error) => {
                    println!("{name}: {}: {error:#}", engine.name);
                    good = false;
                    continue;
                }
            };
            let different = differences(&expected, &got);
            good &= different.is_empty();
            println!(
                "{name}: {} made {} files in {:.2} s of user time ({:.1} s in all), {:.2} of ocamlrun's; {}",
                engine.name,
                got.files.len(),
                got.seconds,
                start.elapsed().as_secs_f64(),
                got.seconds / expected.seconds,
                if different.is_empty() {
                    "all identical".to_owned()
                } else {
                    format!("{} differ", different.len())
                }
            );
            for line in different.iter().take(10) {
                println!("  {line}");
            }
        }
        Ok(good)
    }

    /// Compiles everything with the given runtime, and then removes the results, so that the next run starts clean.
    fn compile(&self, rounds: &[Vec<&Step>], runtime: &[String]) -> Result<Made> {
        let before = children_seconds()?;
        let done = rounds.iter().try_for_each(|round| {
            in_parallel(self.name, round, PARALLEL, |step| self.make(step, runtime)).map(drop)
        });
        let seconds = children_seconds()? - before;
        let mut files = BTreeMap::new();
        for name in files_under(&self.folder)? {
            if ["cmo", "cmi", "cmt", "cmti"].iter().any(|kind| name.ends_with(&format!(".{kind}"))) {
                let path = self.folder.join(&name);
                files.insert(name, fs::read(&path)?);
                fs::remove_file(&path)?;
            }
        }
        done.map(|()| Made { files, seconds })
    }

    fn make(&self, step: &Step, runtime: &[String]) -> Result<()> {
        let Step { target, source, flags, .. } = step;
        let compiler = self.compiler.program().display();
        let script = format!("exec \"$@\" {compiler} {flags} -o {target} -c {source}");
        let mut shell = self.tools.command("sh");
        shell.args(["-c", &script, "sh"]).args(runtime).env("AWK", "awk");
        let done = shell.current_dir(&self.folder).output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            bail!("compiling {source} failed ({}):\n{said}", done.status);
        }
        Ok(())
    }
}

/// Sorts files into rounds after their dependencies; the files of a round are compiled in parallel.
fn in_rounds(steps: &[Step]) -> Result<Vec<Vec<&Step>>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut rounds = Vec::new();
    let mut waiting: Vec<&Step> = steps.iter().collect();
    while !waiting.is_empty() {
        let is_ready = |step: &&Step| step.needs.iter().all(|need| done.contains(need.as_str()));
        let (ready, rest): (Vec<&Step>, Vec<&Step>) = waiting.iter().partition(|step| is_ready(step));
        ensure!(
            !ready.is_empty(),
            "the sources' .depend goes round in circles, or names what nothing makes, at {}",
            waiting[0].target
        );
        done.extend(ready.iter().map(|step| step.target.as_str()));
        rounds.push(ready);
        waiting = rest;
    }
    Ok(rounds)
}

/// User time of all children that have ended, in seconds.
fn children_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(usage.user_time().num_microseconds() as f64 / 1e6)
}

fn differences(expected: &Made, got: &Made) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, bytes) in &expected.files {
        match got.files.get(name) {
            None => lines.push(format!("{name} was not made")),
            Some(other) if other != bytes => {
                let offset = bytes.iter().zip(other).take_while(|(a, b)| a == b).count();
                lines.push(format!(
                    "{name} differs from byte {offset} on ({} and {} bytes)",
                    bytes.len(),
                    other.len()
                ));
            }
            Some(_) => {}
        }
    }
    lines.extend(
        got.files.keys().filter(|name| !expected.files.contains_key(*name)).map(|n| format!("{n} is extra")),
    );
    lines
}
