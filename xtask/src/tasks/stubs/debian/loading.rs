//! Loads each library by a program whose executable names it, under ocamlrun and under Spelter.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use xtask::diff;
use xtask::matrix::in_parallel;
use xtask::ocaml::run as run_command;
use xtask::process::{Answer, Invocation, Outcome, path_text};

use super::libraries::{BUILT_IN, Library};
use super::place::Place;

const LIMIT: Duration = Duration::from_secs(60);

/// What came of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Loading {
    /// It loads under both.
    Loads,
    /// Its functions are in the runtime.
    BuiltIn,
    /// The version's packages do not have it.
    Absent,
    /// Neither loads it; with ocamlrun's words.
    Neither(String),
    /// Spelter does not load it, or says something else; with the reason.
    Differs(String),
}

/// Tries all libraries.
pub(super) fn run(place: &Place, libraries: Vec<Library>) -> Result<Vec<(Library, Loading)>> {
    let done = in_parallel("loaded", &libraries, 2, |library| {
        load(place, library).with_context(|| format!("loading {}", library.name))
    })?;
    Ok(libraries.into_iter().zip(done).collect())
}

fn load(place: &Place, library: &Library) -> Result<Loading> {
    if library.tier == BUILT_IN {
        return Ok(Loading::BuiltIn);
    }
    if !file(place, &library.name).exists() {
        return Ok(Loading::Absent);
    }
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("load.ml"), "let () = print_endline \"loaded\"\n")?;
    let mut words = Vec::new();
    // The executable has them in the order opposite to the options'.
    for name in [&library.name].into_iter().chain(library.needs.iter().rev()) {
        let name = place.own_stub(name);
        let short = name.strip_prefix("dll").context("a stub library's name begins with dll")?;
        words.extend(["-dllib".to_owned(), format!("-l{short}")]);
    }
    place.compile(folder.path(), "load.ml", "load.byte", &words)?;
    let ask = |runtime: &[&str]| answer(place, folder.path(), runtime);
    let expected = ask(&[&path_text(&place.ocamlrun)?])?;
    let got = ask(&[&path_text(&place.spelter)?, "run"])?;
    Ok(match diff::answers(&expected, &got) {
        None if expected.exit == 0 => Loading::Loads,
        None => Loading::Neither(last_line(&expected)),
        Some(_) if expected.exit == 0 => {
            let names = missing(place, library)?;
            Loading::Differs(match names.is_empty() {
                true => last_line(&got),
                false => format!("lacks {}", names.into_iter().collect::<Vec<_>>().join(", ")),
            })
        }
        Some(text) => Loading::Differs(text),
    })
}

fn answer(place: &Place, folder: &Path, runtime: &[&str]) -> Result<Answer> {
    let command = runtime.iter().chain(&["load.byte"]).map(|&word| word.to_owned()).collect();
    let invocation = Invocation { command, folder, env: &place.env, stdin: b"", limit: LIMIT };
    match invocation.run()? {
        Outcome::Answered(answer) => Ok(answer),
        Outcome::TimedOut(limit) => anyhow::bail!("not done after {limit:?}"),
    }
}

fn last_line(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.stderr).lines().last().unwrap_or("no message").to_owned()
}

fn file(place: &Place, name: &str) -> std::path::PathBuf {
    place.stubs().join(format!("{name}.so"))
}

/// The names that the library takes from OCaml's runtime, and that Spelter does not export.
fn missing(place: &Place, library: &Library) -> Result<BTreeSet<String>> {
    let has = symbols(&place.spelter, "--defined-only")?;
    let of_runtime = symbols(&place.ocamlrun, "--defined-only")?;
    let mut names = symbols(&file(place, &library.name), "--undefined-only")?;
    names.retain(|name| {
        ["caml_", "Caml_"].iter().any(|start| name.starts_with(start))
            && of_runtime.contains(name)
            && !has.contains(name)
    });
    Ok(names)
}

/// The dynamic symbols of a file, without their versions.
fn symbols(file: &Path, kind: &str) -> Result<BTreeSet<String>> {
    let said = run_command(Command::new("nm").args(["-D", kind]).arg(file), None)?;
    let name = |line: &str| Some(line.split_whitespace().last()?.split('@').next()?.to_owned());
    Ok(said.lines().filter_map(name).collect())
}

/// How many load, of those that are there.
pub(super) fn count(loading: &[(Library, Loading)]) -> (usize, usize) {
    let there = loading.iter().filter(|(_, loading)| *loading != Loading::Absent).count();
    let good = |loading: &Loading| matches!(loading, Loading::Loads | Loading::BuiltIn);
    (loading.iter().filter(|(_, loading)| good(loading)).count(), there)
}

/// Tells the counts, and what does not load, and whether all do that ocamlrun loads.
pub(super) fn print(loading: &[(Library, Loading)]) -> bool {
    let (loads, there) = count(loading);
    println!("{loads} of {there} libraries load");
    for (library, loading) in loading {
        match loading {
            Loading::Loads | Loading::BuiltIn | Loading::Absent => {}
            Loading::Neither(why) => println!("  {}: not under ocamlrun either: {why}", library.name),
            Loading::Differs(why) => println!("  {}: {why}", library.name),
        }
    }
    !loading.iter().any(|(_, loading)| matches!(loading, Loading::Differs(_)))
}
