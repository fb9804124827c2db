//! `cargo xtask sanitize`: runs the corpus, the fuzzing targets, the library's tests of fibers, domains and threads, the
//! heap's of its safe interface, and libraries in C with an address sanitizer, which needs a nightly toolchain.
//!
//! Our own library is compiled for the sanitizer, too. Debian's are as they are: the sanitizer sees what they allocate and
//! free, and what they do with such memory by functions of the C library.
//!
//! It uses the loop instead of tail dispatch: for each variable whose address is taken, the sanitizer inserts code at
//! the end of the function, so that handlers could not end in jumps.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::process::{SANITIZER, path_text};
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
    /// Only libraries in C: our own, and Debian's that CI uses
    #[arg(long)]
    stubs: bool,
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

/// The engines on which libraries in C run. Each combination runs with `cargo xtask stubs`, without the sanitizer.
const OF_LIBRARIES: &str = "--engines=loop-carry-plain,loop-carry-torture";

pub(crate) fn run(options: &Options) -> Result<bool> {
    let folder = build(options)?;
    let rest = options.stubs || run_rest(options, &folder)?;
    Ok(run_libraries(options, &folder)? && rest)
}

/// All but libraries in C.
fn run_rest(options: &Options, folder: &Path) -> Result<bool> {
    let version = version(options);
    let mut corpus = vec!["conformance", &options.filter, "--engines", &options.engines];
    corpus.extend(version.as_deref());
    let corpus = task(&corpus, folder, "spelter", SETTINGS)?;
    let seconds = options.seconds.to_string();
    let targets = task(&["fuzz", "--seconds", &seconds], folder, "spelter-fuzzing", SETTINGS)?;
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

/// Libraries in C. What they print to standard error is compared, so the sanitizer writes to files.
fn run_libraries(options: &Options, folder: &Path) -> Result<bool> {
    let reports = target()?.join("reports");
    if reports.exists() {
        fs::remove_dir_all(&reports)?;
    }
    fs::create_dir_all(&reports)?;
    let settings = format!("{SETTINGS}:log_path={}/report", path_text(&reports)?);
    let version = version(options);
    let run = |words: &[&str]| {
        let words: Vec<&str> = ["stubs"].iter().chain(words).copied().chain(version.as_deref()).collect();
        task(&words, folder, "spelter", &settings)
    };
    let mut good = run(&["--own", "--sanitized", OF_LIBRARIES])?;
    if run(&["--debian", "--sample", "--fetch"])? {
        good &= run(&["--debian", "--sample", OF_LIBRARIES])?;
    } else {
        println!("sanitize: Debian's libraries are not available: not run");
    }
    Ok(tell(&reports)? && good)
}

/// Prints what the sanitizer has found, and says whether that is nothing. Warnings of allocations that are too large are
/// no findings.
fn tell(reports: &Path) -> Result<bool> {
    let mut good = true;
    for file in fs::read_dir(reports)? {
        let text = String::from_utf8_lossy(&fs::read(file?.path())?).into_owned();
        if text.contains("ERROR: AddressSanitizer") {
            println!("{text}");
            good = false;
        }
    }
    Ok(good)
}

/// The option that chooses a version of OCaml.
fn version(options: &Options) -> Option<String> {
    options.ocaml.as_ref().map(|version| format!("--ocaml={version}"))
}

/// Builds the command, and the targets if they are to run, and returns their folder.
fn build(options: &Options) -> Result<PathBuf> {
    let mut build = cargo("build")?;
    build.args(["--package", "spelter-cli"]);
    if !options.stubs {
        build.args(["--package", "spelter-fuzzing"]);
    }
    let status = build.status()?;
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
fn task(args: &[&str], folder: &Path, binary: &str, settings: &str) -> Result<bool> {
    let status = Command::new(std::env::current_exe()?)
        .args(args)
        .arg("--bin")
        .arg(folder.join(binary))
        .env(SANITIZER, settings)
        .status()?;
    Ok(status.success())
}
