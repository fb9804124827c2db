//! `cargo xtask`: everything that is done to this repository, one word per task.
//!
//! The table below is the whole of it; each word has its own file in `tasks/`.
#![forbid(unsafe_code)]

mod tasks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tasks::{ci, conformance, fixtures, items, tidy};

/// Spelter's own automation.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compile the corpus with ocamlc 4.13.1 and record what ocamlrun answers
    ///
    /// Example: cargo xtask fixtures --check
    #[command(verbatim_doc_comment)]
    Fixtures(fixtures::Options),
    /// Run the corpus on every engine and compare with the recorded (or live) answers
    ///
    /// Example: cargo xtask conformance --engines tail,carry exceptions/
    #[command(verbatim_doc_comment)]
    Conformance(conformance::Options),
    /// Compare with a live ocamlrun on real programs: ocamlc, the toplevel, Dynlink hosts
    ///
    /// Example: cargo xtask items --only toplevel
    #[command(verbatim_doc_comment)]
    Items(items::Options),
    /// Check what the compiler does not: arrows between crates, headers, fences, words
    ///
    /// Example: cargo xtask tidy
    #[command(verbatim_doc_comment)]
    Tidy,
    /// Everything that must hold before a merge, in the order in which CI runs it
    ///
    /// Example: cargo xtask ci --no-test
    #[command(verbatim_doc_comment)]
    Ci(ci::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Fixtures(options) => fixtures::run(&options),
        Task::Conformance(options) => conformance::run(&options),
        Task::Items(options) => items::run(&options),
        Task::Tidy => tidy::run(),
        Task::Ci(options) => ci::run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
