//! `caml/hash.h`: what the hash functions of C's kinds of custom blocks call. None needs the runtime.

use spelter_heap::raw::Value;

const fn mixed(mut hash: u32, mut word: u32) -> u32 {
    // MurmurHash 3.
    word = word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    hash = (hash ^ word).rotate_left(13);
    hash.wrapping_mul(5).wrapping_add(0xe654_6b64)
}

/// Mixes a word into a hash.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_hash_mix_uint32(hash: u32, word: u32) -> u32 {
    mixed(hash, word)
}

/// Mixes a number into a hash, which is the same on machines of 32 bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_hash_mix_intnat(hash: u32, n: isize) -> u32 {
    mixed(hash, ((n >> 32) ^ (n >> 63) ^ n) as u32)
}

/// Mixes a number into a hash.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_hash_mix_int64(hash: u32, n: i64) -> u32 {
    mixed(mixed(hash, n as u32), (n >> 32) as u32)
}

/// Mixes a float into a hash: all NaNs are the same, and so are both zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_hash_mix_double(hash: u32, f: f64) -> u32 {
    let bits = match f {
        f if f.is_nan() => 0x7ff0_0000_0000_0001,
        0.0 => 0,
        f => f.to_bits(),
    };
    mixed(mixed(hash, bits as u32), (bits >> 32) as u32)
}

/// Mixes a float of 32 bits into a hash: all NaNs are the same, and so are both zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_hash_mix_float(hash: u32, f: f32) -> u32 {
    let bits = match f {
        f if f.is_nan() => 0x7f80_0001,
        0.0 => 0,
        f => f.to_bits(),
    };
    mixed(hash, bits)
}

/// Mixes a string into a hash: its bytes by fours, then its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_hash_mix_string(hash: u32, s: Value) -> u32 {
    // SAFETY: a string of the program.
    let bytes = unsafe { s.bytes() };
    let word = |chunk: &[u8]| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u32::from_le_bytes(word)
    };
    let hash = bytes.chunks(4).fold(hash, |hash, chunk| mixed(hash, word(chunk)));
    hash ^ bytes.len() as u32
}
