//! OCaml's own test suite: builds the cases, compares them on the engines, and reports the results.

use std::fs;

use anyhow::{Context, Result, ensure};
use xtask::engine::Engine;
use xtask::gaps::Gaps;
use xtask::matrix::{self, Job, Report, Settings, Subject};
use xtask::ocaml::Tools;
use xtask::upstream::{Suite, page, primitives};
use xtask::workspace;

use super::Options;

pub(super) fn run(options: &Options) -> Result<bool> {
    let tools = Tools::find(options.ocaml.0)?;
    let wanted = |name: &str| format!("upstream/{name}").contains(&options.filter);
    let suite = Suite::build(&tools, wanted, options.sample, options.jobs)?;
    ensure!(
        !(suite.cases.is_empty() && suite.left_out.is_empty()),
        "no case has '{}' in its name; try --list",
        options.filter
    );
    if options.list {
        list(&suite);
        return Ok(true);
    }
    let settings = options.settings(&tools, Gaps::load_upstream(tools.version)?)?;
    let engines = options.engines(|| vec![Engine::default_engine()]);
    let jobs: Vec<Job<'_>> =
        engines.iter().flat_map(|engine| suite.cases.iter().map(move |case| Job { case, engine })).collect();
    let report = matrix::run(&jobs, &settings)?;
    options.tell(&report)?;
    println!("\n{} cases covered, {} left out:", suite.cases.len(), suite.left_out.len());
    for (reason, count) in suite.left_out_by_reason() {
        println!("{count:>6}  {reason}");
    }
    let good = report.is_good();
    if options.bless || options.check {
        return Ok(page(options.bless, &tools, &suite, &report, &settings)? && good);
    }
    Ok(good)
}

/// Writes docs/compatibility.md, or checks that it is up to date.
fn page(write: bool, tools: &Tools, suite: &Suite, report: &Report, settings: &Settings) -> Result<bool> {
    let path = workspace::root().join(page::PAGE);
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let families = primitives::families(tools, &suite.sources, &settings.spelter)?;
    let new = page::renewed(&old, tools.version, suite, report, &settings.gaps, &families)?;
    if write {
        fs::write(&path, new)?;
    } else if new != old {
        println!(
            "{} is not current: run `cargo xtask conformance --upstream --ocaml={} --bless`",
            page::PAGE,
            tools.version.name
        );
        return Ok(false);
    }
    Ok(true)
}

fn list(suite: &Suite) {
    for case in &suite.cases {
        println!("{}", case.name());
    }
    for (name, reason, detail) in &suite.left_out {
        println!("left out: upstream/{name}: {reason}");
        for line in detail.lines().take(12) {
            println!("    {line}");
        }
    }
}
