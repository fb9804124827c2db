//! Checks external crates: licences, sources, and versions, against the lists in `deny.toml`.
//!
//! These are the checks of `cargo deny` without its database of advisories, for machines that do not have it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use serde::Deserialize;
use xtask::workspace;

/// The part of `deny.toml` that this task reads.
#[derive(Deserialize)]
struct Rules {
    licenses: Licences,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

/// The only registry that crates come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The package that users install: the command, with all libraries.
const PRODUCT: &str = "spelter-cli";

pub(super) fn check(wrong: &mut Vec<String>) -> Result<()> {
    let rules = fs::read_to_string(workspace::root().join("deny.toml")).context("cannot read deny.toml")?;
    let rules: Rules = toml::from_str(&rules).context("deny.toml")?;
    let host = host()?;
    let metadata = MetadataCommand::new()
        .current_dir(workspace::root())
        .other_options(["--filter-platform".to_owned(), host])
        .exec()?;
    for package in &metadata.packages {
        let of_ours = metadata.workspace_members.contains(&package.id);
        check_licence(&rules.licenses, &package.name, package.license.as_deref(), wrong);
        let source = package.source.as_ref().map(|source| source.repr.as_str());
        if !of_ours && source != Some(REGISTRY) {
            wrong.push(format!("{} comes from {}", package.name, source.unwrap_or("a folder")));
        }
    }
    let product = product(&metadata)?;
    let packages = metadata.packages.iter().filter(|package| product.contains(&package.id));
    check_versions(packages.map(|package| (package.name.to_string(), package.version.to_string())), wrong);
    Ok(())
}

/// The platform that we are on, as cargo calls it.
fn host() -> Result<String> {
    let told = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8(told.stdout).context("rustc -vV")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

/// The packages that the product is linked from.
fn product(metadata: &Metadata) -> Result<BTreeSet<PackageId>> {
    let nodes = &metadata.resolve.as_ref().context("cargo metadata without a graph")?.nodes;
    let start = metadata.packages.iter().find(|package| *package.name == PRODUCT);
    let mut waiting = vec![start.with_context(|| format!("no package {PRODUCT}"))?.id.clone()];
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !found.insert(id.clone()) {
            continue;
        }
        let node = nodes.iter().find(|node| node.id == id).context("a package outside of the graph")?;
        let linked = node
            .deps
            .iter()
            .filter(|dependency| dependency.dep_kinds.iter().any(|info| info.kind == DependencyKind::Normal));
        waiting.extend(linked.map(|dependency| dependency.pkg.clone()));
    }
    ensure!(found.len() > 1, "{PRODUCT} depends on nothing");
    Ok(found)
}

fn check_versions(packages: impl IntoIterator<Item = (String, String)>, wrong: &mut Vec<String>) {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, version) in packages {
        versions.entry(name).or_default().push(version);
    }
    for (name, versions) in versions.into_iter().filter(|(_, versions)| versions.len() > 1) {
        wrong.push(format!("the command is linked from several versions of {name}: {}", versions.join(", ")));
    }
}

fn check_licence(rules: &Licences, name: &str, licence: Option<&str>, wrong: &mut Vec<String>) {
    let exception = rules.exceptions.iter().find(|exception| exception.name == name);
    let allowed = |id: &str| {
        rules.allow.iter().chain(exception.iter().flat_map(|it| &it.allow)).any(|allowed| allowed == id)
    };
    match licence {
        Some(text) if is_allowed(text, &allowed) => (),
        Some(text) => wrong.push(format!("{name} has a licence that deny.toml does not allow: {text}")),
        None => wrong.push(format!("{name} names no licence")),
    }
}

/// Whether allowed licences satisfy a licence expression (SPDX; `/` is an old way to write `OR`).
fn is_allowed(text: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let met = either(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut met = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, allowed);
    }
    met
}

fn both(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> bool {
    match words.next() {
        Some("(") => {
            let met = either(words, allowed);
            met & words.next_if_eq(&")").is_some()
        }
        Some(id) => {
            // An exception allows more than the licence by itself.
            if words.next_if_eq(&"WITH").is_some() {
                words.next();
            }
            allowed(id)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_met_or_not() {
        let allowed = |id: &str| ["MIT", "Apache-2.0"].contains(&id);
        for good in
            ["MIT", "GPL-3.0 OR MIT", "Unlicense/MIT", "Apache-2.0 WITH LLVM-exception", "(X OR MIT) AND MIT"]
        {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND X", "(MIT", "MIT MIT", ""] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn a_licence_that_asks_for_more_is_found() {
        let exceptions = vec![Exception { name: "other".into(), allow: vec!["MPL-2.0".into()] }];
        let rules = Licences { allow: vec!["MIT".into()], exceptions };
        let mut wrong = Vec::new();
        check_licence(&rules, "ours", Some("MIT OR Apache-2.0"), &mut wrong);
        check_licence(&rules, "other", Some("MPL-2.0"), &mut wrong);
        assert!(wrong.is_empty(), "{wrong:?}");
        check_licence(&rules, "new", Some("MPL-2.0"), &mut wrong);
        check_licence(&rules, "bare", None, &mut wrong);
        assert_eq!(
            wrong,
            ["new has a licence that deny.toml does not allow: MPL-2.0", "bare names no licence"]
        );
    }

    #[test]
    fn two_versions_of_a_crate_are_found() {
        let mut wrong = Vec::new();
        let packages = [("a", "1.0.0"), ("b", "0.6.0"), ("b", "1.0.0")];
        check_versions(packages.map(|(name, version)| (name.into(), version.into())), &mut wrong);
        assert_eq!(wrong, ["the command is linked from several versions of b: 0.6.0, 1.0.0"]);
    }
}
