//! The encoder: writes each value in its smallest form, as `runtime/extern.c` does, and computes the header's totals.

use super::codes::*;
use super::decode::CodePointer;
use super::header::HeaderBytes;

/// The colour bits in the headers of blocks, which differ between versions and have no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlockColour {
    /// 0, as OCaml 4 writes.
    #[default]
    White,
    /// 3, as OCaml 5 writes.
    Black,
}

/// The sizes of a custom block's data in bytes, which the header's totals need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CustomSizes {
    /// On 32-bit machines.
    pub bytes32: u32,
    /// On 64-bit machines.
    pub bytes64: u64,
}

/// Writes marshalled data piece by piece.
///
/// The caller walks its values depth first, fields left to right, and calls one method for each. Methods that start
/// an object return the number by which [`shared`](Encoder::shared) can refer to it later. The `size` fields of a
/// block are written after it.
#[derive(Debug, Clone, Default)]
pub struct Encoder {
    out: Vec<u8>,
    colour: BlockColour,
    unshared: bool,
    objects: u64,
    words32: u64,
    words64: u64,
}

impl Encoder {
    /// An encoder that has written nothing.
    pub fn new(colour: BlockColour) -> Encoder {
        Encoder { colour, ..Encoder::default() }
    }

    /// The same, for `Marshal.No_sharing`: objects get no numbers (all methods return 0).
    pub fn without_sharing(colour: BlockColour) -> Encoder {
        Encoder { unshared: true, ..Encoder::new(colour) }
    }

    /// Reserves room for more bytes, so that writing them cannot run out of memory. Returns false if there is no
    /// memory.
    #[inline(always)]
    pub fn has_room(&mut self, bytes: usize) -> bool {
        self.out.capacity() - self.out.len() >= bytes || self.make_room(bytes)
    }

    #[cold]
    fn make_room(&mut self, bytes: usize) -> bool {
        // Doubling may fail where a smaller allocation succeeds.
        let some = bytes.max(self.out.len() / 8);
        self.out.try_reserve(bytes).is_ok()
            || self.out.try_reserve_exact(some).is_ok()
            || self.out.try_reserve_exact(bytes).is_ok()
    }

    /// How many bytes can be written before memory has to be found for more.
    pub fn spare(&self) -> usize {
        self.out.capacity() - self.out.len()
    }

    /// How many bytes have been written, without the header.
    pub fn data_len(&self) -> usize {
        self.out.len()
    }

    /// The number of the next object; 0 for all when written without sharing.
    pub fn objects(&self) -> u64 {
        self.objects
    }

    /// An integer (untagged).
    #[inline]
    pub fn int(&mut self, n: i64) {
        if let 0..0x40 = n {
            self.out.push(SMALL_INT | n as u8);
        } else if let Ok(n) = i8::try_from(n) {
            self.code(INT8, &n.to_be_bytes());
        } else if let Ok(n) = i16::try_from(n) {
            self.code(INT16, &n.to_be_bytes());
        } else if let -0x4000_0000..0x4000_0000 = n {
            // 31 bits, not 32, so that a 32-bit OCaml can read it.
            self.code(INT32, &(n as i32).to_be_bytes());
        } else {
            self.code(INT64, &n.to_be_bytes());
        }
    }

    /// The start of a block. A block of size 0 is an atom, which has no number: the result is 0 and has no meaning.
    #[inline]
    pub fn block(&mut self, tag: u8, size: usize) -> u64 {
        if tag < 16 && size < 8 {
            self.out.push(SMALL_BLOCK | tag | (size as u8) << 4);
        } else {
            self.large_block(tag, size);
        }
        if size == 0 {
            return 0;
        }
        let words = 1 + size as u64;
        self.object(words, words)
    }

    fn large_block(&mut self, tag: u8, size: usize) {
        let colour = if self.colour == BlockColour::Black { 3 << 8 } else { 0 };
        let header = (size as u64) << 10 | colour | u64::from(tag);
        match u32::try_from(header) {
            Ok(header) => self.code(BLOCK32, &header.to_be_bytes()),
            Err(_) => self.code(BLOCK64, &header.to_be_bytes()),
        }
    }

    /// A string.
    #[inline]
    pub fn string(&mut self, bytes: &[u8]) -> u64 {
        let number = self.string_of(bytes.len());
        self.out.extend_from_slice(bytes);
        number
    }

    /// The start of a string of `len` bytes, which follow in calls of [`go_on`](Encoder::go_on).
    pub fn start_string(&mut self, len: usize) -> u64 {
        let number = self.string_of(len);
        self.out.reserve(len);
        number
    }

    /// More bytes of a started value: part of a string, or little-endian doubles.
    #[inline]
    pub fn go_on(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    fn string_of(&mut self, len: usize) -> u64 {
        if len < 0x20 {
            self.out.push(SMALL_STRING | len as u8);
        } else {
            self.large_string(len);
        }
        let len = len as u64;
        self.object(1 + (len + 4) / 4, 1 + (len + 8) / 8)
    }

    fn large_string(&mut self, len: usize) {
        if let Ok(len) = u8::try_from(len) {
            self.code(STRING8, &[len]);
        } else if let Ok(len) = u32::try_from(len) {
            self.code(STRING32, &len.to_be_bytes());
        } else {
            self.code(STRING64, &(len as u64).to_be_bytes());
        }
    }

    /// A boxed float.
    #[inline]
    pub fn double(&mut self, value: f64) -> u64 {
        self.code(DOUBLE_LITTLE, &value.to_le_bytes());
        self.object(3, 2)
    }

    /// A flat float array, which must not be empty (that is an atom: [`block`](Encoder::block) of size 0).
    pub fn double_array(&mut self, values: impl ExactSizeIterator<Item = f64>) -> u64 {
        let number = self.start_double_array(values.len());
        for value in values {
            self.out.extend_from_slice(&value.to_le_bytes());
        }
        number
    }

    /// The start of a flat float array, whose doubles follow in calls of [`go_on`](Encoder::go_on).
    pub fn start_double_array(&mut self, len: usize) -> u64 {
        if let Ok(len) = u8::try_from(len) {
            self.code(DOUBLE_ARRAY8_LITTLE, &[len]);
        } else if let Ok(len) = u32::try_from(len) {
            self.code(DOUBLE_ARRAY32_LITTLE, &len.to_be_bytes());
        } else {
            self.code(DOUBLE_ARRAY64_LITTLE, &(len as u64).to_be_bytes());
        }
        let len = len as u64;
        self.object(1 + 2 * len, 1 + len)
    }

    /// A custom block whose size readers derive from its name. The name must not contain NUL.
    pub fn custom_fixed(&mut self, name: &[u8], sizes: CustomSizes, payload: &[u8]) -> u64 {
        self.custom(CUSTOM_FIXED, name, sizes, payload)
    }

    /// A custom block that records its sizes. The name must not contain NUL.
    pub fn custom_sized(&mut self, name: &[u8], sizes: CustomSizes, payload: &[u8]) -> u64 {
        self.custom(CUSTOM_LEN, name, sizes, payload)
    }

    fn custom(&mut self, code: u8, name: &[u8], sizes: CustomSizes, payload: &[u8]) -> u64 {
        debug_assert!(!name.contains(&0));
        self.code(code, name);
        self.out.push(0);
        if code == CUSTOM_LEN {
            self.out.extend_from_slice(&sizes.bytes32.to_be_bytes());
            self.out.extend_from_slice(&sizes.bytes64.to_be_bytes());
        }
        self.out.extend_from_slice(payload);
        self.object(2 + u64::from(sizes.bytes32).div_ceil(4), 2 + sizes.bytes64.div_ceil(8))
    }

    /// A reference back to the object of that number.
    ///
    /// # Panics
    ///
    /// When no such object has been written: the caller's table of objects is wrong.
    #[inline]
    pub fn shared(&mut self, number: u64) {
        assert!(number < self.objects, "object {number} of {} shared before it is written", self.objects);
        let back = self.objects - number;
        if let Ok(back) = u8::try_from(back) {
            self.code(SHARED8, &[back]);
        } else if let Ok(back) = u16::try_from(back) {
            self.code(SHARED16, &back.to_be_bytes());
        } else if let Ok(back) = u32::try_from(back) {
            self.code(SHARED32, &back.to_be_bytes());
        } else {
            self.code(SHARED64, &back.to_be_bytes());
        }
    }

    /// A code address.
    pub fn code_pointer(&mut self, pointer: &CodePointer) {
        self.code(CODEPOINTER, &pointer.offset.to_be_bytes());
        self.out.extend_from_slice(&pointer.digest);
    }

    /// The start of a pointer into a block of closures, `offset` bytes from its first field; the block follows, or
    /// a reference to it.
    pub fn infix(&mut self, offset: u32) {
        self.code(INFIXPOINTER, &offset.to_be_bytes());
    }

    /// The header and the data.
    pub fn finish_parts(self) -> (HeaderBytes, Vec<u8>) {
        let header = HeaderBytes::new(self.out.len() as u64, self.objects, self.words32, self.words64);
        (header, self.out)
    }

    /// The header and the data in one.
    pub fn finish(self) -> Vec<u8> {
        let (header, data) = self.finish_parts();
        [header.as_ref(), &data].concat()
    }

    #[inline(always)]
    fn code(&mut self, code: u8, rest: &[u8]) {
        self.out.reserve(1 + rest.len());
        self.out.push(code);
        self.out.extend_from_slice(rest);
    }

    #[inline]
    fn object(&mut self, words32: u64, words64: u64) -> u64 {
        self.words32 += words32;
        self.words64 += words64;
        if self.unshared {
            return 0;
        }
        self.objects += 1;
        self.objects - 1
    }
}
