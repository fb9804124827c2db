//! Determines which of OCaml's primitives Spelter has: by the C file of OCaml's runtime that defines them, and by
//! library.
//!
//! It asks the stock toplevel, running under Spelter with the libraries loaded, which external functions exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::corpus::files_under;
use crate::engine::Engine;
use crate::ocaml::Tools;
use crate::process::{Answer, Invocation, Outcome, path_text};

/// Libraries with C stubs, as the toplevel loads them.
const LIBRARIES: [&str; 3] = ["unix", "str", "threads"];

/// The primitives of a file or library.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// OCaml's primitives.
    pub names: Vec<String>,
    /// Those that Spelter lacks.
    pub missing: Vec<String>,
}

/// All families by name: libraries, and C files below OCaml's `sources`.
///
/// # Errors
///
/// If OCaml's tools cannot be run.
pub fn families(tools: &Tools, sources: &Path, spelter: &Path) -> Result<BTreeMap<String, Family>> {
    let defined = by_file(sources)?;
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let own = ask(tools, &[tools.ocamlrun(), "-p".to_owned()], "")?;
    for name in own.lines() {
        // Primitives that are defined by macros are arithmetic.
        let file = defined.get(name).map_or("runtime/ints.c", String::as_str);
        families.entry(file.to_owned()).or_default().names.push(name.to_owned());
    }
    for library in LIBRARIES {
        let has_folder = library == "threads" || tools.version.library_folders;
        let file = if has_folder { format!("{library}/{library}.cma") } else { format!("{library}.cma") };
        let path = path_text(&tools.library.join(file))?;
        let info = ask(tools, &[tools.program("ocamlobjinfo"), path], "")?;
        let names = declared(&info).into_iter().filter(|name| !own.lines().any(|own| own == name));
        families.entry(format!("{library}.cma")).or_default().names.extend(names);
    }
    let all: Vec<&String> = families.values().flat_map(|family| &family.names).collect();
    let missing = missing(tools, &all, spelter)?;
    for family in families.values_mut() {
        family.missing = family.names.iter().filter(|name| missing.contains(name)).cloned().collect();
    }
    Ok(families)
}

/// The file that defines each primitive of OCaml's runtime.
fn by_file(sources: &Path) -> Result<BTreeMap<String, String>> {
    let runtime = sources.join("runtime");
    let mut defined = BTreeMap::new();
    for file in files_under(&runtime)?.into_iter().filter(|file| file.ends_with(".c")) {
        let text = fs::read(runtime.join(&file))?;
        for definition in String::from_utf8_lossy(&text).split("CAMLprim ").skip(1) {
            let name = definition.split_whitespace().nth(1).unwrap_or_default();
            let name = name.split('(').next().unwrap_or_default();
            defined.insert(name.to_owned(), format!("runtime/{file}"));
        }
    }
    Ok(defined)
}

/// The names in the lists of primitives that `ocamlobjinfo` prints.
fn declared(info: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut listed = false;
    for line in info.lines() {
        match line.strip_prefix('\t') {
            Some(name) if listed => names.push(name.to_owned()),
            Some(_) => {}
            None => listed = line.starts_with("Primitives declared"),
        }
    }
    names.sort();
    names.dedup();
    names
}

fn missing(tools: &Tools, names: &[&String], spelter: &Path) -> Result<Vec<String>> {
    let phrases: String = names
        .iter()
        .enumerate()
        .map(|(i, name)| format!("external f{i} : unit -> unit = \"{name}\" let _ = fun x -> f{i} x;;\n"))
        .collect();
    let mut args = ["-noinit", "-no-version", "-noprompt", "-I", "+threads"].map(str::to_owned).to_vec();
    if tools.version.library_folders {
        args.extend(["-I", "+unix", "-I", "+str"].map(str::to_owned));
    }
    args.extend(LIBRARIES.map(|library| format!("{library}.cma")));
    let said =
        ask(tools, &Engine::default_engine().command(spelter, &tools.program("ocaml"), &args)?, &phrases)?;
    let told =
        said.lines().filter(|line| line.starts_with("external ") || line.starts_with("Error: ")).count();
    ensure!(told == names.len(), "the toplevel answered {told} of {} questions:\n{said}", names.len());
    let start = "Error: The external function `";
    let name = |line: &str| Some(line.strip_prefix(start)?.strip_suffix("' is not available")?.to_owned());
    Ok(said.lines().filter_map(name).collect())
}

fn ask(tools: &Tools, command: &[String], stdin: &str) -> Result<String> {
    let invocation = Invocation {
        command: command.to_vec(),
        folder: Path::new("/"),
        env: &tools.with_env(&[("TERM".to_owned(), "dumb".to_owned())].into()),
        stdin: stdin.as_bytes(),
        limit: Duration::from_secs(120),
    };
    match invocation.run()? {
        Outcome::Answered(Answer { stdout, exit: 0, .. }) => Ok(String::from_utf8(stdout)?),
        other => Err(anyhow::anyhow!("{other:?}")).with_context(|| command.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_primitives_are_read() {
        let info = "Unit name: A\nRequired globals:\n\tStdlib\nPrimitives declared in this module:\n\tb\n\ta\nForce link: no\n\tx\n";
        assert_eq!(declared(info), ["a", "b"]);
    }
}
