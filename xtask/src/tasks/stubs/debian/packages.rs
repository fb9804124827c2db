//! Fetches Debian's packages, with the libraries that they need, and unpacks them below a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask::ocaml::{Apt, run};

/// Sections of packages whose dependencies are followed: libraries, of OCaml and shared. Programs, headers and data are
/// not needed.
const SECTIONS: [&str; 3] = ["ocaml", "libs", "oldlibs"];

/// Packages that are there already: the C library and OCaml itself.
const PRESENT: [&str; 8] = [
    "libc6",
    "ocaml",
    "ocaml-base",
    "ocaml-interp",
    "ocaml-findlib",
    "libcompiler-libs-ocaml-dev",
    "libstdlib-ocaml",
    "libstdlib-ocaml-dev",
];

/// What only compilers to native code and readers of sources need.
const UNUSED: [&str; 9] = ["a", "cmxa", "cmx", "cmxs", "cmt", "cmti", "o", "gz", "html"];

/// A suite's packages, unpacked in one folder.
#[derive(Debug)]
pub(super) struct Store {
    apt: Apt,
    folder: PathBuf,
}

impl Store {
    pub(super) fn open(folder: &Path, suite: &str) -> Result<Self> {
        fs::create_dir_all(folder.join("unpacked"))?;
        fs::create_dir_all(folder.join("root"))?;
        Ok(Self { apt: Apt::new(&folder.join("apt"), &[suite])?, folder: folder.to_path_buf() })
    }

    /// The folder that holds all packages' files.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Makes packages, and those that they need, available, and returns the versions of all. The suite need not have
    /// all of them.
    pub(super) fn need<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, String>> {
        let names: BTreeSet<&str> = names.collect();
        let mut index = Index::parse(&self.apt.known()?);
        if index.packages.is_empty() {
            index = self.updated()?;
        }
        if self.fetch(&index, &names).is_err() {
            // The lists may be older than the mirror.
            index = self.updated()?;
            self.fetch(&index, &names)?;
        }
        let version = |name| Some((str::to_owned(name), index.packages.get(name)?.version.clone()));
        Ok(index.closure(&names).into_iter().filter_map(version).collect())
    }

    fn updated(&self) -> Result<Index> {
        self.apt.update().context("the mirror of Debian's packages cannot be reached")?;
        Ok(Index::parse(&self.apt.known()?))
    }

    fn fetch(&self, index: &Index, names: &BTreeSet<&str>) -> Result<()> {
        let note = |name: &str| self.folder.join("unpacked").join(name);
        let missing: Vec<String> =
            index.closure(names).into_iter().filter(|name| !note(name).exists()).map(str::to_owned).collect();
        if missing.is_empty() {
            return Ok(());
        }
        println!("fetching {} packages", missing.len());
        for archive in self.apt.download(&missing)? {
            run(Command::new("dpkg").arg("-x").arg(&archive).arg(self.root()), None)?;
            fs::remove_file(archive)?;
        }
        prune(&self.root())?;
        missing.iter().try_for_each(|name| Ok(fs::write(note(name), "")?))
    }
}

/// Removes files that bytecode does not need.
fn prune(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().unwrap_or_default();
        if path.is_symlink() {
            continue;
        } else if path.is_dir() {
            prune(&path)?;
        } else if UNUSED.iter().any(|unused| extension == *unused) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// What a suite says about its packages.
#[derive(Debug, Default)]
struct Index {
    packages: BTreeMap<String, Package>,
    /// The packages that provide a virtual one.
    providers: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default)]
struct Package {
    version: String,
    section: String,
    /// The names that it depends on; of alternatives, the first.
    depends: Vec<String>,
}

impl Index {
    /// Reads control files, separated by empty lines.
    fn parse(text: &str) -> Self {
        let mut index = Self::default();
        for paragraph in text.split("\n\n") {
            let (mut name, mut package) = (String::new(), Package::default());
            let mut provides = Vec::new();
            for (key, value) in paragraph.lines().filter_map(|line| line.split_once(": ")) {
                match key {
                    "Package" => value.clone_into(&mut name),
                    "Version" => value.clone_into(&mut package.version),
                    "Section" => {
                        value.rsplit('/').next().unwrap_or_default().clone_into(&mut package.section)
                    }
                    "Depends" | "Pre-Depends" => package.depends.extend(names(value)),
                    "Provides" => provides = names(value),
                    _ => {}
                }
            }
            if !name.is_empty() {
                for provided in provides {
                    index.providers.entry(provided).or_default().push(name.clone());
                }
                index.packages.insert(name, package);
            }
        }
        index
    }

    /// The packages and all libraries that they need; names that the suite does not have are left out.
    fn closure<'a>(&'a self, names: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut rest: Vec<&str> =
            names.iter().copied().filter(|name| self.packages.contains_key(*name)).collect();
        while let Some(name) = rest.pop() {
            if found.insert(name) {
                let depends = self.packages[name].depends.iter();
                rest.extend(depends.filter_map(|name| self.real(name)).filter(|name| self.is_library(name)));
            }
        }
        found
    }

    /// The package of this name, or one that provides it.
    fn real<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match self.packages.contains_key(name) {
            true => Some(name),
            false => self.providers.get(name)?.first().map(String::as_str),
        }
    }

    fn is_library(&self, name: &str) -> bool {
        !PRESENT.contains(&name)
            && self.packages.get(name).is_some_and(|package| SECTIONS.contains(&package.section.as_str()))
    }
}

/// The names in a list such as `a (>= 1), b:any | c`; of alternatives, the first.
fn names(list: &str) -> Vec<String> {
    let name = |item: &str| item.trim().split([' ', ':', '|']).next().unwrap_or_default().to_owned();
    list.split(',').map(name).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Package: libz-ocaml-dev
Version: 2
Section: ocaml
Depends: libz-ocaml-x1, make, libc6 (>= 2)

Package: libz-ocaml
Version: 3
Section: contrib/ocaml
Provides: libz-ocaml-x1, other
Depends: libgmp10 (>= 2:6) | libmpir, libc6, absent

Package: libgmp10
Section: libs

Package: libc6
Section: libs

Package: make
Section: devel
";

    #[test]
    fn libraries_that_are_needed_are_found() {
        let index = Index::parse(TEXT);
        let all = index.closure(&BTreeSet::from(["libz-ocaml-dev", "not-there"]));
        assert_eq!(all.into_iter().collect::<Vec<_>>(), ["libgmp10", "libz-ocaml", "libz-ocaml-dev"]);
        assert_eq!(index.packages["libz-ocaml"].version, "3");
    }

    #[test]
    fn names_are_taken_from_lists() {
        assert_eq!(names("a (>= 1), b:any | c, d"), ["a", "b", "d"]);
        assert!(names("").is_empty());
    }
}
