//! Unpacks a version from Debian's packages without installing them.
//!
//! The programs need a newer C library than the system's; its packages are unpacked beside them, and `patchelf` makes
//! the programs use it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::apt::Apt;
use super::made::{Progress, run};
use super::{Tools, Version};

/// OCaml's packages: compilers, toplevel, libraries, sources.
const OCAML: [&str; 7] = [
    "ocaml",
    "ocaml-base",
    "ocaml-interp",
    "libstdlib-ocaml",
    "libstdlib-ocaml-dev",
    "libcompiler-libs-ocaml-dev",
    "ocaml-source",
];

/// What their programs link.
const BASE: [&str; 3] = ["libc6", "libzstd1", "libgcc-s1"];

/// Fetches the packages below `temp`, and unpacks them in `fresh`, which will be moved to `folder`.
pub(super) fn unpack(
    version: &'static Version,
    ocaml: &str,
    base: &str,
    temp: &Path,
    fresh: &Path,
    folder: &Path,
    progress: &Progress,
) -> Result<()> {
    let need = "it is needed to unpack OCaml (Debian: apt-get install patchelf)";
    run(Command::new("patchelf").arg("--version"), None).context(need)?;
    progress.now(&format!("asking Debian's mirror for {ocaml}"));
    let suites = if ocaml == base { vec![ocaml] } else { vec![ocaml, base] };
    let apt = Apt::new(&temp.join("apt"), &suites)?;
    apt.update()?;
    progress.now("fetching packages");
    let wanted = OCAML.map(|name| format!("{name}/{ocaml}")).into_iter();
    let wanted: Vec<String> = wanted.chain(BASE.map(|name| format!("{name}/{base}"))).collect();
    let archives = apt.download(&wanted)?;
    progress.now("unpacking");
    fs::create_dir_all(fresh)?;
    for archive in &archives {
        run(Command::new("dpkg").arg("-x").arg(archive).arg(fresh), None)?;
    }
    let outer = only(&fresh.join("usr/src"), "ocaml-source-")?;
    unpack_sources(&outer, &fresh.join("sources"))?;
    fs::remove_file(outer)?;
    relocate(version, fresh, folder)
}

/// The folder with `stdlib.cma`, which is called after the release.
pub(super) fn library(folder: &Path) -> Result<PathBuf> {
    only(&machine_folder(folder)?.join("ocaml"), "")
}

/// Unpacks OCaml's sources from what Debian's package `ocaml-source` installs: an archive that holds an archive.
pub(super) fn unpack_sources(outer: &Path, folder: &Path) -> Result<()> {
    let temp = tempfile::tempdir_in(outer_folder(folder)?)?;
    run(Command::new("tar").arg("-xf").arg(outer).arg("-C").arg(temp.path()), None)?;
    let inner = only(&only(temp.path(), "")?, "ocaml_")?;
    fs::create_dir_all(folder)?;
    run(Command::new("tar").arg("-xf").arg(&inner).arg("-C").arg(folder).arg("--strip-components=1"), None)?;
    Ok(())
}

fn outer_folder(folder: &Path) -> Result<&Path> {
    folder.parent().context("the sources' folder is in another")
}

/// The folder of libraries for this machine's kind of processor, as Debian calls it.
fn machine_folder(folder: &Path) -> Result<PathBuf> {
    let triplet = run(Command::new("dpkg-architecture").args(["-q", "DEB_HOST_MULTIARCH"]), None)
        .map(|said| said.trim().to_owned())
        .unwrap_or_else(|_| format!("{}-linux-gnu", std::env::consts::ARCH));
    Ok(folder.join("usr/lib").join(triplet))
}

/// The only entry of a folder whose name begins like this.
fn only(folder: &Path, start: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(start) {
            found.push(entry.path());
        }
    }
    ensure!(
        found.len() == 1,
        "{} has {} entries, not one, that begin with '{start}'",
        folder.display(),
        found.len()
    );
    Ok(found.remove(0))
}

/// Makes everything in `fresh` work as `folder`.
fn relocate(version: &'static Version, fresh: &Path, folder: &Path) -> Result<()> {
    let libraries = machine_folder(folder)?;
    let loader = ["lib64", "usr/lib64"]
        .into_iter()
        .map(|place| PathBuf::from(place).join("ld-linux-x86-64.so.2"))
        .find(|loader| fresh.join(loader).exists())
        .context("the C library's package has no loader where it should be (only x86-64 is supported)")?;
    let library = library(fresh)?;
    let mut tools = Tools::below(version, fresh)?;
    tools.programs = folder.join("usr/bin");
    for entry in fs::read_dir(fresh.join("usr/bin"))? {
        let path = entry?.path();
        if fs::symlink_metadata(&path)?.is_symlink() {
            continue;
        }
        if fs::read(&path)?.starts_with(b"\x7fELF") {
            let mut patch = Command::new("patchelf");
            patch.arg("--set-interpreter").arg(folder.join(&loader)).arg("--set-rpath").arg(&libraries);
            run(patch.arg(&path), None)?;
        } else {
            tools.redirect(&path)?;
        }
    }
    for entry in fs::read_dir(library.join("stublibs"))? {
        run(Command::new("patchelf").arg("--set-rpath").arg(&libraries).arg(entry?.path()), None)?;
    }
    let release = library.file_name().context("the library folder has a name")?;
    let stubs = libraries.join("ocaml").join(release).join("stublibs");
    fs::write(library.join("ld.conf"), format!("{}\n", stubs.display()))?;
    Ok(())
}
