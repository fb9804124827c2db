//! `cargo xtask sanitize`: runs the corpus, the fuzzing targets, the library's tests of fibers, domains and threads, and
//! the heap's of its safe interface with an address sanitizer, which needs a nightly toolchain.
//!
//! It uses the loop instead of tail dispatch: for each variable whose address is taken, the sanitizer inserts code at
//! the end of the function, so that handlers could not end in jumps.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::process::SANITIZER;
use xtask::workspace;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only cases of the corpus whose name contains this
    #[arg(default_value = "", hide_default_value = true)]
    filter: String,
    /// The engines on which the corpus runs, as `cargo xtask conformance` takes them
    #[arg(long, default_value = "loop,checked")]
    engines: String,
    /// Run the corpus compiled by this version of OCaml, instead of the recorded one
    #[arg(long, value_name = "VERSION")]
    ocaml: Option<String>,
    /// The total time of the fuzzing targets
    #[arg(long, default_value_t = 360)]
    seconds: u64,
}

const FLAGS: &str = "-Zsanitizer=address --cfg spelter_portable";

/// Tests, with their crates: those that switch between stacks, and those of the heap's safe interface.
const TESTS: [(&str, &[&str]); 2] = [
    ("spelter", &["effects::", "domains::", "threads::"]),
    ("spelter-heap", &["scopes::", "lisp::", "safe::"]),
];

/// Programs of the corpus are killed by signals, and request more memory than is available. Memory owned by OCaml's
/// blocks is left to the system when the command ends.
const SETTINGS: &str = "detect_leaks=0:allocator_may_return_null=1:handle_segv=0:handle_sigfpe=0:handle_sigbus=0:\
                        handle_sigill=0:handle_abort=0";

pub(crate) fn run(options: &Options) -> Result<bool> {
    let folder = build()?;
    let version = options.ocaml.as_ref().map(|version| format!("--ocaml={version}"));
    let mut corpus = vec!["conformance", &options.filter, "--engines", &options.engines];
    corpus.extend(version.as_deref());
    let corpus = task(&corpus, &folder, "spelter")?;
    let seconds = options.seconds.to_string();
    let targets = task(&["fuzz", "--seconds", &seconds], &folder, "spelter-fuzzing")?;
    let mut succeeded = corpus && targets;
    for (package, filters) in TESTS {
        let mut tests = cargo("test")?;
        tests.args(["--package", package, "--test", "all", "--"]).args(filters);
        // What must not compile is tested elsewhere.
        tests.args(["--skip", "stale_values_do_not_compile"]).env(SANITIZER, SETTINGS);
        succeeded &= tests.status()?.success();
    }
    Ok(succeeded)
}

/// Builds the command and the targets, and returns their folder.
fn build() -> Result<PathBuf> {
    let status =
        cargo("build")?.args(["--package", "spelter-cli", "--package", "spelter-fuzzing"]).status()?;
    ensure!(status.success(), "no sanitized build; it takes `rustup toolchain install nightly`");
    Ok(target()?.join(host()?).join("fuzz"))
}

fn target() -> Result<PathBuf> {
    Ok(workspace::target()?.join("sanitize"))
}

/// A command of cargo's, for sanitized code.
fn cargo(subcommand: &str) -> Result<Command> {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(workspace::root())
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env("RUSTFLAGS", FLAGS)
        .args(["+nightly", subcommand, "--quiet", "--profile", "fuzz", "--target", &host()?, "--target-dir"])
        .arg(target()?);
    Ok(cargo)
}

/// The host's target triple: without an explicit target, build scripts would be sanitized, too.
fn host() -> Result<String> {
    let said = Command::new("rustc").arg("-vV").output().context("rustc")?;
    let said = String::from_utf8(said.stdout)?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not tell its host")?.to_owned())
}

/// Another of our tasks, with a sanitized binary.
fn task(args: &[&str], folder: &Path, binary: &str) -> Result<bool> {
    let status = Command::new(std::env::current_exe()?)
        .args(args)
        .arg("--bin")
        .arg(folder.join(binary))
        .env(SANITIZER, SETTINGS)
        .status()?;
    Ok(status.success())
}
