//! Known gaps: a committed list of cases that are expected to fail, each with a reason.
//!
//! A listed case that passes fails the run, so that the list stays current.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::engine::has_word;
use crate::workspace;

/// One entry of `xtask/expected.toml` or `xtask/upstream.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// The case's name.
    pub case: String,
    /// The engine's name, a word of it, or `*` for all engines.
    pub engine: String,
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
        Self::load_from("xtask/expected.toml")
    }

    /// Reads the list for OCaml's own test suite.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn load_upstream() -> Result<Self> {
        Self::load_from("xtask/upstream.toml")
    }

    fn load_from(file: &str) -> Result<Self> {
        let path = workspace::root().join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let gaps: Self = toml::from_str(&text).with_context(|| format!("in {file}"))?;
        for gap in &gaps.gap {
            anyhow::ensure!(!gap.reason.trim().is_empty(), "{file}: {} has no reason", gap.case);
        }
        Ok(gaps)
    }

    /// The gap that covers a case on an engine.
    pub fn find(&self, case: &str, engine: &str) -> Option<&Gap> {
        self.gap.iter().find(|gap| gap.case == case && (gap.engine == "*" || has_word(engine, &gap.engine)))
    }
}
