//! Mutations that make programs wrong or unusual: a mutation distinguishes operands and targets, so that most mutants
//! pass the first checks.

use spelter_bytecode::Opcode::{self, *};
use spelter_bytecode::code::encode;
use spelter_bytecode::opcode::OperandKind;

use super::grow::{odd_line, offsets};
use super::lines::{Line, Lines};
use super::world::Chance;

/// Changes one thing.
pub(crate) fn mutate(lines: &mut Lines, chance: &mut Chance) {
    let at = chance.below(lines.len());
    match chance.below(11) {
        0..=2 => operand(lines, at, chance),
        3..=4 => target(lines, at, chance),
        5 => opcode(lines, at, chance),
        6 if lines.len() > 2 => lines.remove(at),
        7 => {
            let op = *chance
                .pick(&[GRAB, RESTART, PUSH, POP, POPTRAP, RETURN, APPLY1, CLOSURE, ENVACC, RAISE, BRANCH]);
            lines.insert(at, odd_line(op, lines.len(), chance));
        }
        8 => two_ways(lines, at, chance),
        9 => {
            let other = chance.below(lines.len());
            lines.0[at] = lines.0[other].clone();
        }
        _ => {
            let next = (at + 1) % lines.len();
            lines.0.swap(at, next);
        }
    }
}

/// Changes a word without knowing its meaning.
pub(crate) fn mutate_word(words: &mut [i32], chance: &mut Chance) {
    let at = chance.below(words.len());
    words[at] = match chance.below(3) {
        0 => chance.below(150) as i32,
        _ => words[at].wrapping_add(chance.below(7) as i32 - 3),
    };
}

/// The first line from `at` on that satisfies the predicate, wrapping around.
fn seek(lines: &Lines, at: usize, wanted: impl Fn(usize) -> bool) -> Option<usize> {
    (0..lines.len()).map(|step| (at + step) % lines.len()).find(|line| wanted(*line))
}

/// Two paths that push the same number of words, but possibly different ones, and an instruction that pops them where
/// the paths meet.
fn two_ways(lines: &mut Lines, at: usize, chance: &mut Chance) {
    let values = || vec![Line::new(PUSH, &[], &[]); 4];
    let ways = |chance: &mut Chance| match chance.below(3) {
        0 => values(),
        1 => vec![Line::new(PUSHTRAP, &[], &[chance.below(lines.len())])],
        _ => vec![Line::new(PUSH_RETADDR, &[], &[chance.below(lines.len())]), Line::new(PUSH, &[], &[])],
    };
    let (one, other) = (ways(chance), ways(chance));
    let end = match chance.below(4) {
        0 => Line::new(POP, &[4], &[]),
        1 => Line::new(POPTRAP, &[], &[]),
        2 => Line::new(APPLY, &[1], &[]),
        _ => Line::new(ACC, &[chance.below(4) as i32], &[]),
    };
    // From the last line to the first, because each is inserted at the same position.
    let fork = at + one.len() + 2;
    let meet = fork + other.len();
    let branch = Line::new(BRANCH, &[], &[]);
    let whole = [&[Line::new(BRANCHIF, &[], &[])][..], &one, &[branch], &other, &[end]].concat();
    for line in whole.into_iter().rev() {
        lines.insert(at, line);
    }
    lines.0[at].targets = vec![fork];
    lines.0[fork - 1].targets = vec![meet];
}

fn operand(lines: &mut Lines, at: usize, chance: &mut Chance) {
    let Some(at) = seek(lines, at, |line| !lines.0[line].operands.is_empty()) else { return };
    let line = &mut lines.0[at];
    let which = chance.below(line.operands.len());
    let old = line.operands[which];
    // The number of targets is part of the shape of these: changed, it would shift all that follows.
    if matches!((line.op, which), (SWITCH | CLOSUREREC, 0)) && !chance.one_in(4) {
        return;
    }
    if matches!(line.op.operands()[which].kind, OperandKind::Tag) {
        line.operands[which] = 240 + chance.below(20) as i32;
        return;
    }
    line.operands[which] = match chance.below(6) {
        0 | 1 => old.wrapping_add(1),
        2 | 3 => old.wrapping_sub(1),
        4 => chance.below(6) as i32,
        _ => {
            *chance.pick(&[-1, 0, 3, -3, 127, 128, 246, 247, 249, 251, 255, 256, 1 << 16, i32::MAX, i32::MIN])
        }
    };
}

fn target(lines: &mut Lines, at: usize, chance: &mut Chance) {
    let Some(at) = seek(lines, at, |line| !lines.0[line].targets.is_empty()) else { return };
    let anywhere = chance.below(lines.len());
    let to = match chance.below(4) {
        0 => Some(anywhere),
        1 => Some((lines.0[at].targets[0] + chance.below(3)).saturating_sub(1).min(lines.len())),
        // Entries of functions, and targets of other instructions.
        2 => seek(lines, anywhere, |line| matches!(lines.0[line].op, GRAB | RESTART)),
        _ => seek(lines, anywhere, |line| !lines.0[line].targets.is_empty())
            .map(|line| lines.0[line].targets[0]),
    };
    let targets = &mut lines.0[at].targets;
    let which = chance.below(targets.len());
    targets[which] = to.unwrap_or(anywhere);
}

/// Another instruction with the same operands.
fn opcode(lines: &mut Lines, at: usize, chance: &mut Chance) {
    let line = &mut lines.0[at];
    let op = *chance.pick(Opcode::ALL);
    let operands = vec![0; line.operands.len() + line.targets.len()];
    let fits = offsets(op) == line.targets.len() && encode(op, &operands, &mut Vec::new()).is_ok();
    if fits && !matches!(op, SWITCH | CLOSUREREC) && !matches!(line.op, SWITCH | CLOSUREREC) {
        line.op = op;
    }
}
