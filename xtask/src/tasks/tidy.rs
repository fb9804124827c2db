//! `cargo xtask tidy`: rules that no compiler checks.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use xtask::{frontpage, workspace};

/// Which of our crates each of them may see. An arrow that is not here needs an argument in review.
const ARROWS: [(&str, &[&str]); 10] = [
    ("spelter-bytecode", &[]),
    ("spelter-heap", &[]),
    ("spelter-interp", &["spelter-bytecode", "spelter-heap"]),
    ("spelter-dynlink", &["spelter-bytecode", "spelter-heap", "spelter-interp"]),
    ("spelter-primitives", &["spelter-bytecode", "spelter-heap", "spelter-interp"]),
    (
        "spelter",
        &["spelter-bytecode", "spelter-heap", "spelter-interp", "spelter-dynlink", "spelter-primitives"],
    ),
    ("spelter-cli", &["spelter", "spelter-bytecode"]),
    ("spelter-benches", &["spelter", "spelter-bytecode", "spelter-heap"]),
    ("spelter-fuzzing", &["spelter", "spelter-bytecode"]),
    ("xtask", &[]),
];

/// Crate roots that forbid unsafe code; the others have named doors, each block of which says why it holds.
const SAFE: [&str; 5] = [
    "crates/bytecode/src/lib.rs",
    "fuzzing/src/lib.rs",
    "fuzzing/src/main.rs",
    "xtask/src/lib.rs",
    "xtask/src/main.rs",
];

/// The doors of crates that deny unsafe code elsewhere: what the names of their files begin with.
const DOORS: [(&str, &[&str]); 4] = [
    ("crates/cli/src/", &["entry", "trust"]),
    ("crates/dynlink/src/", &["install"]),
    ("crates/primitives/src/", &["ffi/", "handover"]),
    ("crates/spelter/src/", &["trust"]),
];

/// The fence itself.
const FENCE: &str = "#![forbid(unsafe_code)]";

/// What no committed text holds, and why. Spelt in two halves, so that this file passes its own check.
const WORDS: [(&str, &str, &str); 6] = [
    ("/wo", "rk/", "a path of somebody's machine"),
    ("/ro", "ot/", "a path of somebody's machine"),
    ("/ho", "me/", "a path of somebody's machine"),
    ("TO", "DO", "do it, or open an issue"),
    ("FIX", "ME", "fix it, or open an issue"),
    ("XX", "X:", "say what is meant"),
];

pub(crate) fn run() -> Result<bool> {
    let metadata = MetadataCommand::new().current_dir(workspace::root()).no_deps().exec()?;
    let files = tracked_files()?;
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        check_arrows(package, &mut wrong);
        check_lints(package, &mut wrong)?;
        check_readme(package, &mut wrong)?;
    }
    check_fences(&mut wrong)?;
    check_root_manifest(&mut wrong)?;
    for file in &files {
        let Ok(bytes) = fs::read(workspace::root().join(file)) else { continue };
        if let Ok(text) = std::str::from_utf8(&bytes) {
            check_doors(file, text, &mut wrong);
            check_text(file, text, &mut wrong);
        }
    }
    for line in &wrong {
        println!("tidy: {line}");
    }
    if wrong.is_empty() {
        println!(
            "tidy: {} crates and {} files, nothing to complain about",
            metadata.packages.len(),
            files.len()
        );
    }
    Ok(wrong.is_empty())
}

/// Files that are committed, or would be by `git add`.
fn tracked_files() -> Result<Vec<String>> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(workspace::root())
        .output()
        .context("cannot run git")?;
    ensure!(listed.status.success(), "git ls-files failed; is this a checkout?");
    let text = String::from_utf8(listed.stdout).context("a file's name is not UTF-8")?;
    Ok(text.split_terminator('\0').map(str::to_owned).collect())
}

fn check_arrows(package: &Package, wrong: &mut Vec<String>) {
    let name = package.name.to_string();
    let Some((_, allowed)) = ARROWS.iter().find(|(crate_name, _)| *crate_name == name) else {
        wrong.push(format!("{name} is not in the list of arrows in xtask/src/tasks/tidy.rs"));
        return;
    };
    for dependency in &package.dependencies {
        let ours = ARROWS.iter().any(|(crate_name, _)| *crate_name == dependency.name);
        // Tests may look where the product may not; the benches are nothing but tests.
        let product = dependency.kind != DependencyKind::Development || name == "spelter-benches";
        if ours && product && !allowed.contains(&dependency.name.as_str()) {
            wrong.push(format!("{name} must not depend on {}", dependency.name));
        }
    }
}

fn check_lints(package: &Package, wrong: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(&package.manifest_path)?;
    let manifest: toml::Table = text.parse().with_context(|| package.manifest_path.to_string())?;
    let inherited =
        manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
    if inherited != Some(true) {
        wrong.push(format!("{} does not inherit the workspace's lints", package.name));
    }
    Ok(())
}

/// The example in a library's README is that of its front page, which `cargo test` runs.
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

fn check_fences(wrong: &mut Vec<String>) -> Result<()> {
    for file in SAFE {
        let text = fs::read_to_string(workspace::root().join(file))
            .with_context(|| format!("cannot read {file}"))?;
        if !text.lines().any(|line| line == FENCE) {
            wrong.push(format!("{file} lacks {FENCE}"));
        }
    }
    Ok(())
}

/// In crates with doors, unsafe code stands in those only.
fn check_doors(file: &str, text: &str, wrong: &mut Vec<String>) {
    let Some((name, doors)) =
        DOORS.iter().find_map(|(folder, doors)| Some((file.strip_prefix(folder)?, doors)))
    else {
        return;
    };
    let is_unsafe = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe(no_mangle)"];
    let code = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    let has_unsafe = code.into_iter().any(|line| is_unsafe.iter().any(|word| line.contains(word)));
    if has_unsafe && !doors.iter().any(|door| name.starts_with(door)) {
        wrong.push(format!("{file} has unsafe code and is no door: see docs/ARCHITECTURE.md"));
    }
}

/// Each outside dependency says in a comment, on its line or above its group, why it is there.
fn check_root_manifest(wrong: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(workspace::root().join("Cargo.toml"))?;
    let Some((_, section)) = text.split_once("[workspace.dependencies]") else {
        wrong.push("Cargo.toml has no [workspace.dependencies]".to_owned());
        return Ok(());
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
    Ok(())
}

fn check_text(file: &str, text: &str, wrong: &mut Vec<String>) {
    if file.ends_with(".rs") && !text.starts_with("//!") {
        wrong.push(format!("{file} does not start with a //! header"));
    }
    for (number, line) in text.lines().enumerate() {
        for (first, second, why) in WORDS {
            if line.contains(&format!("{first}{second}")) {
                wrong.push(format!("{file}:{}: '{first}{second}': {why}", number + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_header_and_a_leftover_are_found() {
        let mut wrong = Vec::new();
        check_text("a.rs", &format!("fn f() {{}} // {}{} later\n", "TO", "DO"), &mut wrong);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[1].starts_with("a.rs:1:"), "{wrong:?}");
    }

    #[test]
    fn good_text_passes() {
        let mut wrong = Vec::new();
        check_text("a.rs", "//! Header.\n", &mut wrong);
        check_text("b.md", "Prose.\n", &mut wrong);
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
