//! Builds a version from a source package of npm, as its INSTALL file says, without native code.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};

use super::made::{Progress, run};

/// Builds a package below `temp`, installs it as `fresh`, which will be moved to `folder`, and adds its sources.
pub(super) fn build(
    package: &str,
    temp: &Path,
    fresh: &Path,
    folder: &Path,
    progress: &Progress,
) -> Result<()> {
    progress.now(&format!("fetching {package} by npm"));
    let packed = run(Command::new("npm").args(["pack", "--silent", package]).current_dir(temp), None)
        .context("OCaml's sources come from npm (Debian: apt-get install npm)")?;
    let archive = temp.join(packed.trim());
    let built = temp.join("build");
    unpack(&archive, &built)?;
    let jobs = thread::available_parallelism().map_or(2, usize::from);
    let shell = |script: &str, log: &str| -> Result<()> {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(folder).arg(temp.join("root")).arg(jobs.to_string());
        run(
            command.current_dir(&built).env_remove("OCAMLPARAM").env_remove("OCAMLLIB"),
            Some(&temp.join(log)),
        )
        .map(drop)
        .context("building OCaml needs a C compiler and make (Debian: apt-get install gcc libc6-dev make)")
    };
    progress.now("configuring");
    shell("./configure --prefix=\"$1\" --disable-native-compiler --disable-ocamltest", "configure.log")?;
    progress.now("building; this takes some minutes");
    shell("make -j\"$3\"", "make.log")?;
    progress.now("installing");
    shell("make install DESTDIR=\"$2\"", "install.log")?;
    let installed = temp.join("root").join(folder.strip_prefix("/")?);
    fs::rename(&installed, fresh)?;
    // The built tree is ten times as large as the sources.
    unpack(&archive, &fresh.join("sources"))
}

fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).arg("-C").arg(folder).arg("--strip-components=1");
    run(&mut tar, None).map(drop)
}
