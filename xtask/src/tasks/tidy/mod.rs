//! `cargo xtask tidy`: rules that the compiler does not check, one file per kind.

mod arrows;
mod fences;
mod items;
mod manifests;
mod outsiders;
mod paths;
mod prose;
mod rust;
mod text;

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::MetadataCommand;
use xtask::workspace;

/// A text file of the repository: its path from the root, and its content.
struct Source {
    path: String,
    text: String,
}

pub(crate) fn run() -> Result<bool> {
    let metadata = MetadataCommand::new().current_dir(workspace::root()).no_deps().exec()?;
    let files = tracked_files()?;
    let sources: Vec<Source> = files.iter().filter_map(read).collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        arrows::check(package, &mut wrong);
        manifests::check(package, &mut wrong)?;
    }
    manifests::check_root(&mut wrong)?;
    outsiders::check(&mut wrong)?;
    fences::check(&sources, &mut wrong);
    for source in &sources {
        text::check(&source.path, &source.text, &mut wrong);
    }
    for source in sources.iter().filter(|source| source.path.ends_with(".rs")) {
        paths::check_comments(source, &files, &mut wrong);
    }
    let items = items::Items::of(&sources);
    for doc in sources.iter().filter(|source| prose::is_doc(&source.path)) {
        paths::check(doc, &files, &mut wrong);
        items::check(doc, &items, &mut wrong);
    }
    for line in &wrong {
        println!("tidy: {line}");
    }
    if wrong.is_empty() {
        println!("tidy: {} crates and {} files, no problems", metadata.packages.len(), files.len());
    }
    Ok(wrong.is_empty())
}

/// Files that are committed, or that `git add` would add.
fn tracked_files() -> Result<Vec<String>> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(workspace::root())
        .output()
        .context("cannot run git")?;
    ensure!(listed.status.success(), "git ls-files failed; is this a checkout?");
    let text = String::from_utf8(listed.stdout).context("a file's name is not UTF-8")?;
    let there = |path: &&str| workspace::root().join(path).exists();
    Ok(text.split_terminator('\0').filter(there).map(str::to_owned).collect())
}

/// A file that is text.
fn read(path: &String) -> Option<Source> {
    let bytes = fs::read(workspace::root().join(path)).ok()?;
    Some(Source { path: path.clone(), text: String::from_utf8(bytes).ok()? })
}
