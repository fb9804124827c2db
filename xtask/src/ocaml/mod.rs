//! The versions of OCaml whose bytecode Spelter runs, and where this machine has their compilers and sources.
//!
//! The system's packages hold one version. [`make`] puts the others below `target/ocaml`, a folder for each; nothing
//! outside of it changes. [`Tools`] tells how to call what is there.

mod apt;
mod debian;
mod made;
mod npm;
mod plain;

use std::collections::BTreeMap;
use std::env;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

pub use self::apt::Apt;
pub use self::made::{Made, make, run};
pub use self::plain::write_plain_compiler;
use crate::process::path_text;
use crate::workspace;

/// A version of OCaml.
#[derive(Debug, PartialEq, Eq)]
pub struct Version {
    /// The language's version, which all of its releases share: `5.4`.
    pub name: &'static str,
    /// The release that the tests have been made with: `5.4.1`.
    pub release: &'static str,
    /// Where its compilers come from.
    pub origin: Origin,
    /// Whether `unix.cma` and the other libraries have folders of their own, which `-I +unix` names.
    pub library_folders: bool,
}

/// Where a version's compilers and sources come from.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    /// Packages that are installed on the system.
    System,
    /// A source package of npm, named with its version, which is built here.
    Npm(&'static str),
    /// Debian's packages, which are only unpacked.
    Debian {
        /// The suite that has OCaml's packages.
        ocaml: &'static str,
        /// The suite that has the C library for which they were built.
        base: &'static str,
    },
}

/// The first line of a program is in its first bytes.
const START: u64 = 300;

/// The versions that a test can ask for, in order.
pub static VERSIONS: [Version; 6] = [
    version("4.13", "4.13.1", Origin::System),
    version("4.14", "4.14.1", Origin::Npm("ocaml@4.14.1000")),
    version("5.1", "5.1.0", Origin::Npm("ocaml@5.1.4")),
    version("5.3", "5.3.0", Origin::Debian { ocaml: "trixie", base: "trixie" }),
    version("5.4", "5.4.1", Origin::Debian { ocaml: "forky", base: "forky" }),
    version("5.5", "5.5.2", Origin::Debian { ocaml: "experimental", base: "sid" }),
];

const fn version(name: &'static str, release: &'static str, origin: Origin) -> Version {
    Version { name, release, origin, library_folders: name.as_bytes()[0] > b'4' }
}

impl Version {
    /// The version of the system's packages, whose programs are recorded.
    pub fn of_system() -> &'static Self {
        &VERSIONS[0]
    }

    /// Its place in [`VERSIONS`].
    pub fn index(&self) -> usize {
        VERSIONS.iter().position(|other| other == self).unwrap_or_default()
    }
}

/// A version as named on the command line: `5.4` or `5.4.1`.
#[derive(Clone, Copy, Debug)]
pub struct Named(pub &'static Version);

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = VERSIONS.iter().find(|version| text == version.name || text == version.release);
        found.map(Self).ok_or_else(|| {
            let names: Vec<&str> = VERSIONS.iter().map(|version| version.name).collect();
            format!("OCaml '{text}' is not among {}", names.join(", "))
        })
    }
}

/// A version's programs and files on this machine.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The version.
    pub version: &'static Version,
    /// The folder of its programs.
    pub programs: PathBuf,
    /// Its library folder, with `stdlib.cma`.
    pub library: PathBuf,
    /// Variables that its programs need. Empty for the system's version.
    pub env: BTreeMap<String, String>,
}

impl Tools {
    /// Finds a version.
    ///
    /// # Errors
    ///
    /// If it is not on this machine, or another release is; the message says what to do.
    pub fn find(version: &'static Version) -> Result<Self> {
        if version.origin == Origin::System {
            workspace::need_ocaml()?;
            return Ok(Self {
                version,
                programs: "/usr/bin".into(),
                library: "/usr/lib/ocaml".into(),
                env: BTreeMap::new(),
            });
        }
        let folder = folder(version)?;
        ensure!(
            Made::of(&folder)?.is_some(),
            "OCaml {name} is not in {}; run `cargo xtask ocaml {name}`",
            folder.display(),
            name = version.name
        );
        Self::below(version, &folder)
    }

    /// The version that has been put into `folder`.
    fn below(version: &'static Version, folder: &Path) -> Result<Self> {
        let (programs, library) = match version.origin {
            Origin::Debian { .. } => (folder.join("usr/bin"), debian::library(folder)?),
            Origin::Npm(_) | Origin::System => (folder.join("bin"), folder.join("lib/ocaml")),
        };
        let rest = env::var("PATH").unwrap_or_default();
        let env = BTreeMap::from([
            ("PATH".to_owned(), format!("{}:{rest}", path_text(&programs)?)),
            ("OCAMLLIB".to_owned(), path_text(&library)?),
        ]);
        Ok(Self { version, programs, library, env })
    }

    /// The path of one of its programs, which may not exist.
    pub fn program(&self, name: &str) -> String {
        self.programs.join(name).to_string_lossy().into_owned()
    }

    /// Whether it has this program.
    pub fn has(&self, name: &str) -> bool {
        self.programs.join(name).exists()
    }

    /// The path of its `ocamlrun`.
    pub fn ocamlrun(&self) -> String {
        self.program("ocamlrun")
    }

    /// A command that finds this version's programs, and runs in its environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(&self.env).env_remove("OCAMLPARAM");
        command
    }

    /// A variable of the environment that a test adds to, with this version's own.
    pub fn with_env(&self, more: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        env.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
        env
    }

    /// Whether its programs were built for another place than where they are.
    pub fn is_moved(&self) -> bool {
        matches!(self.version.origin, Origin::Debian { .. })
    }

    /// The first line by which its programs start `ocamlrun`: compilers write the place for which they were built.
    pub fn start_line(&self) -> Vec<u8> {
        format!("#!{}\n", self.ocamlrun()).into_bytes()
    }

    /// Lets a program, as a compiler that has been moved writes it, start this version's `ocamlrun`. Files of other
    /// kinds stay as they are. Positions in a program count from its end.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub fn redirect(&self, file: &Path) -> Result<()> {
        if !self.is_moved() {
            return Ok(());
        }
        let cannot_read = || format!("cannot read {}", file.display());
        let mut start = Vec::new();
        std::fs::File::open(file)
            .and_then(|file| file.take(START).read_to_end(&mut start))
            .with_context(cannot_read)?;
        if after_start_line(&start).is_none() || start.starts_with(&self.start_line()) {
            return Ok(());
        }
        let bytes = std::fs::read(file).with_context(cannot_read)?;
        if let Some(rest) = after_start_line(&bytes) {
            let mut new = self.start_line();
            new.extend_from_slice(rest);
            std::fs::write(file, new).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }

    /// Does the same for all files below a folder.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or written.
    pub fn redirect_below(&self, folder: &Path) -> Result<()> {
        if !self.is_moved() {
            return Ok(());
        }
        for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.redirect_below(&entry.path())?;
            } else if kind.is_file() {
                self.redirect(&entry.path())?;
            }
        }
        Ok(())
    }

    /// OCaml's sources, unpacked.
    ///
    /// # Errors
    ///
    /// If they are not installed, or cannot be unpacked.
    pub fn sources(&self) -> Result<PathBuf> {
        match self.version.origin {
            Origin::System => {
                let outer = PathBuf::from(format!("/usr/src/ocaml-source-{}.tar", self.version.release));
                let missing = "is missing (Debian: apt-get install ocaml-source)";
                ensure!(outer.exists(), "{} {missing}", outer.display());
                let folder = workspace::target()?.join("upstream");
                let sources = folder.join(format!("ocaml-{}", self.version.release));
                if !sources.exists() {
                    std::fs::create_dir_all(&folder)?;
                    // An interrupted unpacking must not be mistaken for a complete one.
                    let temp = tempfile::tempdir_in(&folder)?;
                    debian::unpack_sources(&outer, &temp.path().join("all"))?;
                    std::fs::rename(temp.path().join("all"), &sources)?;
                }
                Ok(sources)
            }
            Origin::Npm(_) | Origin::Debian { .. } => Ok(folder(self.version)?.join("sources")),
        }
    }
}

/// The folder of a version that is not the system's.
fn folder(version: &Version) -> Result<PathBuf> {
    Ok(workspace::target()?.join("ocaml").join(version.name))
}

/// A program's contents after the line that starts `ocamlrun`; none if it does not begin with such a line.
fn after_start_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let name = line.strip_prefix("#!")?.rsplit('/').next()?;
    (name == "ocamlrun" || name.starts_with("ocamlrun-")).then_some(&bytes[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_two_names() {
        let found = |text: &str| text.parse::<Named>().map(|Named(version)| version.release);
        assert_eq!(found("5.4"), Ok("5.4.1"));
        assert_eq!(found("4.13.1"), Ok("4.13.1"));
        assert_eq!(found("5.2"), Err("OCaml '5.2' is not among 4.13, 4.14, 5.1, 5.3, 5.4, 5.5".to_owned()));
    }

    #[test]
    fn only_a_line_that_starts_ocamlrun_is_replaced() {
        assert_eq!(after_start_line(b"#!/usr/bin/ocamlrun\nrest"), Some(&b"rest"[..]));
        assert_eq!(after_start_line(b"#!/usr/bin/ocamlrun-a104\n"), Some(&b""[..]));
        assert_eq!(after_start_line(b"#!/bin/sh\nexec ocamlrun\n"), None);
        assert_eq!(after_start_line(b"\x7fELF/ocamlrun\n"), None);
    }
}
