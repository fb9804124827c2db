//! `cargo xtask ocaml`: makes versions of OCaml available below `target/ocaml`.

use anyhow::Result;
use xtask::ocaml::{Named, VERSIONS, make};

const EXAMPLES: &str = "Examples:
  cargo xtask ocaml 5.4                              OCaml 5.4, for `cargo xtask conformance --ocaml=5.4`
  cargo xtask ocaml 4.14 5.1 5.3 5.4 5.5             all that the tests know; 4.13 is the system's
  cargo xtask ocaml                                  which versions there are

Each version is a folder of target/ocaml, with compilers, libraries and sources. Remove the folder to be rid of it;
run the command again after moving the repository. 5.3, 5.4 and 5.5 are Debian's packages, only unpacked: about ten
seconds and 0.4 GB each. 4.14 and 5.1 are built from npm's source packages: three to six minutes on two cores, and
0.3 GB each. 4.13 are the system's packages ocaml-nox and ocaml-source.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The versions: 4.13, 4.14, 5.1, 5.3, 5.4, 5.5
    #[arg(value_name = "VERSION")]
    versions: Vec<Named>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    if options.versions.is_empty() {
        for version in &VERSIONS {
            let state = match xtask::ocaml::Tools::find(version) {
                Ok(tools) => format!("{}", tools.programs.display()),
                Err(_) => format!("not here; `cargo xtask ocaml {}`", version.name),
            };
            println!("{:<5} {:<7} {state}", version.name, version.release);
        }
        return Ok(true);
    }
    for Named(version) in &options.versions {
        make(version)?;
    }
    Ok(true)
}
