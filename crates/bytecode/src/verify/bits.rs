//! A set of positions in code.

/// Of the positions below some length, those that have been put in. Once there are all, each has a number.
pub(super) struct Bits {
    len: usize,
    words: Vec<u64>,
    /// How many there are before each word.
    before: Vec<u32>,
}

impl Bits {
    /// None of the positions below `len`.
    pub(super) fn new(len: usize) -> Bits {
        Bits { len, words: vec![0; len.div_ceil(64)], before: Vec::new() }
    }

    /// Puts a position in. False if there is none such.
    #[inline]
    pub(super) fn insert(&mut self, pos: usize) -> bool {
        let exists = pos < self.len;
        if exists {
            self.words[pos / 64] |= 1 << (pos % 64);
        }
        exists
    }

    #[inline]
    pub(super) fn contains(&self, pos: usize) -> bool {
        self.words.get(pos / 64).is_some_and(|word| word >> (pos % 64) & 1 != 0)
    }

    /// Whether all are in the other set too.
    pub(super) fn all_in(&self, other: &Bits) -> bool {
        self.words.iter().zip(&other.words).all(|(word, other)| word & !other == 0)
    }

    /// Gives out the numbers; says how many.
    pub(super) fn count(&mut self) -> usize {
        let mut count = 0;
        self.before = Vec::with_capacity(self.words.len());
        for word in &self.words {
            self.before.push(count);
            count += word.count_ones();
        }
        count as usize
    }

    /// The number of a position that has been put in, from 0.
    pub(super) fn number(&self, pos: usize) -> usize {
        let below = self.words[pos / 64] & ((1 << (pos % 64)) - 1);
        (self.before[pos / 64] + below.count_ones()) as usize
    }
}
