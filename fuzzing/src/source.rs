//! The source of choices: the bytes of a fuzzer's input, or a seed.

/// A sequence of choices. When the bytes have run out, every choice is the first alternative, so that a shorter input
/// encodes a smaller program.
#[derive(Clone, Debug)]
pub struct Source<'a>(From<'a>);

#[derive(Clone, Debug)]
enum From<'a> {
    Bytes(&'a [u8]),
    Seed(u64),
}

impl<'a> Source<'a> {
    /// The choices encoded by these bytes.
    pub fn of_bytes(bytes: &'a [u8]) -> Source<'a> {
        Source(From::Bytes(bytes))
    }

    /// An endless sequence of choices.
    pub fn of_seed(seed: u64) -> Source<'static> {
        Source(From::Seed(seed))
    }

    /// Whether the bytes have run out.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, From::Bytes([]))
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        match &mut self.0 {
            From::Bytes(bytes) => match bytes.split_first() {
                Some((first, rest)) => {
                    *bytes = rest;
                    *first
                }
                None => 0,
            },
            From::Seed(state) => (split_mix(state) >> 32) as u8,
        }
    }

    /// 32 bits.
    pub fn word(&mut self) -> u32 {
        u32::from_le_bytes([(); 4].map(|()| self.byte()))
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        match n {
            0 | 1 => 0,
            2..=256 => usize::from(self.byte()) % n,
            _ => self.word() as usize % n,
        }
    }

    /// True once in `n` times; never when the bytes have run out.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// One of these.
    ///
    /// # Panics
    /// When there are none.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// This many bytes.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.byte()).collect()
    }
}

/// SplitMix64: the same numbers everywhere.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The input for a seed: most are short, some long.
pub fn input_of_seed(seed: u64) -> Vec<u8> {
    let mut source = Source::of_seed(seed);
    let most = source.of(&[64, 128, 256, 256, 512, 512, 1024, 3000]);
    let len = 16 + source.below(most);
    source.bytes(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_run_out_is_the_first_choice() {
        let mut source = Source::of_bytes(&[5]);
        assert_eq!((source.below(3), source.is_empty()), (2, true));
        assert_eq!((source.below(1000), source.word(), source.one_in(2)), (0, 0, false));
    }

    #[test]
    fn a_seed_is_always_the_same_input() {
        assert_eq!(input_of_seed(7), input_of_seed(7));
        assert_ne!(input_of_seed(7), input_of_seed(8));
    }
}
