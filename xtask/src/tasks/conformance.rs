//! `cargo xtask conformance`: the corpus on every engine, or OCaml's own test suite.

use std::io::stdout;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use xtask::corpus::Corpus;
use xtask::engine::{Engine, Engines};
use xtask::gaps::Gaps;
use xtask::matrix::{self, Job, Settings};
use xtask::workspace;

#[path = "conformance/upstream.rs"]
mod upstream;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only cases whose name contains this
    #[arg(default_value = "", hide_default_value = true)]
    filter: String,
    /// OCaml's own test suite instead of the corpus, against the installed ocamlrun
    #[arg(long)]
    upstream: bool,
    /// Run the installed ocamlrun instead of using the recorded answers
    #[arg(long)]
    live: bool,
    /// all, default, or words of engine names: tail,carry or loop-stub-torture. By default all; the default engine for
    /// OCaml's own test suite
    #[arg(long)]
    engines: Option<Engines>,
    /// With --upstream: run only this many cases, always the same
    #[arg(long, value_name = "N", requires = "upstream")]
    sample: Option<usize>,
    /// With --upstream: regenerate docs/compatibility.md
    #[arg(long, requires = "upstream", conflicts_with_all = ["sample", "filter"])]
    bless: bool,
    /// With --upstream: fail if docs/compatibility.md is not what --bless would write
    #[arg(long, requires = "upstream", conflicts_with_all = ["sample", "filter", "bless"])]
    check: bool,
    /// The spelter binary; else $SPELTER_BIN, else a release build of this tree
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// Processes at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Print the cases' names and stop; with --upstream also what is left out, and why
    #[arg(long)]
    list: bool,
}

impl Options {
    fn engines(&self, default: impl FnOnce() -> Vec<Engine>) -> Vec<Engine> {
        self.engines.as_ref().map_or_else(default, |engines| engines.0.clone())
    }

    fn settings(&self, gaps: Gaps) -> Result<Settings> {
        Ok(Settings {
            spelter: workspace::spelter(self.bin.as_deref(), "release")?,
            live: self.live,
            parallel: self.jobs,
            gaps,
        })
    }
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    if options.upstream {
        return upstream::run(options);
    }
    let corpus = Corpus::load()?;
    let cases = corpus.cases(&options.filter);
    ensure!(!cases.is_empty(), "no case has '{}' in its name; try --list", options.filter);
    if options.list {
        for case in cases {
            println!("{}", case.name());
        }
        return Ok(true);
    }
    if options.live {
        workspace::need_ocaml()?;
    }
    let settings = options.settings(Gaps::load()?)?;
    let engines = options.engines(Engine::all);
    let jobs: Vec<Job<'_>> =
        engines.iter().flat_map(|engine| cases.iter().map(move |case| Job { case, engine })).collect();
    let report = matrix::run(&jobs, &settings)?;
    report.print(&mut stdout().lock())?;
    Ok(report.is_good())
}
