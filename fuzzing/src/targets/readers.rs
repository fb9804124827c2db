//! Whole or partial files: every reader must return, whatever the bytes.

use spelter_bytecode::asm::{Body, Instruction, Linker};
use spelter_bytecode::code::{bytes_of_words, words_of_bytes};
use spelter_bytecode::debug::{DebugUnit, EventTable};
use spelter_bytecode::disasm::{Listing, ProgramNames, UnitNames};
use spelter_bytecode::info::{Info, describe};
use spelter_bytecode::marshal::{BlockColour, Decompressor, Graph, Header};
use spelter_bytecode::obj::CompilationUnit;
use spelter_bytecode::verify::{Entry, Limits, verify};
use spelter_bytecode::{Dialect, Executable, Library, Opcode};

use crate::generate;
use crate::generate::zstd;
use crate::source::Source;

const LIMITS: Limits = Limits { globals: 20, prims: 500, slots: 0 };

/// A file of each kind.
const FILES: [&[u8]; 6] = [
    include_bytes!("../../../crates/spelter/tests/fixtures/host.byte"),
    include_bytes!("../../../crates/spelter/tests/fixtures/shapes.cmo"),
    include_bytes!("../../../crates/spelter/tests/fixtures/greet.cmo"),
    COMPRESSED,
    include_bytes!("../../../crates/bytecode/tests/fixtures/5.1/shapes.cmo"),
    include_bytes!("../../../crates/bytecode/tests/fixtures/5.5/lib.cma"),
];

/// A unit whose debug data is compressed.
const COMPRESSED: &[u8] = include_bytes!("../../../crates/bytecode/tests/fixtures/5.3/shapes.cmo");

/// A file with some bytes changed, removed or duplicated.
pub(super) fn damage(source: &mut Source<'_>, bytes: &mut Vec<u8>) {
    for _ in 0..1 + source.below(6) {
        if bytes.is_empty() {
            return;
        }
        // The end of a file contains the positions of everything else.
        let len = bytes.len();
        let at = if source.one_in(3) { len - 1 - source.below(len.min(400)) } else { source.below(len) };
        match source.below(8) {
            0 => bytes.truncate(at),
            1 => {
                let byte = source.byte();
                bytes.insert(at, byte);
            }
            2 => bytes[at] = source.of(&[0, 1, 0x7F, 0x80, 0xFF]),
            3 => bytes[at] = bytes[at].wrapping_add(1),
            4 => {
                let n = source.below(32).min(len - at);
                let part: Vec<u8> = bytes[at..at + n].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes[at] = source.byte(),
        }
    }
}

/// A damaged file, or the raw bytes.
fn file(source: &mut Source<'_>) -> Vec<u8> {
    let mut bytes = match source.below(14) {
        0 => {
            let n = source.below(600);
            return source.bytes(n);
        }
        1 => generate::program(source).bytes,
        2 => {
            let dialect = generate::dialect(source);
            generate::unit(source, dialect, 0, 0, &[]).bytes
        }
        3 => {
            let exe = Executable::read(FILES[0]).expect("a fixture");
            exe.section("DBUG").unwrap_or(exe.data()).to_vec()
        }
        4 => {
            let unit = CompilationUnit::read(COMPRESSED).expect("a fixture");
            unit.debug.expect("it has debug data")
        }
        5 => {
            let frame = zstd::frame(source);
            zstd::marshalled(&frame.bytes, frame.plain.len() as u64, 4)
        }
        i => FILES[i % FILES.len()].to_vec(),
    };
    damage(source, &mut bytes);
    bytes
}

/// Performs all operations on a file.
pub(crate) fn run(bytes: &[u8]) {
    let mut source = Source::of_bytes(bytes);
    if source.one_in(6) {
        return compressed(&mut source);
    }
    let bytes = file(&mut source);
    let _ = describe("damaged", &bytes);
    match Info::read(&bytes) {
        Ok(Info::Executable(exe)) => executable(&exe),
        Ok(Info::Object(unit)) => object(&unit),
        Ok(Info::Library(library)) => {
            library.units.iter().for_each(object);
            assert_eq!(Library::read(&library.write()).map(|again| again.units), Ok(library.units));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    marshalled(&bytes);
    debug(&bytes);
}

fn executable(exe: &Executable) {
    let again = Executable::read(&exe.write()).expect("what was written can be read");
    assert_eq!((again.sections(), again.prefix()), (exe.sections(), exe.prefix()));
    if let Ok(words) = exe.code() {
        code(&words, Entry::Program);
        if let Ok(names) = ProgramNames::new(exe) {
            let _ = Listing::new(&words, exe.dialect().opcodes, &names).to_string();
        }
    }
    let _ = (exe.prims(), exe.symbols(), exe.crcs(), exe.dlls(), exe.dllpath());
    marshalled(exe.data());
    if let Ok(units) = exe.debug() {
        let _ = EventTable::of_units(&units);
    }
}

fn object(unit: &CompilationUnit) {
    let again = CompilationUnit::read(&unit.write()).expect("what was written can be read");
    assert_eq!(again.code, unit.code);
    if let Ok(words) = unit.words() {
        code(&words, Entry::Unit);
        let _ = Listing::new(&words, unit.dialect.opcodes, &UnitNames::new(unit)).to_string();
    }
    if let Some(debug) = unit.debug_unit() {
        let _ = (debug.events(), debug.dirs());
    }
    edited(unit);
}

/// Lifts a unit's code, moves all of it, and lowers it.
fn edited(unit: &CompilationUnit) {
    let _ = Linker::new().object(unit.clone()).everything().link().map(|program| program.write());
    let Ok(mut body) = Body::lift(unit) else { return };
    let again = body.lower().expect("what was lifted can be lowered");
    assert_eq!((again.code.len(), again.relocs.len()), (unit.code.len(), unit.relocs.len()));
    assert!(again.debug == unit.debug, "the debug data of {} has changed", unit.name);
    for id in body.ids().collect::<Vec<_>>() {
        body.insert_before(id, Instruction::new(Opcode::POP, [0.into()]));
        if body[id].op == Opcode::PUSH {
            body.remove(id);
        }
    }
    let moved = body.lower().expect("instructions were added and removed");
    Body::lift(&moved).expect("what was lowered can be lifted");
}

fn code(words: &[i32], entry: Entry) {
    assert_eq!(words_of_bytes(&bytes_of_words(words)).as_deref(), Ok(words));
    let _ = verify(words, Dialect::V4_13.opcodes.with_internal(), entry, &LIMITS);
}

/// Checks that a value that was read is equal after writing and reading it again.
fn marshalled(bytes: &[u8]) {
    let Ok((graph, consumed)) = Graph::decode(bytes) else { return };
    assert!(consumed <= bytes.len());
    let once = graph.encode(BlockColour::White);
    let (again, all) = Graph::decode(&once).expect("what was written can be read");
    assert_eq!(all, once.len());
    assert_eq!(again.encode(BlockColour::White), once);
}

fn debug(bytes: &[u8]) {
    for dialect in [Dialect::V4_13, Dialect::V5_3] {
        let unit = DebugUnit::new(0, bytes.to_vec(), dialect);
        let _ = (unit.events(), unit.dirs());
    }
}

/// What a frame stands for, and what becomes of it if its header or the frame itself says something else.
fn compressed(source: &mut Source<'_>) {
    let frame = zstd::frame(source);
    let len = frame.plain.len() as u64;
    let decompress = |bytes: &[u8], announced: u64, limit: u64| {
        let bytes = zstd::marshalled(bytes, announced, 4);
        let header = Header::parse(&bytes)?;
        Decompressor::new(&header, &bytes[header.header_len..], limit)?.all()
    };
    let plain = decompress(&frame.bytes, len, len).expect("a frame that was just made");
    assert!(plain == frame.plain, "{} bytes decompress to others", len);
    for (announced, limit) in [(len + 1, len + 1), (len.saturating_sub(1), len), (len, len.saturating_sub(1))]
    {
        assert!(
            len == 0 || decompress(&frame.bytes, announced, limit).is_err(),
            "{announced} of {len} bytes"
        );
    }
    let mut bytes = frame.bytes;
    damage(source, &mut bytes);
    let _ = decompress(&bytes, len, 4 << 20);
    let _ = decompress(&bytes, (bytes.len() as u64 / 4) << 17, 4 << 20);
}
