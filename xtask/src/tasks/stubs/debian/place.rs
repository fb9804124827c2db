//! A version of OCaml beside Debian's packages for it, unpacked.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::ocaml::{Origin, Tools, Version, run};
use xtask::process::path_text;
use xtask::workspace;

use super::packages::Store;

/// The suite whose packages are for the system's OCaml.
const OF_SYSTEM: &str = "bookworm";

/// Folders of shared objects, below the one for the processor, in which the dynamic linker of an installed system
/// looks by other means.
const FURTHER: [&str; 3] = ["blas", "lapack", "pulseaudio"];

/// A version and its packages.
#[derive(Debug)]
pub(super) struct Place {
    tools: Tools,
    store: Store,
    folder: PathBuf,
    /// OCaml's folder among the unpacked packages.
    pub(super) library: PathBuf,
    /// OCaml's own runtime.
    pub(super) ocamlrun: PathBuf,
    /// Ours.
    pub(super) spelter: PathBuf,
    /// Variables for compilers and runtimes.
    pub(super) env: BTreeMap<String, String>,
}

impl Place {
    pub(super) fn open(tools: Tools) -> Result<Self> {
        let suite = match tools.version.origin {
            Origin::System => OF_SYSTEM,
            Origin::Debian { ocaml, base } if ocaml == base => ocaml,
            _ => anyhow::bail!("Debian has no libraries for OCaml {}", tools.version.name),
        };
        let folder = workspace::target()?.join("debian").join(suite);
        let store = Store::open(&folder, suite)?;
        // The library's folder has the same place among the packages as on a system.
        let inside: PathBuf = tools.library.iter().skip_while(|part| *part != "usr").collect();
        ensure!(inside.starts_with("usr"), "{} is not below usr", tools.library.display());
        Ok(Self {
            library: store.root().join(inside),
            ocamlrun: tools.ocamlrun().into(),
            spelter: PathBuf::new(),
            env: BTreeMap::new(),
            tools,
            store,
            folder,
        })
    }

    pub(super) fn version(&self) -> &'static Version {
        self.tools.version
    }

    /// Makes packages and what they need available, and returns their versions.
    pub(super) fn fetch<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, String>> {
        self.store.need(names)
    }

    /// The folder of stub libraries.
    pub(super) fn stubs(&self) -> PathBuf {
        self.library.join("stublibs")
    }

    /// The folder of compiled programs.
    pub(super) fn products(&self) -> PathBuf {
        self.folder.join("programs")
    }

    /// Prepares the runtimes, so that they find the packages' shared objects.
    pub(super) fn furnish(mut self, spelter: &Path) -> Result<Self> {
        let mut shared = Vec::new();
        for above in ["usr/lib", "lib"] {
            let above = self.store.root().join(above).join(triplet());
            shared.extend(FURTHER.map(|name| above.join(name)));
            shared.push(above);
        }
        shared.retain(|folder| folder.is_dir());
        let stubs = path_text(&self.stubs())?;
        self.env = self.tools.env.clone();
        self.env.insert("OCAMLLIB".to_owned(), path_text(&self.tools.library)?);
        self.env.insert("CAML_LD_LIBRARY_PATH".to_owned(), stubs);
        // Programs that look at the user's files find none.
        self.env.insert("HOME".to_owned(), "/nonexistent".to_owned());
        self.env.insert("LD_LIBRARY_PATH".to_owned(), joined(&shared)?);
        if self.tools.is_moved() {
            self.ocamlrun = self.patched(Path::new(&self.tools.ocamlrun()))?;
            self.spelter = self.patched(spelter)?;
        } else {
            self.spelter = spelter.to_path_buf();
        }
        Ok(self)
    }

    /// A copy of a runtime that uses the C library of the version's suite: the packages need it.
    fn patched(&self, runtime: &Path) -> Result<PathBuf> {
        let above = self.tools.programs.join("../..");
        let above = above.canonicalize().with_context(|| format!("no {}", above.display()))?;
        let loader = ["usr/lib64", "lib64"]
            .map(|place| above.join(place).join("ld-linux-x86-64.so.2"))
            .into_iter()
            .find(|loader| loader.exists())
            .context("the C library's package has no loader where it should be (only x86-64 is supported)")?;
        let libraries = above.join("usr/lib").join(triplet());
        let name = runtime.file_name().context("a runtime has a name")?;
        let copy = self.folder.join(name);
        // A running copy cannot be written to.
        let fresh = copy.with_extension("fresh");
        fs::copy(runtime, &fresh)?;
        let mut patch = Command::new("patchelf");
        patch.arg("--set-interpreter").arg(loader).arg("--force-rpath").arg("--set-rpath").arg(libraries);
        run(patch.arg(&fresh), None)?;
        fs::rename(&fresh, &copy)?;
        Ok(copy)
    }

    /// Compiles a program in its folder; `words` are options and archives.
    pub(super) fn compile(&self, folder: &Path, source: &str, product: &str, words: &[String]) -> Result<()> {
        let mut command = self.tools.command(&self.tools.program("ocamlc"));
        command.current_dir(folder).args(["-g", "-w", "-a", "-I"]).arg(self.stubs()).args(words);
        run(command.args([source, "-o", product]), None).map(drop)
    }

    /// The name of a stub library that comes with OCaml; others keep theirs.
    pub(super) fn own_stub(&self, name: &str) -> String {
        let own = ["dllunix", "dllcamlstr"].contains(&name);
        if own && self.version().library_folders { format!("{name}byt") } else { name.to_owned() }
    }

    /// Options for an archive, which is named with its folder among the packages' files, or is one of OCaml's own.
    pub(super) fn archive(&self, archive: &str) -> Vec<String> {
        let Some((folder, name)) = archive.rsplit_once('/') else {
            let own = archive.trim_end_matches(".cma");
            let apart = self.version().library_folders || own == "threads";
            let mut words = if apart { vec!["-I".to_owned(), format!("+{own}")] } else { Vec::new() };
            words.push(archive.to_owned());
            return words;
        };
        let mut words = self.include(folder);
        words.push(name.to_owned());
        words
    }

    /// Options for a folder of interfaces among the packages' files.
    pub(super) fn include(&self, folder: &str) -> Vec<String> {
        vec!["-I".to_owned(), self.library.join(folder).to_string_lossy().into_owned()]
    }
}

fn joined(folders: &[PathBuf]) -> Result<String> {
    let texts: Result<Vec<String>> = folders.iter().map(|folder| path_text(folder)).collect();
    Ok(texts?.join(":"))
}

/// What Debian calls this machine's kind of processor.
fn triplet() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}
