//! `cargo xtask ci`: runs the checks that must pass before a merge, and prints each step's time.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use xtask::workspace;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Skip `cargo test`, if it has just run separately
    #[arg(long)]
    no_test: bool,
}

/// One step: its name, a variable to set for it, and cargo's arguments.
struct Step {
    name: &'static str,
    variable: Option<(&'static str, &'static str)>,
    args: &'static [&'static str],
    ocaml: Ocaml,
}

/// What a step has to do with other versions of OCaml, and with packages of libraries.
#[derive(Clone, Copy)]
enum Ocaml {
    /// Nothing: it needs the system's version only.
    System,
    /// It makes a version, or the packages for it, available. Where that fails, as on a machine that cannot reach its
    /// packages, the steps that need it are not run, and the summary says so.
    Provides(&'static str),
    /// It needs what another step has made available.
    Needs(&'static str),
}

/// A step without an environment variable.
const fn step(name: &'static str, args: &'static [&'static str]) -> Step {
    Step { name, variable: None, args, ocaml: Ocaml::System }
}

/// The step that makes a version, or packages, available.
const fn provide(version: &'static str, name: &'static str, args: &'static [&'static str]) -> Step {
    Step { ocaml: Ocaml::Provides(version), ..step(name, args) }
}

/// A step that needs a version, or packages.
const fn with(version: &'static str, name: &'static str, args: &'static [&'static str]) -> Step {
    Step { ocaml: Ocaml::Needs(version), ..step(name, args) }
}

/// The tests of the facade and the command, and the recorded corpus.
const PORTABLE: [&str; 11] = [
    "test",
    "--package",
    "spelter",
    "--package",
    "spelter-cli",
    "--package",
    "xtask",
    "--test",
    "all",
    "--test",
    "conformance",
];

/// The steps, in order.
const STEPS: [Step; 39] = [
    step("test", &["test", "--workspace"]),
    // The configuration without reliable tail calls: see crates/interp/build.rs.
    Step { variable: Some(("RUSTFLAGS", "--cfg spelter_portable")), ..step("portable", &PORTABLE) },
    step("format", &["fmt", "--all", "--check"]),
    step("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    Step {
        variable: Some(("RUSTDOCFLAGS", "-Dwarnings")),
        ..step("docs", &["doc", "--workspace", "--no-deps"])
    },
    step("tidy", &["xtask", "tidy"]),
    // Some recorded programs are 5.4's.
    provide("OCaml 5.4", "ocaml 5.4", &["xtask", "ocaml", "5.4"]),
    step("fixtures", &["xtask", "fixtures", "--check"]),
    step("release", &["build", "--release", "--package", "spelter-cli"]),
    step("layout", &["xtask", "bench", "--check-layout"]),
    step("tails", &["xtask", "tails"]),
    step("outside", &["xtask", "outside"]),
    step("package", &["xtask", "package"]),
    step("conformance", &["xtask", "conformance", "--live"]),
    step("upstream", &["xtask", "conformance", "--upstream", "--check"]),
    step("items", &["xtask", "items"]),
    step("files", &["xtask", "files"]),
    // The other versions, made available first: 5.4 in full, samples of the others, always the same. The page is not
    // checked, because it depends on the machine which cases of these suites are too slow or vary.
    with("OCaml 5.4", "suite 5.4", &["xtask", "conformance", "--upstream", "--ocaml=5.4"]),
    with("OCaml 5.4", "corpus 5.4", &["xtask", "conformance", "--ocaml=5.4"]),
    with("OCaml 5.4", "items 5.4", &["xtask", "items", "--ocaml=5.4"]),
    with("OCaml 5.4", "files 5.4", &["xtask", "files", "--ocaml=5.4"]),
    with("OCaml 5.4", "compiler 5.4", &["xtask", "compiler", "--ocaml=5.4"]),
    provide("OCaml 5.5", "ocaml 5.5", &["xtask", "ocaml", "5.5"]),
    with("OCaml 5.5", "suite 5.5", &["xtask", "conformance", "--upstream", "--ocaml=5.5", "--sample=100"]),
    with("OCaml 5.5", "files 5.5", &["xtask", "files", "--ocaml=5.5"]),
    provide("OCaml 5.3", "ocaml 5.3", &["xtask", "ocaml", "5.3"]),
    with("OCaml 5.3", "suite 5.3", &["xtask", "conformance", "--upstream", "--ocaml=5.3", "--sample=100"]),
    provide("OCaml 5.1", "ocaml 5.1", &["xtask", "ocaml", "5.1"]),
    with("OCaml 5.1", "suite 5.1", &["xtask", "conformance", "--upstream", "--ocaml=5.1", "--sample=100"]),
    provide("OCaml 4.14", "ocaml 4.14", &["xtask", "ocaml", "4.14"]),
    with("OCaml 4.14", "suite 4.14", &["xtask", "conformance", "--upstream", "--ocaml=4.14", "--sample=100"]),
    // Stub libraries: ours, and programs that use Debian's.
    step("stubs", &["xtask", "stubs", "--own"]),
    provide("packages 4.13", "packages", &["xtask", "stubs", "--debian", "--sample", "--fetch"]),
    with("packages 4.13", "stubs debian", &["xtask", "stubs", "--debian", "--sample"]),
    provide(
        "packages 5.4",
        "packages 5.4",
        &["xtask", "stubs", "--debian", "--sample", "--fetch", "--ocaml=5.4"],
    ),
    with("packages 5.4", "stubs 5.4", &["xtask", "stubs", "--debian", "--sample", "--ocaml=5.4"]),
    step("counts", &["xtask", "bench", "--counts"]),
    step("fuzz", &["xtask", "fuzz", "--seconds", "240"]),
    step("soak", &["xtask", "soak", "--cycles", "100000"]),
];

pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut good = true;
    let mut summary = Vec::new();
    let mut available = Vec::new();
    for Step { name, variable, args, ocaml } in STEPS {
        if name == "test" && options.no_test {
            continue;
        }
        if let Ocaml::Needs(version) = ocaml
            && !available.contains(&version)
        {
            summary.push(format!("{name:<12}            NOT RUN: {version} is not available"));
            continue;
        }
        println!("=== {name}: cargo {}", args.join(" "));
        let start = Instant::now();
        let passed = cargo(variable, args)?;
        let outcome = match (passed, ocaml) {
            (true, _) => "ok",
            (false, Ocaml::Provides(_)) => "NOT AVAILABLE",
            (false, _) => {
                good = false;
                "FAILED"
            }
        };
        if let (true, Ocaml::Provides(version)) = (passed, ocaml) {
            available.push(version);
        }
        let line = format!("{name:<12} {:>7.1} s  {outcome}", start.elapsed().as_secs_f64());
        println!("=== {line}");
        summary.push(line);
    }
    println!("\n{}", summary.join("\n"));
    Ok(good)
}

fn cargo(variable: Option<(&str, &str)>, args: &[&str]) -> Result<bool> {
    let mut command: Command = workspace::cargo();
    if let Some((key, value)) = variable {
        command.env(key, value);
    }
    Ok(command.args(args).status()?.success())
}
