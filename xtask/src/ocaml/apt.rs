//! `apt-get` with state and sources of its own, to fetch Debian's packages without installing them.
//!
//! It fetches and verifies as always; the mirror is the one that this machine's configuration names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::made::run;

/// `apt-get` for some suites, with its files in a folder.
#[derive(Debug)]
pub struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Prepares the folder, which may have been used before.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or no mirror is known.
    pub fn new(folder: &Path, suites: &[&str]) -> Result<Self> {
        for part in ["state/lists/partial", "cache/archives/partial", "parts", "packages"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let mirror = mirror()?;
        let lines: String = suites.iter().map(|suite| format!("deb {mirror} {suite} main\n")).collect();
        fs::write(folder.join("sources.list"), lines)?;
        fs::write(folder.join("status"), "")?;
        Ok(Self { folder: folder.to_path_buf() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let places = [
            ("Dir::State", "state"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::Etc::sourceparts", "parts"),
        ];
        for (name, place) in places {
            command.arg("-o").arg(format!("{name}={}", self.folder.join(place).display()));
        }
        let settings = [
            "Acquire::Languages=none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "Acquire::Retries=3",
        ];
        for setting in settings {
            command.arg("-o").arg(setting);
        }
        // The user that apt drops to may not write here; without root it does not drop to another.
        if nix::unistd::geteuid().is_root() {
            command.arg("-o").arg("APT::Sandbox::User=root");
        }
        command.arg("-qq").current_dir(self.folder.join("packages"));
        command
    }

    /// Fetches the suites' lists of packages.
    ///
    /// # Errors
    ///
    /// If the mirror cannot be reached.
    pub fn update(&self) -> Result<()> {
        run(self.command("apt-get").args(["-o", "APT::Update::Error-Mode=any", "update"]), None).map(drop)
    }

    /// What is known about all packages, in the form of Debian's control files; empty before [`Apt::update`].
    ///
    /// # Errors
    ///
    /// If `apt-cache` fails.
    pub fn known(&self) -> Result<String> {
        run(self.command("apt-cache").arg("dumpavail"), None)
    }

    /// Fetches packages, named as for `apt-get`. The files are there until the next call.
    ///
    /// # Errors
    ///
    /// If one cannot be fetched.
    pub fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        let folder = self.folder.join("packages");
        fs::remove_dir_all(&folder)?;
        fs::create_dir(&folder)?;
        run(self.command("apt-get").arg("download").args(packages), None)?;
        let mut archives = Vec::new();
        for entry in fs::read_dir(&folder)? {
            archives.push(entry?.path());
        }
        ensure!(
            archives.len() == packages.len(),
            "apt-get fetched {} of {} packages",
            archives.len(),
            packages.len()
        );
        Ok(archives)
    }
}

/// The mirror of Debian's packages that this machine uses.
fn mirror() -> Result<String> {
    let format = "$(ORIGIN)\t$(SUITE)\t$(RELEASE)\t$(SITE)";
    let said =
        run(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]), None)
            .context("only Debian and its like are supported")?;
    for line in said.lines() {
        if let [origin, _, release, site] = line.split('\t').collect::<Vec<_>>()[..]
            && origin == "Debian"
            && !release.contains('-')
        {
            return Ok(site.to_owned());
        }
    }
    bail!("apt's configuration names no mirror of Debian whose index has been fetched; run `apt-get update`")
}
