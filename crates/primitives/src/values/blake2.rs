//! BLAKE2b for `Digest` (OCaml's `blake2.c`), after RFC 7693. Crates that offer it fix the length of a keyed digest when
//! they are compiled.

use std::cell::RefCell;

use spelter_interp::prim::custom::Behaviour;
use spelter_interp::{CustomOps, Machine, PIECE_BYTES, Raise, Res, Slot, prims};

use crate::UNIT;

const BLOCK: usize = 128;
/// The longest digest, and the longest key.
const MAX_LEN: usize = 64;

/// The fractional parts of the square roots of the first primes.
const INITIAL: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// In which order a round takes the words of a block; the last two of twelve rounds use the first two rows.
const ORDERS: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
const ROUNDS: usize = 12;

/// The words that one step of a round mixes: first the columns of a square, then its diagonals.
const STEPS: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

/// A digest that takes its input piece by piece.
#[derive(Clone)]
struct Context {
    state: [u64; 8],
    /// The bytes compressed so far.
    len: u128,
    /// Input that waits, since the last block is treated in another way.
    block: [u8; BLOCK],
    waiting: usize,
}

impl Context {
    /// `len` is the length of the digest, at most 64; of a longer key, the first 64 bytes count.
    fn new(len: usize, key: &[u8]) -> Context {
        let mut state = INITIAL;
        state[0] ^= 0x0101_0000 ^ (key.len() as u64) << 8 ^ len as u64;
        let mut context = Context { state, len: 0, block: [0; BLOCK], waiting: 0 };
        if !key.is_empty() {
            let key = &key[..key.len().min(MAX_LEN)];
            context.block[..key.len()].copy_from_slice(key);
            context.waiting = BLOCK;
        }
        context
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.waiting == BLOCK {
                self.compress(false);
                self.waiting = 0;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.waiting));
            self.block[self.waiting..self.waiting + now.len()].copy_from_slice(now);
            self.waiting += now.len();
            bytes = rest;
        }
    }

    fn finish(&mut self) -> [u8; MAX_LEN] {
        self.block[self.waiting..].fill(0);
        self.compress(true);
        let mut digest = [0; MAX_LEN];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_le_bytes();
        }
        digest
    }

    fn compress(&mut self, is_last: bool) {
        self.len = self.len.wrapping_add(self.waiting as u128);
        let mut v = [0; 16];
        v[..8].copy_from_slice(&self.state);
        v[8..].copy_from_slice(&INITIAL);
        v[12] ^= self.len as u64;
        v[13] ^= (self.len >> 64) as u64;
        if is_last {
            v[14] = !v[14];
        }
        let mut words = [0; 16];
        for (word, bytes) in words.iter_mut().zip(self.block.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        for round in 0..ROUNDS {
            let order = &ORDERS[round % ORDERS.len()];
            for (step, places) in STEPS.iter().enumerate() {
                mix(&mut v, *places, words[order[2 * step]], words[order[2 * step + 1]]);
            }
        }
        for (i, word) in self.state.iter_mut().enumerate() {
            *word ^= v[i] ^ v[i + 8];
        }
    }
}

fn mix(v: &mut [u64; 16], [a, b, c, d]: [usize; 4], x: u64, y: u64) {
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(x);
    v[d] = (v[d] ^ v[a]).rotate_right(32);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(24);
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(y);
    v[d] = (v[d] ^ v[a]).rotate_right(16);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(63);
}

// ---- primitives ------------------------------------------------------------------------------------

static BLAKE2: CustomOps = CustomOps::new(c"_blake2", &Behaviour::OPAQUE).owning().counting();

/// The length of a digest.
fn digest_len(m: &Machine, len: Slot) -> Result<usize, Raise> {
    let len = m.index(len)?;
    if (1..=MAX_LEN).contains(&len) { Ok(len) } else { Err(Raise::invalid("Digest: length of a digest")) }
}

fn context(m: &Machine, s: Slot) -> Result<&RefCell<Context>, Raise> {
    Ok(m.val(s).external()?)
}

/// Calls `f` with bytes `at..at + len` of a string, piece by piece.
fn feed(
    m: &mut Machine,
    [s, at, len]: [Slot; 3],
    mut f: impl FnMut(&Machine, &[u8]) -> Result<(), Raise>,
) -> Result<(), Raise> {
    let (at, len) = (m.index(at)?, m.index(len)?);
    let end = at.checked_add(len).ok_or_else(Raise::bounds)?;
    m.bytes(s)?.get(at..end).ok_or_else(Raise::bounds)?;
    m.in_pieces(len, PIECE_BYTES / 4, |m, part| {
        let bytes = m.bytes(s)?.get(at..end).ok_or_else(Raise::bounds)?;
        f(m, &bytes[part])
    })
}

fn blake2_create(m: &mut Machine, [len, key]: [Slot; 2]) -> Res<'_> {
    let context = Context::new(digest_len(m, len)?, m.bytes(key)?);
    m.new_external(&BLAKE2, Box::new(RefCell::new(context)), size_of::<Context>())
}

fn blake2_update(m: &mut Machine, [c, s, at, len]: [Slot; 4]) -> Res<'_> {
    context(m, c)?;
    feed(m, [s, at, len], |m, bytes| {
        context(m, c)?.borrow_mut().update(bytes);
        Ok(())
    })?;
    Ok(UNIT)
}

fn blake2_final(m: &mut Machine, [c, len]: [Slot; 2]) -> Res<'_> {
    let len = digest_len(m, len)?;
    let digest = context(m, c)?.borrow_mut().finish();
    m.new_string(&digest[..len])
}

fn blake2_string(m: &mut Machine, [len, key, s, at, bytes]: [Slot; 5]) -> Res<'_> {
    let len = digest_len(m, len)?;
    let mut context = Context::new(len, m.bytes(key)?);
    feed(m, [s, at, bytes], |_, bytes| {
        context.update(bytes);
        Ok(())
    })?;
    m.new_string(&context.finish()[..len])
}

prims! {
    "caml_blake2_bytes" P5 blake2_string => since(V5_3),
    "caml_blake2_create" P2 blake2_create => since(V5_2),
    "caml_blake2_final" P2 blake2_final => since(V5_2),
    "caml_blake2_string" P5 blake2_string => since(V5_2),
    "caml_blake2_update" P4 blake2_update => since(V5_2),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The example of RFC 7693, appendix A.
    #[test]
    fn digests_abc() {
        let mut context = Context::new(64, b"");
        context.update(b"abc");
        let expected = concat!(
            "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1",
            "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
        );
        assert_eq!(hex(&context.finish()), expected);
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let all: Vec<u8> = (0..1000u32).map(|i| i as u8).collect();
        for len in [0, 1, 127, 128, 129, 256, 1000] {
            let digest = |piece: usize| {
                let mut context = Context::new(32, b"a key");
                all[..len].chunks(piece).for_each(|bytes| context.update(bytes));
                context.finish()
            };
            assert_eq!((digest(1), digest(128)), (digest(1000), digest(999)), "{len}");
        }
    }
}
