//! Compiled interfaces, against what `ocamlc -i` prints of their sources.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use spelter_bytecode::cmi::{Interface, Item, ModuleType, Signature};
use xtask::ocaml::Tools;

/// Folders of libraries that interfaces refer to.
const FOLDERS: [&str; 7] = ["compiler-libs", "unix", "threads", "str", "dynlink", "runtime_events", "zarith"];

/// An interface whose source is another one's here: Debian's library of OCaml 4 had `bigarray.mli` twice.
const OTHER_SOURCE: &str = "stdlib__Bigarray";

/// Compares all of them.
pub(super) fn compare(tools: &Tools) -> Result<bool> {
    let (mut same, mut without, mut good) = (0, 0, true);
    for path in super::installed(tools, &["cmi"])? {
        let bytes = fs::read(&path)?;
        let interface = Interface::read(&bytes).with_context(|| format!("cannot read {}", path.display()))?;
        let is_other =
            path.file_stem().is_some_and(|name| name == OTHER_SOURCE) && !tools.version.library_folders;
        // The bodies of classes are not read.
        let Some(source) = source(&path).filter(|_| !is_other && !has_classes(&interface.signature)) else {
            without += 1;
            continue;
        };
        let Some(expected) = printed(tools, &interface.name, &source)? else {
            without += 1;
            continue;
        };
        let mut got = on_one_line(&interface.to_string());
        if interface.name == "Stdlib" {
            // It is compiled with these names for its modules.
            got = got.replace("= Stdlib__", "= ");
        }
        if got == on_one_line(&expected) {
            same += 1;
        } else {
            good = false;
            println!("{} prints as\n{got}\nbut its source as\n{expected}", path.display());
        }
    }
    println!("interfaces: {same} print as `ocamlc -i` prints them, {without} have no source to compare with");
    // Fewer mean that they were not found.
    Ok(good && same > 100)
}

/// The source beside an interface: `list.mli` of `stdlib__List.cmi`.
fn source(path: &Path) -> Option<PathBuf> {
    let name = path.file_stem()?.to_str()?;
    let name = name.strip_prefix("stdlib__").unwrap_or(name);
    let lower = name.char_indices().map(|(at, char)| if at == 0 { char.to_ascii_lowercase() } else { char });
    [name.to_owned(), lower.collect()]
        .into_iter()
        .map(|name| path.with_file_name(format!("{name}.mli")))
        .find(|source| source.exists())
}

/// What the compiler prints; none if the source needs an interface that is not installed.
fn printed(tools: &Tools, name: &str, source: &Path) -> Result<Option<String>> {
    let mut command = super::compiler(tools);
    command.args(["-i", "-w", "-a"]);
    if ["Stdlib", "CamlinternalFormatBasics", "CamlinternalAtomic"].contains(&name) {
        command.args(["-nopervasives", "-no-alias-deps"]);
    }
    for folder in FOLDERS {
        command.arg("-I").arg(tools.library.join(folder));
    }
    let output = command.arg(source).output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && told.contains("Unbound module") {
        return Ok(None);
    }
    anyhow::ensure!(output.status.success(), "{}: {told}", source.display());
    Ok(Some(String::from_utf8(output.stdout)?))
}

/// The compiler breaks lines to fit a page, which is the only difference that may be.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn has_classes(signature: &Signature) -> bool {
    signature.items.iter().any(|item| match item {
        Item::Class(_) | Item::ClassType(_) => true,
        Item::Module(module) => in_type(&module.ty),
        Item::ModuleType(named) => named.ty.as_ref().is_some_and(in_type),
        _ => false,
    })
}

fn in_type(ty: &ModuleType) -> bool {
    match ty {
        ModuleType::Signature(signature) => has_classes(signature),
        ModuleType::Functor { parameter, result } => {
            parameter.as_ref().is_some_and(|parameter| in_type(&parameter.ty)) || in_type(result)
        }
        ModuleType::Named(_) | ModuleType::Alias(_) => false,
    }
}
