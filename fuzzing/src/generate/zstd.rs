//! Frames of compressed data (zstd, RFC 8878) that no compressor writes: blocks of all types, sequences with references
//! of any distance and length, each with what it decompresses to.

use crate::source::Source;

/// Base and number of additional bits of the codes of literal lengths from 16 on.
const LITERALS: [(usize, u32); 20] = [
    (16, 1),
    (18, 1),
    (20, 1),
    (22, 1),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 4),
    (64, 6),
    (128, 7),
    (256, 8),
    (512, 9),
    (1024, 10),
    (2048, 11),
    (4096, 12),
    (8192, 13),
    (16384, 14),
    (32768, 15),
    (65536, 16),
];

/// The same for the codes of match lengths from 32 on.
const MATCHES: [(usize, u32); 21] = [
    (35, 1),
    (37, 1),
    (39, 1),
    (41, 1),
    (43, 2),
    (47, 2),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 5),
    (131, 7),
    (259, 8),
    (515, 9),
    (1027, 10),
    (2051, 11),
    (4099, 12),
    (8195, 13),
    (16387, 14),
    (32771, 15),
    (65539, 16),
];

/// No block stands for more.
const LARGEST_BLOCK: usize = 128 << 10;

/// A frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// The compressed bytes.
    pub(crate) bytes: Vec<u8>,
    /// The decompressed bytes.
    pub(crate) plain: Vec<u8>,
}

struct Writer<'s, 'b> {
    source: &'s mut Source<'b>,
    bytes: Vec<u8>,
    plain: Vec<u8>,
    /// The last offsets, by which later ones may be named.
    offsets: [usize; 3],
}

/// A frame of a few blocks.
pub(crate) fn frame(source: &mut Source<'_>) -> Frame {
    let window = 7 + source.below(6) as u8;
    // No dictionary, no checksum, no size: the window alone.
    let bytes = vec![0x28, 0xB5, 0x2F, 0xFD, 0, window << 3];
    let mut writer = Writer { source, bytes, plain: Vec::new(), offsets: [1, 4, 8] };
    let blocks = 1 + writer.source.below(6);
    for i in 0..blocks {
        writer.block(i + 1 == blocks);
    }
    Frame { bytes: writer.bytes, plain: writer.plain }
}

/// Marshalled data with this frame, whose header announces `plain` bytes.
pub(crate) fn marshalled(frame: &[u8], plain: u64, words: u64) -> Vec<u8> {
    let mut header = Vec::new();
    for field in [frame.len() as u64, plain, 1, words, words] {
        let digits = (1..10).rev().filter(|i| field >> (7 * i) != 0).chain([0]);
        header.extend(digits.map(|i| (field >> (7 * i)) as u8 & 0x7F | if i > 0 { 0x80 } else { 0 }));
    }
    let mut bytes = vec![0x84, 0x95, 0xA6, 0xBD, header.len() as u8 + 5];
    bytes.extend(header);
    bytes.extend_from_slice(frame);
    bytes
}

/// The length for a code, and its additional bits, chosen at random.
fn length(
    source: &mut Source<'_>,
    code: usize,
    first: usize,
    plus: usize,
    table: &[(usize, u32)],
) -> (usize, u64, u32) {
    match code.checked_sub(first) {
        None => (code + plus, 0, 0),
        Some(i) => {
            let (base, bits) = table[i];
            let extra = u64::from(source.word()) & ((1 << bits) - 1);
            (base + extra as usize, extra, bits)
        }
    }
}

impl Writer<'_, '_> {
    fn block(&mut self, last: bool) {
        match self.source.below(4) {
            0 => {
                let n = self.source.below(40);
                let data = self.source.bytes(n);
                self.header(last, 0, n);
                self.bytes.extend_from_slice(&data);
                self.plain.extend_from_slice(&data);
            }
            1 => {
                let n = self.source.of(&[0, 1, 3, 100, 5000, 70_000]);
                let byte = self.source.byte();
                self.header(last, 1, n);
                self.bytes.push(byte);
                self.plain.extend(std::iter::repeat_n(byte, n));
            }
            _ => {
                let content = self.compressed();
                self.header(last, 2, content.len());
                self.bytes.extend(content);
            }
        }
    }

    fn header(&mut self, last: bool, kind: usize, size: usize) {
        let word = usize::from(last) | kind << 1 | size << 3;
        self.bytes.extend_from_slice(&word.to_le_bytes()[..3]);
    }

    /// Literals, and sequences that all have the same three codes.
    fn compressed(&mut self) -> Vec<u8> {
        let repeated = self.source.one_in(3);
        let literals = match repeated {
            true => {
                let n = self.source.of(&[1, 7, 31, 32, 300, 4095, 4096, 90_000]);
                vec![self.source.byte(); n]
            }
            false => {
                let n = self.source.below(120);
                self.source.bytes(n)
            }
        };
        let mut content = Vec::new();
        let (n, kind) = (literals.len(), usize::from(repeated));
        match n {
            0..32 => content.push((kind | n << 3) as u8),
            32..4096 => content.extend_from_slice(&(kind | 1 << 2 | n << 4).to_le_bytes()[..2]),
            _ => content.extend_from_slice(&(kind | 3 << 2 | n << 4).to_le_bytes()[..3]),
        }
        content.extend_from_slice(if repeated { &literals[..1] } else { &literals });
        self.sequences(&literals, &mut content);
        content
    }

    fn sequences(&mut self, literals: &[u8], content: &mut Vec<u8>) {
        let most = self.source.of(&[0, 1, 2, 5, 30, 127]);
        let codes = [
            self.source.of(&[0, 0, 1, 2, 5, 15, 16, 20, 25, 27, 31]),
            self.source.below(18),
            self.source.of(&[0, 1, 2, 5, 13, 29, 31, 32, 36, 40, 43, 45, 47, 50, 52]),
        ];
        let start = self.plain.len();
        let (mut used, mut bits, mut count) = (0, Vec::new(), 0);
        while count < most {
            let Some(sequence) = self.sequence(codes, &literals[used..], start) else { break };
            used += sequence.0;
            bits.extend(sequence.1);
            count += 1;
        }
        self.plain.extend_from_slice(&literals[used..]);
        content.push(count as u8);
        if count > 0 {
            // Each table has one code.
            content.push(0b01_01_01_00);
            content.extend(codes.map(|code| code as u8));
            content.extend(backwards(&bits));
        }
    }

    /// A sequence: the number of its literals and its bits in reading order; nothing if there is no room for it.
    fn sequence(
        &mut self,
        [literal, offset, matched]: [usize; 3],
        literals: &[u8],
        start: usize,
    ) -> Option<(usize, [(u64, u32); 3])> {
        for _ in 0..4 {
            let (ll, ll_extra, ll_bits) = length(self.source, literal, 16, 0, &LITERALS);
            let (ml, ml_extra, ml_bits) = length(self.source, matched, 32, 3, &MATCHES);
            let extra = u64::from(self.source.word()) & ((1 << offset) - 1);
            let value = (1 << offset) + extra as usize;
            let produced = self.plain.len() + ll;
            let (distance, offsets) = self.distance(value, ll);
            let rest = literals.len().checked_sub(ll);
            let fits = |rest| produced + ml + rest - start <= LARGEST_BLOCK;
            if rest.is_some_and(fits) && (1..=produced).contains(&distance) {
                self.offsets = offsets;
                self.plain.extend_from_slice(&literals[..ll]);
                for _ in 0..ml {
                    self.plain.push(self.plain[self.plain.len() - distance]);
                }
                let bits = [(extra, offset as u32), (ml_extra, ml_bits), (ll_extra, ll_bits)];
                return Some((ll, bits));
            }
        }
        None
    }

    /// The distance that a value means, and the last offsets after it.
    fn distance(&self, value: usize, ll: usize) -> (usize, [usize; 3]) {
        let [a, b, c] = self.offsets;
        match value + usize::from(ll == 0) {
            _ if value > 3 => (value - 3, [value - 3, a, b]),
            1 => (a, [a, b, c]),
            2 => (b, [b, a, c]),
            3 => (c, [c, a, b]),
            _ => (a - 1, [a - 1, a, b]),
        }
    }
}

/// Bits for a reader that begins at the end.
fn backwards(bits: &[(u64, u32)]) -> Vec<u8> {
    let mut flat: Vec<bool> =
        bits.iter().rev().flat_map(|(value, n)| (0..*n).map(move |i| value >> i & 1 == 1)).collect();
    flat.push(true);
    flat.chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, bit| sum << 1 | u8::from(*bit))).collect()
}
