//! `cargo xtask ci`: what must hold before a merge, each step with its time.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use xtask::workspace;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave `cargo test` out, where it has just run by itself
    #[arg(long)]
    no_test: bool,
}

/// The steps, in order: a name for the summary, the variable set for it, and cargo's arguments.
const STEPS: [(&str, Option<(&str, &str)>, &[&str]); 9] = [
    ("test", None, &["test", "--workspace"]),
    ("format", None, &["fmt", "--all", "--check"]),
    ("clippy", None, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ("docs", Some(("RUSTDOCFLAGS", "-Dwarnings")), &["doc", "--workspace", "--no-deps"]),
    ("tidy", None, &["xtask", "tidy"]),
    ("fixtures", None, &["xtask", "fixtures", "--check"]),
    ("release", None, &["build", "--release", "--package", "spelter-cli"]),
    ("conformance", None, &["xtask", "conformance", "--live"]),
    ("items", None, &["xtask", "items"]),
];

pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut good = true;
    let mut summary = Vec::new();
    for (name, variable, args) in STEPS {
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
