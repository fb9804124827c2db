//! The verifier: it must never panic, must accept generated code, and must be consistent about the code that it
//! accepts.

use spelter_bytecode::code::{Instructions, encode};
use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::verify::{Entry, Limits, Verified, verify};
use spelter_bytecode::{Executable, Opcode};

use crate::generate;
use crate::source::Source;

/// Replaces some words by others that are likely to be instructions, or by small numbers.
pub(super) fn mutate(source: &mut Source<'_>, words: &mut [i32]) {
    for _ in 0..source.below(4) {
        let at = source.below(words.len());
        words[at] = match source.below(4) {
            0 => i32::from(source.byte()),
            1 => words[at].wrapping_add(source.of(&[1, -1, 3, -3])),
            2 => source.of(&[i32::MAX, i32::MIN, -1, 0, 1 << 16]),
            _ => source.of(&[41, 42, 40, 32, 36, 89, 90, 43, 44, 87, 149, 150, 151, 152, 160, 172]),
        };
    }
}

fn judge(words: &[i32], opcodes: OpcodeSet, limits: &Limits) -> [Option<Verified>; 2] {
    [Entry::Program, Entry::Unit].map(|entry| verify(words, opcodes, entry, limits).ok())
}

/// Verifies generated code, which must be accepted, and then mutants of it.
pub(crate) fn run(bytes: &[u8]) {
    let mut source = Source::of_bytes(bytes);
    let program = generate::program(&mut source);
    let exe = Executable::read(&program.bytes).expect("it was just made");
    let opcodes = exe.dialect().opcodes;
    let mut words = exe.code().expect("it has code");
    let globals = exe.symbols().ok().flatten().unwrap_or_default().count;
    let limits = Limits { globals, prims: exe.prims().map_or(0, |prims| prims.len()), slots: 0 };
    if !program.wild
        && let Err(error) = verify(&words, opcodes, Entry::Program, &limits)
    {
        panic!("generated code is refused: {error}");
    }
    for _ in 0..8 {
        mutate(&mut source, &mut words);
        let judged = judge(&words, opcodes, &limits);
        if judged.iter().any(Option::is_some) {
            let mut again = Vec::new();
            for instr in Instructions::new(&words, opcodes) {
                let instr = instr.expect("verified code decodes");
                encode(instr.op, instr.operands, &mut again).expect("verified code can be written");
            }
            assert_eq!(again, words);
            assert_eq!(judge(&again, opcodes, &limits), judged);
            functions(&words, &judged);
        }
        if source.is_empty() {
            break;
        }
    }
}

/// Checks the verifier's results about functions.
fn functions(words: &[i32], judged: &[Option<Verified>; 2]) {
    for function in judged.iter().flatten().flat_map(|verified| &verified.functions) {
        let op = Opcode::from_word(words[function.entry]);
        assert!(function.max_height >= function.arity);
        if op == Some(Opcode::GRAB) && function.entry > 0 {
            assert_eq!(words[function.entry - 1], Opcode::RESTART.word());
            assert_eq!(words[function.entry + 1] as u64 + 1, function.arity);
        }
    }
}
