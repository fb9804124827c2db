//! The stub libraries of Debian's packages: which load, and what programs print that use them.
//!
//! - [`packages`]: fetches packages, with what they need, and unpacks them below `target/debian`;
//! - [`place`]: a version of OCaml beside its unpacked packages: how to compile and run there;
//! - [`libraries`]: the list `xtask/fixtures/debian/libraries.txt`;
//! - [`loading`]: loads each library of the list;
//! - [`programs`]: the programs of `xtask/fixtures/debian`, described in `programs.toml`;
//! - [`table`]: the table in `docs/compatibility.md`.

mod libraries;
mod loading;
mod packages;
mod place;
mod programs;
mod table;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use xtask::engine::Engine;
use xtask::matrix::{self, Job, Report, Settings};
use xtask::ocaml::{Named, Tools};
use xtask::workspace;

use self::libraries::Library;
use self::loading::Loading;
use self::place::Place;
use self::programs::{Ready, Row};
use super::Options;

/// The versions of the page: Debian has packages for them.
const VERSIONS: [&str; 3] = ["4.13", "5.3", "5.4"];

/// What has been seen with a version.
struct Seen {
    release: &'static str,
    loading: Vec<(Library, Loading)>,
    rows: Vec<Row>,
    report: Report,
}

pub(super) fn run(options: &Options) -> Result<bool> {
    if options.all {
        return run_all(options);
    }
    let place = Place::open(tools(&options.ocaml)?)?;
    if options.load {
        let place = load(place, &workspace::spelter(options.bin.as_deref(), "release")?)?;
        return Ok(loading::print(&place.1));
    }
    let rows = wanted(options, &place)?;
    place.fetch(rows.iter().flat_map(|row| row.packages(place.version())))?;
    if options.fetch {
        return Ok(true);
    }
    let place = place.furnish(&workspace::spelter(options.bin.as_deref(), "release")?)?;
    let report = compare(&place, &rows, options)?;
    report.print(&mut std::io::stdout().lock())?;
    Ok(report.is_good())
}

fn tools(name: &str) -> Result<Tools> {
    let Named(version) = name.parse::<Named>().map_err(anyhow::Error::msg)?;
    Tools::find(version)
}

/// Tries to load all libraries.
fn load(place: Place, spelter: &Path) -> Result<(Place, Vec<(Library, Loading)>)> {
    let libraries = libraries::all()?;
    place.fetch(libraries.iter().map(|library| library.package.as_str()))?;
    let place = place.furnish(spelter)?;
    let loading = loading::run(&place, libraries)?;
    Ok((place, loading))
}

/// The programs that are to be run.
fn wanted(options: &Options, place: &Place) -> Result<Vec<Row>> {
    let filter = options.filter.as_deref().unwrap_or_default();
    let mut rows = programs::all()?;
    rows.retain(|row| {
        row.name.contains(filter) && row.is_for(place.version()) && (!options.sample || row.sample)
    });
    ensure!(!rows.is_empty(), "no program has '{filter}' in its name");
    Ok(rows)
}

/// The engines that are to be used: programs with foreign code are not for checked machines.
fn engines(options: &Options) -> Vec<Engine> {
    match &options.engines {
        Some(engines) => engines.0.clone(),
        None => Engine::all().into_iter().filter(|engine| !engine.checks()).collect(),
    }
}

/// Compiles the programs, and compares what they print.
fn compare(place: &Place, rows: &[Row], options: &Options) -> Result<Report> {
    let done = matrix::in_parallel("compiled", rows, 2, |row| Ok(Ready::prepare(place, row)))?;
    let (mut ready, mut errors) = (Vec::new(), String::new());
    for one in done {
        match one {
            Ok(one) => ready.push(one),
            Err(error) => errors += &format!("{error:#}\n"),
        }
    }
    ensure!(errors.is_empty(), "{errors}");
    let engines = engines(options);
    let of_engine = |engine| ready.iter().map(move |case| Job { case, engine });
    let jobs: Vec<Job<'_>> = engines.iter().flat_map(of_engine).collect();
    let settings = Settings {
        spelter: place.spelter.clone(),
        live: true,
        parallel: 2,
        gaps: programs::open(rows, place.version()),
    };
    matrix::run(&jobs, &settings)
}

/// Everything with each version, and the page.
fn run_all(options: &Options) -> Result<bool> {
    let spelter = workspace::spelter(options.bin.as_deref(), "release")?;
    let mut seen = Vec::new();
    for version in VERSIONS {
        let place = Place::open(tools(version)?)?;
        println!("OCaml {}", place.version().release);
        let rows = wanted(options, &place)?;
        place.fetch(rows.iter().flat_map(|row| row.packages(place.version())))?;
        let (place, loading) = load(place, &spelter)?;
        loading::print(&loading);
        let report = compare(&place, &rows, options)?;
        report.print(&mut std::io::stdout().lock())?;
        seen.push(Seen { release: place.version().release, loading, rows, report });
    }
    if options.filter.is_none() {
        table::write(&seen).context("the table of stub libraries")?;
    }
    Ok(seen.iter().all(|seen| seen.report.is_good()))
}
