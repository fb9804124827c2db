//! `cargo xtask`: the automation of this repository, one subcommand per task.
//!
//! The table below lists all tasks; each has its own file in `tasks/`.
#![forbid(unsafe_code)]

mod tasks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tasks::{
    bench, ci, compiler, conformance, files, fixtures, fuzz, items, ocaml, outside, package, sanitize, soak,
    stubs, tails, tidy,
};

/// One line per task, in the table's order; shown below the table by `--help`.
const EXAMPLES: &str = "Examples:
  cargo xtask ocaml 5.4                              compilers and sources of OCaml 5.4, below target/ocaml
  cargo xtask fixtures --check                       is the corpus what its sources say?
  cargo xtask conformance --engines tail exceptions/ some cases on the tail-dispatch engines
  cargo xtask conformance --live                     everything, against the installed ocamlrun
  cargo xtask conformance --upstream                 OCaml's own test suite, against the installed ocamlrun
  cargo xtask conformance --upstream --ocaml=5.4     the same of OCaml 5.4
  cargo xtask items --only stdlib                    ocamlc.byte compiles OCaml's standard library
  cargo xtask files --ocaml=5.4                      OCaml's own interfaces, units and a program
  cargo xtask compiler --ocaml=5.4                   spelter-compiler with OCaml 5.4's compiler and toplevel
  cargo xtask stubs --own                            a library in C that uses all of OCaml's C interface
  cargo xtask soak --cycles 1000000                  the long soak
  cargo xtask fuzz machine --seconds 600             ten minutes of generated programs
  cargo xtask sanitize                               corpus and fuzzing under an address sanitizer
  cargo xtask sanitize --stubs                       libraries in C under an address sanitizer
  cargo xtask bench --counts                         has anything become slower?
  cargo xtask bench --chains                         which chains earn their place?
  cargo xtask tidy                                   arrows, unsafe code, licences, what documents name
  cargo xtask ci --no-test                           all that CI checks besides the tests";

/// Spelter's own automation.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make versions of OCaml available below target/ocaml
    Ocaml(ocaml::Options),
    /// Compile the corpus with ocamlc 4.13.1 and record ocamlrun's output
    Fixtures(fixtures::Options),
    /// Run the corpus on every engine and compare with the recorded (or live) answers
    Conformance(conformance::Options),
    /// Compare with a live ocamlrun on real programs: ocamlc, the toplevel, Dynlink hosts
    Items(items::Options),
    /// Compare what spelter-bytecode reads, edits and links with what OCaml's own tools do, over all installed files
    Files(files::Options),
    /// Test spelter-compiler with a version's own compiler and toplevel
    Compiler(compiler::Options),
    /// Run programs that use stub libraries in C, of ours and of Debian's packages, under ocamlrun and under spelter
    Stubs(stubs::Options),
    /// Load, run and drop units repeatedly, and check that memory stays flat
    Soak(soak::Options),
    /// Fuzz the library with generated programs, damaged files and unusual hosts
    Fuzz(fuzz::Options),
    /// Run the corpus, the fuzzing targets and libraries in C with an address sanitizer; needs a nightly toolchain
    Sanitize(sanitize::Options),
    /// Time programs under ocamlrun and under spelter, or count their instructions
    Bench(bench::Options),
    /// Build and run crates outside the workspace that depend on ours, at each optimisation level
    Outside(outside::Options),
    /// Build each crate that others may depend on from what its package holds
    Package,
    /// Check that all handlers of tail dispatch end in a jump, at each optimisation level
    Tails(tails::Options),
    /// Check rules that the compiler does not: dependencies between crates, unsafe code, licences, names in
    /// documents, comments
    Tidy,
    /// Run all checks that must pass before a merge, in CI's order
    Ci(ci::Options),
}

fn main() -> ExitCode {
    let done = bench::measure::measured().unwrap_or_else(run);
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> anyhow::Result<bool> {
    match Cli::parse().task {
        Task::Ocaml(options) => ocaml::run(&options),
        Task::Fixtures(options) => fixtures::run(&options),
        Task::Conformance(options) => conformance::run(&options),
        Task::Items(options) => items::run(&options),
        Task::Files(options) => files::run(&options),
        Task::Compiler(options) => compiler::run(&options),
        Task::Stubs(options) => stubs::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Sanitize(options) => sanitize::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Outside(options) => outside::run(&options),
        Task::Package => package::run(),
        Task::Tails(options) => tails::run(&options),
        Task::Tidy => tidy::run(),
        Task::Ci(options) => ci::run(&options),
    }
}
