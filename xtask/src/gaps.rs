//! Known gaps: a committed list of cases that are expected to fail, each with a reason.
//!
//! A listed case that passes fails the run, so that the list stays current.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::engine::has_word;
use crate::ocaml::{Named, Version};
use crate::workspace;

/// One entry of `xtask/expected.toml` or `xtask/upstream.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// The case's name.
    pub case: String,
    /// The engine's name, a word of it, or `*` for all engines.
    pub engine: String,
    /// The versions of OCaml with which it fails; empty for all of them.
    #[serde(default)]
    pub ocaml: Vec<String>,
    /// Why it fails.
    pub reason: String,
}

/// The whole list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gaps {
    /// The gaps, in the file's order.
    #[serde(default)]
    pub gap: Vec<Gap>,
}

impl Gaps {
    /// Reads the committed list.
    ///
    /// # Errors
    ///
    /// If the file is missing or malformed, or a gap has no reason.
    pub fn load() -> Result<Self> {
        Self::load_from("xtask/expected.toml", Version::of_system())
    }

    /// Reads the committed list, as far as it is about a version of OCaml.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn load_for(version: &Version) -> Result<Self> {
        Self::load_from("xtask/expected.toml", version)
    }

    /// Reads the list for OCaml's own test suite of a version.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn load_upstream(version: &Version) -> Result<Self> {
        Self::load_from("xtask/upstream.toml", version)
    }

    fn load_from(file: &str, version: &Version) -> Result<Self> {
        let path = workspace::root().join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut gaps: Self = toml::from_str(&text).with_context(|| format!("in {file}"))?;
        for gap in &gaps.gap {
            anyhow::ensure!(!gap.reason.trim().is_empty(), "{file}: {} has no reason", gap.case);
            for name in &gap.ocaml {
                name.parse::<Named>().map_err(|why| anyhow::anyhow!("{file}: {}: {why}", gap.case))?;
            }
        }
        gaps.gap.retain(|gap| gap.ocaml.is_empty() || gap.ocaml.iter().any(|name| name == version.name));
        Ok(gaps)
    }

    /// The gap that covers a case on an engine.
    pub fn find(&self, case: &str, engine: &str) -> Option<&Gap> {
        self.gap.iter().find(|gap| gap.case == case && (gap.engine == "*" || has_word(engine, &gap.engine)))
    }
}
