//! A set of places in code. A bit for each, as memory that is touched costs more than what is done with it.

use crate::error::Result;
use crate::room;

/// Of the places below some length, those that have been put in. Once there are all, each has a number.
pub(super) struct Bits {
    len: usize,
    words: Vec<u64>,
    /// How many there are before each word.
    before: Vec<u32>,
}

impl Bits {
    /// None of the places below `len`.
    pub(super) fn new(len: usize) -> Result<Bits> {
        Ok(Bits { len, words: room::filled(0, len.div_ceil(64))?, before: Vec::new() })
    }

    /// Puts a place in. False if there is none such.
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

    /// Whether all are in the other set too.
    pub(super) fn all_in(&self, other: &Bits) -> bool {
        self.words.iter().zip(&other.words).all(|(word, other)| word & !other == 0)
    }

    /// Gives out the numbers, in the order of the places; says how many.
    pub(super) fn count(&mut self) -> Result<usize> {
        let mut count = 0;
        self.before = room::with_capacity(self.words.len())?;
        for word in &self.words {
            self.before.push(count);
            count += word.count_ones();
        }
        Ok(count as usize)
    }

    /// The number of a place that has been put in, from 0.
    #[inline]
    pub(super) fn number(&self, pos: usize) -> usize {
        let below = self.words[pos / 64] & ((1 << (pos % 64)) - 1);
        (self.before[pos / 64] + below.count_ones()) as usize
    }

    /// All, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let rest = |word: &u64| Some(word & (word - 1)).filter(|rest| *rest != 0);
            let first = Some(*word).filter(|word| *word != 0);
            std::iter::successors(first, rest).map(move |word| 64 * i + word.trailing_zeros() as usize)
        })
    }
}
