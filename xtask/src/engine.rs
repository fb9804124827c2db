//! The ways in which `spelter run` can run a program, and their names on the command line.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;

use crate::process::{SANITIZER, path_text};

/// The name of OCaml's own runtime among the engines.
const STOCK: &str = "stock";

/// One way of running a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its name in tables and lists, for instance `tail-carry-plain`.
    pub name: String,
    /// The flags of `spelter run` that choose it.
    pub flags: Vec<String>,
}

impl Engine {
    /// The default of `spelter run`.
    pub fn default_engine() -> Self {
        Self { name: "default".to_owned(), flags: Vec::new() }
    }

    /// No engine of ours: OCaml's own `ocamlrun` in its place, with which every case has to pass.
    pub fn stock() -> Self {
        Self { name: STOCK.to_owned(), flags: Vec::new() }
    }

    /// Whether this is OCaml's own `ocamlrun`.
    pub fn is_stock(&self) -> bool {
        self.name == STOCK
    }

    /// Every engine: dispatch × dynamic code × heap, and the checked grade of trust.
    pub fn all() -> Vec<Self> {
        let mut engines = Vec::new();
        for heap in ["plain", "torture"] {
            for dispatch in ["loop", "tail"] {
                for strategy in ["stub", "carry"] {
                    engines.push(Self {
                        name: format!("{dispatch}-{strategy}-{heap}"),
                        flags: vec![
                            format!("--dispatch={dispatch}"),
                            format!("--dyn={strategy}"),
                            format!("--heap={heap}"),
                        ],
                    });
                }
            }
        }
        engines.push(Self { name: "checked".to_owned(), flags: vec!["--checked".to_owned()] });
        engines
    }

    /// Whether the heap collects at every allocation.
    pub fn tortures(&self) -> bool {
        self.flags.iter().any(|flag| flag == "--heap=torture")
    }

    /// Whether it checks code at run time.
    pub fn checks(&self) -> bool {
        self.flags.iter().any(|flag| flag == "--checked")
    }

    /// How long a case may take before it counts as hanging.
    pub fn limit(&self) -> Duration {
        let usual = Duration::from_secs(if self.tortures() { 180 } else { 40 });
        if std::env::var_os(SANITIZER).is_some() { usual * 5 } else { usual }
    }

    /// The words before a program's name.
    ///
    /// # Errors
    ///
    /// If the binary's path is not UTF-8.
    pub fn runtime(&self, spelter: &Path) -> Result<Vec<String>> {
        if self.is_stock() {
            return Ok(vec![path_text(spelter)?]);
        }
        let mut command = vec![path_text(spelter)?, "run".to_owned()];
        command.extend_from_slice(&self.flags);
        Ok(command)
    }

    /// The command line that runs `program` in `spelter`.
    ///
    /// # Errors
    ///
    /// If the binary's path is not UTF-8.
    pub fn command(&self, spelter: &Path, program: &str, args: &[String]) -> Result<Vec<String>> {
        let mut command = self.runtime(spelter)?;
        command.push(program.to_owned());
        command.extend_from_slice(args);
        Ok(command)
    }
}

/// Whether `word` selects the engine of this name: it is its name, or a part of it.
pub fn has_word(name: &str, word: &str) -> bool {
    name == word || name.split('-').any(|part| part == word)
}

/// Engines as chosen with `--engines`.
#[derive(Clone, Debug)]
pub struct Engines(pub Vec<Engine>);

impl FromStr for Engines {
    type Err = String;

    /// `all`, `default`, or words separated by commas: each word adds the engines whose names contain it.
    fn from_str(text: &str) -> Result<Self, String> {
        let all = Engine::all();
        let mut chosen = Vec::new();
        for word in text.split(',') {
            let before = chosen.len();
            match word {
                "all" => chosen.extend(all.iter().cloned()),
                "default" => chosen.push(Engine::default_engine()),
                _ => chosen.extend(all.iter().filter(|engine| has_word(&engine.name, word)).cloned()),
            }
            if chosen.len() == before {
                let names: Vec<_> = all.iter().map(|engine| engine.name.as_str()).collect();
                return Err(format!(
                    "no engine is called '{word}'; there are: default, {}",
                    names.join(", ")
                ));
            }
        }
        let mut unique: Vec<Engine> = Vec::new();
        for engine in chosen {
            if !unique.contains(&engine) {
                unique.push(engine);
            }
        }
        Ok(Self(unique))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose_engines() {
        let count = |text: &str| text.parse::<Engines>().map(|engines| engines.0.len());
        assert_eq!(count("all"), Ok(9));
        assert_eq!(count("default"), Ok(1));
        assert_eq!(count("tail"), Ok(4));
        assert_eq!(count("tail,carry"), Ok(6));
        assert_eq!(count("loop-stub-plain"), Ok(1));
        assert!(count("jit").is_err_and(|why| why.starts_with("no engine is called 'jit'")));
    }
}
