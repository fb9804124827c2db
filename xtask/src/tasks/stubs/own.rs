//! A library of ours in C, which uses every function of OCaml's C interface.

use anyhow::Result;

pub(super) fn run(_options: &super::Options) -> Result<bool> {
    anyhow::bail!("not written yet")
}
