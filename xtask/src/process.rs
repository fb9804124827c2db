//! Runs a program to its end or its time limit, and captures its output.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How many bytes of each output stream are kept, so that a program in an endless loop cannot exhaust memory.
const OUTPUT_LIMIT: u64 = 32 << 20;

/// The variable with a sanitizer's settings, which the binary needs but the program that it runs must not see.
pub const SANITIZER: &str = "ASAN_OPTIONS";

/// A process to be started, in a minimal environment plus the variables given here.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// The working directory.
    pub folder: &'a Path,
    /// Added to the environment.
    pub env: &'a BTreeMap<String, String>,
    /// Standard input.
    pub stdin: &'a [u8],
    /// The time limit.
    pub limit: Duration,
}

/// The output and exit code of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// The exit code; 128 plus the signal's number if one killed it, as in shells.
    pub exit: i32,
    /// The files left in its folder, with their digests, if they are compared.
    pub files: BTreeMap<String, String>,
}

/// How a process ended.
#[derive(Debug)]
pub enum Outcome {
    /// By itself.
    Answered(Answer),
    /// It was killed at its time limit.
    TimedOut(Duration),
}

impl Invocation<'_> {
    /// Starts the process and waits for its end.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn run(&self) -> Result<Outcome> {
        let (program, args) = self.command.split_first().context("an empty command")?;
        let mut child = Command::new(program)
            .args(args)
            .current_dir(self.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C")
            .env("TMPDIR", ".")
            .envs(std::env::var_os(SANITIZER).map(|settings| (SANITIZER, settings)))
            .envs(self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        thread::scope(|scope| {
            scope.spawn(|| {
                // A program that does not read its input closes the pipe early, which is not an error.
                stdin.map(|mut pipe| pipe.write_all(self.stdin))
            });
            let stdout = scope.spawn(|| read_all(stdout));
            let stderr = scope.spawn(|| read_all(stderr));
            let status = wait(&mut child, self.limit)?;
            let stdout = stdout.join().unwrap_or_default();
            let stderr = stderr.join().unwrap_or_default();
            Ok(match status {
                Some(status) => {
                    Outcome::Answered(Answer { stdout, stderr, exit: exit_code(status), ..Answer::default() })
                }
                None => Outcome::TimedOut(self.limit),
            })
        })
    }
}

fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // The output that was read before an error is still valid.
        let _ = pipe.by_ref().take(OUTPUT_LIMIT).read_to_end(&mut bytes);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    }
    bytes
}

/// The standard library has no wait with a limit. Programs of the corpus take milliseconds, so we poll often at
/// first.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The exit code as in a shell.
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// The path as text, for a command line.
///
/// # Errors
///
/// If it is not UTF-8.
pub fn path_text(path: &Path) -> Result<String> {
    PathBuf::from(path)
        .into_os_string()
        .into_string()
        .ok()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Outcome {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let env = BTreeMap::new();
        Invocation { command, folder: Path::new("/"), env: &env, stdin: b"in", limit }.run().unwrap()
    }

    #[test]
    fn streams_and_code_are_kept_apart() {
        let Outcome::Answered(answer) = shell("cat; echo err >&2; exit 3", Duration::from_secs(20)) else {
            panic!("timed out");
        };
        assert_eq!(
            (answer.stdout.as_slice(), answer.stderr.as_slice(), answer.exit),
            (&b"in"[..], &b"err\n"[..], 3)
        );
    }

    #[test]
    fn a_signal_is_told_as_shells_do() {
        let Outcome::Answered(answer) = shell("kill -9 $$", Duration::from_secs(20)) else {
            panic!("timed out")
        };
        assert_eq!(answer.exit, 137);
    }

    #[test]
    fn an_endless_program_is_stopped() {
        assert!(matches!(shell("exec sleep 60", Duration::from_millis(50)), Outcome::TimedOut(_)));
    }
}
