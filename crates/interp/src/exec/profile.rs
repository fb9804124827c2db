//! How often each instruction ran, each pair of instructions, and each straight run of them: what chains are chosen by.

use std::fmt;
use std::ptr::null;

use rustc_hash::FxHashMap;
use spelter_bytecode::Opcode;
use spelter_bytecode::opcode::Shape;

use super::dispatch::{goes_on, own};

/// One more than the largest number of an instruction.
const OPS: usize = 256;
/// How many of the most frequent pairs are shown.
const SHOWN: usize = 40;

/// Counts by pairs of instructions that ran one after the other, and by straight runs.
pub struct Profile {
    /// By the first's number and the second's; empty until something is counted.
    pairs: Vec<u64>,
    last: usize,
    /// The runs, as a tree: a place for each beginning of one, by the place before it and the number that follows.
    places: FxHashMap<(u32, u16), u32>,
    /// By place: the place before it, its last number, and how many runs ended there. The first one is the root.
    ends: Vec<(u32, u16, u64)>,
    /// The place of what is running.
    here: u32,
    /// Where the next instruction's first operand is, if it belongs to the same run.
    next: *const u64,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            pairs: Vec::new(),
            last: 0,
            places: FxHashMap::default(),
            ends: vec![(0, 0, 0)],
            here: 0,
            next: null(),
        }
    }
}

impl Profile {
    /// Counts one more instruction: its number, the number that chains know it by, and where its first operand is.
    #[inline]
    pub(crate) fn count(&mut self, op: usize, code: u16, pc: *const u64) {
        if self.pairs.is_empty() {
            self.pairs = vec![0; OPS * OPS];
        }
        let op = op % OPS;
        self.pairs[self.last * OPS + op] += 1;
        self.last = op;
        if pc != self.next {
            self.end_run();
        }
        self.here = match self.places.get(&(self.here, code)) {
            Some(place) => *place,
            None => self.add_place(code),
        };
        self.next = following(op, code, pc);
    }

    /// Control has gone elsewhere.
    fn end_run(&mut self) {
        self.ends[self.here as usize].2 += 1;
        self.here = 0;
    }

    fn add_place(&mut self, code: u16) -> u32 {
        let place = self.ends.len() as u32;
        self.ends.push((self.here, code, 0));
        self.places.insert((self.here, code), place);
        place
    }

    /// The straight runs: instructions that ran one after the other, up to one that may go elsewhere, by the names that
    /// chains have for them; and how often each ran. What runs now is not yet among them.
    pub fn runs(&self) -> Vec<(Vec<&'static str>, u64)> {
        let ended = self.ends.iter().skip(1).filter(|(_, _, count)| *count > 0);
        let names = |end: &(u32, u16, u64)| {
            let mut names = Vec::new();
            let (mut before, mut code, _) = *end;
            loop {
                names.extend(own::name(code));
                if before == 0 {
                    names.reverse();
                    return names;
                }
                (before, code, _) = self.ends[before as usize];
            }
        };
        ended.map(|end| (names(end), end.2)).collect()
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

/// Where the next instruction's first operand is, if this one always leads there.
fn following(op: usize, code: u16, pc: *const u64) -> *const u64 {
    match Opcode::from_word(op as i32).map(Opcode::shape) {
        Some(Shape::Fixed(operands)) if goes_on(code) => pc.wrapping_add(operands + 1),
        _ => null(),
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
