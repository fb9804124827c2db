//! The `spelter` command: a drop-in for `ocamlrun`, and tools for OCaml bytecode.
#![deny(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod chart;
mod commands;
mod editor;
#[cfg(not(test))]
#[allow(unsafe_code, reason = "the process starts in C's `main`")]
mod entry;
mod launch;
mod limits;
mod ocamlrun;
mod report;
mod runparam;
mod sandbox;
#[allow(unsafe_code, reason = "a program is trusted unless `--checked` is given")]
mod trust;

use std::ffi::OsString;
use std::path::Path;

use clap::{Parser, Subcommand};
use spelter::Dispatch;

const VERSION: &str = match Dispatch::TAIL_CALLS {
    true => concat!(
        env!("CARGO_PKG_VERSION"),
        " (OCaml 4.13, 4.14, 5.0, 5.1, 5.2, 5.3, 5.4, 5.5 bytecode; dispatch: tail calls)"
    ),
    false => concat!(
        env!("CARGO_PKG_VERSION"),
        " (OCaml 4.13, 4.14, 5.0, 5.1, 5.2, 5.3, 5.4, 5.5 bytecode; dispatch: portable loop)"
    ),
};

const HELP: &str = "\
Examples:
  spelter demo                 load and free thousands of versions of a plug-in
  spelter run prog.byte        run a program compiled by ocamlc
  spelter repl                 OCaml's own toplevel, with line editing
  spelter new plugin rules     a Rust program with a plug-in in OCaml
  ln -s spelter ocamlrun       under that name, accept ocamlrun's own options";

/// Runs OCaml bytecode, and frees loaded code that has become unreachable.
#[derive(Parser, Debug)]
#[command(name = "spelter", version = VERSION, after_help = HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(commands::run::Run),
    Dis(commands::dis::Dis),
    Info(commands::info::Info),
    Verify(commands::verify::Verify),
    Eval(commands::eval::Eval),
    Repl(commands::repl::Repl),
    New(commands::new::New),
    Demo(commands::demo::Demo),
}

/// Executes the command line.
#[cfg_attr(test, allow(dead_code, reason = "the entry calls it"))]
fn run(args: Vec<OsString>) {
    if let Some((found, version)) = launch::appended() {
        commands::run::execute(found, version, args, commands::run::Settings::default());
    }
    let called_as = args.first().and_then(|name| Path::new(name).file_name());
    if called_as.is_some_and(|name| name == "ocamlrun") {
        ocamlrun::main(args[1..].to_vec());
    }
    let outcome = match Cli::parse_from(args).command {
        Command::Run(run) => run.run(),
        Command::Dis(dis) => dis.run(),
        Command::Info(info) => info.run(),
        Command::Verify(verify) => verify.run(),
        Command::Eval(eval) => eval.run(),
        Command::Repl(repl) => repl.run(),
        Command::New(new) => new.run(),
        Command::Demo(demo) => demo.run(),
    };
    if let Err(e) = outcome {
        eprintln!("spelter: {e:#}");
        std::process::exit(1);
    }
}
