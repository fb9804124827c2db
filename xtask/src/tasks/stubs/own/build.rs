//! Compiles the libraries with gcc and the programs with a version's ocamlc.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::cc;
use xtask::corpus::files_under;
use xtask::matrix::in_parallel;
use xtask::ocaml::{Named, Tools};
use xtask::process::path_text;
use xtask::recipe::Recipe;
use xtask::workspace;

use super::{Case, environment, sources};

/// Programs that OCaml 5 cannot run.
const ONLY_OF_4: [&str; 3] = ["naked", "outside", "weak"];

/// The folder, below a program's, of its library for a command with an address sanitizer.
pub(super) const SANITIZED: &str = "sanitized";

/// Builds the programs whose names contain `filter`, up to a dot, and returns the runs whose names do. With `sanitized`,
/// there is also a library for a command with an address sanitizer.
pub(super) fn cases(tools: &Tools, filter: &str, sanitized: bool) -> Result<Vec<Case>> {
    let built = folder(tools)?;
    let mut programs = Vec::new();
    for file in files_under(&sources())? {
        let Some(name) = file.strip_suffix(".ml") else { continue };
        let recipe = Recipe::of_source(&fs::read_to_string(sources().join(&file))?).context(file.clone())?;
        if name.contains(filter.split('.').next().unwrap_or_default()) && is_for(name, &recipe, tools)? {
            programs.push((name.to_owned(), recipe));
        }
    }
    let parts: Vec<String> = programs.iter().flat_map(|(_, recipe)| recipe.sources.clone()).collect();
    programs.retain(|(name, _)| !parts.contains(&format!("{name}.ml")));
    in_parallel("built", &programs, 2, |(name, recipe)| {
        let built = built.join(name);
        build(tools, name, recipe, &built)?;
        if sanitized { sanitize(tools, name, &built.join(SANITIZED)) } else { Ok(()) }
    })?;
    let cases = programs.into_iter().flat_map(|(program, recipe)| {
        let built = built.join(&program);
        recipe.run.into_iter().map(move |run| Case {
            program: program.clone(),
            run,
            tools: tools.clone(),
            built: built.clone(),
            sanitized,
        })
    });
    Ok(cases.filter(|case| xtask::matrix::Subject::name(case).contains(filter)).collect())
}

/// The folder for what is built for a version.
fn folder(tools: &Tools) -> Result<PathBuf> {
    let folder = workspace::target()?.join("stubs").join(tools.version.name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn is_for(name: &str, recipe: &Recipe, tools: &Tools) -> Result<bool> {
    let is_of_4 = tools.version.name.starts_with('4');
    let since = match &recipe.since {
        None => 0,
        Some(since) if since == "5.0" => return Ok(!is_of_4),
        Some(since) => since.parse::<Named>().map_err(anyhow::Error::msg)?.0.index(),
    };
    Ok(since <= tools.version.index() && (is_of_4 || !ONLY_OF_4.contains(&name)))
}

fn sanitize(tools: &Tools, name: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    cc::sanitized_library(tools, &source(name), &folder.join(library(name)))
}

/// The source in C of a program's library.
fn source(name: &str) -> PathBuf {
    sources().join(name).with_extension("c")
}

fn library(name: &str) -> String {
    format!("dllprobe_{name}.so")
}

fn build(tools: &Tools, name: &str, recipe: &Recipe, built: &Path) -> Result<()> {
    fs::create_dir_all(built)?;
    cc::library(tools, &source(name), &built.join(library(name)))?;
    for source in recipe.sources.iter().cloned().chain([format!("{name}.ml")]) {
        fs::copy(sources().join(&source), built.join(&source)).with_context(|| source.clone())?;
    }
    for command in &recipe.build {
        done(Command::new("sh").args(["-c", command]), tools, built)?;
    }
    if recipe.build.is_empty() {
        let mut ocamlc = Command::new(tools.program("ocamlc"));
        ocamlc.args(["-w", "-a", "-I", "+threads"]).args(&recipe.flags);
        if tools.version.library_folders {
            ocamlc.args(["-I", "+unix", "-I", "+dynlink"]);
        }
        ocamlc.args(["-dllib", &format!("-lprobe_{name}"), "-dllpath", &path_text(built)?]);
        done(ocamlc.arg("-o").arg(format!("{name}.byte")).arg(format!("{name}.ml")), tools, built)?;
    }
    Ok(())
}

/// Runs a command of a build.
fn done(command: &mut Command, tools: &Tools, folder: &Path) -> Result<()> {
    let out = command
        .current_dir(folder)
        .env_remove("OCAMLPARAM")
        .envs(environment(tools))
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(out.status.success(), "{command:?} fails:\n{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}
