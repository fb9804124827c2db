//! Compares the instruction table with the list in `runtime/caml/instruct.h`, and uses the macro as another crate
//! would.

use spelter_bytecode::code::{Instructions, decode_at, encode};
use spelter_bytecode::opcode::{Flow, OpcodeSet, OperandKind, Shape};
use spelter_bytecode::{ErrorKind, Opcode, for_each_op};

/// The names in the order of their numbers, from 0.
const NAMES: &str = "
    ACC0 ACC1 ACC2 ACC3 ACC4 ACC5 ACC6 ACC7 ACC PUSH
    PUSHACC0 PUSHACC1 PUSHACC2 PUSHACC3 PUSHACC4 PUSHACC5 PUSHACC6 PUSHACC7 PUSHACC POP ASSIGN
    ENVACC1 ENVACC2 ENVACC3 ENVACC4 ENVACC PUSHENVACC1 PUSHENVACC2 PUSHENVACC3 PUSHENVACC4 PUSHENVACC
    PUSH_RETADDR APPLY APPLY1 APPLY2 APPLY3 APPTERM APPTERM1 APPTERM2 APPTERM3 RETURN RESTART GRAB
    CLOSURE CLOSUREREC OFFSETCLOSUREM3 OFFSETCLOSURE0 OFFSETCLOSURE3 OFFSETCLOSURE
    PUSHOFFSETCLOSUREM3 PUSHOFFSETCLOSURE0 PUSHOFFSETCLOSURE3 PUSHOFFSETCLOSURE
    GETGLOBAL PUSHGETGLOBAL GETGLOBALFIELD PUSHGETGLOBALFIELD SETGLOBAL ATOM0 ATOM PUSHATOM0 PUSHATOM
    MAKEBLOCK MAKEBLOCK1 MAKEBLOCK2 MAKEBLOCK3 MAKEFLOATBLOCK
    GETFIELD0 GETFIELD1 GETFIELD2 GETFIELD3 GETFIELD GETFLOATFIELD
    SETFIELD0 SETFIELD1 SETFIELD2 SETFIELD3 SETFIELD SETFLOATFIELD
    VECTLENGTH GETVECTITEM SETVECTITEM GETBYTESCHAR SETBYTESCHAR
    BRANCH BRANCHIF BRANCHIFNOT SWITCH BOOLNOT PUSHTRAP POPTRAP RAISE CHECK_SIGNALS
    C_CALL1 C_CALL2 C_CALL3 C_CALL4 C_CALL5 C_CALLN
    CONST0 CONST1 CONST2 CONST3 CONSTINT PUSHCONST0 PUSHCONST1 PUSHCONST2 PUSHCONST3 PUSHCONSTINT
    NEGINT ADDINT SUBINT MULINT DIVINT MODINT ANDINT ORINT XORINT LSLINT LSRINT ASRINT
    EQ NEQ LTINT LEINT GTINT GEINT OFFSETINT OFFSETREF ISINT GETMETHOD
    BEQ BNEQ BLTINT BLEINT BGTINT BGEINT ULTINT UGEINT BULTINT BUGEINT GETPUBMET GETDYNMET
    STOP EVENT BREAK RERAISE RAISE_NOTRACE GETSTRINGCHAR
    PERFORM RESUME RESUMETERM REPERFORMTERM";

#[test]
fn numbers_and_names_are_those_of_ocaml() {
    let expected: Vec<&str> = NAMES.split_whitespace().collect();
    assert_eq!(expected.len(), 153);
    let every = OpcodeSet::V5_2.with_internal();
    for (number, name) in (0..).zip(&expected) {
        let op = Opcode::from_word(number).expect("a number without a gap");
        assert_eq!((op.name(), op.word()), (*name, number));
    }
    for number in [-1, 153, 159, 175, i32::MIN, i32::MAX] {
        assert_eq!(Opcode::from_word(number), None, "{number}");
    }
    assert_eq!(Opcode::ALL.len(), 153 + 15);
    let debugger: Vec<_> = Opcode::ALL.iter().filter(|op| !every.contains(**op)).collect();
    let apart = [Opcode::EVENT, Opcode::BREAK, Opcode::FIBER_RETURN, Opcode::FIBER_RAISE];
    assert_eq!(debugger, apart.iter().collect::<Vec<_>>());
}

#[test]
fn internal_and_newer_instructions_need_to_be_asked_for() {
    let v4 = OpcodeSet::V4;
    for op in [Opcode::CALL_DYN, Opcode::PERFORM] {
        let error = decode_at(&[op.word()], 0, v4).expect_err("not in 4.x");
        assert!(matches!(error.kind(), ErrorKind::UnknownOpcode { .. }), "{error}");
    }
    assert!(decode_at(&[Opcode::CALL_DYN.word()], 0, v4.with_internal()).is_ok());
    assert!(decode_at(&[Opcode::PERFORM.word()], 0, OpcodeSet::V5_2).is_ok());
    let error = decode_at(&[9, 149], 1, v4).expect_err("not in 4.x");
    assert_eq!(error.to_string(), "byte offset 0x4: 149 is not an instruction allowed here (PERFORM)");
}

#[test]
fn every_row_decodes_to_what_was_encoded() {
    let every = OpcodeSet::V5_2.with_internal();
    for &op in Opcode::ALL.iter().filter(|op| every.contains(**op)) {
        let operands: &[i32] = match op.shape() {
            Shape::Switch => &[0x0002_0001, 5, 6, 7],
            Shape::ClosureRec => &[3, 1, -4, -5, -6],
            Shape::Fixed(n) => &[11, 12][..n],
        };
        let mut words = vec![Opcode::PUSH.word()];
        encode(op, operands, &mut words).expect("the right number of operands");
        let instr = decode_at(&words, 1, every).expect("what was just written");
        assert_eq!((instr.op, instr.operands, instr.next()), (op, operands, words.len()));
        let has_target = op
            .operands()
            .iter()
            .any(|operand| matches!(operand.kind, OperandKind::Offset | OperandKind::Offsets));
        assert_eq!(instr.targets().count() > 0, has_target, "{op}");
        // Offsets in tables count from the first of them, others from their own position.
        match op.facts().flow {
            Flow::Switch => assert_eq!(instr.targets().collect::<Vec<_>>(), [3 + 5, 3 + 6, 3 + 7]),
            Flow::ClosureRec => assert_eq!(instr.targets().collect::<Vec<_>>(), [4 - 4, 4 - 5, 4 - 6]),
            _ if has_target => {
                let place = words.len() as i64 - 1;
                assert_eq!(instr.targets().next(), Some(place + i64::from(words[place as usize])));
            }
            _ => {}
        }
        // One operand too few is an error, at the place of the instruction.
        if !operands.is_empty() {
            let cut = Instructions::new(&words[..words.len() - 1], every);
            let error = cut.last().and_then(Result::err).expect("a cut instruction");
            assert_eq!(error.offset(), Some(4), "{op}");
        }
        let error = encode(op, &[1, 0, 0, 0, 0, 0, 0], &mut words).expect_err("too many operands");
        assert!(
            matches!(error.kind(), ErrorKind::Malformed(what) if what.contains("with 7 operands")),
            "{op}: {error}"
        );
    }
}

macro_rules! count_facts {
    ($($number:literal $name:ident ($($operand:ident: $kind:ident),*) $facts:tt $doc:literal;)*) => {
        [$(($number, stringify!($name), <[&str]>::len(&[$(stringify!($operand)),*]))),*]
    };
}

#[test]
fn the_table_can_be_handed_to_macros_of_other_crates() {
    let rows: [(i32, &str, usize); 168] = for_each_op!(count_facts);
    for ((number, name, operands), op) in rows.into_iter().zip(Opcode::ALL) {
        assert_eq!((number, name, operands), (op.word(), op.name(), op.operands().len()));
    }
}

#[test]
fn short_forms_agree_with_their_long_forms() {
    for op in Opcode::ALL {
        let base = op.name().trim_end_matches(|c: char| c.is_ascii_digit());
        let long = Opcode::ALL.iter().find(|long| long.name() == base && *long != op);
        if let (Some(long), false) = (long, base.starts_with("C_CALL") || base == "ACC") {
            assert_eq!(op.facts().push_accu, long.facts().push_accu, "{op} and {long}");
            assert_eq!(op.facts().effects, long.facts().effects, "{op} and {long}");
        }
    }
}
