//! Updates `docs/compatibility.md`: the results of OCaml's test suite and the table of primitives are generated between
//! marks; the rest of the page is written by hand and does not change.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;

use super::Suite;
use super::primitives::Family;
use crate::gaps::Gaps;
use crate::matrix::{Report, Verdict};
use crate::ocaml::{VERSIONS, Version};
use crate::page::{part, with_part};

/// The page, relative to the repository's root.
pub const PAGE: &str = "docs/compatibility.md";

/// Returns the page with its generated parts replaced.
///
/// # Errors
///
/// If a mark is missing.
pub fn renewed(
    old: &str,
    version: &Version,
    suite: &Suite,
    report: &Report,
    gaps: &Gaps,
    families: &BTreeMap<String, Family>,
) -> Result<String> {
    let name = version.name;
    let page = with_part(PAGE, old, &format!("suite {name}"), &suite_part(suite, report, gaps)?)?;
    let page = with_part(PAGE, &page, &format!("primitives {name}"), &primitives_part(families)?)?;
    with_rows(&page, version, suite, report, families)
}

/// Replaces this version's row of the overview.
fn with_rows(
    page: &str,
    version: &Version,
    suite: &Suite,
    report: &Report,
    families: &BTreeMap<String, Family>,
) -> Result<String> {
    let known = report.rows.iter().filter(|row| matches!(row.2, Verdict::Known)).count();
    let names: usize = families.values().map(|family| family.names.len()).sum();
    let missing: usize = families.values().map(|family| family.missing.len()).sum();
    let row = format!(
        "| {} | {} | {} | {} | {known} | {} | {} of {names} |",
        version.name,
        version.release,
        suite.cases.len(),
        report.passed(),
        suite.left_out.len(),
        names - missing,
    );
    let old = part(PAGE, page, "versions")?;
    let mut text = "| OCaml | release | cases | pass | expected to fail | left out | primitives |\n\
                    |---|---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for other in &VERSIONS {
        let start = format!("| {} |", other.name);
        if other == version {
            writeln!(text, "{row}")?;
        } else if let Some(old) = old.lines().find(|line| line.starts_with(&start)) {
            writeln!(text, "{old}")?;
        }
    }
    with_part(PAGE, page, "versions", &text)
}

/// The counts for a folder of tests: passed, expected to fail, failed, left out.
#[derive(Default)]
struct Row([usize; 4]);

fn folder(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

fn suite_part(suite: &Suite, report: &Report, gaps: &Gaps) -> Result<String> {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for (name, _, verdict, _) in &report.rows {
        let column = match verdict {
            Verdict::Pass => 0,
            Verdict::Known => 1,
            Verdict::Fail(_) | Verdict::Surprise(_) | Verdict::Declined => 2,
        };
        rows.entry(folder(name.trim_start_matches("upstream/"))).or_default().0[column] += 1;
    }
    for (name, ..) in &suite.left_out {
        rows.entry(folder(name)).or_default().0[3] += 1;
    }
    let sum = |column: usize| rows.values().map(|row| row.0[column]).sum::<usize>();
    let (passed, covered) = (sum(0), suite.cases.len());
    let mut text = String::new();
    writeln!(
        text,
        "{covered} cases are covered; {passed} of them answer as under `ocamlrun`, {:.1} %. {} are expected to fail, and {} \
         test variants of the suite's headers are left out:\n",
        100.0 * passed as f64 / covered.max(1) as f64,
        sum(1),
        sum(3)
    )?;
    writeln!(text, "| left out | reason |\n|---:|---|")?;
    for (reason, count) in suite.left_out_by_reason() {
        writeln!(text, "| {count} | {reason} |")?;
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, engine, verdict, _) in &report.rows {
        if let (Verdict::Known, Some(gap)) = (verdict, gaps.find(name, engine)) {
            *reasons.entry(&gap.reason).or_default() += 1;
        }
    }
    if !reasons.is_empty() {
        writeln!(text, "\n| expected to fail | because |\n|---:|---|")?;
        for (reason, count) in reasons {
            writeln!(text, "| {count} | {reason} |")?;
        }
    }
    writeln!(text, "\n<details><summary>By folder of tests</summary>")?;
    writeln!(text, "\n| tests | cases | pass | expected to fail | left out |\n|---|---:|---:|---:|---:|")?;
    for (folder, Row([pass, known, fail, left_out])) in rows {
        writeln!(text, "| {folder} | {} | {pass} | {known} | {left_out} |", pass + known + fail)?;
    }
    writeln!(text, "\n</details>")?;
    Ok(text)
}

fn primitives_part(families: &BTreeMap<String, Family>) -> Result<String> {
    let mut text = "| defined in | OCaml has | Spelter has | missing |\n|---|---:|---:|---|\n".to_owned();
    let (mut names, mut there) = (0, 0);
    for (name, family) in families {
        let (all, has) = (family.names.len(), family.names.len() - family.missing.len());
        let missing: Vec<String> = family.missing.iter().map(|name| format!("`{name}`")).collect();
        writeln!(text, "| {name} | {all} | {has} | {} |", missing.join(", "))?;
        names += all;
        there += has;
    }
    writeln!(text, "| all | {names} | {there} | |")?;
    Ok(text)
}
