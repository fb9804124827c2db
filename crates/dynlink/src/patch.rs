//! The patcher: rewrites a unit's code so that its closures refer to their code object, and its accesses to globals use
//! the unit's own slots.
//!
//! The two strategies differ only here, in the opcodes that they use. Every rewritten instruction is as long as the one
//! it replaces, so no offset moves.

use std::collections::HashMap;

use spelter_bytecode::code::decode_at;
use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::{Instructions, Opcode};
use spelter_interp::Strategy;

/// The opcode that replaces `op` in loaded code.
fn collectable(op: Opcode, strategy: Strategy) -> Opcode {
    match (op, strategy) {
        (Opcode::CLOSURE, Strategy::Stub) => Opcode::CLOSURE_DYN,
        (Opcode::CLOSUREREC, Strategy::Stub) => Opcode::CLOSUREREC_DYN,
        (Opcode::GRAB, Strategy::Stub) => Opcode::GRAB_DYN,
        (Opcode::RESTART, Strategy::Stub) => Opcode::RESTART_DYN,
        (Opcode::CLOSURE, Strategy::Carry) => Opcode::CLOSURE_CARRY,
        (Opcode::CLOSUREREC, Strategy::Carry) => Opcode::CLOSUREREC_CARRY,
        // A partial application needs no extra slot: it holds the closure.
        _ => op,
    }
}

/// The opcode that replaces an access to a global that is one of the unit's own or imported slots.
pub(crate) fn slot_access(op: Opcode) -> Option<Opcode> {
    Some(match op {
        Opcode::GETGLOBAL => Opcode::GETSLOT,
        Opcode::PUSHGETGLOBAL => Opcode::PUSHGETSLOT,
        Opcode::GETGLOBALFIELD => Opcode::GETSLOTFIELD,
        Opcode::PUSHGETGLOBALFIELD => Opcode::PUSHGETSLOTFIELD,
        Opcode::SETGLOBAL => Opcode::SETSLOT,
        _ => return None,
    })
}

/// Rewrites `words`, which may hold these instructions, in place. `slots` maps the position of an operand that names a global
/// to the slot operand that replaces it; other globals stay the program's.
///
/// # Errors
/// When the words are not instructions; they may be partly rewritten then.
pub(crate) fn patch(
    words: &mut [i32],
    opcodes: OpcodeSet,
    strategy: Strategy,
    slots: &HashMap<usize, i32>,
) -> Result<(), spelter_bytecode::Error> {
    let mut pos = 0;
    while pos < words.len() {
        let instr = decode_at(words, pos, opcodes)?;
        let (op, next) = (instr.op, instr.next());
        if let Some(slot) = slots.get(&(pos + 1))
            && let Some(access) = slot_access(op)
        {
            words[pos] = access.word();
            words[pos + 1] = *slot;
        } else {
            words[pos] = collectable(op, strategy).word();
        }
        pos = next;
    }
    Ok(())
}

/// The accesses to globals in `words`: position of the operand, instruction, global.
pub(crate) fn global_accesses(
    words: &[i32],
    opcodes: OpcodeSet,
) -> impl Iterator<Item = Result<(usize, Opcode, usize), spelter_bytecode::Error>> + '_ {
    Instructions::new(words, opcodes).filter_map(|instr| match instr {
        Ok(i) if slot_access(i.op).is_some() => Some(Ok((i.pos + 1, i.op, i.operands[0] as usize))),
        Ok(_) => None,
        Err(e) => Some(Err(e)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: [Opcode; 4] = [Opcode::CLOSURE, Opcode::RESTART, Opcode::GRAB, Opcode::GETGLOBAL];

    fn words() -> Vec<i32> {
        let op = |o: Opcode| o.word();
        vec![
            op(CODE[0]),
            0,
            2, // CLOSURE 0, GRAB
            op(CODE[1]),
            op(CODE[2]),
            1,
            op(CODE[3]),
            12,
            op(CODE[3]),
            13,
            op(Opcode::RETURN),
            2,
        ]
    }

    fn ops(words: &[i32]) -> Vec<Opcode> {
        Instructions::new(words, OpcodeSet::V4.with_internal()).map(|i| i.unwrap().op).collect()
    }

    #[test]
    fn each_strategy_has_its_opcodes_and_no_offset_moves() {
        let slots = HashMap::from([(7, 0)]);
        let mut stub = words();
        patch(&mut stub, OpcodeSet::V4, Strategy::Stub, &slots).unwrap();
        use Opcode::*;
        assert_eq!(ops(&stub), [CLOSURE_DYN, RESTART_DYN, GRAB_DYN, GETSLOT, GETGLOBAL, RETURN]);
        let mut carry = words();
        patch(&mut carry, OpcodeSet::V4, Strategy::Carry, &slots).unwrap();
        assert_eq!(ops(&carry), [CLOSURE_CARRY, RESTART, GRAB, GETSLOT, GETGLOBAL, RETURN]);
        assert_eq!((stub[7], stub[9]), (0, 13));
        assert_eq!((stub.len(), carry.len()), (words().len(), words().len()));
    }
}
