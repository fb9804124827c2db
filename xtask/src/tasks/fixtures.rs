//! `cargo xtask fixtures`: compiles the corpus and records ocamlrun's output.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use xtask::bare::BareLibrary;
use xtask::corpus::{Case, Corpus, MANIFEST, Program, Recorded, is_ours, md5_hex, recorded_under};
use xtask::ocaml::{Named, Tools, Version};
use xtask::process::path_text;
use xtask::recipe::{Recipe, Run};
use xtask::{matrix, workspace};

/// The replacement for the build folder in debug data, so that no local paths are committed.
const BUILD_FOLDER: &str = "/fixtures";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write nothing; fail if the committed files differ from what would be written
    #[arg(long)]
    check: bool,
    /// With --check: compare digests only, even if OCaml is installed
    #[arg(long)]
    offline: bool,
}

/// A compiled and executed program: its entry in the manifest, and the contents of its generated files.
struct Made {
    program: Program,
    generated: BTreeMap<String, Vec<u8>>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    if options.check && (options.offline || !workspace::has_ocaml()) {
        return check_digests();
    }
    workspace::need_ocaml()?;
    let made = make_all()?;
    let corpus = Corpus {
        compiler: format!("ocamlc {}", workspace::OCAML_VERSION),
        program: made.iter().map(|made| made.program.clone()).collect(),
    };
    let header = "# Written by `cargo xtask fixtures`; edit the sources instead.\n\n";
    let manifest = format!("{header}{}", toml::to_string(&corpus)?);
    let mut files: BTreeMap<String, Vec<u8>> = made.into_iter().flat_map(|made| made.generated).collect();
    files.insert(MANIFEST.to_owned(), manifest.into_bytes());
    if options.check { compare(&files, &corpus) } else { write(&files, &corpus) }
}

fn check_digests() -> Result<bool> {
    let wrong = Corpus::load()?.stale()?;
    for line in &wrong {
        println!("fixtures: {line}");
    }
    if wrong.is_empty() {
        println!("fixtures: every file is as it was recorded");
    } else {
        println!(
            "fixtures: run `cargo xtask fixtures` where OCaml {} is installed",
            workspace::OCAML_VERSION
        );
    }
    Ok(wrong.is_empty())
}

fn compare(files: &BTreeMap<String, Vec<u8>>, corpus: &Corpus) -> Result<bool> {
    let mut good = true;
    for (name, bytes) in files {
        if fs::read(workspace::fixtures().join(name)).ok().as_deref() != Some(bytes) {
            println!("fixtures: {name} is not what OCaml {} makes today", workspace::OCAML_VERSION);
            good = false;
        }
    }
    for line in corpus.stale()? {
        println!("fixtures: {line}");
        good = false;
    }
    if good {
        println!("fixtures: {} programs compiled and run again, nothing differs", corpus.program.len());
    }
    Ok(good)
}

fn write(files: &BTreeMap<String, Vec<u8>>, corpus: &Corpus) -> Result<bool> {
    let folder = workspace::fixtures();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).with_context(|| format!("cannot write {name}"))?;
    }
    let known: BTreeSet<&String> =
        corpus.program.iter().flat_map(|program| program.files.keys()).chain(files.keys()).collect();
    for file in recorded_under(&folder)? {
        if is_ours(&file) && !known.contains(&file) {
            ensure!(
                ![".ml", ".mli", ".mll", ".mly"].iter().any(|end| file.ends_with(end)),
                "{file} is neither a program nor a source of one"
            );
            println!("fixtures: removing {file}, which no program makes any more");
            fs::remove_file(folder.join(file))?;
        }
    }
    let cases: usize = corpus.program.iter().map(|program| program.run.len()).sum();
    println!("fixtures: {} programs, {cases} cases recorded", corpus.program.len());
    Ok(true)
}

/// Compiles and runs each program. Sources that another program lists are not programs themselves.
fn make_all() -> Result<Vec<Made>> {
    let folder = workspace::fixtures();
    let mut recipes = BTreeMap::new();
    let mut parts = BTreeSet::new();
    for file in recorded_under(&folder)? {
        if let Some(name) = file.strip_suffix(".ml") {
            let source =
                fs::read_to_string(folder.join(&file)).with_context(|| format!("cannot read {file}"))?;
            let recipe = Recipe::of_source(&source).with_context(|| file.clone())?;
            parts.extend(recipe.sources.iter().map(|part| beside(name, part)));
            recipes.insert(name.to_owned(), recipe);
        }
    }
    recipes.retain(|name, recipe| recipe.since.is_none() && !parts.contains(&format!("{name}.ml")));
    let library = BareLibrary::make()?;
    recipes.iter().map(|(name, recipe)| make(name, recipe, &library).with_context(|| name.clone())).collect()
}

/// What compiles a program and answers: nothing if it is not on this machine.
fn tools_for(recipe: &Recipe) -> Result<Option<Tools>> {
    let version = match &recipe.recorded_with {
        None => Version::of_system(),
        Some(name) => name.parse::<Named>().map_err(|why| anyhow!(why))?.0,
    };
    match Tools::find(version) {
        Ok(tools) => Ok(Some(tools)),
        Err(_) if recipe.recorded_with.is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A program of another version stays as it was recorded where its compiler is missing.
fn keep(name: &str, recipe: &Recipe) -> Result<Made> {
    let version = recipe.recorded_with.as_deref().unwrap_or_default();
    let advice = || format!("it needs OCaml {version}: run `cargo xtask ocaml {version}`");
    let old = Corpus::load()?.program.into_iter().find(|program| program.name == name);
    let program = old.with_context(advice)?;
    let changed = program.changed();
    ensure!(changed.is_empty(), "{}\n{}", changed.join("\n"), advice());
    println!("fixtures: {name} is as it was recorded, because OCaml {version} is not here");
    Ok(Made { program, generated: BTreeMap::new() })
}

/// The name of a file in the folder of the program called `program`.
fn beside(program: &str, file: &str) -> String {
    program.rsplit_once('/').map_or_else(|| file.to_owned(), |(folder, _)| format!("{folder}/{file}"))
}

fn make(name: &str, recipe: &Recipe, library: &BareLibrary) -> Result<Made> {
    let Some(tools) = tools_for(recipe)? else { return keep(name, recipe) };
    let fixtures = workspace::fixtures();
    let stem = name.rsplit('/').next().unwrap_or(name);
    let source = format!("{stem}.ml");
    let build_folder = tempfile::tempdir()?;
    let mut program = Program {
        name: name.to_owned(),
        ocaml: recipe.recorded_with.clone(),
        build: recipe.build.clone(),
        products: recipe.products.clone(),
        files: BTreeMap::new(),
        run: Vec::new(),
    };
    if program.build.is_empty() {
        let flags: String = recipe.flags.iter().map(|flag| format!("{flag} ")).collect();
        program.build.push(format!("ocamlc {flags}-o {stem}.byte {source}"));
    }
    for part in recipe.sources.iter().chain([&source]) {
        let file = beside(name, part);
        let bytes = fs::read(fixtures.join(&file)).with_context(|| format!("cannot read {file}"))?;
        program.files.insert(file, md5_hex(&bytes));
        let place = Path::new(part).file_name().context("a source has a name")?;
        fs::write(build_folder.path().join(place), bytes)?;
    }
    for command in &program.build {
        let library = (recipe.recorded_with.is_none() && has_debug_data(recipe)).then_some(library);
        build(command, build_folder.path(), &tools, library)?;
    }
    let mut generated = BTreeMap::new();
    for product in recipe.products.iter().chain([&program.executable()]) {
        if !recipe.sources.contains(product) {
            let bytes = fs::read(build_folder.path().join(product))
                .with_context(|| format!("the build made no {product}"))?;
            generated.insert(beside(name, product), bytes);
        }
    }
    let made = Made { program, generated };
    record(made, &recipe.run, build_folder.path(), &tools)
}

/// Whether the program is linked with debug data.
fn has_debug_data(recipe: &Recipe) -> bool {
    let words = recipe.build.iter().flat_map(|command| command.split_whitespace());
    words.chain(recipe.flags.iter().map(String::as_str)).any(|word| word == "-g")
}

fn build(command: &str, folder: &Path, tools: &Tools, library: Option<&BareLibrary>) -> Result<()> {
    let mapping = format!("{BUILD_FOLDER}={}", path_text(folder)?);
    let mut shell = tools.command("sh");
    if let Some(library) = library {
        library.serve(&mut shell, folder)?;
    }
    let done =
        shell.args(["-c", command]).current_dir(folder).env("BUILD_PATH_PREFIX_MAP", mapping).output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() || !said.is_empty() {
        bail!("`{command}` said:\n{said}");
    }
    Ok(())
}

/// Runs each case of the program twice, because an answer that changes cannot be recorded.
fn record(mut made: Made, runs: &[Run], build_folder: &Path, tools: &Tools) -> Result<Made> {
    let mut seen = BTreeSet::new();
    for run in runs {
        ensure!(seen.insert(&run.name), "two runs are called '{}'", run.name);
        ensure!(!run.debugger, "run '{}' needs a debugger, and so belongs to xtask/fixtures5", run.name);
        let recorded = Recorded { run: run.clone(), exit: 0 };
        let case = Case { program: &made.program, recorded: &recorded };
        let answer = matrix::ask_in(case, build_folder, tools)?;
        let again = matrix::ask_in(case, build_folder, tools)?;
        if let Some(difference) = xtask::diff::answers(&answer, &again) {
            bail!("run '{}' answers differently each time:\n{difference}", run.name);
        }
        for (stream, bytes) in [("stdout", answer.stdout), ("stderr", answer.stderr)] {
            if !bytes.is_empty() {
                made.generated.insert(made.program.answer_file(run, stream), bytes);
            }
        }
        made.program.run.push(Recorded { run: run.clone(), exit: answer.exit });
    }
    for (file, bytes) in &made.generated {
        made.program.files.insert(file.clone(), md5_hex(bytes));
    }
    Ok(made)
}
