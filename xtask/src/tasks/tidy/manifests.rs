//! Checks the `Cargo.toml` of each crate and of the workspace.

use std::fs;

use anyhow::{Context, Result};
use cargo_metadata::Package;
use xtask::{frontpage, workspace};

pub(super) fn check(package: &Package, wrong: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(&package.manifest_path)?;
    let manifest: toml::Table = text.parse().with_context(|| package.manifest_path.to_string())?;
    check_lints(&package.name, &manifest, wrong);
    if package.publish.is_none() {
        check_published(&package.name, &manifest, wrong);
        let folder = package.manifest_path.parent().context("a manifest without a folder")?;
        if !folder.join("examples").exists() && package.targets.iter().any(|target| target.is_lib()) {
            wrong.push(format!("{} has no example that runs", package.name));
        }
    }
    check_readme(package, wrong)
}

fn check_lints(name: &str, manifest: &toml::Table, wrong: &mut Vec<String>) {
    let inherited =
        manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
    if inherited != Some(true) {
        wrong.push(format!("{name} does not inherit the workspace's lints"));
    }
}

/// The metadata that a registry shows for a crate.
const SHOWN: [&str; 10] = [
    "description",
    "version",
    "edition",
    "rust-version",
    "license",
    "repository",
    "readme",
    "keywords",
    "categories",
    "include",
];

fn check_published(name: &str, manifest: &toml::Table, wrong: &mut Vec<String>) {
    let package = manifest.get("package").and_then(toml::Value::as_table);
    for key in SHOWN {
        if !package.is_some_and(|package| package.contains_key(key)) {
            wrong.push(format!("{name}'s Cargo.toml has no `{key}`"));
        }
    }
    let docs_rs = package.and_then(|it| it.get("metadata")?.get("docs")?.get("rs")?.get("all-features"));
    if docs_rs.and_then(toml::Value::as_bool) != Some(true) {
        wrong.push(format!("{name}'s Cargo.toml has no [package.metadata.docs.rs] with all features"));
    }
}

/// The example in a library's README must be that of its front page, which `cargo test` runs.
fn check_readme(package: &Package, wrong: &mut Vec<String>) -> Result<()> {
    let is_library = package.targets.iter().any(|target| target.is_lib());
    let (true, Some(_), Some(folder)) = (is_library, &package.readme, package.manifest_path.parent()) else {
        return Ok(());
    };
    let page = frontpage::of_crate(folder.as_std_path())?;
    if frontpage::of_readme(folder.as_std_path())? != frontpage::shown(&page) {
        wrong.push(format!("{}'s README has another example than its front page", package.name));
    }
    Ok(())
}

/// The workspace's manifest, and the toolchain that builds it.
pub(super) fn check_root(wrong: &mut Vec<String>) -> Result<()> {
    let read = |name: &str| {
        fs::read_to_string(workspace::root().join(name)).with_context(|| format!("cannot read {name}"))
    };
    let manifest = read("Cargo.toml")?;
    check_reasons(&manifest, wrong);
    check_toolchain(&manifest, &read("rust-toolchain.toml")?, wrong)
}

/// Each external dependency must have a comment with its reason, on its line or above its group.
fn check_reasons(manifest: &str, wrong: &mut Vec<String>) {
    let Some((_, section)) = manifest.split_once("[workspace.dependencies]") else {
        wrong.push("Cargo.toml has no [workspace.dependencies]".to_owned());
        return;
    };
    let mut explained = false;
    for line in section.lines().take_while(|line| !line.starts_with('[')) {
        if line.is_empty() {
            explained = false;
        } else if line.starts_with('#') {
            explained = true;
        } else if !explained && !line.contains('#') {
            wrong.push(format!("Cargo.toml: no comment says why we need `{line}`"));
        }
    }
}

/// The pinned toolchain must have the manifest's minimum version.
fn check_toolchain(manifest: &str, toolchain: &str, wrong: &mut Vec<String>) -> Result<()> {
    let text = |table: &toml::Table, path: &[&str]| {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(table.get(*first)?, |value, key| value.get(key))?.as_str().map(str::to_owned)
    };
    let version = text(&manifest.parse()?, &["workspace", "package", "rust-version"]).unwrap_or_default();
    let channel = text(&toolchain.parse()?, &["toolchain", "channel"]).unwrap_or_default();
    if version.is_empty() || channel != version && !channel.starts_with(&format!("{version}.")) {
        wrong.push(format!(
            "rust-toolchain.toml has Rust '{channel}', and Cargo.toml's rust-version is '{version}'"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_could_not_be_published_is_found() {
        let mut wrong = Vec::new();
        let shown: String = SHOWN.iter().map(|key| format!("{key} = \"…\"\n")).collect();
        let good = format!("[package]\n{shown}[package.metadata.docs.rs]\nall-features = true\n");
        check_published("a", &good.parse().unwrap(), &mut wrong);
        assert!(wrong.is_empty(), "{wrong:?}");
        let bad = good.replace("categories", "cats").replace("all-features = true", "");
        check_published("a", &bad.parse().unwrap(), &mut wrong);
        assert_eq!(wrong[0], "a's Cargo.toml has no `categories`");
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let mut wrong = Vec::new();
        check_lints("a", &"[lints]\nworkspace = true\n".parse().unwrap(), &mut wrong);
        check_lints("b", &"[package]\nname = \"b\"\n".parse().unwrap(), &mut wrong);
        assert_eq!(wrong, ["b does not inherit the workspace's lints"]);
    }

    #[test]
    fn a_dependency_without_reason_is_found() {
        let mut wrong = Vec::new();
        let manifest =
            "[workspace.dependencies]\n# Ours.\na = \"1\"\n\nb = \"1\" # because\nc = \"1\"\n[x]\nd = 1\n";
        check_reasons(manifest, &mut wrong);
        assert_eq!(wrong, ["Cargo.toml: no comment says why we need `c = \"1\"`"]);
    }

    #[test]
    fn another_toolchain_is_found() {
        let manifest = "[workspace.package]\nrust-version = \"1.95\"\n";
        let complaints = |channel: &str| {
            let mut wrong = Vec::new();
            let toolchain = format!("[toolchain]\nchannel = \"{channel}\"\n");
            check_toolchain(manifest, &toolchain, &mut wrong).unwrap();
            wrong.len()
        };
        assert_eq!(["1.95.0", "1.95", "1.96.0", "1.950.0", "stable"].map(complaints), [0, 0, 1, 1, 1]);
    }
}
