//! `spelter eval`: evaluates phrases in OCaml's own toplevel.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use spelter_compiler::{Answer, Error, Installation, Severity, Toplevel};

use super::print;

const HELP: &str = "\
Examples:
  spelter eval '1 + 2'
  spelter eval 'let rec fac n = if n = 0 then 1 else n * fac (n - 1)' 'fac 20'
  spelter eval - < phrases.ml
  spelter eval -I +str '#load \"str.cma\";; Str.split (Str.regexp \" +\") \"a  b\"'

The toplevel is that of the installed OCaml (OCAMLLIB chooses one). Phrases reach no files and nothing else outside; what
they print and their values go to stdout, warnings and errors to stderr. The exit code is 1 after an error or an exception.";

/// Evaluate OCaml phrases, and print their values
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Eval {
    /// Look for units and libraries in this folder; `+NAME` is one in OCaml's library folder. May be repeated
    #[arg(short = 'I', value_name = "DIR")]
    include: Vec<PathBuf>,
    /// Stop phrases that burn more fuel: each call and each iteration of a loop burns one unit
    #[arg(long, value_name = "UNITS")]
    fuel: Option<u64>,
    /// Stop phrases that take longer
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Phrases, each argument after the other; `-` reads them from stdin. The last `;;` may be absent
    #[arg(required = true, value_name = "PHRASES", allow_hyphen_values = true)]
    phrases: Vec<String>,
}

impl Eval {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut builder =
            self.include.iter().fold(Toplevel::builder(), |builder, folder| builder.include(folder));
        if let Some(units) = self.fuel {
            builder = builder.fuel(units);
        }
        if let Some(seconds) = self.seconds {
            builder = builder.time_limit(Duration::from_secs(seconds));
        }
        let mut toplevel = builder.start(&Installation::find()?)?;
        for phrases in &self.phrases {
            let text = match phrases.as_str() {
                "-" => stdin()?,
                text => text.to_owned(),
            };
            match toplevel.eval(&text) {
                Ok(answer) => {
                    show(&answer)?;
                    if !answer.good {
                        std::process::exit(1);
                    }
                }
                Err(Error::Machine(spelter::Error::Exit(code))) => {
                    show(&toplevel.rest())?;
                    std::process::exit(code)
                }
                Err(error) => {
                    show(&toplevel.rest())?;
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
}

fn stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("stdin")?;
    Ok(text)
}

/// Values to stdout, messages to stderr.
fn show(answer: &Answer) -> anyhow::Result<()> {
    let mut values = answer.text.clone();
    let mut messages = String::new();
    for one in &answer.diagnostics {
        if let Some(at) = values.find(one.text.as_str()) {
            values.replace_range(at..at + one.text.len(), "");
        }
        messages += &one.text;
    }
    let is_error = |one: &spelter_compiler::Diagnostic| one.severity == Severity::Error;
    if !answer.good && !answer.diagnostics.iter().any(is_error) {
        // An exception, which is the last answer.
        let line = values.rfind("\nException: ").map(|at| at + 1);
        let at = line.or_else(|| values.starts_with("Exception: ").then_some(0)).unwrap_or(values.len());
        messages += &values.split_off(at);
    }
    print(&[answer.printed.as_str(), &values].concat())?;
    // Errors of stderr cannot be reported.
    let _ = std::io::stderr().write_all([answer.error_output.as_str(), &messages].concat().as_bytes());
    Ok(())
}
