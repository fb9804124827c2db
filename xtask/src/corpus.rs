//! The committed corpus: programs, their bytecode, and the manifest that lists them.
//!
//! The manifest is written by `cargo xtask fixtures` and never by hand. It holds an MD5 digest of each file, so that
//! a source that was changed but not recorded again is noticed even without OCaml.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::process::Answer;
use crate::recipe::Run;
use crate::workspace;

/// The manifest's name inside the corpus.
pub const MANIFEST: &str = "manifest.toml";

/// The committed corpus.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Corpus {
    /// The compiler and runtime that produced it.
    pub compiler: String,
    /// The programs, by name.
    pub program: Vec<Program>,
}

/// A source with its bytecode.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Folder and stem of the source: `exceptions/basic`.
    pub name: String,
    /// The version of OCaml that compiled it, if that is not the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocaml: Option<String>,
    /// The commands that built it.
    pub build: Vec<String>,
    /// Files that are copied next to the program when it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<String>,
    /// Each committed file that belongs to it, with its digest.
    pub files: BTreeMap<String, String>,
    /// Its runs.
    pub run: Vec<Recorded>,
}

/// A run with its recorded results.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Recorded {
    /// Its settings.
    #[serde(flatten)]
    pub run: Run,
    /// The exit code.
    pub exit: i32,
}

/// One run of one program.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The program.
    pub program: &'a Program,
    /// The settings.
    pub recorded: &'a Recorded,
}

impl Corpus {
    /// Reads the committed manifest.
    ///
    /// # Errors
    ///
    /// If it is missing or malformed.
    pub fn load() -> Result<Self> {
        let path = workspace::fixtures().join(MANIFEST);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("in {}", path.display()))
    }

    /// The cases whose name contains `filter`.
    pub fn cases<'a>(&'a self, filter: &str) -> Vec<Case<'a>> {
        let all = self
            .program
            .iter()
            .flat_map(|program| program.run.iter().map(move |recorded| Case { program, recorded }));
        all.filter(|case| case.name().contains(filter)).collect()
    }

    /// Checks the committed files, and lists those that are changed, missing, or belong to no program.
    ///
    /// # Errors
    ///
    /// If the corpus cannot be read.
    pub fn stale(&self) -> Result<Vec<String>> {
        let folder = workspace::fixtures();
        let mut wrong = Vec::new();
        let mut known = BTreeSet::from([MANIFEST.to_owned()]);
        for program in &self.program {
            known.extend(program.files.keys().cloned());
            wrong.extend(program.changed());
        }
        for file in recorded_under(&folder)? {
            if is_ours(&file) && !known.contains(&file) {
                wrong.push(format!("{file} belongs to no program of the manifest"));
            }
        }
        Ok(wrong)
    }
}

impl Program {
    /// The files that have changed since it was recorded, or are missing.
    pub fn changed(&self) -> Vec<String> {
        let folder = workspace::fixtures();
        let mut wrong = Vec::new();
        for (file, digest) in &self.files {
            match fs::read(folder.join(file)) {
                Ok(bytes) if md5_hex(&bytes) == *digest => {}
                Ok(_) => wrong.push(format!("{file} has changed since {} was recorded", self.name)),
                Err(error) => wrong.push(format!("{file}: {error}")),
            }
        }
        wrong
    }

    /// The stem of its files, without the folder.
    pub fn stem(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// The bytecode executable's name, without the folder.
    pub fn executable(&self) -> String {
        format!("{}.byte", self.stem())
    }

    /// The folder of its files.
    pub fn folder(&self) -> PathBuf {
        workspace::fixtures().join(&self.name).parent().map_or_else(PathBuf::new, Path::to_path_buf)
    }

    /// The file of a run's recorded output, relative to the corpus: `.stdout` or `.stderr`, depending on `stream`.
    pub fn answer_file(&self, run: &Run, stream: &str) -> String {
        if run.name.is_empty() {
            format!("{}.{stream}", self.name)
        } else {
            format!("{}.{}.{stream}", self.name, run.name)
        }
    }
}

impl Case<'_> {
    /// The program's name, and the run's if it has one: `dynlink/host.private`.
    pub fn name(&self) -> String {
        let run = &self.recorded.run.name;
        if run.is_empty() { self.program.name.clone() } else { format!("{}.{run}", self.program.name) }
    }

    /// The recorded answer. An empty stream has no file.
    ///
    /// # Errors
    ///
    /// If a file that the manifest lists cannot be read.
    pub fn answer(&self) -> Result<Answer> {
        let stream = |name: &str| -> Result<Vec<u8>> {
            let file = self.program.answer_file(&self.recorded.run, name);
            if !self.program.files.contains_key(&file) {
                return Ok(Vec::new());
            }
            fs::read(workspace::fixtures().join(&file)).with_context(|| format!("cannot read {file}"))
        };
        Ok(Answer {
            stdout: stream("stdout")?,
            stderr: stream("stderr")?,
            exit: self.recorded.exit,
            ..Answer::default()
        })
    }

    /// Fills a folder with what the program needs to run, taken from `source`.
    ///
    /// # Errors
    ///
    /// If a file cannot be copied.
    pub fn furnish(&self, source: &Path, folder: &Path) -> Result<()> {
        let executable = self.program.executable();
        for file in self.program.products.iter().chain([&executable]) {
            let from = source.join(file);
            fs::copy(&from, folder.join(file)).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        Ok(())
    }
}

/// The files below `folder`, as sorted paths relative to it.
///
/// # Errors
///
/// If a folder cannot be read.
pub fn files_under(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder)?.to_str().context("a file's name is not UTF-8")?;
                files.push(name.to_owned());
            }
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "{} is empty", folder.display());
    Ok(files)
}

/// Folders in the corpus's whose programs need C, for `cargo xtask stubs`. Nothing of them is recorded.
const APART: [&str; 2] = ["stubs/", "debian/"];

/// The files below `folder` that can belong to recorded programs, as [`files_under`] lists them.
///
/// # Errors
///
/// If a folder cannot be read.
pub fn recorded_under(folder: &Path) -> Result<Vec<String>> {
    let mut files = files_under(folder)?;
    files.retain(|file| !APART.iter().any(|apart| file.starts_with(apart)));
    Ok(files)
}

/// Whether a file is of a kind that belongs to the corpus, and not left behind by a program that was run in place.
pub fn is_ours(file: &str) -> bool {
    [".ml", ".mli", ".mll", ".mly", ".byte", ".cmo", ".cma", ".stdout", ".stderr"]
        .iter()
        .any(|end| file.ends_with(end))
}

/// The MD5 digest in hexadecimal, as `md5sum` prints it.
pub fn md5_hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
