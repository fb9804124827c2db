//! Code as lines whose targets are lines, so that lines can be inserted and removed.

use std::fmt;

use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::{Instructions, Opcode};

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) op: Opcode,
    /// The operands except offsets.
    pub(crate) operands: Vec<i32>,
    /// The lines that its offsets refer to; the number of lines stands for the end of the code.
    pub(crate) targets: Vec<usize>,
}

impl Line {
    pub(crate) fn new(op: Opcode, operands: &[i32], targets: &[usize]) -> Line {
        Line { op, operands: operands.to_vec(), targets: targets.to_vec() }
    }

    fn size(&self) -> usize {
        1 + self.operands.len() + self.targets.len()
    }
}

/// Code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lines(pub(crate) Vec<Line>);

impl Lines {
    /// `None` when it does not decode, or refers to positions inside instructions.
    pub(crate) fn of(words: &[i32]) -> Option<Lines> {
        let instrs: Vec<_> = Instructions::new(words, OpcodeSet::V5_2).collect::<Result<_, _>>().ok()?;
        let line_at = |pos: i64| match usize::try_from(pos).ok()? {
            pos if pos == words.len() => Some(instrs.len()),
            pos => instrs.binary_search_by_key(&pos, |instr| instr.pos).ok(),
        };
        let lines = instrs.iter().map(|instr| {
            let targets: Vec<usize> = instr.targets().map(line_at).collect::<Option<_>>()?;
            let operands = &instr.operands[..instr.operands.len() - targets.len()];
            Some(Line::new(instr.op, operands, &targets))
        });
        lines.collect::<Option<_>>().map(Lines)
    }

    pub(crate) fn words(&self) -> Vec<i32> {
        let mut starts = vec![0];
        for line in &self.0 {
            starts.push(starts.last().expect("one is there") + line.size());
        }
        let mut words = Vec::with_capacity(starts[self.0.len()]);
        for line in &self.0 {
            words.push(line.op.word());
            words.extend_from_slice(&line.operands);
            let base = words.len();
            words.extend(line.targets.iter().map(|target| starts[*target] as i32 - base as i32));
        }
        words
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes a line. References to it then refer to the next line.
    pub(crate) fn remove(&mut self, at: usize) {
        self.0.remove(at);
        self.retarget(|target| if target > at { target - 1 } else { target });
    }

    /// Inserts a line. References to the line at that position still refer to the old line.
    pub(crate) fn insert(&mut self, at: usize, line: Line) {
        self.retarget(|target| if target >= at { target + 1 } else { target });
        self.0.insert(at, line);
    }

    pub(crate) fn retarget(&mut self, to: impl Fn(usize) -> usize) {
        for line in &mut self.0 {
            line.targets.iter_mut().for_each(|target| *target = to(*target));
        }
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.0.iter().enumerate() {
            write!(f, "{number:5}  {}", line.op)?;
            line.operands.iter().try_for_each(|operand| write!(f, " {operand}"))?;
            line.targets.iter().try_for_each(|target| write!(f, " →{target}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}
