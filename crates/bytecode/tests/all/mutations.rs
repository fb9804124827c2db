//! Damaged files: every reader returns without a panic, in time and memory bounded by the input's size.

use proptest::prelude::*;
use spelter_bytecode::asm::{Body, link};
use spelter_bytecode::cmi::Interface;
use spelter_bytecode::code::words_of_bytes;
use spelter_bytecode::debug::{DebugUnit, EventTable};
use spelter_bytecode::disasm::{Listing, ProgramNames, UnitNames};
use spelter_bytecode::info::{Info, describe};
use spelter_bytecode::marshal::{Graph, GraphBuilder, Item};
use spelter_bytecode::obj::CompilationUnit;
use spelter_bytecode::verify::{Entry, Limits, verify};
use spelter_bytecode::{Dialect, Executable, Library};

use crate::fixtures::*;
use crate::interfaces::TYPES;

const LIMITS: Limits = Limits { globals: 20, prims: 500, slots: 0 };

/// Performs all operations on a file.
fn exercise(bytes: &[u8]) {
    let _ = describe("damaged", bytes);
    match Info::read(bytes) {
        Ok(Info::Executable(exe)) => exercise_executable(&exe),
        Ok(Info::Object(unit)) => exercise_unit(&unit),
        Ok(Info::Library(library)) => {
            library.write();
            library.units.iter().for_each(exercise_unit);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(interface) = Interface::read(bytes) {
        let _ = (interface.to_string(), interface.value("Sub.make").map(|found| found.fields));
    }
}

fn exercise_executable(exe: &Executable) {
    exe.write();
    if let Ok(code) = exe.code() {
        exercise_code(&code, Entry::Program);
        if let Ok(names) = ProgramNames::new(exe) {
            let _ = Listing::new(&code, exe.dialect().opcodes, &names).to_string();
        }
    }
    if let Ok((graph, _)) = Graph::decode(exe.data()) {
        graph.encode(Default::default());
    }
    if let Ok(units) = exe.debug() {
        let _ = EventTable::of_units(&units);
    }
}

fn exercise_unit(unit: &CompilationUnit) {
    unit.write();
    if let Ok(words) = unit.words() {
        exercise_code(&words, Entry::Unit);
        let _ = verify(&words, unit.dialect.opcodes, Entry::Unit, &LIMITS);
        let _ = Listing::new(&words, unit.dialect.opcodes, &UnitNames::new(unit)).to_string();
    }
    if let Some(debug) = unit.debug_unit() {
        let _ = (debug.events(), debug.dirs());
    }
    let _ = link([unit.clone()]);
    if let Ok(body) = Body::lift(unit) {
        let again = body.lower().expect("what was lifted can be lowered");
        assert_eq!((again.code.len(), again.relocs.len()), (unit.code.len(), unit.relocs.len()));
        assert!(again.debug == unit.debug);
    }
}

fn exercise_code(words: &[i32], entry: Entry) {
    let _ = verify(words, Dialect::V4_13.opcodes.with_internal(), entry, &LIMITS);
}

/// A fixture with some bytes overwritten, truncated, or both.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let every = ALL.iter().copied().chain(LATER.iter().map(|(_, _, bytes)| *bytes));
    let every = every.chain(TYPES.iter().map(|(_, bytes, _)| *bytes)).collect::<Vec<_>>();
    let fixture = prop::sample::select(every);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    let cut = prop::option::weighted(0.3, any::<prop::sample::Index>());
    (fixture, edits, cut).prop_map(|(fixture, edits, cut)| {
        let mut bytes = fixture.to_vec();
        for (index, byte) in edits {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_are_answered(bytes in damaged()) {
        exercise(&bytes);
    }

    #[test]
    fn damaged_values_are_answered(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let unit = CompilationUnit::read(SHAPES_CMO).expect("a fixture");
        let mut bytes = unit.debug.expect("compiled with -g");
        for (index, byte) in edits {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let debug = DebugUnit::new(0, bytes, Dialect::V4_13);
        let _ = (debug.events(), debug.dirs());
    }

    #[test]
    fn damaged_code_is_answered(
        edits in prop::collection::vec((any::<prop::sample::Index>(), -40..180_i32), 1..6),
    ) {
        let unit = CompilationUnit::read(SHAPES_CMO).expect("a fixture");
        let mut words = words_of_bytes(&unit.code).expect("whole words");
        for (index, word) in edits {
            let index = index.index(words.len());
            words[index] = word;
        }
        exercise_code(&words, Entry::Unit);
        exercise_code(&words, Entry::Program);
    }

    #[test]
    fn arbitrary_code_is_answered(words in prop::collection::vec(-4..175_i32, 0..60)) {
        exercise_code(&words, Entry::Unit);
        exercise_code(&words, Entry::Program);
        let every = Dialect::V4_13.opcodes.with_internal();
        let _ = Listing::new(&words, every, &()).to_string();
    }
}

#[test]
fn every_truncation_is_answered() {
    let interfaces = TYPES.iter().map(|(_, bytes, _)| bytes);
    for fixture in ALL.iter().chain(LATER.iter().map(|(_, _, bytes)| bytes)).chain(interfaces) {
        for len in (0..fixture.len()).step_by(7) {
            exercise(&fixture[..len]);
        }
    }
}

#[test]
fn sharing_does_not_multiply() {
    // A library whose 2000 units are one record, with 2000 imports that share a long name.
    let mut graph = GraphBuilder::default();
    let name = graph.add_string(&[b'x'; 2000]);
    let import = graph.add_block(0, &[name, Item::Int(0)]);
    let imports = graph.add_list(&[import; 2000]);
    let [none, zero, start] = [0, 0, 16].map(Item::Int);
    let unit = graph.add_block(0, &[name, start, zero, none, imports, none, none, zero, zero, zero]);
    let units = graph.add_list(&[unit; 2000]);
    let root = graph.add_block(0, &[units, zero, none, none, none]);
    let descriptor = graph.finish(root).encode(Default::default());
    let bytes = [&b"Caml1999A030"[..], &16_u32.to_be_bytes(), &descriptor].concat();
    let error = Library::read(&bytes).expect_err("8 GB of names");
    assert!(error.to_string().contains("too much is shared"), "{error}");
}
