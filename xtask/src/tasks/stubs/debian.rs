//! The stub libraries of Debian's packages.

use anyhow::Result;

pub(super) fn run(_options: &super::Options) -> Result<bool> {
    anyhow::bail!("not written yet")
}
