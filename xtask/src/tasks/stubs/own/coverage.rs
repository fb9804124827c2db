//! Checks that each exported name is used by some source in C, so that none is added untested.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use xtask::corpus::files_under;
use xtask::workspace;

use super::sources;

/// The list that the linker gets.
const EXPORTS: &str = "crates/cinterface/src/exports.list";

/// Names that no source uses, and why.
const UNUSED: [(&str, &str); 1] =
    [("caml_input_val_from_string", "a header of OCaml's declares it, but ocamlrun does not have it")];

/// Says what is exported and not used, and what is listed here without need.
pub(super) fn check() -> Result<bool> {
    let list = fs::read_to_string(workspace::root().join(EXPORTS)).context(EXPORTS)?;
    let exported = words(&list);
    let mut used = BTreeSet::new();
    for file in files_under(&sources())? {
        if file.ends_with(".c") || file.ends_with(".h") {
            let text = fs::read_to_string(sources().join(&file))?;
            used.extend(words(&text).into_iter().map(str::to_owned));
        }
    }
    let mut good = true;
    for name in &exported {
        let is_listed = UNUSED.iter().any(|(unused, _)| unused == name);
        let verdict = match (used.contains(*name), is_listed) {
            (false, false) => "is exported, but no source in xtask/fixtures/stubs uses it",
            (true, true) => "is used; take it off the list in xtask/src/tasks/stubs/own/coverage.rs",
            _ => continue,
        };
        println!("stubs: {name} {verdict}");
        good = false;
    }
    for (name, _) in UNUSED.iter().filter(|(name, _)| !exported.contains(name)) {
        println!("stubs: {name} is listed as not used, but is not exported");
        good = false;
    }
    Ok(good)
}

/// The names in a text.
fn words(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c)).filter(|word| !word.is_empty()).collect()
}
