//! Machine instructions counted by callgrind, each program on a small input. They hardly depend on other load on the
//! machine, so that one run shows whether a change made something slower.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use xtask::process::path_text;
use xtask::workspace;

use super::programs::{Job, Kind};
use super::{page, plot};

/// The increase over the committed counts that counts as a failure, in percent.
const TOLERANCE: f64 = 2.0;
/// Processes at a time.
const PARALLEL: usize = 2;

/// One program's committed figures.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Figures {
    /// Bytecode instructions that the program runs.
    bytecodes: u64,
    /// Machine instructions of ocamlrun.
    ocamlrun: u64,
    /// Machine instructions of Spelter.
    spelter: u64,
}

impl Figures {
    fn ratio(&self) -> f64 {
        self.spelter as f64 / self.ocamlrun as f64
    }
}

fn file() -> PathBuf {
    workspace::root().join("benches/counts.toml")
}

/// Counts the instructions of `ours`; `spelter` is the same binary under its own name.
pub(super) fn run(jobs: &[Job], ours: &[String], spelter: &Path, record: bool) -> Result<bool> {
    let mut committed: BTreeMap<String, Figures> = match fs::read_to_string(file()) {
        Ok(text) => toml::from_str(&text).context("benches/counts.toml")?,
        Err(_) => BTreeMap::new(),
    };
    let counted = in_parallel(jobs, |job| counted(job, ours))?;
    if record {
        let theirs = in_parallel(jobs, |job| counted_once(job, &["ocamlrun".to_owned()], &committed))?;
        let spelter = path_text(spelter)?;
        let bytecodes = in_parallel(jobs, |job| bytecodes(job, &spelter))?;
        for (i, job) in jobs.iter().enumerate() {
            let figures = Figures { bytecodes: bytecodes[i], ocamlrun: theirs[i], spelter: counted[i] };
            committed.insert(job.name.to_owned(), figures);
        }
        fs::write(file(), toml::to_string(&committed)?)?;
        let rows: Vec<(&str, Figures)> = jobs.iter().map(|job| (job.name, committed[job.name])).collect();
        page::record("instructions", &table(&rows), &plot::svg("machine instructions", &bars(&rows)))?;
    }
    let mut good = true;
    let mut ratios = Vec::new();
    println!("program            bytecodes      ocamlrun       spelter   ratio  per bytecode    change");
    for (job, count) in jobs.iter().zip(counted) {
        let figures = committed
            .get(job.name)
            .with_context(|| format!("{} has no committed count; run with --record", job.name))?;
        let change = 100.0 * (count as f64 / figures.spelter as f64 - 1.0);
        let ratio = count as f64 / figures.ocamlrun as f64;
        let each = count as f64 / figures.bytecodes as f64;
        let verdict = if change > TOLERANCE { "  MORE" } else { "" };
        println!(
            "{:<15} {:>12} {:>13} {count:>13} {ratio:>7.3} {each:>13.2} {change:>+8.2} %{verdict}",
            job.name, figures.bytecodes, figures.ocamlrun
        );
        good &= change <= TOLERANCE;
        if !matches!(job.kind, Kind::Start | Kind::Foreign) {
            ratios.push(ratio.ln());
        }
    }
    let mean = (ratios.iter().sum::<f64>() / ratios.len().max(1) as f64).exp();
    println!("instructions, and so instructions per bytecode: geometric mean {mean:.3} of ocamlrun's");
    Ok(good)
}

fn bars<'a>(rows: &[(&'a str, Figures)]) -> Vec<plot::Bar<'a>> {
    rows.iter().map(|(name, figures)| plot::Bar { name, ratio: figures.ratio(), native: None }).collect()
}

/// The table in Markdown.
fn table(rows: &[(&str, Figures)]) -> String {
    let mut text =
        "| program | bytecode instructions | ocamlrun | Spelter | ratio |\n|---|---:|---:|---:|---:|\n"
            .to_owned();
    for (name, figures) in rows {
        let [bytecodes, theirs, ours] =
            [figures.bytecodes, figures.ocamlrun, figures.spelter].map(page::grouped);
        text += &format!("| {name} | {bytecodes} | {theirs} | {ours} | {:.2} |\n", figures.ratio());
    }
    text
}

/// The results of `f` for all jobs, in their order.
pub(super) fn in_parallel<T: Send>(jobs: &[Job], f: impl Fn(&Job) -> Result<T> + Sync) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let Some((i, job)) = jobs.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = f(job);
                    if let Ok(mut results) = results.lock() {
                        results.insert(i, result);
                    }
                }
            });
        }
    });
    results.into_inner().unwrap_or_default().into_values().collect()
}

/// ocamlrun does not change, so earlier counts remain valid.
fn counted_once(job: &Job, runtime: &[String], committed: &BTreeMap<String, Figures>) -> Result<u64> {
    match committed.get(job.name) {
        Some(figures) => Ok(figures.ocamlrun),
        None => counted(job, runtime),
    }
}

/// The instructions of one run.
fn counted(job: &Job, runtime: &[String]) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    let valgrind = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let mut command = Command::new("valgrind");
    command.args(valgrind).args(runtime);
    let said = stderr_of(&mut command, job, folder.path())?;
    let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.with_context(|| format!("callgrind printed no count for {}:\n{said}", job.name))
}

/// How many bytecode instructions the program runs.
fn bytecodes(job: &Job, spelter: &str) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(spelter);
    command.args(["run", "--dispatch=profile"]);
    let said = stderr_of(&mut command, job, folder.path())?;
    let count = said.lines().find_map(|line| line.strip_suffix(" instructions")?.trim().parse().ok());
    count.with_context(|| format!("no profile for {}:\n{said}", job.name))
}

/// Runs a program on its small input, and returns the command's stderr.
pub(super) fn stderr_of(command: &mut Command, job: &Job, folder: &Path) -> Result<String> {
    let stdin = match &job.count_stdin {
        Some(path) => Stdio::from(File::open(path)?),
        None => Stdio::null(),
    };
    let product = job.product.as_ref().map(|path| path_text(path)).transpose()?;
    // The program writes into a separate folder, as two programs may run at a time.
    let args = job.count_args.iter().map(|arg| match &product {
        Some(product) if product == arg => folder.join("out").with_extension("cmo").into_os_string(),
        _ => arg.into(),
    });
    let out = command
        .args(&job.bytecode)
        .args(args)
        .current_dir(&job.folder)
        // Without the caller's variables: the dynamic linker reads each of them, which is a part of a short run's count.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(&job.env)
        .stdin(stdin)
        .stdout(Stdio::null())
        .output()
        .context("cannot start it (valgrind, from Debian's package of that name)")?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(out.status.success(), "{} fails:\n{said}", job.name);
    Ok(said)
}
