//! Files of later versions: what is laid out differently in them.

use spelter_bytecode::debug::EventTable;
use spelter_bytecode::dialect::Dialect;
use spelter_bytecode::disasm::{Listing, UnitNames};
use spelter_bytecode::exe::SharedLibrary;
use spelter_bytecode::info::{Info, describe};
use spelter_bytecode::marshal::{Decompressor, Graph, GraphBuilder, Header, Item};
use spelter_bytecode::obj::{Constant, Literals, Reloc};
use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::verify::{Entry, Fault, Limits, verify};
use spelter_bytecode::{
    CompilationUnit, ErrorKind, Executable, Ident, Instructions, Library, Opcode, Symbols,
};

use crate::fixtures::*;

const LIMITS: Limits = Limits { globals: 1, prims: 1, slots: 0 };

fn unit(version: &str, name: &str) -> CompilationUnit {
    CompilationUnit::read(later(version, name)).expect("a fixture")
}

fn words(unit: &CompilationUnit) -> Vec<i32> {
    let mut words = unit.words().expect("whole words");
    words.extend([Opcode::RETURN.word(), 1]);
    words
}

#[test]
fn files_are_written_as_they_were_read() {
    for (version, name, bytes) in LATER {
        let written = match Info::read(bytes).expect("a fixture") {
            Info::Executable(exe) => exe.write(),
            Info::Object(unit) => unit.write(),
            Info::Library(library) => library.write(),
        };
        assert!(written == *bytes, "{version}/{name}");
    }
}

#[test]
fn changed_files_read_back_as_changed() {
    for (version, name, bytes) in LATER {
        match Info::read(bytes).expect("a fixture") {
            Info::Executable(exe) => {
                let symbols = exe.symbols().expect("a table").expect("not stripped");
                let again = Symbols::read(&symbols.write(exe.dialect()), exe.dialect()).expect("a table");
                // Maps are balanced as OCaml balances them, and compared in the order in which it looks names up.
                assert!(exe.section("SYMB") == Some(&symbols.write(exe.dialect())), "{version}");
                assert!(again.slots.iter().eq(&symbols.slots), "{version}");
            }
            Info::Object(mut unit) => {
                unit.force_link = !unit.force_link;
                let again = CompilationUnit::read(&unit.write()).expect("what was just written");
                assert!(again == unit, "{version}/{name}");
            }
            Info::Library(mut library) => {
                library.custom = !library.custom;
                let again = Library::read(&library.write()).expect("what was just written");
                assert!(again == library, "{version}/{name}");
            }
        }
    }
}

#[test]
fn literals_that_are_values_are_what_the_source_says() {
    for version in ["5.1", "5.3", "5.5"] {
        let unit = unit(version, "shapes.cmo");
        let has = |wanted: Constant| assert!(unit.literals.all().contains(&wanted), "{version}: {wanted:?}");
        has(Constant::Float { text: "1000.5".to_owned(), value: 1000.5 });
        has(Constant::Int(b'c'.into()));
        has(Constant::String(b"text".to_vec()));
        has(Constant::Int32(5));
        has(Constant::Int64(1_000_000_007));
        has(Constant::Nativeint(-3));
        has(Constant::Int(0x3fff_ffff_ffff));
        let texts = ["1.0", "2.0", "3.0", "4.0", "5.0"].map(str::to_owned).to_vec();
        has(Constant::FloatArray { texts, values: vec![1.0, 2.0, 3.0, 4.0, 5.0] });
    }
}

#[test]
fn values_that_hold_themselves_or_closures_are_no_literals() {
    let reread = |literals: Literals, root| {
        let mut unit = unit("5.5", "shapes.cmo");
        unit.literals = literals;
        unit.relocs = vec![(Reloc::Literal(root), 4)];
        CompilationUnit::read(&unit.write())
    };
    // Sharing is kept, and floats are compared by their bits.
    let mut literals = Literals::default();
    let nan = literals.add(Constant::Float { text: "NaN".to_owned(), value: f64::NAN });
    let root = literals.add(Constant::Block { tag: 3, fields: vec![nan, nan] });
    let read = reread(literals.clone(), root).expect("what was just written");
    assert_eq!(read.literals, literals);

    let mut graph = GraphBuilder::default();
    let name = graph.add_string(b"M");
    let knot = graph.add_block(0, &[Item::Int(0)]);
    let reloc = graph.add_block(0, &[knot]);
    let reloc = graph.add_block(0, &[reloc, Item::Int(0)]);
    let relocs = graph.add_list(&[reloc]);
    let [zero, start, len] = [0, 16, 4].map(Item::Int);
    let root = graph.add_block(0, &[name, start, len, relocs, zero, zero, zero, zero, zero, zero]);
    let mut graph = graph.finish(root);
    let Item::Obj(node) = knot else { panic!("a block") };
    graph.set_field(node, 0, knot);
    let descriptor = graph.encode(Default::default());
    let bytes = [&b"Caml1999O037"[..], &20_u32.to_be_bytes(), &[143, 0, 0, 0], &descriptor].concat();
    let error = CompilationUnit::read(&bytes).expect_err("a literal without end");
    assert!(error.to_string().contains("contains itself"), "{error}");
}

#[test]
fn relocations_tell_units_from_exceptions() {
    for version in ["5.1", "5.3", "5.5"] {
        let unit = unit(version, "shapes.cmo");
        let has = |wanted: &Reloc| unit.relocs.iter().any(|(reloc, _)| reloc == wanted);
        assert!(has(&Reloc::SetGlobal(Ident::Unit("Shapes".to_owned()))), "{version}");
        assert!(has(&Reloc::GetGlobal(Ident::Unit("Stdlib__List".to_owned()))), "{version}");
        assert!(has(&Reloc::GetGlobal(Ident::Predef("Assert_failure".to_owned()))), "{version}");
        assert!(has(&Reloc::Primitive("caml_obj_dup".to_owned())), "{version}");
        assert!(unit.required_globals.contains(&Ident::Unit("Stdlib__List".to_owned())), "{version}");
    }
}

#[test]
fn code_for_effects_is_verified_as_of_its_version() {
    for (version, name, _) in LATER.iter().filter(|(_, name, _)| name.ends_with(".cmo")) {
        let unit = unit(version, name);
        verify(&words(&unit), unit.dialect.opcodes, Entry::Unit, &LIMITS).expect("ocamlc's code");
    }
    let handlers = unit("5.5", "handlers.cmo");
    let words = words(&handlers);
    let listing = Listing::new(&words, handlers.dialect.opcodes, &UnitNames::new(&handlers)).to_string();
    for op in ["RESUME\n", "RESUMETERM ", "REPERFORMTERM "] {
        assert!(listing.contains(op), "{op} in\n{listing}");
    }
    // Its RESUMETERM counts a third operand, which 5.1 knows nothing of, but the frame has that size.
    let resume = Instructions::new(&words, OpcodeSet::V5_2).flatten().find(|i| i.op == Opcode::RESUME);
    assert!(resume.is_some(), "handlers.ml has one");
    let error = verify(&words, OpcodeSet::V5_0, Entry::Unit, &LIMITS).expect_err("one word stays");
    assert!(matches!(error.kind(), ErrorKind::Verify(Fault::FrameSize { .. })), "{error}");
    let error = verify(&words, OpcodeSet::V4, Entry::Unit, &LIMITS).expect_err("no effects in OCaml 4");
    assert!(matches!(error.kind(), ErrorKind::UnknownOpcode { .. }), "{error}");
}

#[test]
fn resuming_takes_two_operands_or_three() {
    let code = |pushes: usize| {
        let mut words = vec![Opcode::PUSH.word(); pushes];
        words.extend([Opcode::RESUME.word(), Opcode::RETURN.word(), 1]);
        words
    };
    let accepts = |set, pushes| verify(&code(pushes), set, Entry::Unit, &LIMITS).is_ok();
    // The frame has one word more: the argument.
    assert_eq!([1, 2, 3].map(|n| accepts(OpcodeSet::V5_0, n)), [false, true, false]);
    assert_eq!([2, 3, 4].map(|n| accepts(OpcodeSet::V5_2, n)), [false, true, false]);
    let tail = |set, op: Opcode, pushes: usize, size| {
        let mut words = vec![Opcode::PUSH.word(); pushes];
        words.extend([op.word(), size]);
        verify(&words, set, Entry::Unit, &LIMITS).is_ok()
    };
    assert!(
        tail(OpcodeSet::V5_0, Opcode::RESUMETERM, 1, 2) && !tail(OpcodeSet::V5_2, Opcode::RESUMETERM, 1, 2)
    );
    assert!(
        tail(OpcodeSet::V5_2, Opcode::RESUMETERM, 2, 3) && !tail(OpcodeSet::V5_2, Opcode::RESUMETERM, 2, 4)
    );
    assert!(tail(OpcodeSet::V5_2, Opcode::REPERFORMTERM, 1, 2));
}

#[test]
fn debug_data_is_read_from_every_version() {
    for (version, name, bytes) in LATER {
        match Info::read(bytes).expect("a fixture") {
            Info::Executable(exe) => {
                let table = EventTable::of_units(&exe.debug().expect("a section")).expect("events");
                assert!(table.events().iter().any(|event| &*event.defname == "Tiny.add"), "{version}");
            }
            Info::Object(unit) => {
                let debug = unit.debug_unit().expect("compiled with -g");
                let events = debug.events().expect("a list");
                let found = events.iter().any(|event| {
                    (&*event.defname, &*event.loc.file, event.loc.start.line)
                        == ("Shapes.check", "shapes.ml", 21)
                });
                assert_eq!(found, *name == "shapes.cmo", "{version}/{name}");
                assert!(!events.is_empty(), "{version}/{name}");
                assert_eq!(debug.dirs().expect("a list").len(), 1, "{version}/{name}");
                let header = Header::parse(debug.bytes()).expect("a value");
                assert_eq!(header.decompressed_len.is_some(), *version == "5.3", "{version}/{name}");
            }
            Info::Library(_) => {}
        }
    }
}

/// The compressed events of a unit of 5.3.
fn compressed() -> Vec<u8> {
    unit("5.3", "shapes.cmo").debug.expect("compiled with -g")
}

#[test]
fn compressed_data_is_decompressed_within_bounds() {
    let bytes = compressed();
    let header = Header::parse(&bytes).expect("a value");
    let (graph, consumed) = Graph::decode(&bytes).expect("events");
    assert_eq!(consumed as u64, header.total_len());
    assert!(graph.len() > 100);
    let data = &bytes[header.header_len..consumed];
    let all = Decompressor::new(&header, data, header.plain_len()).expect("within the limit").all();
    assert_eq!(all.expect("undamaged").len() as u64, header.plain_len());

    let refused = |header: &Header, data: &[u8], limit| {
        let error = match Decompressor::new(header, data, limit) {
            Ok(decompressor) => decompressor.all().expect_err("not right"),
            Err(error) => error,
        };
        assert!(matches!(error.kind(), ErrorKind::Compressed(_)), "{error}");
        error.to_string()
    };
    assert!(refused(&header, data, header.plain_len() - 1).contains("more than may be"));
    let huge = Header { decompressed_len: Some(1 << 40), ..header };
    assert!(refused(&huge, data, u64::MAX).contains("more than it can hold"));
    for len in [header.plain_len() - 1, header.plain_len() + 1] {
        let other = Header { decompressed_len: Some(len), ..header };
        assert!(refused(&other, data, u64::MAX).contains("its header announces"));
    }
    for cut in 0..data.len() {
        assert!(refused(&header, &data[..cut], u64::MAX).contains("it is"), "{cut}");
    }
}

#[test]
fn damaged_compressed_data_is_answered() {
    let bytes = compressed();
    for at in 0..bytes.len() {
        for mask in [1, 0x80, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[at] ^= mask;
            if let Err(error) = Graph::decode(&damaged) {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

#[test]
fn sections_and_libraries_of_5_5() {
    let exe = Executable::read(later("5.5", "tiny.byte")).expect("a fixture");
    // These sections are left out when there is nothing in them.
    assert!(exe.section("DLLS").is_none() && exe.section("DLPT").is_none());
    assert_eq!((exe.dlls(), exe.dllpath()), (Ok(Vec::new()), Ok(Vec::new())));
    let mut sections = exe.sections().to_vec();
    for (name, data) in [(b"DLLS", &b"-dllunixbyt\0:dllfoo\0"[..]), (b"OSLD", b"/lib/ocaml")] {
        sections.push(spelter_bytecode::exe::Section { name: *name, data: data.to_vec() });
    }
    let exe = Executable::from_parts(exe.dialect(), Vec::new(), sections).expect("complete");
    let library = |name, suffixed| SharedLibrary { name, suffixed };
    assert_eq!(exe.dlls(), Ok(vec![library("dllunixbyt", true), library("dllfoo", false)]));
    assert_eq!(exe.standard_library(), Some(&b"/lib/ocaml"[..]));
    let text = describe("x", &exe.write()).expect("what was just written");
    assert!(text.contains("Used DLLs:\n\t-dllunixbyt\n\t:dllfoo\n"), "{text}");
    assert!(text.ends_with("caml_standard_library_default: /lib/ocaml\n"), "{text}");

    let dllibs = Library::read(later("5.5", "lib.cma")).expect("a fixture").dllibs;
    let library = |name: &str, suffixed| SharedLibrary { name: name.to_owned(), suffixed };
    assert_eq!(dllibs, [library("-lbaz", true), library("dllfoo.so", false)]);
    let dllibs = Library::read(later("5.4", "lib.cma")).expect("a fixture").dllibs;
    assert_eq!(dllibs, [library("dllfoo.so", false)]);
}

#[test]
fn descriptions_are_those_of_the_versions_ocamlobjinfo() {
    for (version, name, expected) in [
        ("4.14", "lib.cma", include_str!("../fixtures/4.14/lib.cma.info")),
        ("5.1", "lib.cma", include_str!("../fixtures/5.1/lib.cma.info")),
        ("5.1", "tiny.byte", include_str!("../fixtures/5.1/tiny.byte.info")),
        ("5.3", "lib.cma", include_str!("../fixtures/5.3/lib.cma.info")),
        ("5.4", "lib.cma", include_str!("../fixtures/5.4/lib.cma.info")),
        ("5.5", "lib.cma", include_str!("../fixtures/5.5/lib.cma.info")),
        ("5.5", "tiny.byte", include_str!("../fixtures/5.5/tiny.byte.info")),
    ] {
        let text = describe(name, later(version, name)).expect("a fixture");
        assert!(text == expected, "{version}/{name}:\n{text}");
    }
}

#[test]
fn units_are_before_exceptions_in_later_symbol_tables() {
    let symbols = |version| {
        let exe = Executable::read(later(version, "tiny.byte")).expect("a fixture");
        exe.symbols().expect("a table").expect("not stripped")
    };
    for (version, first) in [("5.1", "Match_failure"), ("5.3", "Tiny"), ("5.5", "Tiny")] {
        assert_eq!(symbols(version).slots.keys().next().map(Ident::name), Some(first), "{version}");
    }
    let written = symbols("5.1").write(Dialect::V5_5);
    assert!(Symbols::read(&written, Dialect::V5_5).expect("a table").slots.iter().eq(&symbols("5.5").slots));
}
