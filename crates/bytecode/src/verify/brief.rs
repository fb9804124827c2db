//! A compact table of the facts that both passes need about most instructions.

use super::{Limits, is_forging};
use crate::code::Instr;
use crate::opcode::{Access, Amount, Flow, Index, Opcode, OperandKind, Shape, Since};

/// The facts about an instruction that needs no detailed check.
#[derive(Clone, Copy)]
pub(super) struct Brief {
    /// How many words must be above the innermost frame after accu has been pushed, for instructions that only push
    /// accu, read stack words, and pop some.
    needs: u64,
    op: Opcode,
    /// Its size in words; 0 if it needs a detailed check.
    size: u8,
    /// The kinds of its operands.
    kinds: [u8; 2],
    /// The index of the operand that is its target, from 1.
    target: u8,
    push: u8,
    pops: u8,
}

const CLOSER: Brief = Brief {
    needs: u64::MAX,
    op: Opcode::STOP,
    size: 0,
    kinds: [OperandKind::Int as u8; 2],
    target: 0,
    push: 0,
    pops: 0,
};

/// Indexed by the number of the instruction.
static BRIEFS: [Brief; 256] = {
    let mut all = [CLOSER; 256];
    let mut i = 0;
    while i < Opcode::ALL.len() {
        all[Opcode::ALL[i] as usize] = Brief::new(Opcode::ALL[i]);
        i += 1;
    }
    all
};

impl Brief {
    const fn new(op: Opcode) -> Brief {
        let (facts, operands) = (op.facts(), op.operands());
        let (Shape::Fixed(0..=2), Since::All) = (op.shape(), facts.since) else { return CLOSER };
        if matches!(facts.flow, Flow::Closure | Flow::Restart) {
            return CLOSER;
        }
        let mut brief = Brief { op, size: 1 + operands.len() as u8, ..CLOSER };
        let mut i = 0;
        while i < operands.len() {
            brief.kinds[i] = operands[i].kind as u8;
            if matches!(operands[i].kind, OperandKind::Offset) {
                brief.target = 1 + i as u8;
            }
            i += 1;
        }
        let reads = match facts.access {
            Access::Nothing => 0,
            Access::Stack(Index::Is(index)) => 1 + index as u64,
            _ => return brief,
        };
        if let (Flow::Next, Amount::Fixed(pops), Amount::Fixed(0)) = (facts.flow, facts.pops, facts.pushes)
            && (pops == 0 || !facts.push_accu)
        {
            brief.needs = if reads > pops as u64 { reads } else { pops as u64 };
            (brief.push, brief.pops) = (facts.push_accu as u8, pops as u8);
        }
        brief
    }

    #[inline(always)]
    pub(super) fn of(word: i32) -> &'static Brief {
        BRIEFS.get(word as usize).unwrap_or(&CLOSER)
    }

    #[inline(always)]
    pub(super) fn size(&self) -> usize {
        usize::from(self.size)
    }

    /// The instruction at a position, if it needs no detailed check.
    #[inline(always)]
    pub(super) fn instr<'a>(&self, words: &'a [i32], pos: usize) -> Option<Instr<'a>> {
        Some(Instr { pos, op: self.op, operands: words.get(pos + 1..pos + self.size())? })
    }

    /// The target, as a distance, of the instruction at the beginning of these words, if it has one; None if it needs
    /// a detailed check.
    #[inline(always)]
    pub(super) fn target(&self, words: &[i32], ranges: &Ranges) -> Option<Option<isize>> {
        let [first, second] = self.kinds;
        match (self.size, words) {
            (1, _) => return Some(None),
            (2, [_, a, ..]) if ranges.hold(first, *a) => {}
            (3, [_, a, b, ..]) if ranges.hold(first, *a) && ranges.hold(second, *b) => {}
            _ => return None,
        }
        let at = usize::from(self.target);
        Some((at > 0).then(|| at as isize + words[at] as isize))
    }

    /// The height of the stack after the instruction, if it needs no detailed check. No intermediate height exceeds
    /// the larger of this and the height before.
    #[inline(always)]
    pub(super) fn height(&self, before: u64, floor: u64) -> Option<u64> {
        let height = before + u64::from(self.push);
        (height - floor >= self.needs).then(|| height - u64::from(self.pops))
    }
}

/// The range of operands of each kind that needs no detailed check: the first value, and how many.
pub(super) struct Ranges([(i32, u32); 32]);

impl Ranges {
    pub(super) fn new(limits: &Limits) -> Ranges {
        let below = |limit: usize| (0, limit.min(1 << 31) as u32);
        let mut ranges = [(i32::MIN, u32::MAX); 32];
        for (kind, range) in [
            (OperandKind::Global, below(limits.globals)),
            (OperandKind::Slot, below(limits.slots)),
            (OperandKind::Prim, below(limits.prims)),
            (OperandKind::Tag, below((0..).take_while(|tag| !is_forging(*tag)).count())),
            (OperandKind::Depth, below(1 << 31)),
            (OperandKind::Count, below(1 << 31)),
            (OperandKind::FrameSize, below(1 << 31)),
            (OperandKind::EnvField, below(1 << 31)),
            (OperandKind::Field, below(1 << 31)),
            (OperandKind::Size, (1, i32::MAX as u32)),
        ] {
            ranges[kind as usize] = range;
        }
        Ranges(ranges)
    }

    #[inline(always)]
    fn hold(&self, kind: u8, operand: i32) -> bool {
        let (from, count) = self.0[usize::from(kind) % 32];
        (operand.wrapping_sub(from) as u32) < count
    }
}
