//! Compiled units: lifted and lowered, they are as before.

use std::fs;

use anyhow::Result;
use spelter_bytecode::CompilationUnit;
use spelter_bytecode::asm::Body;
use spelter_bytecode::info::Info;
use xtask::ocaml::Tools;

/// Compares all units of all objects and libraries.
pub(super) fn compare(tools: &Tools) -> Result<bool> {
    let (mut same, mut good) = (0, true);
    for path in super::installed(tools, &["cmo", "cma"])? {
        let units = match Info::read(&fs::read(&path)?) {
            Ok(Info::Object(unit)) => vec![unit],
            Ok(Info::Library(library)) => library.units,
            Ok(Info::Executable(_)) => Vec::new(),
            Err(error) => anyhow::bail!("{}: {error}", path.display()),
        };
        for unit in units {
            match difference(&unit) {
                None => same += 1,
                Some(what) => {
                    good = false;
                    println!("{} ({}) {what}", path.display(), unit.name);
                }
            }
        }
    }
    println!("units: {same} are the same after lifting and lowering their code");
    Ok(good && same > 100)
}

fn difference(unit: &CompilationUnit) -> Option<String> {
    match Body::lift(unit).and_then(|body| body.lower()) {
        Err(error) => Some(format!("cannot be lifted and lowered: {error}")),
        Ok(again) if again != *unit => Some("changes when lifted and lowered".to_owned()),
        Ok(again) if again.write() != unit.write() => Some("is written otherwise".to_owned()),
        Ok(_) => None,
    }
}
