//! `cargo xtask compiler`: runs the tests of `spelter-compiler` with a version's own compiler and toplevel. They compile,
//! link, load, run and evaluate, and compare units with those that the version's `ocamlc` writes.

use anyhow::Result;
use xtask::ocaml::{Named, Tools};
use xtask::workspace;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The version of OCaml: 4.13, the system's, by default; others as `cargo xtask ocaml` makes them
    #[arg(long, value_name = "VERSION", default_value = "4.13", hide_default_value = true)]
    ocaml: Named,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let tools = Tools::find(options.ocaml.0)?;
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--quiet", "--package", "spelter-compiler", "--test", "all"]);
    let status = cargo.env("SPELTER_TEST_OCAML", &tools.library).status()?;
    println!("compiler: OCaml {} {}", tools.version.release, if status.success() { "ok" } else { "FAILED" });
    Ok(status.success())
}
