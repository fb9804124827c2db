//! How often each instruction ran, and each pair of instructions: what fusing is decided by.

use std::fmt;

use spelter_bytecode::Opcode;

/// One more than the largest number of an instruction.
const OPS: usize = 256;
/// How many of the most frequent pairs are shown.
const SHOWN: usize = 40;

/// Counts by pairs of instructions that ran one after the other.
#[derive(Default)]
pub struct Profile {
    /// By the first's number and the second's; empty until something is counted.
    pairs: Vec<u64>,
    last: usize,
}

impl Profile {
    /// Counts one more instruction.
    #[inline]
    pub(crate) fn count(&mut self, op: usize) {
        if self.pairs.is_empty() {
            self.pairs = vec![0; OPS * OPS];
        }
        let op = op % OPS;
        self.pairs[self.last * OPS + op] += 1;
        self.last = op;
    }

    /// How many instructions have run.
    pub fn total(&self) -> u64 {
        self.pairs.iter().sum()
    }

    /// The pairs that ran, most frequent first.
    pub fn pairs(&self) -> Vec<(Opcode, Opcode, u64)> {
        let op = |number: usize| Opcode::from_word(number as i32);
        let mut pairs: Vec<_> = self
            .pairs
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .filter_map(|(i, count)| Some((op(i / OPS)?, op(i % OPS)?, *count)))
            .collect();
        pairs.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        pairs
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        writeln!(f, "{total} instructions")?;
        for (first, second, count) in self.pairs().into_iter().take(SHOWN) {
            writeln!(f, "{:>6.2} %  {first} {second}", 100.0 * count as f64 / total as f64)?;
        }
        Ok(())
    }
}
