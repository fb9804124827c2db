//! `cargo xtask conformance`: the corpus on every engine, or OCaml's own test suite.

use std::io::stdout;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use xtask::corpus::Corpus;
use xtask::engine::{Engine, Engines};
use xtask::gaps::Gaps;
use xtask::live;
use xtask::matrix::{self, Job, Report, Settings, Subject as _};
use xtask::ocaml::{Named, Tools, Version};
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
    /// The version of OCaml: 4.13, the system's, by default; others as `cargo xtask ocaml` makes them. The corpus is
    /// compiled with it, and its ocamlrun answers
    #[arg(long, value_name = "VERSION", default_value = "4.13", hide_default_value = true)]
    ocaml: Named,
    /// Check the cases instead of spelter: run OCaml's own ocamlrun in its place, so that each must pass
    #[arg(long, conflicts_with_all = ["engines", "bin", "bless", "check"])]
    stock: bool,
    /// Write the names of cases that differ, each with the difference, to a file
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,
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
        if self.stock {
            return vec![Engine::stock()];
        }
        self.engines.as_ref().map_or_else(default, |engines| engines.0.clone())
    }

    fn settings(&self, tools: &Tools, gaps: Gaps) -> Result<Settings> {
        let spelter = match self.stock {
            true => tools.ocamlrun().into(),
            false => workspace::spelter(self.bin.as_deref(), "release")?,
        };
        Ok(Settings { spelter, live: self.live, parallel: self.jobs, gaps })
    }
}

impl Options {
    /// Prints the table, and writes the list of failures.
    fn tell(&self, report: &Report) -> Result<()> {
        report.print(&mut stdout().lock())?;
        if let Some(path) = &self.failures {
            let mut file = std::fs::File::create(path)?;
            report.print_all(&mut file)?;
        }
        Ok(())
    }
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    if options.upstream {
        return upstream::run(options);
    }
    if is_other(options) {
        return of_version(options);
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
    let settings = Settings {
        spelter: workspace::spelter(options.bin.as_deref(), "release")?,
        live: options.live,
        parallel: options.jobs,
        gaps: Gaps::load()?,
    };
    let engines = options.engines(Engine::all);
    let jobs: Vec<Job<'_>> =
        engines.iter().flat_map(|engine| cases.iter().map(move |case| Job { case, engine })).collect();
    let report = matrix::run(&jobs, &settings)?;
    options.tell(&report)?;
    Ok(report.is_good())
}

fn is_other(options: &Options) -> bool {
    options.stock || options.ocaml.0 != Version::of_system()
}

/// The corpus as another version compiles it, against that version's ocamlrun. Nothing of it is recorded.
fn of_version(options: &Options) -> Result<bool> {
    let tools = Tools::find(options.ocaml.0)?;
    let cases = live::cases(&tools, &options.filter, options.jobs)?;
    ensure!(!cases.is_empty(), "no case has '{}' in its name; try --list", options.filter);
    if options.list {
        for case in &cases {
            println!("{}", case.name());
        }
        return Ok(true);
    }
    let settings = options.settings(&tools, Gaps::load_for(tools.version)?)?;
    let engines = options.engines(Engine::all);
    let jobs: Vec<Job<'_>> =
        engines.iter().flat_map(|engine| cases.iter().map(move |case| Job { case, engine })).collect();
    let report = matrix::run(&jobs, &settings)?;
    options.tell(&report)?;
    Ok(report.is_good())
}
