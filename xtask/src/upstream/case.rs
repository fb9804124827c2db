//! A case of OCaml's own test suite: built once, run under ocamlrun twice, then on each engine.
//!
//! Build results and ocamlrun's answers are cached in `target/` under a digest of everything that they depend on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::actions::Kind;
use super::phrases;
use super::plan::{Command, Input, Plan, Reason, Step};
use crate::corpus::{files_under, md5_hex};
use crate::diff;
use crate::engine::Engine;
use crate::matrix::Subject;
use crate::ocaml::Tools;
use crate::process::{Answer, Invocation, Outcome, path_text};

/// How long a step of a case may take under ocamlrun, or while it is built.
const LIMIT: Duration = Duration::from_secs(180);
/// How often a case may differ from ocamlrun's answer before it counts as wrong.
const TRIES: usize = 3;

/// The path, in a case's folder, of the script that starts the program for a hook. It names the runtime, and is not
/// compared.
const STARTER: &str = "starter/program";

/// Change this when the way of running cases changes, so that old answers are not used.
const GENERATION: u32 = 3;

/// A case that has been built.
#[derive(Debug)]
pub struct UpstreamCase {
    tools: Tools,
    plan: Plan,
    steps: Vec<Step>,
    kept: PathBuf,
    answer: Answer,
    /// Every run of a case happens in the same folder, so that paths in answers are the same: one at a time.
    alone: Mutex<()>,
}

/// The result of building a case.
#[derive(Debug)]
pub enum Built {
    /// It can be compared.
    Case(Box<UpstreamCase>),
    /// It cannot be compared; with the reason and details.
    LeftOut(Reason, String),
}

/// The cached data besides the streams.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Kept {
    left_out: Option<Reason>,
    detail: String,
    exit: i32,
    files: BTreeMap<String, String>,
}

/// Builds a plan, unless this has been done before.
///
/// # Errors
///
/// If a process cannot be started or a file cannot be read or written.
pub fn build(plan: Plan, tools: &Tools, sources_digest: &str, cache: &Path) -> Result<Built> {
    let steps = match &plan.steps {
        Ok(steps) => steps.clone(),
        Err(reason) => return Ok(Built::LeftOut(*reason, String::new())),
    };
    let key = md5_hex(format!("{GENERATION} {sources_digest} {steps:?}").as_bytes());
    let kept = cache.join(&key[..2]).join(&key[2..]);
    if !kept.join("kept.toml").exists() {
        if kept.exists() {
            fs::remove_dir_all(&kept)?;
        }
        fs::create_dir_all(&kept)?;
        let record = match first_time(tools, &plan, &steps, &kept)? {
            Ok(answer) => {
                fs::write(kept.join("stdout"), &answer.stdout)?;
                fs::write(kept.join("stderr"), &answer.stderr)?;
                Kept { exit: answer.exit, files: answer.files, ..Kept::default() }
            }
            Err((reason, detail)) => Kept { left_out: Some(reason), detail, ..Kept::default() },
        };
        fs::write(kept.join("kept.toml"), toml::to_string(&record)?)?;
    }
    let record: Kept = toml::from_str(&fs::read_to_string(kept.join("kept.toml"))?)?;
    if let Some(reason) = record.left_out {
        return Ok(Built::LeftOut(reason, record.detail));
    }
    let answer = Answer {
        stdout: fs::read(kept.join("stdout"))?,
        stderr: fs::read(kept.join("stderr"))?,
        exit: record.exit,
        files: record.files,
    };
    Ok(Built::Case(Box::new(UpstreamCase {
        tools: tools.clone(),
        plan,
        steps,
        kept,
        answer,
        alone: Mutex::new(()),
    })))
}

type Left = (Reason, String);

/// Builds a case, keeps what was built, and asks ocamlrun twice.
fn first_time(tools: &Tools, plan: &Plan, steps: &[Step], kept: &Path) -> Result<Result<Answer, Left>> {
    empty(&plan.folder)?;
    fs::create_dir_all(&plan.folder)?;
    for step in steps.iter().take_while(|step| !step.is_compared()) {
        let command = match step {
            Step::Furnish { folder, copies } => {
                if let Err(error) = furnish(folder, copies) {
                    empty(&plan.folder)?;
                    return Ok(Err((Reason::NotBuilt, format!("{error:#}"))));
                }
                continue;
            }
            Step::Run(command) => command,
        };
        let left = match invoke(command, tools, &[], &plan.folder, LIMIT)? {
            Outcome::TimedOut(_) => (Reason::TooLong, command.words.join(" ")),
            Outcome::Answered(answer) if answer.exit == command.exit => continue,
            // The exit code by which a script skips a test.
            Outcome::Answered(answer) if command.kind == Kind::Tool && answer.exit == 125 => {
                (Reason::Skipped, String::new())
            }
            Outcome::Answered(answer) => {
                let said = String::from_utf8_lossy(&answer.stderr).into_owned();
                (Reason::NotBuilt, format!("{}\n{said}", command.words.join(" ")))
            }
        };
        empty(&plan.folder)?;
        return Ok(Err(left));
    }
    let tree = kept.join("tree");
    copy_all(&plan.folder, &tree)?;
    let ocamlrun = [tools.ocamlrun()];
    let ask = || run_in(tools, plan, steps, &tree, &ocamlrun, LIMIT);
    let (Outcome::Answered(first), Outcome::Answered(second)) = (ask()?, ask()?) else {
        return Ok(Err((Reason::TooLong, String::new())));
    };
    Ok(match diff::answers(&first, &second) {
        None => Ok(first),
        Some(text) => Err((Reason::Changing, text)),
    })
}

/// Executes all steps from the first compared one on, in the case's folder as it was built.
fn run_in(
    tools: &Tools,
    plan: &Plan,
    steps: &[Step],
    tree: &Path,
    runtime: &[String],
    limit: Duration,
) -> Result<Outcome> {
    empty(&plan.folder)?;
    copy_all(tree, &plan.folder)?;
    let mut whole = Answer::default();
    for step in steps.iter().skip_while(|step| !step.is_compared()) {
        match step {
            // A missing file should have been created by a compared step, so its answer shows the problem.
            Step::Furnish { folder, copies } => drop(furnish(folder, copies)),
            Step::Run(command) => match invoke(command, tools, runtime, &plan.folder, limit)? {
                Outcome::TimedOut(limit) => {
                    empty(&plan.folder)?;
                    return Ok(Outcome::TimedOut(limit));
                }
                Outcome::Answered(answer) if command.kind.is_compared() => {
                    whole.stdout.extend(answer.stdout);
                    whole.stderr.extend(answer.stderr);
                    whole.exit = if whole.exit == 0 { answer.exit } else { whole.exit };
                }
                Outcome::Answered(_) => {}
            },
        }
    }
    for file in files_under(&plan.folder)?.into_iter().filter(|file| file != STARTER) {
        let path = plan.folder.join(&file);
        let digest = match fs::read(&path) {
            _ if !path.is_file() => "no file".to_owned(),
            Ok(bytes) => md5_hex(&bytes),
            Err(error) => error.kind().to_string(),
        };
        whole.files.insert(file, digest);
    }
    empty(&plan.folder)?;
    Ok(Outcome::Answered(whole))
}

fn invoke(
    command: &Command,
    tools: &Tools,
    runtime: &[String],
    case: &Path,
    limit: Duration,
) -> Result<Outcome> {
    let stdin = match &command.input {
        Input::Empty => Vec::new(),
        Input::File(path) => fs::read(path).unwrap_or_default(),
        Input::Phrases(path) => phrases::without_answers(&fs::read_to_string(path)?).into_bytes(),
    };
    let mut env = command.env.clone();
    let mut words = match command.kind {
        Kind::Program => runtime.to_vec(),
        Kind::Compiler => vec![tools.program("ocamlc")],
        Kind::Tool => Vec::new(),
        Kind::Hook => {
            let starter = case.join(STARTER);
            write_starter(&starter, runtime, &command.env["program"])?;
            env.insert("program".to_owned(), path_text(&starter)?);
            Vec::new()
        }
    };
    words.extend_from_slice(&command.words);
    ensure!(command.folder.is_dir(), "{} is not a folder", command.folder.display());
    let outcome =
        Invocation { command: words, folder: &command.folder, env: &env, stdin: &stdin, limit }.run()?;
    if matches!(command.kind, Kind::Compiler | Kind::Tool) {
        tools.redirect_below(case)?;
    }
    Ok(outcome)
}

/// Writes the script that starts the program under the runtime.
fn write_starter(path: &Path, runtime: &[String], program: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("a starter is in a folder")?)?;
    let quoted: Vec<String> = runtime.iter().map(|word| format!("'{word}'")).collect();
    fs::write(path, format!("#!/bin/sh\nexec {} '{program}' \"$@\"\n", quoted.join(" ")))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn furnish(folder: &Path, copies: &[(PathBuf, PathBuf)]) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (from, to) in copies {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        copy_all(from, to)?;
    }
    Ok(())
}

/// Copies a file, or a folder with all that is in it.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(from).with_context(|| format!("cannot copy {}", from.display()))?;
    if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
    } else if kind.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// Removes a folder and its contents, even if a program has removed permissions.
fn empty(folder: &Path) -> Result<()> {
    for _ in 0..2 {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(_) => {
                let _ = std::process::Command::new("chmod").arg("-R").arg("u+rwx").arg(folder).status();
            }
            Ok(()) => return Ok(()),
        }
    }
    bail!("cannot remove {}", folder.display())
}

impl Subject for UpstreamCase {
    fn name(&self) -> String {
        format!("upstream/{}", self.plan.name)
    }

    fn expected(&self, _: bool) -> Result<Answer> {
        Ok(self.answer.clone())
    }

    fn run_on(&self, engine: &Engine, spelter: &Path) -> Result<Outcome> {
        let _alone = self.alone.lock().expect("no run panics");
        let runtime = engine.runtime(spelter)?;
        // A step of the suite may be heavier than a program of our corpus.
        let limit = engine.limit().max(2 * LIMIT);
        let run = || run_in(&self.tools, &self.plan, &self.steps, &self.kept.join("tree"), &runtime, limit);
        // The timing of threads and signals varies: a real difference occurs each time.
        for _ in 1..TRIES {
            match run()? {
                Outcome::Answered(answer) if answer != self.answer => {}
                outcome => return Ok(outcome),
            }
        }
        run()
    }
}
