//! Round trips: bytes and parts are unchanged after reading and writing; and the tools' output about them.

use spelter_bytecode::exe::{ExecutableBuilder, Section};
use spelter_bytecode::marshal::{Graph, Item, Node};
use spelter_bytecode::obj::{Constant, Reloc};
use spelter_bytecode::{CompilationUnit, Dialect, Executable, Ident, Library, Symbols, info};

use crate::fixtures::*;

fn unit(bytes: &[u8]) -> CompilationUnit {
    CompilationUnit::read(bytes).expect("a fixture")
}

#[test]
fn files_are_written_as_they_were_read() {
    assert_eq!(unit(SHAPES_CMO).write(), SHAPES_CMO);
    assert_eq!(unit(TINY_CMO).write(), TINY_CMO);
    assert_eq!(Library::read(LIB_CMA).expect("a fixture").write(), LIB_CMA);
    assert_eq!(Executable::read(TINY_BYTE).expect("a fixture").write(), TINY_BYTE);
}

#[test]
fn marshalled_data_is_written_as_it_was_read() {
    let exe = Executable::read(TINY_BYTE).expect("a fixture");
    for name in ["DATA", "SYMB", "CRCS"] {
        let bytes = exe.section(name).expect("a section that ocamlc writes");
        let (graph, consumed) = Graph::decode(bytes).expect("marshalled data");
        assert_eq!(consumed, bytes.len());
        assert_eq!(graph.encode(Default::default()), bytes, "{name}");
    }
}

#[test]
fn a_changed_unit_reads_back_as_changed() {
    let mut changed = unit(SHAPES_CMO);
    changed.force_link = true;
    changed.imports.push(("Other".to_owned(), Some([7; 16])));
    let again = unit(&changed.write());
    assert!(again == changed);
    assert!(again != unit(SHAPES_CMO));
}

#[test]
fn a_library_can_be_made_of_units() {
    let made = Library::new(Dialect::V4_13, vec![unit(TINY_CMO), unit(SHAPES_CMO)]);
    let read = Library::read(&made.write()).expect("what was just written");
    assert!(read == made);
    assert_eq!(read.units[1].code, unit(SHAPES_CMO).code);
    assert_eq!(read.units[1].debug, unit(SHAPES_CMO).debug);
}

#[test]
fn literals_are_what_the_source_says() {
    let unit = unit(SHAPES_CMO);
    let has = |wanted: Constant| assert!(unit.literals.all().contains(&wanted), "{wanted:?}");
    has(Constant::Float { text: "1_000.5".to_owned(), value: 1000.5 });
    has(Constant::Float { text: "0x1.8p1".to_owned(), value: 3.0 });
    has(Constant::Char(b'c'));
    has(Constant::String(b"text".to_vec()));
    has(Constant::Int32(5));
    has(Constant::Int64(1_000_000_007));
    has(Constant::Nativeint(-3));
    has(Constant::Int(0x3fff_ffff_ffff));
    // The array is mutable: the compiler copies a literal of it, if it has more than four elements.
    let texts = ["1.", "2.", "3.", "4.", "5."].map(str::to_owned).to_vec();
    has(Constant::FloatArray { texts, values: vec![1.0, 2.0, 3.0, 4.0, 5.0] });
}

#[test]
fn relocations_name_what_the_code_needs() {
    let unit = unit(TINY_CMO);
    assert_eq!(unit.name, "Tiny");
    assert_eq!(unit.relocs, [(Reloc::SetGlobal(Ident::Unit("Tiny".to_owned())), 100)]);
    assert!(unit.debug.is_none());
    assert!(unit.imports.iter().any(|(name, digest)| name == "Stdlib" && digest.is_some()));
}

#[test]
fn an_executable_has_typed_sections() {
    let exe = Executable::read(TINY_BYTE).expect("a fixture");
    let names: Vec<_> = exe.sections().iter().map(Section::name).collect();
    assert_eq!(names, ["CODE", "DLPT", "DLLS", "PRIM", "DATA", "SYMB", "CRCS", "DBUG"]);
    assert!(exe.prefix().starts_with(b"#!") && exe.prefix().ends_with(b"\n"));
    assert_eq!(exe.code().expect("whole words").last(), Some(&143));
    assert_eq!(exe.prims().expect("names")[0], "caml_abs_float");
    assert!(exe.dlls().expect("names").is_empty());
    let symbols = exe.symbols().expect("a table").expect("not stripped");
    assert_eq!((symbols.count, symbols.slots.len()), (13, 13));
    for (slot, (exception, _)) in Dialect::V4_13.predefined.iter().enumerate() {
        assert_eq!(symbols.predef(exception.name()), Some(slot));
    }
    assert_eq!(symbols.unit("Tiny"), Some(12));
}

#[test]
fn symbols_are_written_with_the_stamps_of_the_stock_compiler() {
    let exe = Executable::read(TINY_BYTE).expect("a fixture");
    let bytes = exe.section("SYMB").expect("not stripped");
    let symbols = Symbols::read(bytes, Dialect::V4_13).expect("a table");
    let again = Symbols::read(&symbols.write(Dialect::V4_13), Dialect::V4_13).expect("a table");
    assert_eq!(again, symbols);
    assert!(symbols.write(Dialect::V4_13) == bytes);
    // OCaml's code finds an exception by its stamp, so the stamps must be OCaml's.
    let mut expected = stamps(bytes);
    let mut written = stamps(&symbols.write(Dialect::V4_13));
    expected.sort();
    written.sort();
    assert_eq!(expected.len(), 12);
    assert_eq!(written, expected);
}

/// The names and stamps of all predefined exceptions in a symbol table.
fn stamps(bytes: &[u8]) -> Vec<(Vec<u8>, i64)> {
    let (graph, _) = Graph::decode(bytes).expect("marshalled data");
    let mut found = Vec::new();
    let mut todo = vec![graph.root()];
    while let Some(item) = todo.pop() {
        let Item::Obj(node) = item else { continue };
        match graph.node(node) {
            Node::Block { tag: 3, fields: [Item::Obj(name), Item::Int(stamp)] } => match graph.node(*name) {
                Node::String(name) => found.push((name.to_vec(), *stamp)),
                other => panic!("{other:?} as a name"),
            },
            Node::Block { fields, .. } => todo.extend(fields),
            _ => {}
        }
    }
    found
}

#[test]
fn an_executable_can_be_built_from_parts() {
    let exe = Executable::read(TINY_BYTE).expect("a fixture");
    let symbols = exe.symbols().expect("a table").expect("not stripped");
    let prims = exe.prims().expect("names");
    let built = ExecutableBuilder::new(Dialect::V4_13)
        .prefix(b"#!anything\n")
        .code(&exe.code().expect("whole words"))
        .prims(prims.iter().copied())
        .data(exe.data().to_vec())
        .symbols(&symbols)
        .crcs(&exe.crcs().expect("a table"))
        .finish()
        .expect("all mandatory parts");
    let read = Executable::read(&built.write()).expect("what was just written");
    assert_eq!(read, built);
    for name in ["CODE", "PRIM", "DATA"] {
        assert_eq!(read.section(name), exe.section(name), "{name}");
    }
    assert_eq!(read.crcs().expect("a table"), exe.crcs().expect("a table"));
    let error = ExecutableBuilder::new(Dialect::V4_13).code(&[143]).finish().expect_err("no PRIM");
    assert_eq!(error.to_string(), "the executable has no PRIM section");
}

#[test]
fn the_last_section_of_a_name_counts() {
    let section = |name: &[u8; 4], data: &[u8]| Section { name: *name, data: data.to_vec() };
    let sections = vec![
        section(b"CODE", &[143, 0, 0, 0]),
        section(b"PRIM", b"first\0"),
        section(b"DATA", b""),
        section(b"PRIM", b"second\0\0third\0"),
    ];
    let exe = Executable::from_parts(Dialect::V4_13, Vec::new(), sections).expect("complete");
    let read = Executable::read(&exe.write()).expect("what was just written");
    assert_eq!(read, exe);
    assert_eq!(read.prims().expect("names"), ["second"]);
}

#[test]
fn descriptions_are_those_of_ocamlobjinfo() {
    for (path, bytes, expected) in [
        ("shapes.cmo", SHAPES_CMO, include_str!("../fixtures/shapes.cmo.info")),
        ("lib.cma", LIB_CMA, include_str!("../fixtures/lib.cma.info")),
        ("tiny.byte", TINY_BYTE, include_str!("../fixtures/tiny.byte.info")),
    ] {
        assert_eq!(info::describe(path, bytes).expect("a fixture"), expected);
    }
}
