//! OCaml's own test suite: builds the cases, compares them on the engines, and reports the results.

use std::fs;
use std::io::stdout;

use anyhow::{Context, Result, ensure};
use xtask::engine::Engine;
use xtask::gaps::Gaps;
use xtask::matrix::{self, Job, Report, Settings, Subject};
use xtask::upstream::{Suite, page, primitives};
use xtask::workspace;

use super::Options;

pub(super) fn run(options: &Options) -> Result<bool> {
    workspace::need_ocaml()?;
    let wanted = |name: &str| format!("upstream/{name}").contains(&options.filter);
    let suite = Suite::build(wanted, options.sample, options.jobs)?;
    ensure!(
        !(suite.cases.is_empty() && suite.left_out.is_empty()),
        "no case has '{}' in its name; try --list",
        options.filter
    );
    if options.list {
        list(&suite);
        return Ok(true);
    }
    let settings = options.settings(Gaps::load_upstream()?)?;
    let engines = options.engines(|| vec![Engine::default_engine()]);
    let jobs: Vec<Job<'_>> =
        engines.iter().flat_map(|engine| suite.cases.iter().map(move |case| Job { case, engine })).collect();
    let report = matrix::run(&jobs, &settings)?;
    report.print(&mut stdout().lock())?;
    println!("\n{} cases covered, {} left out:", suite.cases.len(), suite.left_out.len());
    for (reason, count) in suite.left_out_by_reason() {
        println!("{count:>6}  {reason}");
    }
    let good = report.is_good();
    if options.bless || options.check {
        return Ok(page(options.bless, &suite, &report, &settings)? && good);
    }
    Ok(good)
}

/// Writes docs/compatibility.md, or checks that it is up to date.
fn page(write: bool, suite: &Suite, report: &Report, settings: &Settings) -> Result<bool> {
    let path = workspace::root().join(page::PAGE);
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let families = primitives::families(&suite.sources, &settings.spelter)?;
    let new = page::renewed(&old, suite, report, &settings.gaps, &families)?;
    if write {
        fs::write(&path, new)?;
    } else if new != old {
        println!("{} is not current: run `cargo xtask conformance --upstream --bless`", page::PAGE);
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
