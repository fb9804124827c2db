//! Counts how often each instruction, each pair of instructions and each straight run of them was executed. Chains are
//! chosen by these counts.

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

/// Counts of pairs of consecutive instructions, and of straight runs.
pub struct Profile {
    /// Indexed by the numbers of both instructions; empty until something is counted.
    pairs: Vec<u64>,
    last: usize,
    /// The runs, as a tree. Maps a node and an instruction number to the child node.
    nodes: FxHashMap<(u32, u16), u32>,
    /// For each node: its parent, its last instruction's number, and how many runs ended there. The first node is the
    /// root.
    ends: Vec<(u32, u16, u64)>,
    /// The node of the run in progress.
    here: u32,
    /// The position of the next instruction's first operand, if that instruction continues the run.
    next: *const u64,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            pairs: Vec::new(),
            last: 0,
            nodes: FxHashMap::default(),
            ends: vec![(0, 0, 0)],
            here: 0,
            next: null(),
        }
    }
}

impl Profile {
    /// Counts an instruction: its number, the number under which chains know it, and the position of its first operand.
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
        self.here = match self.nodes.get(&(self.here, code)) {
            Some(node) => *node,
            None => self.add_place(code),
        };
        self.next = following(op, code, pc);
    }

    /// Ends the run, because control went elsewhere.
    fn end_run(&mut self) {
        self.ends[self.here as usize].2 += 1;
        self.here = 0;
    }

    fn add_place(&mut self, code: u16) -> u32 {
        let node = self.ends.len() as u32;
        self.ends.push((self.here, code, 0));
        self.nodes.insert((self.here, code), node);
        node
    }

    /// The straight runs, and how often each was executed. A run is a sequence of consecutive instructions up to one
    /// that may transfer control; they have the names that chains use. The run in progress is not included.
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

    /// How many instructions were executed.
    pub fn total(&self) -> u64 {
        self.pairs.iter().sum()
    }

    /// The pairs that were executed, most frequent first.
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

/// The position of the next instruction's first operand, if this instruction always continues there.
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
