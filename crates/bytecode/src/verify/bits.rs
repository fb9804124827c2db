//! A set of positions in code, as bits, because touching memory costs more than the bit operations.

use crate::error::Result;
use crate::room;

/// A set of positions below some length. Once it is complete, each position gets a number.
pub(super) struct Bits {
    len: usize,
    words: Vec<u64>,
    /// The number of positions before each word.
    before: Vec<u32>,
}

impl Bits {
    /// The empty set of positions below `len`.
    pub(super) fn new(len: usize) -> Result<Bits> {
        Ok(Bits { len, words: room::filled(0, len.div_ceil(64))?, before: Vec::new() })
    }

    /// Inserts a position. Returns false if it is out of range.
    #[inline(always)]
    pub(super) fn insert(&mut self, pos: usize) -> bool {
        match self.words.get_mut(pos / 64) {
            Some(word) if pos < self.len => {
                *word |= 1 << (pos % 64);
                true
            }
            _ => false,
        }
    }

    #[inline(always)]
    pub(super) fn contains(&self, pos: usize) -> bool {
        self.words.get(pos / 64).is_some_and(|word| word >> (pos % 64) & 1 != 0)
    }

    /// Whether this is a subset of the other set.
    pub(super) fn all_in(&self, other: &Bits) -> bool {
        self.words.iter().zip(&other.words).all(|(word, other)| word & !other == 0)
    }

    /// Assigns numbers in the order of the positions, and returns how many there are.
    pub(super) fn count(&mut self) -> Result<usize> {
        let mut count = 0;
        self.before = room::with_capacity(self.words.len())?;
        for word in &self.words {
            self.before.push(count);
            count += word.count_ones();
        }
        Ok(count as usize)
    }

    /// The number of a position in the set, from 0.
    #[inline]
    pub(super) fn number(&self, pos: usize) -> usize {
        let below = self.words[pos / 64] & ((1 << (pos % 64)) - 1);
        (self.before[pos / 64] + below.count_ones()) as usize
    }

    /// All positions, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let rest = |word: &u64| Some(word & (word - 1)).filter(|rest| *rest != 0);
            let first = Some(*word).filter(|word| *word != 0);
            std::iter::successors(first, rest).map(move |word| 64 * i + word.trailing_zeros() as usize)
        })
    }
}
