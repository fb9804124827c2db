//! Instructions for building and running a program of the corpus: a few lines of TOML in a comment of its source.
//!
//! ```ocaml
//! (* What the program is about.
//!    (*toml
//!    flags = ["-g"]
//!    [[run]]
//!    name = "trace"
//!    env = { OCAMLRUNPARAM = "b" }
//!    *) *)
//! ```
//!
//! Without such a comment a program is compiled on its own and run once, without arguments.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The content between `(*toml` and `*)` in a source.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// Flags for ocamlc in the default build.
    pub flags: Vec<String>,
    /// Other sources that the build needs, in the same folder. They are not separate programs.
    pub sources: Vec<String>,
    /// Shell commands that replace the default build; the last one creates `<program>.byte`.
    pub build: Vec<String>,
    /// The first version of OCaml that compiles it; by default, all do.
    pub since: Option<String>,
    /// The version of OCaml that compiles it and answers, if that is not the system's. Such a program is only recorded.
    pub recorded_with: Option<String>,
    /// Built files that are committed, and copied next to the program when it runs.
    pub products: Vec<String>,
    /// The runs; by default a single run without arguments.
    pub run: Vec<Run>,
}

/// One run of a program.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Run {
    /// A name that distinguishes it from the program's other runs; empty if it is the only one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Arguments after the program's name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Variables added to a minimal environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The program's standard input.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stdin: String,
    /// Whether the program runs under `ocamldebug`, whose commands are the standard input. They begin with
    /// `set loadingmode runtime`. For runs that are not recorded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub debugger: bool,
    /// Why this run must not use the torture heap, which collects at each allocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_torture: Option<String>,
    /// Why this run must not use the checked grade, which refuses what the program does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_checked: Option<String>,
}

impl Recipe {
    /// Reads the recipe of an OCaml source.
    ///
    /// # Errors
    ///
    /// If the comment is not closed, is not TOML or has an unknown field.
    pub fn of_source(source: &str) -> Result<Self> {
        let Some((_, rest)) = source.split_once("(*toml") else {
            return Ok(Self::with_a_run(Self::default()));
        };
        let (text, _) = rest.split_once("*)").context("the (*toml comment has no end")?;
        Ok(Self::with_a_run(toml::from_str(text).context("in the (*toml comment")?))
    }

    fn with_a_run(mut self) -> Self {
        if self.run.is_empty() {
            self.run.push(Run::default());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_without_a_recipe_runs_once() {
        let recipe = Recipe::of_source("let () = print_string \"hi\"").unwrap();
        assert_eq!(recipe.run.len(), 1);
        assert!(recipe.build.is_empty());
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = Recipe::of_source("(*toml\nflag = []\n*)").unwrap_err();
        assert!(format!("{error:#}").contains("flag"), "{error:#}");
    }

    #[test]
    fn an_open_comment_is_refused() {
        let error = Recipe::of_source("(*toml flags = []").unwrap_err();
        assert_eq!(error.to_string(), "the (*toml comment has no end");
    }
}
