//! `cargo xtask conformance`: the corpus on every engine.

use std::io::stdout;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use xtask::corpus::Corpus;
use xtask::engine::Engines;
use xtask::gaps::Gaps;
use xtask::matrix::{self, Job, Settings};
use xtask::workspace;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only cases whose name contains this
    #[arg(default_value = "", hide_default_value = true)]
    filter: String,
    /// Ask the installed ocamlrun instead of the recorded answers
    #[arg(long)]
    live: bool,
    /// all, default, or words of engine names: tail,carry or loop-stub-torture
    #[arg(long, default_value = "all")]
    engines: Engines,
    /// The spelter binary; else $SPELTER_BIN, else a release build of this tree
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// Processes at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Print the cases' names and stop
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
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
    let engines = &options.engines.0;
    let jobs: Vec<Job<'_>> =
        engines.iter().flat_map(|engine| cases.iter().map(move |&case| Job { case, engine })).collect();
    let report = matrix::run(&jobs, &settings)?;
    report.print(&mut stdout().lock())?;
    Ok(report.is_good())
}
