//! Line coverage: `coverage OCAMLLIB PROGRAM UNIT.cmo…` links units that were compiled with `-g` to a program that counts
//! the debug events of each line that happen, and prints the counts on stderr when it exits.
use spelter_bytecode::asm::{Body, Instruction as I, Linker, Operand};
use spelter_bytecode::obj::Constant::{Block, Int, String as Text};
use spelter_bytecode::{CompilationUnit, Opcode::*, Result, cmi::Interface};
use std::{collections::BTreeMap, error::Error, fs, path::Path};

/// The number of the counter of each line of a file.
pub(crate) type Lines = BTreeMap<(String, i64), i32>;

/// Puts a counter before each instruction that a debug event is about.
pub(crate) fn instrument(unit: &CompilationUnit, lines: &mut Lines) -> Result<CompilationUnit> {
    let mut body = Body::lift(unit)?;
    let events = body.events().map(|(id, event)| (id, (event.loc.file.to_string(), event.loc.start.line)));
    for (id, line) in events.filter(|(_, (_, line))| *line > 0).collect::<Vec<_>>() {
        let (Some(id), next) = (id, lines.len() as i32) else { continue };
        let counter = [Operand::unit("Coverage"), (*lines.entry(line).or_insert(next)).into()];
        let add = [I::new(PUSHGETGLOBALFIELD, counter), I::new(OFFSETREF, [1.into()])];
        body.insert_all_before(id, add.into_iter().chain([ACC0.into(), I::new(POP, [1.into()])]));
    }
    body.lower()
}

/// A unit with the counters as its fields, which registers a function that prints them.
pub(crate) fn counters(lines: &Lines, stdlib: &Interface) -> Result<CompilationUnit> {
    let mut body = Body::new(CompilationUnit::new(stdlib.dialect, "Coverage"));
    let field = |name| stdlib.value(name).and_then(|found| found.fields).expect("Stdlib has it")[0] as i32;
    let function = |name| I::new(PUSHGETGLOBALFIELD, [Operand::unit("Stdlib"), field(name).into()]);
    let (report, start, zero) = (body.new_label(), body.new_label(), body.unit.literals.add(Int(0)));
    let fields = lines.iter().map(|_| body.unit.literals.add(Block { tag: 0, fields: vec![zero] })).collect();
    let all = body.literal(Block { tag: 0, fields });
    body.extend([I::new(GETGLOBAL, [all]), I::new(SETGLOBAL, [Operand::own_unit("Coverage")])]);
    let jump = body.push(I::new(BRANCH, [start.into()]));
    for ((file, line), n) in lines {
        let text = body.literal(Text(format!("{file}:{line}: ").into_bytes()));
        body.extend([I::new(GETGLOBALFIELD, [Operand::unit("Coverage"), (*n).into()]), GETFIELD0.into()]);
        body.extend([function("string_of_int"), APPLY1.into(), I::new(PUSHGETGLOBAL, [text])]);
        body.extend([function("^"), APPLY2.into(), function("prerr_endline"), APPLY1.into()]);
    }
    let end = body.push(I::new(RETURN, [1.into()]));
    body.extend([I::new(CLOSURE, [0.into(), report.into()]), function("at_exit"), APPLY1.into()]);
    body.place(report, body.next(jump));
    body.place(start, body.next(end));
    body.lower()
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, program, units @ ..] = &arguments[..] else { return Err("what shall be linked?".into()) };
    let (file, mut lines) = (|name| fs::read(Path::new(library).join(name)), Lines::new());
    let mut covered = Vec::new();
    for unit in units {
        covered.push(instrument(&CompilationUnit::read(&fs::read(unit)?)?, &mut lines)?);
    }
    let counters = counters(&lines, &Interface::read(&file("stdlib.cmi")?)?)?;
    let linker = Linker::new().file(&file("stdlib.cma")?)?.object(counters);
    let linker = covered.into_iter().fold(linker, Linker::object).file(&file("std_exit.cmo")?)?;
    Ok(fs::write(program, linker.link()?.write())?)
}
