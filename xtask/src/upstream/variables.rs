//! The variables of a test, as its header sets them and its actions read them.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::header::Setting;

/// How often a value may be expanded before it counts as recursive.
const DEPTH: usize = 20;

/// Where headers find libraries.
#[derive(Clone, Debug)]
pub struct Libraries {
    /// The folder of the suite's own libraries.
    pub helpers: String,
    /// Whether OCaml's other libraries have folders of their own.
    pub have_folders: bool,
}

/// Names with values, which may refer to other names: `$name`, `${name}` or `$(name)`.
#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Sets a variable that has no value yet.
    pub fn set_default(&mut self, name: &str, value: impl Into<String>) {
        self.0.entry(name.to_owned()).or_insert_with(|| value.into());
    }

    /// A variable's value, expanded; empty if it has none.
    pub fn get(&self, name: &str) -> String {
        let mut value = self.0.get(name).cloned().unwrap_or_default();
        for _ in 0..DEPTH {
            let expanded = self.expand_once(&value);
            if expanded == value {
                break;
            }
            value = expanded;
        }
        value
    }

    /// The words of a variable's value.
    pub fn words(&self, name: &str) -> Vec<String> {
        self.get(name).split_whitespace().map(str::to_owned).collect()
    }

    /// Whether a variable is `true`.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name) == "true"
    }

    /// A variable that is a number; 0 if it has no value.
    pub fn number(&self, name: &str) -> i32 {
        self.get(name).trim().parse().unwrap_or(0)
    }

    /// All variables, expanded, for the environment of programs.
    pub fn exported(&self) -> BTreeMap<String, String> {
        let export = |name: &String| match name.as_str() {
            "ocamlrunparam" => ("OCAMLRUNPARAM".to_owned(), self.get(name)),
            "ld_library_path" => ("CAML_LD_LIBRARY_PATH".to_owned(), self.words(name).join(":")),
            _ => (name.clone(), self.get(name)),
        };
        self.0.keys().map(export).filter(|(_, value)| !value.is_empty()).collect()
    }

    /// Applies a header's settings.
    ///
    /// # Errors
    ///
    /// If it includes something unknown.
    pub fn apply(&mut self, settings: &[Setting], libraries: &Libraries) -> Result<()> {
        for setting in settings {
            match setting {
                Setting::Set(name, value) => self.set(name, value),
                Setting::Append(name, value) => self.append(name, value),
                Setting::Include(name) => self.include(name, libraries)?,
                Setting::Unset(name) => drop(self.0.remove(name)),
            }
        }
        Ok(())
    }

    fn append(&mut self, name: &str, value: &str) {
        let value = format!("{}{value}", self.get(name));
        self.set(name, value);
    }

    fn add_words(&mut self, name: &str, words: &str) {
        self.append(name, &format!(" {words} "));
    }

    fn add_library(&mut self, name: &str, libraries: &Libraries) {
        self.add_words("libraries", name);
        if libraries.have_folders {
            self.add_words("directories", &format!("+{name}"));
        }
    }

    fn include(&mut self, name: &str, libraries: &Libraries) -> Result<()> {
        let helpers = libraries.helpers.as_str();
        match name {
            "principal" => {
                self.add_words("flags", "-principal");
                self.set("compiler_directory_suffix", ".principal");
            }
            "testing" => {
                self.add_words("directories", helpers);
                self.add_words("libraries", "testing");
            }
            "tool-ocaml-lib" => {
                self.add_words("directories", helpers);
                self.add_words("binary_modules", "lib");
            }
            "config" | "debugger" => self.add_words("directories", "+compiler-libs"),
            "unix" | "str" | "dynlink" | "runtime_events" => self.add_library(name, libraries),
            "systhreads" => {
                self.add_library("unix", libraries);
                self.add_words("libraries", "threads");
                self.add_words("directories", "+threads");
            }
            "ocamlcommon" | "ocamlbytecomp" | "ocamlmiddleend" | "ocamloptcomp" | "ocamltoplevel" => {
                self.add_words("directories", "+compiler-libs");
                self.add_words("libraries", name);
            }
            "html" => {
                self.set("ocamldoc_backend", "html");
                self.add_words("ocamldoc_flags", "-colorize-code");
            }
            "latex" => {
                self.set("ocamldoc_backend", "latex");
                for kind in ["type-prefix=TYP", "module-prefix=", "module-type-prefix=", "value-prefix="] {
                    self.add_words("ocamldoc_flags", &format!("-latex-{kind}"));
                }
                for (level, command) in [(1, "subsection*"), (2, "subsubsection*"), (6, "subsection*")] {
                    self.add_words("ocamldoc_flags", &format!("-latextitle={level},{command}"));
                }
                self.add_words("ocamldoc_flags", "-latextitle=7,subsubsection*");
            }
            "man" => self.set("ocamldoc_backend", "man"),
            _ => bail!("includes '{name}', which is not known"),
        }
        Ok(())
    }

    fn expand_once(&self, value: &str) -> String {
        let mut text = String::new();
        let mut rest = value;
        while let Some(place) = rest.find('$') {
            text.push_str(&rest[..place]);
            let after = &rest[place + 1..];
            let (name, next) = match after.chars().next() {
                Some(open @ ('{' | '(')) => {
                    let close = if open == '{' { '}' } else { ')' };
                    match after.find(close) {
                        Some(end) => (&after[1..end], &after[end + 1..]),
                        None => ("", after),
                    }
                }
                _ => {
                    let next = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
                    (&after[..after.len() - next.len()], next)
                }
            };
            if name.is_empty() {
                text.push('$');
            } else {
                text.push_str(self.0.get(name).map_or("", String::as_str));
            }
            rest = next;
        }
        text + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_refer_to_others() {
        let mut variables = Variables::default();
        variables.set("a", "x${b}y $(c) $b$ $");
        variables.set("b", "<${c}>");
        variables.set("c", "1");
        assert_eq!(variables.get("a"), "x<1>y 1 <1>$ $");
        assert_eq!(variables.get("none"), "");
        variables.set("loop", "${loop}.");
        assert!(variables.get("loop").ends_with('.'));
    }

    #[test]
    fn a_library_brings_its_folders() {
        let mut variables = Variables::default();
        let include = |name: &str| Setting::Include(name.to_owned());
        let mut libraries = Libraries { helpers: "lib".to_owned(), have_folders: false };
        variables.apply(&[include("systhreads"), include("testing")], &libraries).unwrap();
        assert_eq!(variables.words("libraries"), ["unix", "threads", "testing"]);
        assert_eq!(variables.words("directories"), ["+threads", "lib"]);
        libraries.have_folders = true;
        let settings = [Setting::Unset("directories".to_owned()), include("systhreads")];
        variables.apply(&settings, &libraries).unwrap();
        assert_eq!(variables.words("directories"), ["+unix", "+threads"]);
    }

    #[test]
    fn an_unknown_include_is_refused() {
        let libraries = Libraries { helpers: "lib".to_owned(), have_folders: true };
        let settings = [Setting::Include("nothing".to_owned())];
        let error = Variables::default().apply(&settings, &libraries).unwrap_err();
        assert_eq!(error.to_string(), "includes 'nothing', which is not known");
    }

    #[test]
    fn programs_see_them_under_the_names_they_know() {
        let mut variables = Variables::default();
        variables.set("ocamlrunparam", ",b=1");
        variables.set("ld_library_path", " a  b");
        assert_eq!(variables.exported()["OCAMLRUNPARAM"], ",b=1");
        assert_eq!(variables.exported()["CAML_LD_LIBRARY_PATH"], "a:b");
    }
}
