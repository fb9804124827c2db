//! `cargo xtask package`: does each crate that others may depend on, or install, build from what its package holds?

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};
use xtask::workspace;

/// Not for others.
const EXCLUDED: [&str; 3] = ["xtask", "spelter-benches", "spelter-fuzzing"];

pub(crate) fn run() -> Result<bool> {
    if let Some(home) = cargo_home() {
        forget_unpacked(&home.join("registry/src"))?;
    }
    let mut cargo = workspace::cargo();
    cargo.args(["package", "--workspace", "--offline", "--allow-dirty"]);
    for package in EXCLUDED {
        cargo.args(["--exclude", package]);
    }
    Ok(cargo.status()?.success())
}

fn cargo_home() -> Option<PathBuf> {
    let set = env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
}

/// Deletes our packages as cargo has unpacked them before. It verifies packages against each other through a registry in
/// the target folder, and would take an unpacked one of the same version for today's. The folders of such registries, which
/// have no host, begin with a hyphen.
fn forget_unpacked(sources: &Path) -> Result<()> {
    let Ok(registries) = fs::read_dir(sources) else { return Ok(()) };
    for registry in
        registries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"-"))
    {
        for package in fs::read_dir(registry.path())?.flatten() {
            if package.file_name().as_encoded_bytes().starts_with(b"spelter") {
                let path = package.path();
                fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_packages_of_registries_without_a_host_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["-1234/spelter-heap-0.1.0", "-1234/other-0.1.0", "index.example-1234/spelter-0.1.0"];
        let paths = paths.map(|path| folder.path().join(path));
        paths.iter().for_each(|path| fs::create_dir_all(path).unwrap());
        forget_unpacked(folder.path()).unwrap();
        assert_eq!(paths.map(|path| path.exists()), [false, true, true]);
        forget_unpacked(&folder.path().join("absent")).unwrap();
    }
}
