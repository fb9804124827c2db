//! A library of ours in C, which uses every function of OCaml's C interface: `xtask/fixtures/stubs`.
//!
//! Each subject has a file in C, which becomes a library, and a program that calls it. The same bytes run under ocamlrun
//! and under Spelter, on every engine that trusts its code.

#[path = "own/build.rs"]
mod build;
#[path = "own/coverage.rs"]
mod coverage;
#[path = "own/memcheck.rs"]
mod memcheck;

use std::collections::BTreeMap;
use std::io::stdout;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use xtask::cc;
use xtask::engine::{Engine, Engines};
use xtask::gaps::Gaps;
use xtask::matrix::{self, Job, Settings, Subject};
use xtask::ocaml::{Named, Tools};
use xtask::process::{Answer, Invocation, Outcome, path_text};
use xtask::recipe::Run;
use xtask::workspace;

/// The folder of the sources.
fn sources() -> PathBuf {
    workspace::fixtures().join("stubs")
}

/// A run of a program.
#[derive(Debug)]
struct Case {
    program: String,
    run: Run,
    tools: Tools,
    /// Where the program and its library are.
    built: PathBuf,
    /// Whether our command finds the library for an address sanitizer.
    sanitized: bool,
}

pub(super) fn run(options: &super::Options) -> Result<bool> {
    let covered = coverage::check()?;
    if !cc::is_here() {
        println!("stubs: no C compiler: not run");
        return Ok(covered);
    }
    let Named(version) = options.ocaml.parse().map_err(|why: String| anyhow!(why))?;
    let tools = Tools::find(version)?;
    let cases = build::cases(&tools, options.filter.as_deref().unwrap_or_default(), options.sanitized)?;
    if cases.is_empty() {
        // The name may be that of a library of Debian's.
        ensure!(
            !options.own,
            "no program has '{}' in its name",
            options.filter.as_deref().unwrap_or_default()
        );
        return Ok(covered);
    }
    let spelter = workspace::spelter(options.bin.as_deref(), "release")?;
    if options.valgrind {
        return Ok(memcheck::run(&cases, &spelter)? && covered);
    }
    let engines = match &options.engines {
        Some(Engines(engines)) => engines.clone(),
        None => Engine::all(),
    };
    let trusting: Vec<&Engine> = engines.iter().filter(|engine| !engine.checks()).collect();
    ensure!(!trusting.is_empty(), "checked code cannot call libraries in C");
    let settings = Settings { spelter, live: true, parallel: 2, gaps: Gaps::default() };
    let jobs: Vec<Job<'_>> =
        trusting.iter().flat_map(|&engine| cases.iter().map(move |case| Job { case, engine })).collect();
    let report = matrix::run(&jobs, &settings)?;
    report.print(&mut stdout().lock())?;
    println!(
        "stubs: OCaml {}: {} runs of programs that call C, on {} engines: {} of {} the same",
        version.name,
        cases.len(),
        trusting.len(),
        report.passed(),
        report.rows.len()
    );
    Ok(report.is_good() && covered)
}

impl Case {
    /// The command after the runtime's words, and its environment.
    fn invoke(&self, mut command: Vec<String>, limit: Duration) -> Result<Outcome> {
        command.push(path_text(&self.built.join(&self.program).with_extension("byte"))?);
        command.extend_from_slice(&self.run.args);
        let folder = tempfile::tempdir()?;
        let mut env = self.tools.with_env(&self.run.env);
        env.insert("CAML_LD_LIBRARY_PATH".to_owned(), self.search_path()?);
        Invocation { command, folder: folder.path(), env: &env, stdin: self.run.stdin.as_bytes(), limit }
            .run()
    }

    /// Where libraries are: ours, and those of OCaml's own libraries, whose places an unpacked package does not know.
    fn search_path(&self) -> Result<String> {
        Ok(format!("{}:{}", path_text(&self.built)?, path_text(&self.tools.library.join("stublibs"))?))
    }
}

impl Subject for Case {
    fn name(&self) -> String {
        match self.run.name.as_str() {
            "" => self.program.clone(),
            name => format!("{}.{name}", self.program),
        }
    }

    fn expected(&self, _: bool) -> Result<Answer> {
        for suffix in ["", &self.tools.version.name[..1]] {
            if let Some(answer) = promised(&self.name(), suffix)? {
                return Ok(answer);
            }
        }
        let stock = Engine::stock();
        match self.invoke(stock.runtime(Path::new(&self.tools.ocamlrun()))?, stock.limit())? {
            Outcome::Answered(answer) => Ok(answer),
            Outcome::TimedOut(limit) => bail!("{}: ocamlrun was not done after {limit:?}", self.name()),
        }
    }

    fn run_on(&self, engine: &Engine, spelter: &Path) -> Result<Outcome> {
        let mut command = engine.runtime(spelter)?;
        if self.sanitized {
            command.extend(["-I".to_owned(), path_text(&self.built.join(build::SANITIZED))?]);
        }
        self.invoke(command, engine.limit())
    }

    fn declines(&self, engine: &Engine) -> bool {
        engine.tortures() && self.run.no_torture.is_some()
    }
}

/// What a case promises where ocamlrun crashes, or goes on although its state is damaged: a file of the case's name, with
/// the exit code, then standard output after a line of dashes, then standard error after another. It is for all versions,
/// or for those that begin with a number.
fn promised(case: &str, suffix: &str) -> Result<Option<Answer>> {
    let file = sources().join(format!("{case}.expected{suffix}"));
    if !file.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&file)?;
    let mut parts = text.split("---\n");
    let mut next = || parts.next().with_context(|| format!("{}: a part is missing", file.display()));
    let exit = next()?.trim().parse()?;
    let (stdout, stderr) = (next()?.as_bytes().to_vec(), next()?.as_bytes().to_vec());
    Ok(Some(Answer { stdout, stderr, exit, ..Answer::default() }))
}

/// The environment of a compiler of this version.
fn environment(tools: &Tools) -> BTreeMap<String, String> {
    tools.with_env(&BTreeMap::new())
}
