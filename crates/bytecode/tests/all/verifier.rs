//! The verifier: code that it accepts, and each reason for refusal.

use spelter_bytecode::disasm::Listing;
use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::verify::{Entry, Fault, Limits, Verified, verify};
use spelter_bytecode::{CompilationUnit, Dialect, ErrorKind, Executable, Library, Opcode, Opcode::*};

use crate::fixtures::*;

const LIMITS: Limits = Limits { globals: 13, prims: 401, slots: 2 };

/// Code in which opcodes and numbers can be mixed.
macro_rules! code {
    ($($word:expr),* $(,)?) => { [$(Word::from($word).0),*] };
}

struct Word(i32);

impl From<Opcode> for Word {
    fn from(op: Opcode) -> Word {
        Word(op.word())
    }
}

impl From<i32> for Word {
    fn from(word: i32) -> Word {
        Word(word)
    }
}

fn check(words: &[i32], entry: Entry) -> spelter_bytecode::Result<Verified> {
    verify(words, OpcodeSet::V4.with_internal(), entry, &LIMITS)
}

fn fault(words: &[i32]) -> String {
    let error = check(words, Entry::Unit).expect_err("bad code");
    assert!(matches!(error.kind(), ErrorKind::Verify(_)), "{error}");
    error.to_string()
}

/// Each code with its error.
fn faults(codes: &[&[i32]]) -> String {
    let line = |words: &&[i32]| {
        let every = OpcodeSet::V4.with_internal();
        let listing = Listing::new(words, every, &()).to_string();
        let listing: Vec<_> = listing.lines().map(|line| line.trim()).collect();
        format!("{}\n    {}\n", listing.join("; "), fault(words))
    };
    codes.iter().map(line).collect()
}

#[test]
fn real_code_passes() {
    let exe = Executable::read(TINY_BYTE).expect("a fixture");
    let verified = verify(&exe.code().expect("whole words"), exe.dialect().opcodes, Entry::Program, &LIMITS)
        .expect("ocamlc's code");
    let arities: Vec<_> = verified.functions.iter().map(|function| function.arity).collect();
    assert_eq!(arities, [0, 2]);
    assert_eq!(verified.functions[1].max_height, 3);
    let mut units = Library::read(LIB_CMA).expect("a fixture").units;
    units.push(CompilationUnit::read(SHAPES_CMO).expect("a fixture"));
    for unit in units {
        let mut words = unit.words().expect("whole words");
        // It is not linked yet: without the loader's `RETURN`, control runs off the end.
        let error = check(&words, Entry::Unit).expect_err("no RETURN");
        assert_eq!(error.kind(), &ErrorKind::Verify(Fault::FallsOff), "{}", unit.name);
        words.extend(code![RETURN, 1]);
        verify(&words, Dialect::V4_13.opcodes, Entry::Unit, &LIMITS).expect("ocamlc's code");
    }
}

#[test]
fn functions_frames_and_handlers_are_followed() {
    // try f x y (with everything pushed by hand) with _ -> 0
    let words = code![
        CLOSURE,
        0,
        20, // 0: to 22
        PUSHTRAP,
        12, // 3: handler at 16
        PUSH_RETADDR,
        7, // 5: returns to 13
        PUSHCONST0,
        PUSHCONST1,
        ACC,
        9, // 7: reads the argument, below both frames
        APPLY,
        2,       // 11
        POPTRAP, // 13
        RETURN,
        1,      // 14
        CONST0, // 16
        RETURN,
        1, // 17
        STOP,
        STOP, // 19: dead
        RESTART,
        GRAB,
        1, // 21: the function's entry is 22
        ACC1,
        PUSHACC1,
        ADDINT,
        RETURN,
        2,
    ];
    let verified = check(&words, Entry::Unit).expect("good code");
    let found: Vec<_> = verified.functions.iter().map(|f| (f.entry, f.arity, f.max_height)).collect();
    assert_eq!(found, [(0, 1, 10), (22, 2, 3)]);
}

#[test]
fn patched_code_passes() {
    for (closure, restart, grab) in [(CLOSURE_DYN, RESTART_DYN, GRAB_DYN), (CLOSURE_CARRY, RESTART, GRAB)] {
        let words = code![
            closure,
            0,
            8,
            PUSHGETSLOT,
            1,
            SETSLOT,
            0,
            POP,
            1,
            RETURN,
            1, // the entry is 2 + 8 + 2
            restart,
            grab,
            1,
            RETURN,
            2,
        ];
        let mut words = words.to_vec();
        words[2] = 10;
        check(&words, Entry::Unit).expect("good code");
        let error = verify(&words, OpcodeSet::V4, Entry::Unit, &LIMITS).expect_err("only if asked for");
        assert!(matches!(error.kind(), ErrorKind::UnknownOpcode { .. }), "{error}");
    }
}

#[test]
fn control_stays_on_instructions() {
    insta::assert_snapshot!(faults(&[
        &code![BRANCH, 2, CONSTINT, 9, RETURN, 1],
        &code![BRANCH, -2, RETURN, 1],
        &code![BRANCHIF, 100, RETURN, 1],
        &code![CONST0],
    ]));

    insta::assert_snapshot!(faults(&[&code![STOP], &code![CALL_DYN],]));
    check(&code![RETURN, 0], Entry::Program).expect_err("no caller");
}

#[test]
fn the_frame_is_respected() {
    insta::assert_snapshot!(faults(&[
        &code![ACC1, RETURN, 1],
        &code![ACC, -1, RETURN, 1],
        &code![ASSIGN, 1, RETURN, 1],
        &code![POP, 2, RETURN, 1],
        &code![ADDINT, ADDINT, RETURN, 1],
        &code![PUSH, RETURN, 1],
        &code![APPTERM, 2, 1],
        &code![BRANCHIF, 2, PUSH, RETURN, 1],
    ]));
}

#[test]
fn return_and_trap_frames_are_no_values() {
    insta::assert_snapshot!(faults(&[
        &code![PUSHTRAP, 2, ACC0, RETURN, 1],
        &code![PUSHTRAP, 3, POP, 4, RETURN, 1],
        &code![PUSHTRAP, 3, RETURN, 5, RETURN, 1],
        &code![POPTRAP, RETURN, 1],
        &code![PUSHTRAP, 3, APPLY, 1, RETURN, 1],
        &code![PUSH_RETADDR, 4, PUSH, APPLY, 2, RETURN, 1],
        &code![PUSH_RETADDR, 2, POPTRAP, RETURN, 1],
    ]));
}

#[test]
fn numbers_and_tags_have_limits() {
    insta::assert_snapshot!(faults(&[
        &code![GETGLOBAL, 13, RETURN, 1],
        &code![SETGLOBAL, -1, RETURN, 1],
        &code![GETSLOT, 2, RETURN, 1],
        &code![C_CALL1, 401, RETURN, 1],
        &code![GETFIELD, -1, RETURN, 1],
        &code![MAKEBLOCK, 0, 0, RETURN, 1],
    ]));
    for tag in [-1, 247, 249, 251, 252, 253, 254, 255, 256] {
        for words in [code![MAKEBLOCK1, tag, RETURN, 1], code![ATOM, tag, RETURN, 1]] {
            assert!(fault(&words).contains("forge"), "{tag}");
        }
    }
    for tag in [0, 245, 246, 248, 250] {
        check(&code![MAKEBLOCK1, tag, RETURN, 1], Entry::Unit).expect("a tag that ocamlc uses");
    }
}

#[test]
fn environments_are_read_where_they_have_variables() {
    // A closure of two variables: fields 2 and 3.
    let closure =
        |body: Opcode, operand: i32| code![PUSH, CLOSURE, 2, 3, RETURN, 1, body, operand, RETURN, 1];
    for field in [2, 3] {
        check(&closure(ENVACC, field), Entry::Unit).expect("a variable");
    }
    for field in [-1, 0, 1, 4] {
        check(&closure(ENVACC, field), Entry::Unit).expect_err("no variable");
    }
    check(&closure(OFFSETCLOSURE, 0), Entry::Unit).expect("itself");
    check(&closure(OFFSETCLOSURE, 3), Entry::Unit).expect_err("no sibling");
    // Two functions and one variable: 0, 1 and 3, 4 are entries, 2 is the infix header, 5 the variable.
    let block = |body: Opcode, operand: i32| {
        code![
            CLOSUREREC, 2, 1, 5, 9, POP, 2, RETURN, 1, // offsets count from word 3
            body, operand, RETURN, 1, // 9: the first function
            CONST0, RETURN, 1
        ]
    };
    let block = |body, operand| {
        let mut words = block(body, operand).to_vec();
        (words[3], words[4]) = (6, 10);
        words
    };
    check(&block(ENVACC, 5), Entry::Unit).expect("the variable");
    check(&block(ENVACC, 4), Entry::Unit).expect_err("a closure's information word");
    check(&block(OFFSETCLOSURE, 3), Entry::Unit).expect("the second function");
    for words in [-3, 1, 2, 6, i32::MIN, i32::MAX] {
        check(&block(OFFSETCLOSURE, words), Entry::Unit).expect_err("no sibling");
    }
    insta::assert_snapshot!(faults(&[&code![ENVACC1, RETURN, 1],]));
    check(&code![OFFSETCLOSURE0, STOP], Entry::Program).expect_err("no closure");
}

#[test]
fn functions_keep_apart() {
    insta::assert_snapshot!(faults(&[
        &code![CLOSURE, 0, -2, RETURN, 1],
        &code![GRAB, 1, RETURN, 1],
        &code![RESTART, GRAB, 1, RETURN, 2],
        &code![RESTART, RETURN, 1],
        &code![RETURN, 1, RESTART, GRAB, 1, RESTART, ACC0, RETURN, 1],
        &code![RETURN, 1, RESTART],
        &code![CLOSURE, 0, 3, RETURN, 1, GRAB, 1, RETURN, 2],
        &code![CLOSURE, 0, 4, BRANCH, 2, CONST0, RETURN, 1],
    ]));
}

#[test]
fn paths_meet_with_the_same_frames() {
    // Both paths push a trap frame of the same height and meet, with different handlers.
    let words = code![
        BRANCHIF, 5, // to 6
        PUSHTRAP, 8, // 2: handler at 11
        BRANCH, 3, // 4: to 8
        PUSHTRAP, 4, // 6: handler at 11
        POPTRAP, RETURN, 1, // 8
        RETURN, 1, // 11
    ];
    assert!(fault(&words).contains("paths meet"));
}

#[test]
fn arguments_are_reached_below_frames_only() {
    // A word below a trap frame, without which it would be the fifth one.
    let below = |index: i32| code![PUSHTRAP, 6, ACC, index, POPTRAP, RETURN, 1, RETURN, 1];
    check(&below(4), Entry::Unit).expect("the argument");
    for index in 0..4 {
        check(&below(index), Entry::Unit).expect_err("a word of the frame");
    }
    check(&below(5), Entry::Unit).expect_err("a word of the caller's");
    // The same by the instructions for a word near the top.
    for (op, good) in [(ACC3, false), (ACC4, true), (ACC5, false)] {
        let words = code![PUSHTRAP, 5, op, POPTRAP, RETURN, 1, RETURN, 1];
        assert_eq!(check(&words, Entry::Unit).is_ok(), good, "{op}");
    }
}

#[test]
fn nested_calls_cost_no_quadratic_time() {
    // A hundred thousand return frames, each followed by a read of the argument at the bottom.
    let depth = 100_000;
    let mut words = Vec::new();
    for i in 0..depth {
        words.extend(code![PUSH_RETADDR, 1, ACC, 3 * (i + 1)]);
    }
    words.extend(code![RAISE]);
    let verified = check(&words, Entry::Unit).expect("good code");
    assert_eq!(verified.functions[0].max_height, 1 + 3 * depth as u64);
}
