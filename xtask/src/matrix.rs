//! Every case on every engine: the runs, their judgement, and the table.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::corpus::Case;
use crate::diff;
use crate::engine::Engine;
use crate::gaps::Gaps;
use crate::process::{Answer, Invocation, Outcome};

/// Differences printed in full; more would only scroll the first ones away.
const SHOWN: usize = 10;

/// The time limit for the real ocamlrun.
const OCAMLRUN_LIMIT: Duration = Duration::from_secs(60);

/// A case to be run on an engine.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// What to run.
    pub case: Case<'a>,
    /// On what.
    pub engine: &'a Engine,
}

/// What to compare with, and with what means.
#[derive(Debug)]
pub struct Settings {
    /// The `spelter` binary.
    pub spelter: PathBuf,
    /// Whether the real ocamlrun is asked, instead of the recorded answers.
    pub live: bool,
    /// Processes at a time.
    pub parallel: usize,
    /// Known gaps.
    pub gaps: Gaps,
}

/// How a job went.
#[derive(Debug)]
pub enum Verdict {
    /// It agrees.
    Pass,
    /// It differs, and how.
    Fail(String),
    /// It differs, as the list of gaps says.
    Known,
    /// It agrees, although the list of gaps says that it would not.
    Surprise(String),
    /// The case declines this engine.
    Declined,
}

/// All verdicts of a run, in the order of the jobs.
#[derive(Debug)]
pub struct Report {
    rows: Vec<(String, String, Verdict, Duration)>,
}

/// Runs a case with the real ocamlrun.
///
/// # Errors
///
/// If ocamlrun cannot be started, or hangs.
pub fn ask_ocamlrun(case: Case<'_>) -> Result<Answer> {
    ask_ocamlrun_in(case, &case.program.folder())
}

/// As [`ask_ocamlrun`], with the program's files taken from `source`.
///
/// # Errors
///
/// If ocamlrun cannot be started, or hangs.
pub fn ask_ocamlrun_in(case: Case<'_>, source: &Path) -> Result<Answer> {
    let mut command = vec!["ocamlrun".to_owned(), case.program.executable()];
    command.extend_from_slice(&case.recorded.run.args);
    match invoke(case, source, command, OCAMLRUN_LIMIT)? {
        Outcome::Answered(answer) => Ok(answer),
        Outcome::TimedOut(limit) => anyhow::bail!("{}: ocamlrun was not done after {limit:?}", case.name()),
    }
}

/// Runs each job and judges it.
///
/// # Errors
///
/// If a process cannot be started or a file cannot be read; a wrong answer is no error.
pub fn run(jobs: &[Job<'_>], settings: &Settings) -> Result<Report> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let live = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..settings.parallel.max(1))
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = jobs.get(index) else { return Ok(()) };
                        let start = Instant::now();
                        let verdict = judge(*job, settings, &live)?;
                        done.lock()
                            .expect("no worker panics with the lock")
                            .insert(index, (verdict, start.elapsed()));
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().expect("a worker does not panic")?;
        }
        anyhow::Ok(())
    })?;
    let done = done.into_inner().expect("no worker panics with the lock");
    let rows = jobs
        .iter()
        .zip(done.into_values())
        .map(|(job, (verdict, time))| (job.case.name(), job.engine.name.clone(), verdict, time))
        .collect();
    Ok(Report { rows })
}

fn judge(job: Job<'_>, settings: &Settings, live: &Mutex<BTreeMap<String, Answer>>) -> Result<Verdict> {
    let Job { case, engine } = job;
    if engine.tortures() && case.recorded.run.no_torture.is_some() {
        return Ok(Verdict::Declined);
    }
    let expected = if settings.live { ask_once(case, live)? } else { case.answer()? };
    let command = engine.command(&settings.spelter, &case.program.executable(), &case.recorded.run.args)?;
    let difference = match invoke(case, &case.program.folder(), command, engine.limit())? {
        Outcome::Answered(got) => diff::answers(&expected, &got),
        Outcome::TimedOut(limit) => Some(format!("no answer after {} s\n", limit.as_secs())),
    };
    Ok(match (difference, settings.gaps.find(&case.name(), &engine.name)) {
        (None, None) => Verdict::Pass,
        (None, Some(gap)) => Verdict::Surprise(format!(
            "passes, but xtask/expected.toml says it fails ({}); take it off the list\n",
            gap.reason
        )),
        (Some(text), None) => Verdict::Fail(text),
        (Some(_), Some(_)) => Verdict::Known,
    })
}

/// The real ocamlrun is asked once per case, not once per engine.
fn ask_once(case: Case<'_>, live: &Mutex<BTreeMap<String, Answer>>) -> Result<Answer> {
    let name = case.name();
    if let Some(answer) = live.lock().expect("no worker panics with the lock").get(&name) {
        return Ok(answer.clone());
    }
    let answer = ask_ocamlrun(case)?;
    live.lock().expect("no worker panics with the lock").insert(name, answer.clone());
    Ok(answer)
}

/// Runs a command in a fresh folder that holds the program's files.
fn invoke(case: Case<'_>, source: &Path, command: Vec<String>, limit: Duration) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    case.furnish(source, folder.path())?;
    let run = &case.recorded.run;
    Invocation { command, folder: folder.path(), env: &run.env, stdin: run.stdin.as_bytes(), limit }.run()
}

impl Report {
    /// Whether nothing differed, and nothing passed that should not.
    pub fn is_good(&self) -> bool {
        !self.rows.iter().any(|(_, _, verdict, _)| matches!(verdict, Verdict::Fail(_) | Verdict::Surprise(_)))
    }

    /// How many jobs passed.
    pub fn passed(&self) -> usize {
        self.rows.iter().filter(|(_, _, verdict, _)| matches!(verdict, Verdict::Pass)).count()
    }

    /// Writes a line per engine, then the first differences.
    ///
    /// # Errors
    ///
    /// If writing fails.
    pub fn print(&self, out: &mut dyn Write) -> Result<()> {
        let mut engines: Vec<&str> = Vec::new();
        for (_, engine, _, _) in &self.rows {
            if !engines.contains(&engine.as_str()) {
                engines.push(engine);
            }
        }
        writeln!(
            out,
            "{:<20} {:>5} {:>5} {:>6} {:>9} {:>9}",
            "engine", "pass", "fail", "known", "declined", "seconds"
        )?;
        for name in engines {
            let mut counts = [0usize; 4];
            let mut time = Duration::ZERO;
            for (_, _, verdict, took) in self.rows.iter().filter(|(_, engine, _, _)| engine == name) {
                time += *took;
                counts[match verdict {
                    Verdict::Pass => 0,
                    Verdict::Fail(_) | Verdict::Surprise(_) => 1,
                    Verdict::Known => 2,
                    Verdict::Declined => 3,
                }] += 1;
            }
            let [pass, fail, known, declined] = counts;
            writeln!(
                out,
                "{name:<20} {pass:>5} {fail:>5} {known:>6} {declined:>9} {:>9.1}",
                time.as_secs_f64()
            )?;
        }
        self.print_differences(out)
    }

    fn print_differences(&self, out: &mut dyn Write) -> Result<()> {
        let mut by_case: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for (case, engine, verdict, _) in &self.rows {
            if let Verdict::Fail(text) | Verdict::Surprise(text) = verdict {
                by_case.entry((case, text)).or_default().push(engine);
            }
        }
        for ((case, text), engines) in by_case.iter().take(SHOWN) {
            write!(out, "\n{case} on {}\n{text}", engines.join(", "))?;
        }
        if by_case.len() > SHOWN {
            writeln!(out, "\n… and {} more differences:", by_case.len() - SHOWN)?;
            for (case, _) in by_case.keys().skip(SHOWN) {
                writeln!(out, "  {case}")?;
            }
        }
        Ok(())
    }
}
