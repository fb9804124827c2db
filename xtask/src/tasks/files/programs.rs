//! A program, linked by `ocamlc` and here: its sections, and what it does under `ocamlrun`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use spelter_bytecode::asm::{Body, Instruction, Linker};
use spelter_bytecode::debug::encode;
use spelter_bytecode::info::Info;
use spelter_bytecode::{CompilationUnit, Executable, Opcode};
use xtask::ocaml::Tools;
use xtask::process::path_text;
use xtask::workspace;

/// The program's sources, in the order of their dependencies.
const SOURCES: [(&str, &str); 2] =
    [("steps", include_str!("program/steps.ml")), ("walk", include_str!("program/walk.ml"))];

/// Links it in several ways, and compares.
pub(super) fn compare(tools: &Tools) -> Result<bool> {
    let temp = tempfile::tempdir()?;
    let folder = temp.path();
    for (name, text) in SOURCES {
        fs::write(folder.join(format!("{name}.ml")), text)?;
    }
    let str_folder = if tools.version.library_folders { "str" } else { "." };
    let stubs = tools.library.join("stublibs");
    let mut ocamlc = super::compiler(tools);
    ocamlc.current_dir(folder).args(["-g", "-o", "stock.byte", "-I"]).arg(tools.library.join(str_folder));
    ocamlc.arg("-I").arg(&stubs).arg("str.cma").args(SOURCES.map(|(name, _)| format!("{name}.ml")));
    super::output(&mut ocamlc)?;
    let expected = run(tools, folder, "stock.byte")?;
    ensure!(expected.contains("Called from"), "the program has no backtraces:\n{expected}");

    let mut paths = vec![tools.library.join("stdlib.cma"), tools.library.join(str_folder).join("str.cma")];
    paths.extend(SOURCES.map(|(name, _)| folder.join(format!("{name}.cmo"))));
    paths.push(tools.library.join("std_exit.cmo"));
    let files = paths.iter().map(|path| fs::read(path).with_context(|| path.display().to_string()));
    let files: Vec<Vec<u8>> = files.collect::<Result<_>>()?;

    let bytes = fs::read(folder.join("stock.byte"))?;
    let reference = Executable::read(&bytes)?;
    let primitives = super::output(tools.command(&tools.ocamlrun()).arg("-p"))?;
    let mut linker = Linker::new().prefix(reference.prefix());
    for (path, bytes) in paths.iter().zip(&files) {
        linker = linker.folder(&path_text(path.parent().unwrap_or(path))?).file(bytes)?;
    }
    let linked = linker.primitives(primitives.lines().map(str::to_owned)).link()?;
    let mut good = linked.write() == bytes;
    for (ours, theirs) in linked.sections().iter().zip(reference.sections()) {
        if ours != theirs {
            println!("programs: {} is not the {} that ocamlc writes", ours.name(), theirs.name());
            good = false;
        }
    }
    good &= agrees(tools, folder, "linked", &linked, &expected)?;
    let moved = link(&files, moved)?.link()?;
    good &= agrees(tools, folder, "moved", &moved, &expected)?;
    let rewritten = link(&files, with_new_events)?.link()?;
    good &= agrees(tools, folder, "rewritten", &rewritten, &expected)?;
    good &= coverage(tools, folder)?;
    println!("programs: {}", if good { "five ways to link one agree" } else { "see above" });
    Ok(good)
}

/// A linker of files, whose units are changed.
fn link(files: &[Vec<u8>], change: fn(&CompilationUnit) -> Result<CompilationUnit>) -> Result<Linker> {
    let mut linker = Linker::new();
    for bytes in files {
        linker = match Info::read(bytes)? {
            Info::Object(unit) => linker.object(change(&unit)?),
            Info::Library(mut library) => {
                library.units = library.units.iter().map(change).collect::<Result<_>>()?;
                linker.library(library)
            }
            Info::Executable(_) => anyhow::bail!("an executable"),
        };
    }
    Ok(linker)
}

/// Puts instructions without an effect before each one that allows it.
fn moved(unit: &CompilationUnit) -> Result<CompilationUnit> {
    let mut body = Body::lift(unit)?;
    for id in body.ids().collect::<Vec<_>>() {
        // A partial application returns to the word before its `GRAB`.
        if ![Opcode::RESTART, Opcode::GRAB].contains(&body[id].op) {
            let pop = Instruction::new(Opcode::POP, [1.into()]);
            body.insert_all_before(
                id,
                [Opcode::PUSH.into(), Opcode::CONST0.into(), Opcode::ACC0.into(), pop],
            );
        }
    }
    Ok(body.lower()?)
}

/// Writes the debug events anew.
fn with_new_events(unit: &CompilationUnit) -> Result<CompilationUnit> {
    let mut unit = unit.clone();
    if let Some(debug) = unit.debug_unit() {
        unit.debug = Some(encode(&debug.events()?, &debug.dirs()?, unit.dialect));
    }
    Ok(unit)
}

fn agrees(tools: &Tools, folder: &Path, name: &str, program: &Executable, expected: &str) -> Result<bool> {
    let file = format!("{name}.byte");
    fs::write(folder.join(&file), program.write())?;
    let got = run(tools, folder, &file)?;
    if got != expected {
        println!("programs: the {name} one does\n{got}\ninstead of\n{expected}");
    }
    Ok(got == expected)
}

/// What a program prints, and how it ends. Backtraces are on.
fn run(tools: &Tools, folder: &Path, file: &str) -> Result<String> {
    let mut command = tools.command(&tools.ocamlrun());
    command.current_dir(folder).env("CAML_LD_LIBRARY_PATH", tools.library.join("stublibs"));
    // A name alone would be looked up in `PATH` first.
    let output = command.arg("-b").arg(format!("./{file}")).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(format!("{}{}{}\n", text(&output.stdout), text(&output.stderr), output.status))
}

/// The example: it counts lines, and changes nothing else.
fn coverage(tools: &Tools, folder: &Path) -> Result<bool> {
    // It links the standard library only, and nothing is needed from `str.cma` without the last function.
    let example = workspace::target()?.join("debug/examples/coverage");
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet", "--package", "spelter-bytecode", "--example", "coverage"]);
    ensure!(cargo.status()?.success(), "cargo could not build the example; see above");
    let mut ocamlc = super::compiler(tools);
    ocamlc.current_dir(folder).args(["-g", "-o", "plain.byte", "steps.ml"]);
    super::output(&mut ocamlc)?;
    let mut command = Command::new(example);
    command.current_dir(folder).arg(&tools.library).args(["covered.byte", "steps.cmo"]);
    super::output(&mut command)?;
    let expected = run(tools, folder, "plain.byte")?;
    let got = run(tools, folder, "covered.byte")?;
    let is_count = |line: &&str| line.strip_prefix("steps.ml:").is_some_and(|rest| rest.contains(": "));
    let (counts, rest): (Vec<_>, Vec<_>) = got.lines().partition(is_count);
    if rest != expected.lines().collect::<Vec<_>>() {
        println!("programs: with counters one does\n{got}\ninstead of\n{expected}");
        return Ok(false);
    }
    // The source says which of its lines are covered.
    let mut marked = 0;
    let mut good = true;
    for (index, line) in SOURCES[0].1.lines().enumerate() {
        let covered = match (line.contains("(* covered *)"), line.contains("(* not covered *)")) {
            (false, false) => continue,
            (covered, _) => covered,
        };
        marked += 1;
        let start = format!("steps.ml:{}: ", index + 1);
        let count = counts.iter().find_map(|line| line.strip_prefix(&start));
        // A tail call has no event.
        if count.is_some_and(|count| count != "0") != covered {
            println!("programs: line {} of the example is counted {count:?} times", index + 1);
            good = false;
        }
    }
    Ok(good && marked > 3)
}
