//! The table of stub libraries in `docs/compatibility.md`.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Context, Result};
use xtask::{page, workspace};

use super::Seen;
use super::libraries::Library;
use super::loading::{self, Loading};
use super::programs::Row;
use xtask::matrix::{Report, Verdict};

const PAGE: &str = "docs/compatibility.md";

/// Writes the table.
pub(super) fn write(seen: &[Seen]) -> Result<()> {
    let path = workspace::root().join(PAGE);
    let old = std::fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    std::fs::write(&path, page::with_part(PAGE, &old, "stubs", &text(seen))?)?;
    Ok(())
}

fn text(seen: &[Seen]) -> String {
    let mut text = String::new();
    for of in seen {
        let (loads, there) = loading::count(&of.loading);
        let done = of.report.rows.iter().filter(|(_, _, verdict, _)| !matches!(verdict, Verdict::Declined));
        let (runs, passed) = (done.count(), of.report.passed());
        let _ = writeln!(
            text,
            "- OCaml {}: {loads} of {there} libraries load; {} programs, {passed} of {runs} runs agree.",
            of.release,
            of.rows.len()
        );
    }
    let heads: String = seen.iter().map(|of| format!(" {} |", of.release)).collect();
    let _ = writeln!(text, "\n| Library | Package | Tier |{heads} Programs |");
    let _ = writeln!(text, "|---|---|---|{}---|", "---|".repeat(seen.len()));
    for (index, (library, _)) in seen[0].loading.iter().enumerate() {
        let results: String =
            seen.iter().map(|of| format!(" {} |", result(of, library, &of.loading[index].1))).collect();
        let programs: Vec<String> = programs(seen, library).iter().map(|name| format!("`{name}`")).collect();
        let Library { package, name, tier, .. } = library;
        let _ = writeln!(text, "| `{name}` | {package} | {tier} |{results} {} |", programs.join(" "));
    }
    let rows = || seen.iter().flat_map(|of| &of.rows);
    let known = rows().flat_map(|row| row.reasons().map(move |reason| (row.name.as_str(), reason)));
    list(&mut text, "What differs:", known);
    let title =
        "Not run on the heap that collects at each allocation, because the library has a bug that it shows:";
    let declined = rows().filter_map(|row| Some((row.name.as_str(), row.no_torture.as_deref()?)));
    list(&mut text, title, declined);
    let declined = rows().filter_map(|row| Some((row.name.as_str(), row.no_sanitizer.as_deref()?)));
    list(
        &mut text,
        "Not run with an address sanitizer, because the library has a bug that it shows:",
        declined,
    );
    text.trim_end().to_owned() + "\n"
}

/// Adds a list of programs with reasons, if there are any.
fn list<'a>(text: &mut String, title: &str, items: impl Iterator<Item = (&'a str, &'a str)>) {
    let items: BTreeSet<_> = items.collect();
    if !items.is_empty() {
        let _ = writeln!(text, "\n{title}\n");
    }
    for (name, reason) in items {
        let _ = writeln!(text, "- `{name}`: {reason}.");
    }
}

/// The programs that use a library, with any version.
fn programs<'a>(seen: &'a [Seen], library: &Library) -> Vec<&'a str> {
    let mut names = Vec::new();
    for row in seen.iter().flat_map(|of| &of.rows).filter(|row| row.uses.contains(&library.name)) {
        if !names.contains(&row.name.as_str()) {
            names.push(row.name.as_str());
        }
    }
    names
}

/// A library's result with one version.
fn result(of: &Seen, library: &Library, loading: &Loading) -> String {
    match loading {
        Loading::Absent => "–".to_owned(),
        Loading::BuiltIn => "built in".to_owned(),
        Loading::Neither(why) => {
            format!("loads under neither: {}", why.rsplit(".so: ").next().unwrap_or_default())
        }
        Loading::Differs(why) => {
            format!("does not load: {}", why.trim().replace('|', "/").replace('\n', " "))
        }
        Loading::Loads => {
            let rows: Vec<&Row> = of.rows.iter().filter(|row| row.uses.contains(&library.name)).collect();
            match rows.len() {
                0 => "loads".to_owned(),
                all => {
                    let good = rows.iter().filter(|row| agrees(&of.report, &row.name)).count();
                    if good == all { "agrees".to_owned() } else { format!("{good} of {all} agree") }
                }
            }
        }
    }
}

/// Whether a program printed the same in all runs.
fn agrees(report: &Report, name: &str) -> bool {
    let rows = report.rows.iter().filter(|(case, ..)| case == name);
    rows.map(|(_, _, verdict, _)| verdict).all(|verdict| matches!(verdict, Verdict::Pass | Verdict::Declined))
}
