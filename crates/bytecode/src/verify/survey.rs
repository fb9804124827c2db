//! The first pass, over all words: finds the instructions, checks operands, and records the targets of control.

use super::bits::Bits;
use super::brief::{Brief, Ranges};
use super::flow::{Env, closures_of};
use super::{Fault, Limits, grab_of, is_forging};
use crate::code::{Instr, Instructions, WORD, decode_at};
use crate::error::{Error, Result};
use crate::opcode::{OpcodeSet, OperandKind};
use crate::room;

/// The maximum number of words, so that positions and fields of closures fit in 32 bits.
const MOST: usize = 1 << 29;

/// The results of the first pass.
pub(super) struct Survey<'a> {
    pub(super) words: &'a [i32],
    pub(super) accepted: OpcodeSet,
    /// Where instructions start.
    pub(super) starts: Bits,
    /// Positions that control may reach other than from the preceding instruction.
    pub(super) targets: Bits,
    /// The entries of functions that closures refer to, and the environment that each closure provides.
    pub(super) entries: Bits,
    pub(super) closures: Vec<(u32, Env)>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(words: &'a [i32], accepted: OpcodeSet, limits: &Limits) -> Result<Survey<'a>> {
        if words.len() > MOST {
            return Err(Error::malformed(0, "there is too much code"));
        }
        let set = || Bits::new(words.len());
        let (starts, targets, entries) = (set()?, set()?, set()?);
        let mut survey = Survey { words, accepted, starts, targets, entries, closures: Vec::new() };
        let ranges = Ranges::new(limits);
        let mut pos = 0;
        while pos < words.len() {
            survey.starts.insert(pos);
            pos += match survey.briefly(pos, &ranges) {
                Some(size) => size,
                None => survey.closely(pos, limits)?,
            };
        }
        if !survey.targets.all_in(&survey.starts) {
            for instr in Instructions::new(words, accepted) {
                check_targets(&instr?, |pos| survey.starts.contains(pos))?;
            }
        }
        Ok(survey)
    }

    /// The instruction at a position where one starts.
    #[inline(always)]
    pub(super) fn instr(&self, pos: usize) -> Result<Instr<'a>> {
        match Brief::of(self.words[pos]).instr(self.words, pos) {
            Some(instr) => Ok(instr),
            None => decode_at(self.words, pos, self.accepted),
        }
    }

    /// The size of the instruction, if the fast checks suffice to accept it.
    #[inline(always)]
    fn briefly(&mut self, pos: usize, ranges: &Ranges) -> Option<usize> {
        let words = &self.words[pos..];
        let brief = Brief::of(words[0]);
        match brief.target(words, ranges)? {
            Some(target) if !self.targets.insert(pos.wrapping_add_signed(target)) => None,
            _ => Some(brief.size()),
        }
    }

    /// The size of any instruction, or the error in it.
    fn closely(&mut self, pos: usize, limits: &Limits) -> Result<usize> {
        let instr = decode_at(self.words, pos, self.accepted)?;
        check_operands(&instr, limits)?;
        check_restart(&instr, self.words.get(instr.next()).copied())?;
        let len = self.words.len();
        check_targets(&instr, |pos| pos < len)?;
        for target in instr.targets() {
            self.targets.insert(target as usize);
        }
        for (entry, env) in closures_of(&instr) {
            self.entries.insert(entry as usize);
            room::push(&mut self.closures, (entry, env))?;
        }
        Ok(instr.size())
    }
}

fn check_targets(instr: &Instr<'_>, is_good: impl Fn(usize) -> bool) -> Result<()> {
    match instr.targets().find(|target| !usize::try_from(*target).is_ok_and(&is_good)) {
        None => Ok(()),
        Some(target) => {
            let target = target.saturating_mul(WORD as i64);
            Err(Fault::Target { op: instr.op, target }.at(instr.pos))
        }
    }
}

/// Its handler reads the operand of the `GRAB` that follows.
fn check_restart(instr: &Instr<'_>, next: Option<i32>) -> Result<()> {
    match grab_of(instr.op) {
        Some(grab) if next != Some(grab.word()) => {
            let why = "it belongs before the GRAB of a function";
            Err(Fault::Misplaced { op: instr.op, why }.at(instr.pos))
        }
        _ => Ok(()),
    }
}

fn check_operands(instr: &Instr<'_>, limits: &Limits) -> Result<()> {
    let op = instr.op;
    for (operand, &value) in op.operands().iter().zip(instr.operands) {
        let limit = |what, limit: usize| match usize::try_from(value) {
            Ok(index) if index < limit => None,
            _ => Some(Fault::Limit { op, what, value, limit }),
        };
        let at_least = |least| (value < least).then_some(Fault::Operand { op, value });
        let fault = match operand.kind {
            OperandKind::Global => limit("global", limits.globals),
            OperandKind::Slot => limit("slot", limits.slots),
            OperandKind::Prim => limit("primitive", limits.prims),
            OperandKind::Tag => is_forging(value).then_some(Fault::Tag { op, tag: value }),
            OperandKind::Depth
            | OperandKind::Count
            | OperandKind::FrameSize
            | OperandKind::EnvField
            | OperandKind::Field => at_least(0),
            OperandKind::Size => at_least(1),
            OperandKind::Words
            | OperandKind::Offset
            | OperandKind::Offsets
            | OperandKind::TableSize
            | OperandKind::Int
            | OperandKind::MethodTag
            | OperandKind::Cache => None,
        };
        if let Some(fault) = fault {
            return Err(fault.at(instr.pos));
        }
    }
    Ok(())
}
