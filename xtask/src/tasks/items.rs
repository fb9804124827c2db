//! `cargo xtask items`: runs real programs under ocamlrun and under spelter, and compares them.
//!
//! The stock compiler compiles its own standard library and its own libraries, scripts go through the stock toplevel,
//! and unmodified hosts load plug-ins with the stock Dynlink library. Nothing is recorded; both sides run each time.

use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use xtask::corpus::files_under;
use xtask::engine::{Engine, Engines};
use xtask::gaps::Gaps;
use xtask::matrix::{self, Job, Settings};
use xtask::ocaml::{Named, Tools};
use xtask::process::{Invocation, Outcome};
use xtask::{diff, live, workspace};

use self::plain::Compiler;

#[path = "items/build.rs"]
mod build;
#[path = "items/plain.rs"]
mod plain;
#[path = "items/sources.rs"]
mod sources;

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Item {
    /// ocamlc.byte compiles OCaml's standard library
    Stdlib,
    /// ocamlc.byte compiles its own libraries
    Compilerlibs,
    /// Scripts piped into the toplevel
    Toplevel,
    /// Hosts that use dynlink.cma
    Dynlink,
}

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only one of the items
    #[arg(long)]
    only: Option<Item>,
    /// The version of OCaml: 4.13, the system's, by default; others as `cargo xtask ocaml` makes them
    #[arg(long, value_name = "VERSION", default_value = "4.13", hide_default_value = true)]
    ocaml: Named,
    /// all, default, or words of engine names. Torture heaps run only the dynlink item, because the others would take
    /// days
    #[arg(long, default_value = "default")]
    engines: Engines,
    /// The spelter binary; else $SPELTER_BIN, else a release build of this tree
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let tools = Tools::find(options.ocaml.0)?;
    let spelter = workspace::spelter(options.bin.as_deref(), "release")?;
    let wanted = |item| options.only.is_none_or(|only| only == item);
    let engines = &options.engines.0;
    let mut good = true;
    if wanted(Item::Dynlink) {
        good &= dynlink(&tools, engines, &spelter)?;
    }
    let untortured: Vec<Engine> = engines.iter().filter(|engine| !engine.tortures()).cloned().collect();
    if wanted(Item::Toplevel) {
        good &= toplevel(&tools, &untortured, &spelter)?;
    }
    let temp = tempfile::tempdir()?;
    let compilers = tempfile::tempdir()?;
    let compiler = Compiler::prepare(&tools, compilers.path())?;
    if wanted(Item::Stdlib) && !untortured.is_empty() {
        good &= sources::stdlib(&tools, compiler.clone(), temp.path())?.compare(&untortured, &spelter)?;
    }
    if wanted(Item::Compilerlibs) && !untortured.is_empty() {
        good &= sources::compilerlibs(&tools, compiler, temp.path())?.compare(&untortured, &spelter)?;
    }
    Ok(good)
}

fn dynlink(tools: &Tools, engines: &[Engine], spelter: &Path) -> Result<bool> {
    let cases = live::cases(tools, "dynlink/", 2)?;
    let gaps = Gaps::load_for(tools.version)?;
    let settings = Settings { spelter: spelter.to_path_buf(), live: true, parallel: 2, gaps };
    let jobs: Vec<Job<'_>> =
        engines.iter().flat_map(|engine| cases.iter().map(move |case| Job { case, engine })).collect();
    println!("dynlink: {} runs of hosts that use dynlink.cma", cases.len());
    let report = matrix::run(&jobs, &settings)?;
    report.print(&mut stdout().lock())?;
    Ok(report.is_good())
}

/// Pipes each script into the toplevel, as a user would type it.
fn toplevel(tools: &Tools, engines: &[Engine], spelter: &Path) -> Result<bool> {
    let folder = workspace::root().join("xtask/toplevel");
    let scripts = files_under(&folder)?;
    let gaps = Gaps::load_for(tools.version)?;
    let program = tools.program("ocaml");
    let args = ["-noinit", "-no-version", "-noprompt", "-nopromptcont"].map(str::to_owned);
    let env = tools.with_env(&[("TERM".to_owned(), "dumb".to_owned())].into());
    let mut good = true;
    for script in &scripts {
        let text = fs::read(folder.join(script))?;
        let ask = |command: Vec<String>| -> Result<Outcome> {
            let temp = tempfile::tempdir()?;
            let limit = Duration::from_secs(120);
            Invocation { command, folder: temp.path(), env: &env, stdin: &text, limit }.run()
        };
        let mut reference = vec![tools.ocamlrun(), program.clone()];
        reference.extend_from_slice(&args);
        let Outcome::Answered(expected) = ask(reference)? else {
            anyhow::bail!("{script}: the toplevel hangs under ocamlrun");
        };
        for engine in engines {
            let difference = match ask(engine.command(spelter, &program, &args)?)? {
                Outcome::Answered(got) => diff::answers(&expected, &got),
                Outcome::TimedOut(limit) => Some(format!("no answer after {} s\n", limit.as_secs())),
            };
            let text = match (difference, gaps.find(&format!("toplevel/{script}"), &engine.name)) {
                (None, None) | (Some(_), Some(_)) => continue,
                (Some(text), None) => text,
                (None, Some(_)) => "passes, but is a known gap: take it out of expected.toml\n".to_owned(),
            };
            print!("toplevel: {script} on {}\n{text}", engine.name);
            good = false;
        }
    }
    println!("toplevel: {} scripts {}", scripts.len(), if good { "agree" } else { "compared, see above" });
    stdout().flush()?;
    Ok(good)
}
