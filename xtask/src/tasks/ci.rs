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
    /// Whether it needs the compilers of other versions.
    compilers: bool,
}

/// The step that makes the compilers of other versions available. Where they cannot be fetched, what needs them is not run,
/// and the summary says so.
const COMPILERS: &str = "ocaml 5.4";

/// A step without an environment variable.
const fn step(name: &'static str, args: &'static [&'static str]) -> Step {
    Step { name, variable: None, args, compilers: false }
}

/// A step that needs the compilers of other versions.
const fn with_compilers(name: &'static str, args: &'static [&'static str]) -> Step {
    Step { compilers: true, ..step(name, args) }
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
const STEPS: [Step; 20] = [
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
    step("fixtures", &["xtask", "fixtures", "--check"]),
    step("release", &["build", "--release", "--package", "spelter-cli"]),
    step("layout", &["xtask", "bench", "--check-layout"]),
    step("tails", &["xtask", "tails"]),
    step("outside", &["xtask", "outside"]),
    step("package", &["xtask", "package"]),
    step("conformance", &["xtask", "conformance", "--live"]),
    step("upstream", &["xtask", "conformance", "--upstream", "--check"]),
    step("items", &["xtask", "items"]),
    // Another version, whose packages must be fetched first: a sample, always the same.
    step(COMPILERS, &["xtask", "ocaml", "5.4"]),
    with_compilers("suite 5.4", &["xtask", "conformance", "--upstream", "--ocaml=5.4", "--sample=100"]),
    step("counts", &["xtask", "bench", "--counts"]),
    step("fuzz", &["xtask", "fuzz", "--seconds", "240"]),
    step("soak", &["xtask", "soak", "--cycles", "100000"]),
];

pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut good = true;
    let mut summary = Vec::new();
    let mut have_compilers = false;
    for Step { name, variable, args, compilers } in STEPS {
        if name == "test" && options.no_test {
            continue;
        }
        if compilers && !have_compilers {
            summary.push(format!("{name:<12}            NOT RUN: no compilers of that version"));
            continue;
        }
        println!("=== {name}: cargo {}", args.join(" "));
        let start = Instant::now();
        let passed = cargo(variable, args)?;
        let outcome = match passed {
            true => "ok",
            false if name == COMPILERS => "NOT AVAILABLE",
            false => "FAILED",
        };
        let line = format!("{name:<12} {:>7.1} s  {outcome}", start.elapsed().as_secs_f64());
        println!("=== {line}");
        summary.push(line);
        have_compilers |= passed && name == COMPILERS;
        good &= passed || name == COMPILERS;
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
