//! The programs that use Debian's stub libraries: those of `xtask/fixtures/debian`, and what `programs.toml` there says
//! about each.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use xtask::engine::Engine;
use xtask::gaps::{Gap, Gaps};
use xtask::matrix::Subject;
use xtask::ocaml::Version;
use xtask::process::{Answer, Invocation, Outcome, SANITIZER, path_text};
use xtask::workspace;

use super::place::Place;

const LIMIT: Duration = Duration::from_secs(60);

/// An entry of `programs.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Row {
    /// The program's name.
    pub(super) name: String,
    /// Its stub libraries, without `.so`.
    pub(super) uses: Vec<String>,
    /// How it is built: `[program.build]`.
    build: Build,
    /// How it is built with OCaml 5, where that is different: `[program.build-5]`.
    build_5: Option<Build>,
    /// The versions of OCaml for which Debian has the packages; by default 4.13, 5.3 and 5.4.
    #[serde(default)]
    versions: Vec<String>,
    /// Arguments after the program's name.
    #[serde(default)]
    args: Vec<String>,
    /// A file of the folder that is its standard input.
    stdin: Option<String>,
    /// Further variables; `{library}` stands for OCaml's folder among the packages' files.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Its exit code under ocamlrun.
    #[serde(default)]
    exit: i32,
    /// Whether it is among the chosen programs that CI runs.
    #[serde(default)]
    pub(super) sample: bool,
    /// Whether it takes long, and so gets three times the usual time.
    #[serde(default)]
    slow: bool,
    /// Why it must not run on the torture heap.
    pub(super) no_torture: Option<String>,
    /// Why it must not run with an address sanitizer.
    pub(super) no_sanitizer: Option<String>,
    /// Differences that are known, each with an engine or a word of its name, and the reason.
    #[serde(default)]
    open: Vec<Open>,
}

/// What a program is built from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Build {
    /// Packages to fetch; what they need comes with them.
    packages: Vec<String>,
    /// Archives to link, in order, with their folders below OCaml's; OCaml's own have none.
    link: Vec<String>,
    /// Further folders of interfaces.
    folders: Vec<String>,
    /// Further options of the compiler.
    flags: Vec<String>,
}

/// A known difference.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    #[serde(default = "any_engine")]
    engine: String,
    /// The versions of OCaml; empty for all.
    #[serde(default)]
    ocaml: Vec<String>,
    reason: String,
}

fn any_engine() -> String {
    "*".to_owned()
}

impl Row {
    pub(super) fn packages(&self, version: &Version) -> impl Iterator<Item = &str> {
        self.build(version).packages.iter().map(String::as_str)
    }

    pub(super) fn is_for(&self, version: &Version) -> bool {
        self.versions.is_empty() || self.versions.iter().any(|name| name == version.name)
    }

    /// Why it differs, where it is known to.
    pub(super) fn reasons(&self) -> impl Iterator<Item = &str> {
        self.open.iter().map(|open| open.reason.as_str())
    }

    fn build(&self, version: &Version) -> &Build {
        match &self.build_5 {
            Some(build) if !version.name.starts_with('4') => build,
            _ => &self.build,
        }
    }
}

fn folder() -> PathBuf {
    workspace::fixtures().join("debian")
}

/// All programs.
pub(super) fn all() -> Result<Vec<Row>> {
    #[derive(Deserialize)]
    struct All {
        program: Vec<Row>,
    }
    let path = folder().join("programs.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let all: All = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    Ok(all.program)
}

/// The known differences of a version, as gaps.
pub(super) fn open(rows: &[Row], version: &Version) -> Gaps {
    let mut gap = Vec::new();
    for row in rows {
        for open in &row.open {
            if open.ocaml.is_empty() || open.ocaml.iter().any(|name| name == version.name) {
                let (engine, reason) = (open.engine.clone(), open.reason.clone());
                gap.push(Gap { case: row.name.clone(), engine, ocaml: Vec::new(), reason });
            }
        }
    }
    Gaps { gap }
}

/// A program that has been compiled, and run with ocamlrun.
#[derive(Debug)]
pub(super) struct Ready<'a> {
    place: &'a Place,
    row: Row,
    program: PathBuf,
    stdin: Vec<u8>,
    /// What ocamlrun says.
    answer: Answer,
}

impl<'a> Ready<'a> {
    pub(super) fn prepare(place: &'a Place, row: &Row) -> Result<Self> {
        let products = place.products();
        fs::create_dir_all(&products)?;
        let temp = tempfile::tempdir()?;
        let source = format!("{}.ml", row.name);
        // A program may have the name of a library's module, and Coq has one called Program.
        fs::copy(folder().join(&source), temp.path().join("debian_program.ml"))
            .with_context(|| format!("no {source}"))?;
        let build = row.build(place.version());
        let mut words = build.flags.clone();
        words.extend(build.folders.iter().flat_map(|folder| place.include(folder)));
        words.extend(build.link.iter().flat_map(|archive| place.archive(archive)));
        place.compile(temp.path(), "debian_program.ml", "program.byte", &words)?;
        let program = products.join(format!("{}.byte", row.name));
        fs::copy(temp.path().join("program.byte"), &program)?;
        let stdin = match &row.stdin {
            Some(file) => fs::read(folder().join(file)).with_context(|| format!("no {file}"))?,
            None => Vec::new(),
        };
        let mut ready = Self { place, row: row.clone(), program, stdin, answer: Answer::default() };
        ready.answer = ready.ask()?;
        Ok(ready)
    }

    fn ask(&self) -> Result<Answer> {
        let name = &self.row.name;
        match self.run(vec![path_text(&self.place.ocamlrun)?], LIMIT)? {
            Outcome::Answered(answer) if answer.exit == self.row.exit => Ok(answer),
            // A program that OCaml's own runtime does not survive shows nothing.
            Outcome::Answered(Answer { exit, stderr, .. }) => {
                bail!("{name}: ocamlrun ended with {exit}: {}", String::from_utf8_lossy(&stderr))
            }
            Outcome::TimedOut(limit) => bail!("{name}: ocamlrun was not done after {limit:?}"),
        }
    }

    /// Runs it in an empty folder.
    fn run(&self, mut command: Vec<String>, limit: Duration) -> Result<Outcome> {
        let folder = tempfile::tempdir()?;
        command.push(path_text(&self.program)?);
        command.extend_from_slice(&self.row.args);
        let mut env = self.place.env.clone();
        let library = path_text(&self.place.library)?;
        let value = |text: &String| text.replace("{library}", &library);
        env.extend(self.row.env.iter().map(|(name, text)| (name.clone(), value(text))));
        Invocation { command, folder: folder.path(), env: &env, stdin: &self.stdin, limit }.run()
    }
}

impl Subject for Ready<'_> {
    fn name(&self) -> String {
        self.row.name.clone()
    }

    fn expected(&self, _live: bool) -> Result<Answer> {
        Ok(self.answer.clone())
    }

    fn run_on(&self, engine: &Engine, spelter: &Path) -> Result<Outcome> {
        self.run(engine.runtime(spelter)?, engine.limit() * if self.row.slow { 3 } else { 1 })
    }

    fn declines(&self, engine: &Engine) -> bool {
        engine.tortures() && self.row.no_torture.is_some()
            || std::env::var_os(SANITIZER).is_some() && self.row.no_sanitizer.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::libraries;
    use super::*;

    #[test]
    fn each_program_has_an_entry_and_uses_known_libraries() {
        let rows = all().unwrap();
        let names: BTreeSet<String> = rows.iter().map(|row| format!("{}.ml", row.name)).collect();
        assert_eq!(names.len(), rows.len(), "two entries have one name");
        let files = fs::read_dir(folder()).unwrap();
        let files = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names, files.filter(|name| name.ends_with(".ml")).collect());
        let known: BTreeSet<String> =
            libraries::all().unwrap().into_iter().map(|library| library.name).collect();
        for row in rows {
            assert!(row.uses.iter().all(|name| known.contains(name)), "{}", row.name);
        }
    }
}
