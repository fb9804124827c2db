//! `caml/md5.h`: digests (RFC 1321). The context is C's, so that C can keep it where it likes, and copy it. None of the
//! functions needs the runtime.

use std::ffi::c_void;

use super::items;

/// C's `struct MD5Context`.
#[repr(C)]
pub struct Context {
    /// The digest so far.
    buf: [u32; 4],
    /// The number of bits so far, low half first.
    bits: [u32; 2],
    /// The bytes that do not fill a block yet.
    waiting: [u8; BLOCK],
}

/// Bytes of a block.
const BLOCK: usize = 64;

/// The integer parts of 2^32 |sin i|.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a,
    0xa830_4613, 0xfd46_9501, 0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be,
    0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821, 0xf61e_2562, 0xc040_b340,
    0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8,
    0x676f_02d9, 0x8d2a_4c8a, 0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c,
    0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70, 0x289b_7ec6, 0xeaa1_27fa,
    0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92,
    0xffef_f47d, 0x8584_5dd1, 0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1,
    0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// How far each step of a round rotates, in turn.
const ROTATIONS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

impl Context {
    const NEW: Context = Context {
        buf: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476],
        bits: [0; 2],
        waiting: [0; BLOCK],
    };

    fn bytes(&self) -> u64 {
        (u64::from(self.bits[1]) << 32 | u64::from(self.bits[0])) / 8
    }

    fn update(&mut self, mut bytes: &[u8]) {
        let before = self.bytes();
        let bits = before.wrapping_add(bytes.len() as u64).wrapping_mul(8);
        self.bits = [bits as u32, (bits >> 32) as u32];
        let waiting = before as usize % BLOCK;
        if waiting > 0 {
            let now = bytes.len().min(BLOCK - waiting);
            self.waiting[waiting..waiting + now].copy_from_slice(&bytes[..now]);
            bytes = &bytes[now..];
            if waiting + now < BLOCK {
                return;
            }
            transform(&mut self.buf, &self.waiting);
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        blocks.iter().for_each(|block| transform(&mut self.buf, block));
        self.waiting[..rest.len()].copy_from_slice(rest);
    }

    fn finish(&mut self) -> [u8; 16] {
        let bits = [self.bits[0].to_le_bytes(), self.bits[1].to_le_bytes()];
        let waiting = self.bytes() as usize % BLOCK;
        let padding = if waiting < 56 { 56 - waiting } else { 120 - waiting };
        let mut end = [0; BLOCK];
        end[0] = 0x80;
        self.update(&end[..padding]);
        self.update(bits.as_flattened());
        let mut digest = [0; 16];
        digest.copy_from_slice(self.buf.map(u32::to_le_bytes).as_flattened());
        digest
    }
}

/// Mixes a block into the digest so far.
fn transform(buf: &mut [u32; 4], block: &[u8; BLOCK]) {
    let (words, _) = block.as_chunks::<4>();
    let [mut a, mut b, mut c, mut d] = *buf;
    for (step, sine) in SINES.iter().enumerate() {
        let (mix, word) = match step / 16 {
            0 => (d ^ (b & (c ^ d)), step),
            1 => (c ^ (d & (b ^ c)), 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        let word = u32::from_le_bytes(words[word % 16]);
        let sum = a.wrapping_add(mix).wrapping_add(*sine).wrapping_add(word);
        let rotated = b.wrapping_add(sum.rotate_left(ROTATIONS[step / 16][step % 4]));
        (a, b, c, d) = (d, rotated, b, c);
    }
    for (sum, word) in buf.iter_mut().zip([a, b, c, d]) {
        *sum = sum.wrapping_add(word);
    }
}

/// Starts a digest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_MD5Init(context: *mut Context) {
    // SAFETY: C's place for a context.
    unsafe { context.write(Context::NEW) }
}

/// Adds bytes to it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_MD5Update(context: *mut Context, bytes: *const u8, len: usize) {
    // SAFETY: a context that C has started, and its bytes.
    unsafe { (*context).update(items(bytes, len)) }
}

/// Ends it, and stores the sixteen bytes. The context is cleared.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_MD5Final(digest: *mut [u8; 16], context: *mut Context) {
    // SAFETY: as above.
    unsafe {
        *digest = (*context).finish();
        *context = Context { buf: [0; 4], ..Context::NEW };
    }
}

/// Stores the digest of some bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caml_md5_block(digest: *mut [u8; 16], bytes: *const c_void, len: usize) {
    let mut context = Context::NEW;
    // SAFETY: C's places and bytes.
    unsafe {
        context.update(items(bytes.cast(), len));
        *digest = context.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(context: &mut Context) -> String {
        context.finish().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_of_the_specification() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            for piece in [1, 7, 64, 100] {
                let mut context = Context::NEW;
                text.as_bytes().chunks(piece).for_each(|bytes| context.update(bytes));
                assert_eq!(hex(&mut context), digest);
            }
        }
    }

    #[test]
    fn padding_of_every_length() {
        // The digest of the digests of 0 to 129 letters, as another implementation finds it.
        let mut all = Context::NEW;
        for len in 0..130 {
            let mut one = Context::NEW;
            one.update(&vec![b'a'; len]);
            all.update(&one.finish());
        }
        assert_eq!(hex(&mut all), "2a633766eeb4629b7079156dc23c647e");
    }
}
