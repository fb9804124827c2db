//! Generates unusual programs and units that the verifier accepts: instructions in every legal order, closures of
//! every shape, including marshalled ones that no code created, primitives with hostile values.
//!
//! Choices come from a [`Source`]; the same choices produce the same bytes.

mod asm;
mod body;
mod constants;
mod kinds;
mod message;
mod prims;
pub(crate) mod zstd;

use md5::{Digest, Md5};
use spelter_bytecode::code::bytes_of_words;
use spelter_bytecode::exe::{Executable, Section};
use spelter_bytecode::marshal::{GraphBuilder, Item};
use spelter_bytecode::obj::{CompilationUnit, Literals, Reloc};
use spelter_bytecode::{Dialect, Ident, Symbols};

use crate::source::Source;
use asm::{Asm, Ref};
use body::{Form, PREDEFINED, REGISTERS, Tables, Written};
use constants::Const;
pub use message::CodeInfo;

/// The versions whose files are generated: those without effects, and those that differ in their instructions or in what
/// a continuation holds.
const DIALECTS: [&Dialect; 6] =
    [Dialect::V4_13, Dialect::V5_4, Dialect::V4_13, Dialect::V5_1, Dialect::V5_4, Dialect::V5_2];

/// One of these versions.
pub fn dialect(source: &mut Source<'_>) -> &'static Dialect {
    source.of(&DIALECTS)
}

/// The names of the predefined exceptions, in slot order: the same in all versions.
fn exceptions() -> impl Iterator<Item = &'static str> {
    Dialect::V4_13.predefined.iter().map(|(exception, _)| exception.name())
}

/// An executable or a unit that was generated.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The file.
    pub bytes: Vec<u8>,
    /// The facts needed to marshal closures of its code.
    pub info: CodeInfo,
    /// Whether its behaviour may depend on when the collector runs.
    pub volatile: bool,
    /// Whether the verifier may refuse it.
    pub wild: bool,
}

/// A program; occasionally one that the verifier may have to refuse ([`Generated::wild`]).
pub fn program(source: &mut Source<'_>) -> Generated {
    let dialect = dialect(source);
    program_of(source, dialect)
}

/// A program of this version.
pub fn program_of(source: &mut Source<'_>, dialect: &'static Dialect) -> Generated {
    let wild = source.one_in(16);
    let size = 10 + source.below(250);
    let mut tables = Tables { wild, ..Tables::new(dialect) };
    let written = body::write(source, &mut tables, Form::Program, size);
    finish_program(written, &tables)
}

/// A program whose function `round` reads and writes values, and closures of which can be read.
pub fn reader(source: &mut Source<'_>) -> Generated {
    let mut tables = Tables::new(dialect(source));
    let written = body::write_reader(source, &mut tables, 60);
    finish_program(written, &tables)
}

/// A program that ends at once, into which units are loaded.
pub fn host(dialect: &'static Dialect) -> Generated {
    program_of(&mut Source::of_bytes(&[]), dialect)
}

/// The unit `U<number>`; `version` counts its interfaces. Code that was generated before may be named by marshalled
/// closures.
pub fn unit(
    source: &mut Source<'_>,
    dialect: &'static Dialect,
    number: usize,
    version: u8,
    others: &[CodeInfo],
) -> Generated {
    let size = 10 + source.below(100);
    let mut tables = Tables::new(dialect);
    let written = body::write(source, &mut tables, Form::Unit, size);
    finish_unit(source, written, &tables, number, version, others)
}

/// Marshalled data with closures of that code.
pub fn message(seed: u32, infos: &[CodeInfo]) -> Vec<u8> {
    message::message(seed, infos)
}

fn info_of(written: Written, bytes: &[u8]) -> CodeInfo {
    CodeInfo {
        digest: Md5::digest(bytes).into(),
        shapes: written.shapes,
        restarts: written.restarts,
        len: bytes.len() / 4,
    }
}

/// The global of a reference in a program.
fn global(what: Ref) -> usize {
    match what {
        Ref::Predef(i) => i,
        Ref::Register(i) => PREDEFINED + i,
        Ref::Own => PREDEFINED,
        Ref::Import(i) => PREDEFINED + i % REGISTERS,
        Ref::Const(i) => PREDEFINED + REGISTERS + i,
        Ref::Prim(i) => i,
    }
}

fn fill_in(asm: &Asm) -> Vec<i32> {
    let mut words = asm.words.clone();
    for (at, what) in &asm.refs {
        words[*at] = global(*what) as i32;
    }
    words
}

/// Converts messages and code to their run-time form: strings, and blocks of strings.
fn expand(constant: &Const, codes: &[Asm], infos: &[CodeInfo]) -> Const {
    match constant {
        Const::Message(seed) => Const::Str(message(*seed, infos)),
        Const::Code(i) => {
            let code = codes.get(*i).map(|asm| bytes_of_words(&fill_in(asm))).unwrap_or_default();
            let (one, two) = code.split_at(code.len() / 8 * 4);
            Const::Block(0, vec![Const::Str(one.to_vec()), Const::Str(two.to_vec())])
        }
        other => other.clone(),
    }
}

fn finish_program(written: Written, tables: &Tables) -> Generated {
    let dialect = tables.dialect;
    let code = bytes_of_words(&fill_in(&written.asm));
    let info = info_of(written, &code);
    let mut graph = GraphBuilder::default();
    let mut globals = Vec::new();
    for (i, name) in exceptions().enumerate() {
        let name = graph.add_string(name.as_bytes());
        globals.push(graph.add_block(248, &[name, Item::Int(-1 - i as i64)]));
    }
    for _ in 0..REGISTERS {
        globals.push(graph.add_block(0, &[Item::Int(0), Item::Int(1)]));
    }
    for constant in &tables.consts {
        let constant = expand(constant, &tables.codes, std::slice::from_ref(&info));
        globals.push(constant.add_to_graph(&mut graph));
    }
    let count = globals.len();
    let root = graph.add_block(0, &globals);
    let mut symbols = Symbols { count, ..Symbols::default() };
    for (i, name) in exceptions().enumerate() {
        symbols.slots.insert(Ident::Predef(name.to_owned()), i);
    }
    for i in 0..REGISTERS {
        symbols.slots.insert(Ident::Unit(format!("R{i}")), PREDEFINED + i);
    }
    let section = |name: &[u8; 4], data| Section { name: *name, data };
    let prims = tables.prims.iter().flat_map(|name| name.bytes().chain([0])).collect();
    let sections = vec![
        section(b"CODE", code),
        section(b"PRIM", prims),
        section(b"DATA", graph.finish(root).encode(dialect.colour)),
        section(b"SYMB", symbols.write(dialect)),
    ];
    let exe = Executable::from_parts(dialect, Vec::new(), sections).expect("all that is mandatory is there");
    Generated { bytes: exe.write(), info, volatile: tables.volatile, wild: tables.wild }
}

fn finish_unit(
    source: &mut Source<'_>,
    written: Written,
    tables: &Tables,
    number: usize,
    version: u8,
    others: &[CodeInfo],
) -> Generated {
    let name = format!("U{number}");
    let code = bytes_of_words(&written.asm.words);
    let refs = written.asm.refs.clone();
    let info = info_of(written, &code);
    let mut infos = vec![info.clone()];
    infos.extend_from_slice(others);
    let mut literals = Literals::default();
    let mut relocs = Vec::new();
    let mut imports = vec![(name.clone(), Some([version; 16]))];
    for (at, what) in refs {
        let reloc = match what {
            Ref::Const(i) => {
                let constant = expand(&tables.consts[i], &tables.codes, &infos);
                Reloc::Literal(constant.add_to_literals(&mut literals))
            }
            Ref::Register(i) => Reloc::GetGlobal(Ident::Unit(format!("R{i}"))),
            Ref::Predef(i) => {
                Reloc::GetGlobal(Ident::Predef(tables.dialect.predefined[i].0.name().to_owned()))
            }
            Ref::Own => Reloc::SetGlobal(Ident::Unit(name.clone())),
            Ref::Import(i) => {
                let import = if i == number || source.one_in(3) { format!("R{i}") } else { format!("U{i}") };
                if !imports.iter().any(|(known, _)| *known == import) {
                    let digest = import.starts_with('U').then(|| [source.below(2) as u8; 16]);
                    imports.push((import.clone(), digest.filter(|_| source.one_in(3))));
                }
                Reloc::GetGlobal(Ident::Unit(import))
            }
            Ref::Prim(i) => Reloc::Primitive(tables.prims[i].to_owned()),
        };
        relocs.push((reloc, 4 * at));
    }
    let mut unit = CompilationUnit::read(TEMPLATE).expect("a unit of ocamlc's");
    unit.dialect = tables.dialect;
    (unit.name, unit.code, unit.relocs, unit.literals, unit.imports) =
        (name, code, relocs, literals, imports);
    (unit.required_globals, unit.primitives, unit.debug) = (Vec::new(), Vec::new(), None);
    Generated { bytes: unit.write(), info, volatile: tables.volatile, wild: tables.wild }
}

/// A unit to fill in, because only the reader can create one.
const TEMPLATE: &[u8] = include_bytes!("../../crates/spelter/tests/fixtures/greet.cmo");
