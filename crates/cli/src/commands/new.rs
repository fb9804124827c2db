//! `spelter new`: writes a project to start from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};

use super::print;

const HELP: &str = "\
Examples:
  spelter new plugin rules && cd rules && cargo run
  spelter new plugin rules --source=../spelter     with the libraries of a clone

The project compiles its plug-in with the installed OCaml; Debian: apt-get install ocaml-nox";

/// Write a new project
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct New {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// A Rust program with a plug-in in OCaml, which runs at once with `cargo run`
    #[command(after_help = HELP)]
    Plugin(Plugin),
}

#[derive(Args, Debug)]
struct Plugin {
    /// The folder to create; its last part is the program's name
    #[arg(value_name = "NAME")]
    name: PathBuf,
    /// A clone of Spelter whose libraries the project uses; else the one that this command was built from, if it is still
    /// there, else the published ones
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
}

/// The files of the project.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("../../assets/plugin/Cargo.toml.in")),
    ("build.rs", include_str!("../../assets/plugin/build.rs")),
    ("src/main.rs", include_str!("../../assets/plugin/src/main.rs")),
    ("ocaml/rule.ml", include_str!("../../assets/plugin/ocaml/rule.ml")),
    ("ocaml/rule.mli", include_str!("../../assets/plugin/ocaml/rule.mli")),
];

impl New {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let What::Plugin(plugin) = self.what;
        plugin.write()
    }
}

impl Plugin {
    fn write(&self) -> anyhow::Result<()> {
        let name = self.name.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        ensure!(
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'),
            "{}: a project's name is a letter, then letters, digits, - and _",
            self.name.display()
        );
        let folder = &self.name;
        if folder.exists() {
            bail!("{} exists; choose another name, or remove it", folder.display());
        }
        let dependency = self.dependency()?;
        for (file, text) in FILES {
            let path = folder.join(file);
            let text = match file {
                "Cargo.toml" => text
                    .replace("\"NAME\"", &format!("{name:?}"))
                    .replace("SPELTER", &dependency("spelter"))
                    .replace("COMPILER", &dependency("compiler")),
                _ => text.to_owned(),
            };
            fs::create_dir_all(path.parent().unwrap_or(folder))
                .and_then(|()| fs::write(&path, text))
                .with_context(|| path.display().to_string())?;
        }
        print(&format!(
            "{0} is there: src/main.rs is the host, ocaml/rule.ml its plug-in. Try it:\n  cd {0} && cargo run\n",
            folder.display()
        ))
    }

    /// How `Cargo.toml` names a library by the folder of its crate.
    fn dependency(&self) -> anyhow::Result<impl Fn(&str) -> String> {
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let crates =
            |root: &Path| root.join("crates/compiler/Cargo.toml").is_file().then(|| root.join("crates"));
        let crates = match &self.source {
            Some(source) => {
                let found = crates(source);
                let found = found.with_context(|| format!("{} is no clone of Spelter", source.display()))?;
                Some(fs::canonicalize(found)?)
            }
            None => crates(&built_from).map(fs::canonicalize).transpose()?,
        };
        let version = env!("CARGO_PKG_VERSION");
        Ok(move |folder: &str| match &crates {
            Some(crates) => format!("{{ version = {version:?}, path = {:?} }}", crates.join(folder)),
            None => format!("{version:?}"),
        })
    }
}
