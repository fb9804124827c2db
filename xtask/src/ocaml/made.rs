//! Puts a version into its folder, and keeps a note of what that has cost.
//!
//! Everything is prepared in a folder beside it, which gets its name at the end: a version is there or not.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::{Origin, Tools, Version, debian, folder, npm};
use crate::workspace;

/// The note's name, inside the version's folder.
const NOTE: &str = "made.toml";

/// What a version has cost.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The release, as its compiler tells.
    pub release: String,
    /// How long it took.
    pub seconds: f64,
    /// The size of its folder.
    pub bytes: u64,
}

impl Made {
    /// What the folder of a version holds; nothing if it is not there.
    ///
    /// # Errors
    ///
    /// If its note cannot be read.
    pub fn of(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NOTE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(toml::from_str(&text).with_context(|| format!("in {}", path.display()))?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

/// Makes a version available, unless it is, and returns what it has cost; nothing for the system's version.
///
/// # Errors
///
/// If its packages cannot be found, fetched, unpacked or built. Nothing is left behind then.
pub fn make(version: &'static Version) -> Result<Option<Made>> {
    let name = version.name;
    if version.origin == Origin::System {
        workspace::need_ocaml()?;
        println!("OCaml {name}: the system has {}", version.release);
        return Ok(None);
    }
    let folder = folder(version)?;
    if let Some(made) = Made::of(&folder)? {
        println!("OCaml {name}: {} is there already ({})", made.release, size(made.bytes));
        return Ok(Some(made));
    }
    let start = Instant::now();
    let above = folder.parent().context("a version's folder is in another")?;
    fs::create_dir_all(above)?;
    // It must be on the same file system, and is removed if anything fails. A run that was killed leaves one behind.
    remove_old(above, name)?;
    let temp = tempfile::Builder::new().prefix(&format!(".{name}-")).tempdir_in(above)?;
    let fresh = temp.path().join("made");
    let progress = Progress::new(format!("OCaml {name}"))?;
    match version.origin {
        Origin::Debian { ocaml, base } => {
            debian::unpack(version, ocaml, base, temp.path(), &fresh, &folder, &progress)?;
        }
        Origin::Npm(package) => npm::build(package, temp.path(), &fresh, &folder, &progress)?,
        Origin::System => bail!("the system's version is installed by the system"),
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::rename(&fresh, &folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let release = match asked(&Tools::below(version, &folder)?) {
        Ok(release) => release,
        Err(error) => {
            fs::remove_dir_all(&folder)?;
            return Err(error);
        }
    };
    let made = Made { release, seconds: start.elapsed().as_secs_f64(), bytes: bytes_below(&folder)? };
    fs::write(folder.join(NOTE), toml::to_string(&made)?)?;
    drop(progress);
    println!("OCaml {name}: {} in {:.0} s, {}", made.release, made.seconds, size(made.bytes));
    if made.release != version.release {
        println!("OCaml {name}: the tests were made with {}; answers may differ", version.release);
    }
    Ok(Some(made))
}

/// Asks compiler and runtime, which have to work where they are, for their release.
fn asked(tools: &Tools) -> Result<String> {
    let mut releases = Vec::new();
    for words in [[tools.program("ocamlc"), "-version".to_owned()], [tools.ocamlrun(), "-vnum".to_owned()]] {
        let said = run(tools.command(&words[0]).arg(&words[1]), None)?;
        releases.push(said.trim().to_owned());
    }
    ensure!(
        releases[0] == releases[1] && releases[0].starts_with(&format!("{}.", tools.version.name)),
        "wanted OCaml {}, but ocamlc says {} and ocamlrun {}",
        tools.version.name,
        releases[0],
        releases[1]
    );
    Ok(releases.remove(0))
}

fn remove_old(above: &Path, name: &str) -> Result<()> {
    for entry in fs::read_dir(above)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&format!(".{name}-")) {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// A line that tells what is being done, and for how long.
pub(super) struct Progress(ProgressBar, String);

impl Progress {
    fn new(name: String) -> Result<Self> {
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}")?);
        bar.enable_steady_tick(Duration::from_millis(250));
        Ok(Self(bar, name))
    }

    /// What is being done now. Where there is no terminal, it is a line.
    pub(super) fn now(&self, what: &str) {
        let line = format!("{}: {what}", self.1);
        if self.0.is_hidden() {
            println!("{line}");
        }
        self.0.set_message(line);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Runs a command, whose output goes to `log` if there is one, and returns its standard output otherwise.
///
/// # Errors
///
/// If it cannot be started or fails; the message has the last lines of what it wrote.
pub fn run(command: &mut Command, log: Option<&Path>) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    if let Some(log) = log {
        let file = fs::File::create(log)?;
        command.stdout(file.try_clone()?).stderr(file);
    } else {
        command.stderr(Stdio::piped()).stdout(Stdio::piped());
    }
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = match log {
        Some(log) => fs::read(log)?,
        None => done.stderr,
    };
    let said = String::from_utf8_lossy(&said).into_owned();
    let lines: Vec<&str> = said.trim_end().lines().collect();
    let last = &lines[lines.len().saturating_sub(12)..];
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    bail!("`{name} {}` failed ({}):\n{}", args.join(" "), done.status, last.join("\n"))
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            let data = entry.metadata()?;
            if data.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += data.len();
            }
        }
    }
    Ok(bytes)
}

fn size(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}
