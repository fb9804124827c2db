//! `cargo xtask stubs`: real stub libraries (`dll*.so`) under ocamlrun and under Spelter.
//!
//! - [`own`]: a library of ours in C (`xtask/fixtures/stubs`), which uses every function of OCaml's C interface;
//! - [`debian`]: the libraries of Debian's packages: which can be loaded, and what programs print that use them.

mod debian;
mod own;

use std::path::PathBuf;

use anyhow::Result;
use xtask::cc;
use xtask::engine::Engines;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only programs and libraries whose name contains this
    filter: Option<String>,
    /// Only our own library
    #[arg(long)]
    own: bool,
    /// Only Debian's libraries
    #[arg(long, conflicts_with = "own")]
    debian: bool,
    /// Try to load all of Debian's libraries, and write the table in docs/compatibility.md
    #[arg(long)]
    all: bool,
    /// Only try to load all of Debian's libraries
    #[arg(long, requires = "debian", conflicts_with = "all")]
    load: bool,
    /// Only those of Debian's programs that CI runs
    #[arg(long, conflicts_with = "all")]
    sample: bool,
    /// Only fetch the packages of Debian's programs
    #[arg(long, requires = "debian", conflicts_with = "all")]
    fetch: bool,
    /// The version of OCaml, made available by `cargo xtask ocaml`
    #[arg(long, default_value = "4.13")]
    ocaml: String,
    /// Our own library's programs under valgrind, instead of a comparison
    #[arg(long, requires = "own")]
    valgrind: bool,
    /// Our own library compiled with an address sanitizer, for a binary that has one (`cargo xtask sanitize`)
    #[arg(long, requires = "bin", conflicts_with_all = ["debian", "valgrind"])]
    sanitized: bool,
    /// The engines, as `cargo xtask conformance` takes them; by default all that trust code
    #[arg(long)]
    engines: Option<Engines>,
    /// The spelter binary; else $SPELTER_BIN, else a release build of this tree
    #[arg(long)]
    bin: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    if !cc::LOADS {
        println!("stubs: libraries in C are loaded on Linux on x86-64 only: not run");
        return Ok(true);
    }
    let mut good = true;
    if !options.debian {
        good &= own::run(options)?;
    }
    if !options.own {
        good &= debian::run(options)?;
    }
    Ok(good)
}
