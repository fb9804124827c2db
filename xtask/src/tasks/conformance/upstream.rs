//! OCaml's own test suite: builds what can be built, compares it on the engines, and says what came of it.

use std::collections::BTreeMap;
use std::io::stdout;

use anyhow::{Result, ensure};
use xtask::engine::Engine;
use xtask::gaps::Gaps;
use xtask::matrix::{self, Job, Subject};
use xtask::upstream::Suite;
use xtask::upstream::plan::Reason;
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
    for (reason, count) in by_reason(&suite) {
        println!("{count:>6}  {reason}");
    }
    Ok(report.is_good())
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

fn by_reason(suite: &Suite) -> BTreeMap<Reason, usize> {
    let mut counts = BTreeMap::new();
    for (_, reason, _) in &suite.left_out {
        *counts.entry(*reason).or_default() += 1;
    }
    counts
}
