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
}

/// A step without an environment variable.
const fn step(name: &'static str, args: &'static [&'static str]) -> Step {
    Step { name, variable: None, args }
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
const STEPS: [Step; 26] = [
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
    // 5.4 in full, and a sample of every other version, always the same.
    step("ocaml", &["xtask", "ocaml", "4.14", "5.1", "5.3", "5.4", "5.5"]),
    step("corpus 5.4", &["xtask", "conformance", "--ocaml=5.4"]),
    step("suite 5.4", &["xtask", "conformance", "--upstream", "--ocaml=5.4", "--check"]),
    step("items 5.4", &["xtask", "items", "--ocaml=5.4"]),
    step("suite 4.14", &["xtask", "conformance", "--upstream", "--ocaml=4.14", "--sample=80"]),
    step("suite 5.1", &["xtask", "conformance", "--upstream", "--ocaml=5.1", "--sample=80"]),
    step("suite 5.3", &["xtask", "conformance", "--upstream", "--ocaml=5.3", "--sample=80"]),
    step("suite 5.5", &["xtask", "conformance", "--upstream", "--ocaml=5.5", "--sample=80"]),
    step("counts", &["xtask", "bench", "--counts"]),
    step("fuzz", &["xtask", "fuzz", "--seconds", "240"]),
    step("soak", &["xtask", "soak", "--cycles", "100000"]),
];

pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut good = true;
    let mut summary = Vec::new();
    for Step { name, variable, args } in STEPS {
        if name == "test" && options.no_test {
            continue;
        }
        println!("=== {name}: cargo {}", args.join(" "));
        let start = Instant::now();
        let passed = cargo(variable, args)?;
        let line = format!(
            "{name:<12} {:>7.1} s  {}",
            start.elapsed().as_secs_f64(),
            if passed { "ok" } else { "FAILED" }
        );
        println!("=== {line}");
        summary.push(line);
        good &= passed;
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
