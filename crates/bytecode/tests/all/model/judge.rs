//! Runs both judges on one program, and compares their verdicts.

use std::fmt;

use spelter_bytecode::Error;
use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::verify::{Entry, Limits, verify};

use super::lines::Lines;
use super::machine::{Heights, Machine, Violation, Wrong};
use super::world::{Chance, Code};

/// The number of instructions that the machine of shapes runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) runs: usize,
    pub(crate) steps: usize,
}

/// Their verdicts.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Why the verifier refuses it.
    pub(crate) refused: Option<Error>,
    /// The violation that the machine found.
    pub(crate) seen: Option<Violation>,
    /// How many instructions the machine ran.
    pub(crate) steps: usize,
    /// How many of the code's words the machine reached as instructions.
    pub(crate) reached: usize,
}

/// Runs the verifier, then the machine. If the verifier accepts the code, the machine uses its maximum frame heights.
pub(crate) fn judge(words: &[i32], entry: Entry, limits: &Limits, effort: Effort, seed: u64) -> Verdict {
    let (heights, refused) = match verify(words, OpcodeSet::V5_2, entry, limits) {
        Ok(verified) => (Heights::of(&verified, entry), None),
        Err(error) => (Heights::Threshold, Some(error)),
    };
    Verdict { refused, ..run(words, entry, limits, &heights, effort, seed) }
}

/// Runs only the machine.
pub(crate) fn run(
    words: &[i32],
    entry: Entry,
    limits: &Limits,
    heights: &Heights,
    effort: Effort,
    seed: u64,
) -> Verdict {
    let mut verdict = Verdict { refused: None, seen: None, steps: 0, reached: 0 };
    let Some(code) = Code::new(words, entry, limits) else {
        verdict.seen = Some(Violation { pos: 0, wrong: Wrong::NoInstruction });
        return verdict;
    };
    let mut visits = vec![0; code.len()];
    let mut chance = Chance::new(seed);
    for run in 0..effort.runs {
        let seed = chance.next();
        let mut machine = match run % 3 {
            0 => Machine::new(&code, heights, &mut visits, seed),
            _ => Machine::called(&code, heights, &mut visits, seed),
        };
        match machine.run(effort.steps) {
            Ok(steps) => verdict.steps += steps,
            Err(violation) => {
                verdict.seen = Some(violation);
                break;
            }
        }
    }
    verdict.reached = visits.iter().filter(|visits| **visits > 0).count();
    verdict
}

/// A program that the verifier accepts and that does harm.
#[derive(Debug)]
pub(crate) struct Hole {
    pub(crate) wrong: Wrong,
    pos: i64,
    lines: Option<Lines>,
    words: Vec<i32>,
    unit: bool,
}

impl Hole {
    /// Minimises it by removing lines one by one.
    pub(crate) fn shrunk(words: &[i32], unit: bool, limits: &Limits, violation: Violation) -> Hole {
        let is_hole = |words: &[i32]| {
            let entry = if unit { Entry::Unit } else { Entry::Program };
            let verdict = judge(words, entry, limits, Effort { runs: 400, steps: 300 }, 1);
            verdict.seen.filter(|seen| verdict.refused.is_none() && seen.wrong == violation.wrong)
        };
        let mut hole = Hole {
            wrong: violation.wrong,
            pos: violation.pos,
            lines: Lines::of(words),
            words: words.to_vec(),
            unit,
        };
        let Some(mut lines) = hole.lines.take() else { return hole };
        let mut smaller = true;
        while smaller {
            smaller = false;
            for at in (0..lines.len()).rev() {
                let mut fewer = lines.clone();
                fewer.remove(at);
                if let Some(seen) = is_hole(&fewer.words()) {
                    (lines, hole.pos, smaller) = (fewer, seen.pos, true);
                }
            }
        }
        hole.words = lines.words();
        hole.lines = Some(lines);
        hole
    }
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.unit { "unit" } else { "program" };
        writeln!(f, "{:?} at word {} of the {kind} {:?}:", self.wrong, self.pos, self.words)?;
        self.lines.iter().try_for_each(|lines| write!(f, "{lines}"))
    }
}
