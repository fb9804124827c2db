//! Runs every case on every engine, judges the results, and prints the table.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};

use crate::corpus::Case;
use crate::debugger;
use crate::diff;
use crate::engine::Engine;
use crate::gaps::Gaps;
use crate::ocaml::{Named, Tools};
use crate::process::{Answer, Invocation, Outcome};

/// The number of differences printed in full; more would scroll the first ones away.
const SHOWN: usize = 10;

/// The time limit for the real ocamlrun.
const OCAMLRUN_LIMIT: Duration = Duration::from_secs(60);

/// A case that can be run on an engine and compared with ocamlrun's answer.
pub trait Subject: Debug + Sync {
    /// Its name in tables and in the list of gaps.
    fn name(&self) -> String;

    /// ocamlrun's answer: the recorded one, or from a run now if `live`.
    ///
    /// # Errors
    ///
    /// If the record cannot be read, or ocamlrun cannot be started or hangs.
    fn expected(&self, live: bool) -> Result<Answer>;

    /// Runs it with `spelter`.
    ///
    /// # Errors
    ///
    /// If a process cannot be started or a file cannot be read.
    fn run_on(&self, engine: &Engine, spelter: &Path) -> Result<Outcome>;

    /// Whether it must not run on this engine.
    fn declines(&self, _: &Engine) -> bool {
        false
    }
}

/// A case to be run on an engine.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The case.
    pub case: &'a dyn Subject,
    /// The engine.
    pub engine: &'a Engine,
}

/// The settings of a comparison.
#[derive(Debug)]
pub struct Settings {
    /// The `spelter` binary.
    pub spelter: PathBuf,
    /// Whether to run the real ocamlrun instead of using the recorded answers.
    pub live: bool,
    /// Processes at a time.
    pub parallel: usize,
    /// Known gaps.
    pub gaps: Gaps,
}

/// The result of a job.
#[derive(Debug)]
pub enum Verdict {
    /// It agrees.
    Pass,
    /// It differs; with a description.
    Fail(String),
    /// It differs, as the list of gaps expects.
    Known,
    /// It agrees, although the list of gaps expects a difference.
    Surprise(String),
    /// The case does not support this engine.
    Declined,
}

/// All verdicts of a run, in the order of the jobs.
#[derive(Debug)]
pub struct Report {
    /// The case's name, the engine's name, the verdict, and the duration.
    pub rows: Vec<(String, String, Verdict, Duration)>,
}

/// Runs a case with the real ocamlrun.
///
/// # Errors
///
/// If ocamlrun cannot be started, or hangs.
pub fn ask_ocamlrun(case: Case<'_>) -> Result<Answer> {
    let mut command = vec!["ocamlrun".to_owned(), case.program.executable()];
    command.extend_from_slice(&case.recorded.run.args);
    answered(case, &case.program.folder(), command, &BTreeMap::new())
}

/// As [`ask_ocamlrun`], with a version's own ocamlrun, and the program's files taken from `source`.
///
/// # Errors
///
/// If ocamlrun cannot be started, or hangs.
pub fn ask_in(case: Case<'_>, source: &Path, tools: &Tools) -> Result<Answer> {
    let program = case.program.executable();
    let run = &case.recorded.run;
    let mut command =
        if run.debugger { debugger::command(tools, &program) } else { vec![tools.ocamlrun(), program] };
    command.extend_from_slice(&run.args);
    answered(case, source, command, &tools.env)
}

fn answered(
    case: Case<'_>,
    source: &Path,
    command: Vec<String>,
    env: &BTreeMap<String, String>,
) -> Result<Answer> {
    match invoke(case, source, command, env, OCAMLRUN_LIMIT)? {
        Outcome::Answered(answer) => Ok(answer),
        Outcome::TimedOut(limit) => anyhow::bail!("{}: ocamlrun was not done after {limit:?}", case.name()),
    }
}

/// Runs and judges each job.
///
/// # Errors
///
/// If a process cannot be started or a file cannot be read; a wrong answer is not an error.
pub fn run(jobs: &[Job<'_>], settings: &Settings) -> Result<Report> {
    let asked = Mutex::new(BTreeMap::new());
    let done = in_parallel("compared", jobs, settings.parallel, |job| {
        let start = Instant::now();
        let verdict = judge(*job, settings, &asked)?;
        Ok((verdict, start.elapsed()))
    })?;
    let rows = jobs
        .iter()
        .zip(done)
        .map(|(job, (verdict, time))| (job.case.name(), job.engine.name.clone(), verdict, time))
        .collect();
    Ok(Report { rows })
}

/// Runs `work` for each item, `parallel` at a time, with a progress bar on a terminal, and returns the results in the
/// items' order.
///
/// # Errors
///
/// The first error of `work`.
pub fn in_parallel<T: Sync, R: Send>(
    what: &str,
    items: &[T],
    parallel: usize,
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let style = ProgressStyle::with_template("{pos}/{len} {msg} {wide_bar} {elapsed} (of {duration})")?;
    let bar = ProgressBar::new(items.len() as u64).with_style(style).with_message(what.to_owned());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..parallel.max(1))
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(item) = items.get(index) else { return Ok(()) };
                        let result = work(item)?;
                        done.lock().expect("no worker panics with the lock").insert(index, result);
                        bar.inc(1);
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().expect("a worker does not panic")?;
        }
        anyhow::Ok(())
    })?;
    bar.finish_and_clear();
    Ok(done.into_inner().expect("no worker panics with the lock").into_values().collect())
}

fn judge(job: Job<'_>, settings: &Settings, asked: &Mutex<BTreeMap<String, Answer>>) -> Result<Verdict> {
    let Job { case, engine } = job;
    if case.declines(engine) {
        return Ok(Verdict::Declined);
    }
    let expected = ask_once(case, settings.live, asked)?;
    let difference = match case.run_on(engine, &settings.spelter)? {
        Outcome::Answered(got) => diff::answers(&expected, &got),
        Outcome::TimedOut(limit) => Some(format!("no answer after {} s\n", limit.as_secs())),
    };
    Ok(match (difference, settings.gaps.find(&case.name(), &engine.name)) {
        (None, None) => Verdict::Pass,
        (None, Some(gap)) => Verdict::Surprise(format!(
            "passes, but the list of gaps says it fails ({}); take it off the list\n",
            gap.reason
        )),
        (Some(text), None) => Verdict::Fail(text),
        (Some(_), Some(_)) => Verdict::Known,
    })
}

/// Determines the expected answer once per case, not once per engine.
fn ask_once(case: &dyn Subject, live: bool, asked: &Mutex<BTreeMap<String, Answer>>) -> Result<Answer> {
    let name = case.name();
    if let Some(answer) = asked.lock().expect("no worker panics with the lock").get(&name) {
        return Ok(answer.clone());
    }
    let answer = case.expected(live)?;
    asked.lock().expect("no worker panics with the lock").insert(name, answer.clone());
    Ok(answer)
}

impl Subject for Case<'_> {
    fn name(&self) -> String {
        Case::name(self)
    }

    fn expected(&self, live: bool) -> Result<Answer> {
        match &self.program.ocaml {
            _ if !live => self.answer(),
            None => ask_ocamlrun(*self),
            // Only the system's version is sure to be here. Without another one, what it answered is recorded.
            Some(version) => match Tools::find(version.parse::<Named>().map_err(|why| anyhow!(why))?.0) {
                Ok(tools) => ask_in(*self, &self.program.folder(), &tools),
                Err(_) => self.answer(),
            },
        }
    }

    fn run_on(&self, engine: &Engine, spelter: &Path) -> Result<Outcome> {
        let command = engine.command(spelter, &self.program.executable(), &self.recorded.run.args)?;
        invoke(*self, &self.program.folder(), command, &BTreeMap::new(), engine.limit())
    }

    fn declines(&self, engine: &Engine) -> bool {
        engine.tortures() && self.recorded.run.no_torture.is_some()
            || engine.checks() && self.recorded.run.no_checked.is_some()
    }
}

/// Runs a command in a fresh folder that holds the program's files, with `env` besides the run's own variables.
pub(crate) fn invoke(
    case: Case<'_>,
    source: &Path,
    command: Vec<String>,
    env: &BTreeMap<String, String>,
    limit: Duration,
) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    case.furnish(source, folder.path())?;
    let run = &case.recorded.run;
    let mut env = env.clone();
    env.extend(run.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    Invocation { command, folder: folder.path(), env: &env, stdin: run.stdin.as_bytes(), limit }.run()
}

impl Report {
    /// Whether nothing differed, and no case passed unexpectedly.
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

    /// Writes every difference in full.
    ///
    /// # Errors
    ///
    /// If writing fails.
    pub fn print_all(&self, out: &mut dyn Write) -> Result<()> {
        for (case, engine, verdict, _) in &self.rows {
            if let Verdict::Fail(text) | Verdict::Surprise(text) = verdict {
                writeln!(out, "{case} on {engine}\n{text}")?;
            }
        }
        Ok(())
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
