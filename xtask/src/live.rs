//! The corpus as another version compiles it: built below `target/`, and compared with that version's own ocamlrun.
//!
//! Only what the system's version makes of the corpus is committed. A second set of executables for each of five
//! versions would be five times as large, and would have to be made again with each of their releases; what counts
//! is that each compiler's output runs as under its own runtime, and that needs the compiler.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::corpus::{Case, Program, Recorded, md5_hex, recorded_under};
use crate::debugger;
use crate::engine::Engine;
use crate::matrix::{self, Subject, in_parallel};
use crate::ocaml::{Tools, Version};
use crate::process::{Answer, Outcome};
use crate::recipe::Recipe;
use crate::workspace;

/// The folders of programs: those of the recorded corpus, and those that need a later version.
const FOLDERS: [&str; 2] = ["xtask/fixtures", "xtask/fixtures5"];

/// Programs of the recorded corpus that use what a later version has removed or changed, and that version. Their
/// sources do not say so, because they are recorded, with the places in their lines.
const GONE: [(&str, &str); 12] = [
    ("data/custom_kinds", "5.0"),
    // It and memprof_places read slots of a backtrace, which have two more fields; fixtures5 has a program with Printexc.
    ("exceptions/backtrace", "5.2"),
    ("gc/gc", "5.0"),
    ("gc/memprof", "5.2"),
    ("gc/memprof_places", "5.2"),
    ("gc/weak", "5.0"),
    // Marking cuts no suspensions short any more: what is left depends on when minor collections came.
    ("lazy/short_cuts", "4.14"),
    ("printf/printf", "5.0"),
    ("stdlib/containers", "5.0"),
    ("stdlib/hashtbl", "5.0"),
    ("text/genlex", "5.0"),
    ("threads/library", "5.0"),
];

/// A run of a program, as a version has compiled it.
#[derive(Debug)]
pub struct LiveCase {
    tools: Tools,
    program: Program,
    recorded: Recorded,
    built: PathBuf,
}

/// Compiles the programs that this version can compile, and returns the cases whose names contain `filter`.
///
/// # Errors
///
/// If a program cannot be compiled and its recipe does not exclude this version.
pub fn cases(tools: &Tools, filter: &str, parallel: usize) -> Result<Vec<LiveCase>> {
    let place = workspace::target()?.join("fixtures").join(tools.version.name);
    let compiler = fs::read(tools.program("ocamlc"))?;
    let compiler = md5_hex(&compiler);
    let mut wanted = Vec::new();
    for folder in FOLDERS.map(|folder| workspace::root().join(folder)).into_iter().filter(|f| f.exists()) {
        for (name, mut recipe) in recipes(&folder)? {
            if folder.ends_with("fixtures5") {
                recipe.since.get_or_insert("5.0".to_owned());
            }
            if name.contains(filter.split('.').next().unwrap_or_default())
                && is_for(&name, &recipe, tools.version)?
            {
                wanted.push((folder.clone(), name, recipe));
            }
        }
    }
    let built = in_parallel("compiled", &wanted, parallel, |(folder, name, recipe)| {
        build(tools, &compiler, folder, name, recipe, &place.join(name))
            .with_context(|| name.clone())
            .map_or_else(|e| Ok(Err(e)), |p| Ok(Ok(p)))
    })?;
    let failed: Vec<String> =
        built.iter().filter_map(|built| Some(format!("{:#}", built.as_ref().err()?))).collect();
    ensure!(
        failed.is_empty(),
        "programs that OCaml {} does not compile must say so, by `since` in their recipes or in the list of xtask/src/live.rs:\n{}",
        tools.version.name,
        failed.join("\n")
    );
    let mut cases = Vec::new();
    for ((_, name, recipe), program) in wanted.into_iter().zip(built.into_iter().flatten()) {
        for run in recipe.run {
            let recorded = Recorded { run, exit: 0 };
            let case = LiveCase {
                tools: tools.clone(),
                program: program.clone(),
                recorded,
                built: place.join(&name),
            };
            if case.name().contains(filter) {
                cases.push(case);
            }
        }
    }
    Ok(cases)
}

/// The recipes of the programs below a folder. A source that another program lists is none.
fn recipes(folder: &Path) -> Result<BTreeMap<String, Recipe>> {
    let mut recipes = BTreeMap::new();
    let mut parts = BTreeSet::new();
    for file in recorded_under(folder)? {
        let Some(name) = file.strip_suffix(".ml") else { continue };
        let source = fs::read_to_string(folder.join(&file)).with_context(|| format!("cannot read {file}"))?;
        let recipe = Recipe::of_source(&source).with_context(|| file.clone())?;
        parts.extend(recipe.sources.iter().map(|part| beside(name, part)));
        recipes.insert(name.to_owned(), recipe);
    }
    recipes.retain(|name, recipe| recipe.recorded_with.is_none() && !parts.contains(&format!("{name}.ml")));
    Ok(recipes)
}

fn beside(program: &str, file: &str) -> String {
    program.rsplit_once('/').map_or_else(|| file.to_owned(), |(folder, _)| format!("{folder}/{file}"))
}

/// Whether a program is one for this version. A limit may be a version that is not among those that are tested.
fn is_for(name: &str, recipe: &Recipe, version: &Version) -> Result<bool> {
    let number = |text: &str| -> Result<(u32, u32)> {
        let (major, minor) = text.split_once('.').context("a version is written like 5.3")?;
        Ok((major.parse()?, minor.parse()?))
    };
    let this = number(version.name)?;
    let since = recipe.since.as_deref().map(number).transpose()?;
    let before =
        GONE.iter().find(|(gone, _)| *gone == name).map(|(_, version)| number(version)).transpose()?;
    Ok(since.is_none_or(|since| this >= since) && before.is_none_or(|before| this < before))
}

/// Compiles a program in `place`, unless that has been done.
fn build(
    tools: &Tools,
    compiler: &str,
    folder: &Path,
    name: &str,
    recipe: &Recipe,
    place: &Path,
) -> Result<Program> {
    let stem = name.rsplit('/').next().unwrap_or(name);
    let source = format!("{stem}.ml");
    let mut commands = recipe.build.clone();
    if commands.is_empty() {
        commands.push(format!("ocamlc {} -o {stem}.byte {source}", recipe.flags.join(" ")));
    }
    let mut told = format!("{compiler} {commands:?}");
    for part in recipe.sources.iter().chain([&source]) {
        told.push_str(&md5_hex(&fs::read(folder.join(beside(name, part)))?));
    }
    let program = Program {
        name: name.to_owned(),
        ocaml: None,
        build: commands,
        products: recipe.products.clone(),
        files: BTreeMap::new(),
        run: Vec::new(),
    };
    let mark = place.join(".digest");
    if fs::read_to_string(&mark).is_ok_and(|old| old == md5_hex(told.as_bytes())) {
        return Ok(program);
    }
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    fs::create_dir_all(place)?;
    for part in recipe.sources.iter().chain([&source]) {
        fs::copy(folder.join(beside(name, part)), place.join(part))?;
    }
    for command in &program.build {
        let mut shell: Command = tools.command("sh");
        let mapping = format!("/fixtures={}", place.display());
        let done =
            shell.args(["-c", command]).current_dir(place).env("BUILD_PATH_PREFIX_MAP", mapping).output()?;
        // Later versions warn that `unix.cma` has its own folder now, and find it.
        if !done.status.success() {
            bail!("`{command}` said:\n{}", String::from_utf8_lossy(&done.stderr));
        }
    }
    tools.redirect_below(place)?;
    fs::write(mark, md5_hex(told.as_bytes()))?;
    Ok(program)
}

impl LiveCase {
    fn case(&self) -> Case<'_> {
        Case { program: &self.program, recorded: &self.recorded }
    }

    /// A session of this version's `ocamldebug` with the program on an engine.
    fn debug_on(&self, engine: &Engine, spelter: &Path) -> Result<Outcome> {
        let runtime = debugger::Runtime::new(engine, spelter)?;
        let mut command = debugger::command(&self.tools, &self.program.executable());
        command.extend_from_slice(&self.recorded.run.args);
        matrix::invoke(self.case(), &self.built, command, &runtime.env(&self.tools)?, engine.limit())
    }
}

impl Subject for LiveCase {
    fn name(&self) -> String {
        self.case().name()
    }

    /// Asked twice, because an answer that changes is no answer.
    fn expected(&self, _: bool) -> Result<Answer> {
        let ask = || matrix::ask_in(self.case(), &self.built, &self.tools);
        let answer = ask()?;
        ensure!(answer == ask()?, "{} answers differently each time", self.name());
        Ok(answer)
    }

    fn run_on(&self, engine: &Engine, spelter: &Path) -> Result<Outcome> {
        if self.recorded.run.debugger {
            return self.debug_on(engine, spelter);
        }
        let command = engine.command(spelter, &self.program.executable(), &self.recorded.run.args)?;
        matrix::invoke(self.case(), &self.built, command, &self.tools.env, engine.limit())
    }

    fn declines(&self, engine: &Engine) -> bool {
        self.case().declines(engine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_recipe() {
        let is_for = |name: &str, text: &str| {
            let recipe = Recipe::of_source(&format!("(*toml\n{text}\n*)")).unwrap();
            let found: Vec<&str> = crate::ocaml::VERSIONS
                .iter()
                .filter(|version| is_for(name, &recipe, version).unwrap())
                .map(|version| version.name)
                .collect();
            found.join(" ")
        };
        assert_eq!(is_for("a/b", ""), "4.13 4.14 5.1 5.3 5.4 5.5");
        assert_eq!(is_for("a/b", "since = \"5.2\""), "5.3 5.4 5.5");
        assert_eq!(is_for("text/genlex", ""), "4.13 4.14");
    }
}
