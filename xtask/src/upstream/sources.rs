//! The places of a version's suite: its sources, and below `target/` its own libraries, compiled, and a folder for runs.

use std::fs;

use anyhow::{Context, Result};

use super::plan::Places;
use crate::ocaml::{Origin, Tools, write_plain_compiler};
use crate::workspace;

/// Finds the suite of a version, and compiles what its tests link if that has not been done.
///
/// # Errors
///
/// If the sources are not installed, or cannot be unpacked or compiled.
pub fn places(tools: &Tools) -> Result<Places> {
    let mut folder = workspace::target()?.join("upstream");
    if tools.version.origin != Origin::System {
        folder.push(tools.version.name);
    }
    fs::create_dir_all(&folder)?;
    let plain = folder.join("ocamlc.byte");
    let compiler =
        if write_plain_compiler(tools, &plain)? { plain } else { tools.program("ocamlc.byte").into() };
    let places = Places {
        tools: tools.clone(),
        compiler,
        sources: tools.sources()?,
        helpers: folder.join("helpers"),
        runs: folder.join("run"),
        compiles_c: std::process::Command::new("gcc").arg("--version").output().is_ok(),
    };
    if !places.helpers.join("testing.cma").exists() {
        compile_helpers(&places)?;
    }
    Ok(places)
}

fn compile_helpers(places: &Places) -> Result<()> {
    fs::create_dir_all(&places.helpers)?;
    let mut files = vec!["testing.mli", "testing.ml", "lib.ml"];
    // From 5.2 on it has an interface.
    if places.sources.join("testsuite/lib/lib.mli").exists() {
        files.insert(2, "lib.mli");
    }
    for name in &files {
        let from = places.sources.join("testsuite/lib").join(name);
        fs::copy(&from, places.helpers.join(name))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    for line in [&[&["-c"], &files[..]].concat()[..], &["-a", "-linkall", "-o", "testing.cma", "testing.cmo"]]
    {
        let mut compiler = places.tools.command(&places.tools.program("ocamlc"));
        let done = compiler.args(line).current_dir(&places.helpers).output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        anyhow::ensure!(done.status.success(), "the suite's libraries do not compile:\n{said}");
    }
    Ok(())
}
