//! Measures a process: user and system time, and peak memory.
//!
//! Linux includes a process's memory before `exec`, which is its parent's if they shared memory until then. So the
//! bench starts itself again for each run, as a small new process, which then forks.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use wait4::Wait4;

use super::programs::Job;

/// The measurements of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// User and system time.
    pub(super) seconds: f64,
    /// Peak resident memory in kB.
    pub(super) memory: u64,
}

impl Cost {
    /// The medians of several runs.
    pub(super) fn median(runs: &[Cost]) -> Cost {
        let memory = median(runs.iter().map(|cost| cost.memory as f64).collect());
        Cost { seconds: median(runs.iter().map(|cost| cost.seconds).collect()), memory: memory as u64 }
    }

    /// The shortest time of several runs, and the median of their memory.
    pub(super) fn best(runs: &[Cost]) -> Cost {
        let seconds = runs.iter().map(|cost| cost.seconds).min_by(f64::total_cmp);
        Cost { seconds: seconds.unwrap_or_default(), ..Cost::median(runs) }
    }
}

/// The middle one, or the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => 0.0,
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

/// Runs a job's command and measures it.
pub(super) fn timed(command: &[String], job: &Job) -> Result<Cost> {
    let stdin = match &job.stdin {
        Some(path) => Stdio::from(File::open(path)?),
        None => Stdio::null(),
    };
    let out = Command::new(std::env::current_exe()?)
        .arg(WORD)
        .args(command)
        .current_dir(&job.folder)
        .env_remove("OCAMLRUNPARAM")
        .envs(&job.env)
        .stdin(stdin)
        .stderr(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let (seconds, memory) = text.trim().split_once(' ').with_context(|| format!("{} failed", job.name))?;
    ensure!(out.status.success(), "{} failed while it was measured", job.name);
    Ok(Cost { seconds: seconds.parse()?, memory: memory.parse()? })
}

/// The argument with which the bench starts itself.
const WORD: &str = "measure";

/// The child's side of [`timed`], if this process was started for it: runs a command, discards its output, and prints
/// the measurements.
pub(crate) fn measured() -> Option<Result<bool>> {
    let mut args = std::env::args().skip(1);
    (args.next()? == WORD).then(|| measure(&args.collect::<Vec<_>>()))
}

fn measure(command: &[String]) -> Result<bool> {
    let (program, args) = command.split_first().context("an empty command")?;
    // Setting a user, even the same one, makes the standard library fork instead of spawn.
    let user = nix::unistd::getuid().as_raw();
    let child = Command::new(program).args(args).uid(user).stdout(Stdio::null()).spawn()?;
    let used = child.wait4()?;
    let time = used.rusage.utime + used.rusage.stime;
    println!("{} {}", time.as_secs_f64(), used.rusage.maxrss / 1024);
    Ok(used.status.success())
}
