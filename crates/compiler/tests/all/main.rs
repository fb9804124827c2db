//! Tests with the OCaml of the system, and with others that are made available below `target/ocaml`: one of them if
//! `SPELTER_TEST_OCAML` names its library directory, as `cargo xtask compiler` sets it.

mod compiling;
mod evaluating;

use std::path::PathBuf;

use spelter_compiler::{Compiler, Installation};

/// The installation to test with.
fn installation() -> Installation {
    let library =
        std::env::var_os("SPELTER_TEST_OCAML").map_or_else(|| "/usr/lib/ocaml".into(), PathBuf::from);
    Installation::at(library).expect("an installation")
}

fn compiler() -> Compiler {
    Compiler::new(installation()).expect("its compiler")
}
