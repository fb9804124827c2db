//! `cargo xtask fuzz`: runs the targets of `fuzzing/` on numbered inputs, in supervised child processes.
//!
//! A child that panics, is killed by a signal, or hangs is a finding: its input is minimised, stored in `target/`,
//! and reported. The children are optimised, with debug assertions (profile `fuzz`).

use std::collections::VecDeque;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use xtask::workspace;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only this target; by default all targets, one after the other
    target: Option<String>,
    /// The total time in seconds
    #[arg(long, default_value_t = 60, conflicts_with = "executions")]
    seconds: u64,
    /// How many inputs to run for each target, regardless of time
    #[arg(long)]
    executions: Option<u64>,
    /// The number of the first input
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many children at a time
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// A spelter-fuzzing binary; by default one is built
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
}

/// An execution that takes longer hangs.
const HANG: Duration = Duration::from_secs(30);
/// A target stops after this many findings.
const FINDINGS: usize = 5;
/// How many runs, and how much time, are spent on minimising an input.
const TRIES: usize = 400;
const TRYING: Duration = Duration::from_secs(30);
/// How far apart the seeds of two jobs are.
const APART: u64 = 1 << 40;

/// A child's share of the work.
struct Share {
    target: usize,
    first: u64,
    count: u64,
    time: Option<Duration>,
}

/// The results of a target.
#[derive(Default)]
struct Tally {
    executions: u64,
    time: Duration,
    findings: Vec<String>,
}

struct Fuzzer {
    binary: PathBuf,
    targets: Vec<String>,
    tallies: Mutex<Vec<Tally>>,
    bar: ProgressBar,
    folder: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let binary = options.bin.clone().map_or_else(build, Ok)?;
    let listed = Command::new(&binary).arg("list").output().context("cannot run the targets")?;
    let mut targets: Vec<String> = String::from_utf8(listed.stdout)?.lines().map(str::to_owned).collect();
    if let Some(only) = &options.target {
        ensure!(targets.contains(only), "there is no target {only}; there are {}", targets.join(", "));
        targets.retain(|target| target == only);
    }
    let folder = workspace::target()?.join("fuzz-findings");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let bar =
        ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
    let tallies = Mutex::new(targets.iter().map(|_| Tally::default()).collect());
    let shares = Mutex::new(shares(options, targets.len()));
    let fuzzer = Fuzzer { binary, targets, tallies, bar, folder };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs.max(1))
            .map(|job| {
                let (fuzzer, shares) = (&fuzzer, &shares);
                scope.spawn(move || -> Result<()> {
                    while let Some(share) = { lock(shares).pop_front() } {
                        fuzzer.work(job, share)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Ok(())))
    })?;
    fuzzer.bar.finish_and_clear();
    Ok(fuzzer.report())
}

fn build() -> Result<PathBuf> {
    let args = ["build", "--quiet", "--profile", "fuzz", "--package", "spelter-fuzzing"];
    ensure!(
        workspace::cargo().args(args).status()?.success(),
        "cargo could not build the targets; see above"
    );
    Ok(workspace::target()?.join("fuzz/spelter-fuzzing"))
}

fn shares(options: &Options, targets: usize) -> VecDeque<Share> {
    let jobs = options.jobs.max(1);
    let time = Duration::from_secs(options.seconds) / targets.max(1) as u32;
    let of_job = |job: u64, target| Share {
        target,
        first: options.seed.wrapping_add(job * APART),
        count: options.executions.map_or(APART, |count| count.div_ceil(jobs)),
        time: options.executions.is_none().then_some(time),
    };
    (0..targets).flat_map(|target| (0..jobs).map(move |job| of_job(job, target))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a child ended.
enum End {
    /// All inputs were run, or its time was over.
    Done,
    /// A finding at the input of this number.
    Found(u64, String),
}

impl Fuzzer {
    /// Runs inputs until the share is done; replaces children that die.
    fn work(&self, job: u64, share: Share) -> Result<()> {
        let start = Instant::now();
        let until = share.time.map(|time| start + time);
        let progress = self.folder.join(format!("progress-{job}"));
        let (mut next, end) = (share.first, share.first.saturating_add(share.count));
        while next < end && until.is_none_or(|until| Instant::now() < until) {
            let ended = self.child(&share, next, end - next, until, &progress)?;
            let Seen { at, end } = ended;
            let found = match end {
                End::Done => None,
                End::Found(seed, how) => Some(self.finding(share.target, seed, &how)?),
            };
            let mut tallies = lock(&self.tallies);
            tallies[share.target].executions += at + 1 - next;
            next = match found {
                None => break,
                Some(text) => {
                    tallies[share.target].findings.push(text);
                    at + 1
                }
            };
            if tallies[share.target].findings.len() >= FINDINGS {
                break;
            }
        }
        lock(&self.tallies)[share.target].time += start.elapsed();
        let _ = fs::remove_file(&progress);
        Ok(())
    }

    fn child(
        &self,
        share: &Share,
        first: u64,
        count: u64,
        until: Option<Instant>,
        progress: &Path,
    ) -> Result<Seen> {
        let name = &self.targets[share.target];
        fs::write(progress, first.to_le_bytes())?;
        let mut child = Command::new(&self.binary)
            .args([name, &first.to_string(), &count.to_string()])
            .arg(progress)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .env("RUST_BACKTRACE", "0")
            .spawn()
            .context("cannot start the targets")?;
        let said = child.stderr.take().map(|pipe| thread::spawn(|| read(pipe)));
        let (mut at, mut since) = (first, Instant::now());
        let end = loop {
            let ended = child.try_wait()?;
            let now = seed_in(progress).unwrap_or(at);
            if now != at {
                (at, since) = (now, Instant::now());
            }
            self.bar.set_message(format!("{name} {}", at - share.first));
            self.bar.tick();
            match ended {
                Some(status) if status.success() => break None,
                Some(status) => break Some(how(status)),
                None if until.is_some_and(|until| Instant::now() >= until) => {
                    let _ = child.kill();
                    child.wait()?;
                    break None;
                }
                None if since.elapsed() > HANG => {
                    let _ = child.kill();
                    child.wait()?;
                    break Some(format!("hangs for more than {} s", HANG.as_secs()));
                }
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        let said = said.and_then(|reader| reader.join().ok()).unwrap_or_default();
        let end = end.map_or(End::Done, |how| End::Found(at, format!("{how}\n{said}")));
        Ok(Seen { at, end })
    }

    /// Reports a finding, and stores its minimised input.
    fn finding(&self, target: usize, seed: u64, how: &str) -> Result<String> {
        let name = &self.targets[target];
        let path = self.folder.join(format!("{name}-{seed}.input"));
        let written = Command::new(&self.binary).args(["input", &seed.to_string()]).arg(&path).status()?;
        ensure!(written.success(), "cannot write {}", path.display());
        let small = self.minimise(name, fs::read(&path)?)?;
        fs::write(&path, &small)?;
        let text =
            format!("{name}, seed {seed}: {how}\n  input of {} bytes: {}", small.len(), path.display());
        self.bar.suspend(|| println!("FOUND {text}"));
        Ok(text)
    }

    /// Removes pieces of an input, halves first, while the target still fails.
    fn minimise(&self, name: &str, mut input: Vec<u8>) -> Result<Vec<u8>> {
        let start = Instant::now();
        let trial = self.folder.join(format!("trial-{name}"));
        let mut tries = 0;
        let mut size = input.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at < input.len() {
                if tries >= TRIES || start.elapsed() > TRYING {
                    size = 0;
                    break;
                }
                tries += 1;
                let mut less = input.clone();
                less.drain(at..(at + size).min(input.len()));
                fs::write(&trial, &less)?;
                match self.fails(name, &trial)? {
                    true => input = less,
                    false => at += size,
                }
            }
            size /= 2;
        }
        let _ = fs::remove_file(&trial);
        Ok(input)
    }

    fn fails(&self, name: &str, input: &Path) -> Result<bool> {
        let mut child = Command::new(&self.binary)
            .args([name, "--input"])
            .arg(input)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(!status.success());
            }
            if start.elapsed() > TRYING {
                let _ = child.kill();
                child.wait()?;
                return Ok(false);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn report(&self) -> bool {
        let tallies = lock(&self.tallies);
        println!("{:<12}{:>14}{:>12}{:>10}", "target", "executions", "a second", "findings");
        for (name, tally) in self.targets.iter().zip(tallies.iter()) {
            let rate = tally.executions as f64 / tally.time.as_secs_f64().max(0.001);
            println!("{name:<12}{:>14}{rate:>12.0}{:>10}", tally.executions, tally.findings.len());
        }
        let all: u64 = tallies.iter().map(|tally| tally.executions).sum();
        let findings: usize = tallies.iter().map(|tally| tally.findings.len()).sum();
        println!("{:<12}{all:>14}{:>12}{findings:>10}", "all", "");
        findings == 0
    }
}

/// The observations of a child: the last input that it began, and its end.
struct Seen {
    at: u64,
    end: End,
}

fn seed_in(progress: &Path) -> Option<u64> {
    Some(u64::from_le_bytes(fs::read(progress).ok()?.try_into().ok()?))
}

fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("killed by signal {signal}"),
        (_, code) => format!("exit code {}", code.unwrap_or(-1)),
    }
}

/// The beginning of a child's output.
fn read(mut pipe: impl Read) -> String {
    const MOST: usize = 2000;
    let mut bytes = Vec::new();
    let _ = pipe.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
