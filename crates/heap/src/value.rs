//! The raw value: one machine word that is an integer or a pointer to a block, and the header in
//! front of each block. The representation is OCaml's (`runtime/caml/mlvalues.h` describes it):
//!
//! ```text
//! integer n      : 2n + 1                                (63 bits, odd)
//! pointer        : address of the block's first field    (even)
//! header         : wosize << 10 | colour << 8 | tag      (the word before the first field)
//! ```
//!
//! A pointer may also point into the middle of a closure block, just after an *infix* header: a header word with
//! [`tag::INFIX`] whose "wosize" is the distance in words back to the enclosing block. Infix headers are odd words (the
//! tag is odd), so a scan of a closure's fields treats them as integers.

/// The largest block, in words, that the nursery holds.
pub const MAX_YOUNG_WOSIZE: usize = 256;

/// The largest block that a header can describe, in words.
pub const MAX_WOSIZE: usize = (1 << 54) - 1;

/// Tags with a meaning to the heap. Blocks with a tag below [`tag::NO_SCAN`] have fields that are values.
pub mod tag {
    /// A suspended computation that is running. An ordinary block to the heap.
    pub const FORCING: u8 = 244;
    /// A continuation. An ordinary block to the heap.
    pub const CONT: u8 = 245;
    /// A suspended computation. An ordinary block to the heap.
    pub const LAZY: u8 = 246;
    /// A block that may contain infix headers. Its code addresses are stored odd.
    pub const CLOSURE: u8 = 247;
    /// An object. An ordinary block to the heap.
    pub const OBJECT: u8 = 248;
    /// The header of an inner closure; never the tag of a separate block.
    pub const INFIX: u8 = 249;
    /// A forced suspension, of one field. Collections replace references to it by its content, unless the content is a
    /// suspension in any state or a float, which the client could not tell apart by the tag.
    pub const FORWARD: u8 = 250;
    /// The first tag whose blocks the collector does not scan.
    pub const NO_SCAN: u8 = ABSTRACT;
    /// Words without meaning to the collector. Ephemerons have this tag too.
    pub const ABSTRACT: u8 = 251;
    /// Bytes; the last one is the number of padding bytes before it.
    pub const STRING: u8 = 252;
    /// One boxed float.
    pub const DOUBLE: u8 = 253;
    /// Unboxed floats in a row.
    pub const DOUBLE_ARRAY: u8 = 254;
    /// A block that begins with its [`CustomOps`](crate::raw::CustomOps).
    pub const CUSTOM: u8 = 255;
}

/// The collector's state of an old block. Young blocks are always white.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Colour {
    /// Not reached by the current marking; outside marking, an ordinary live block.
    White = 0,
    /// Not a block of any heap ([`Header::OUTSIDE`]). No block is gray: blocks whose fields wait to be scanned are
    /// black and on the mark stack.
    Gray = 1,
    /// Not a block, but a free cell.
    Blue = 2,
    /// Reached, or allocated while marking. Atoms are always black.
    Black = 3,
}

/// The word before a block's first field.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Header(u64);

const COLOUR_MASK: u64 = 0x300;

impl Header {
    /// The header left at the old address of a moved block, whose field 0 then holds the new address. No block has this
    /// header: empty blocks are atoms, and those are black.
    pub(crate) const MOVED: Header = Header(0);

    /// The header in front of data that values may point to but that is not a block of any heap: one unscanned word,
    /// and a colour that no block has. It is not white, so the collector treats it as already marked.
    pub const OUTSIDE: Header = Header::new(1, tag::ABSTRACT).with_colour(Colour::Gray);

    /// A white header.
    #[inline(always)]
    pub const fn new(wosize: usize, tag: u8) -> Header {
        Header((wosize as u64) << 10 | tag as u64)
    }
    /// This header with another colour.
    #[inline(always)]
    pub const fn with_colour(self, colour: Colour) -> Header {
        Header(self.0 & !COLOUR_MASK | (colour as u64) << 8)
    }
    /// This header as that of a white block, for comparisons.
    #[inline(always)]
    pub(crate) const fn without_colour(self) -> Header {
        Header(self.0 & !COLOUR_MASK)
    }
    /// The header stored as these bits.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Header {
        Header(bits)
    }
    /// The word as stored.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }
    /// The size of the block in words, without the header.
    #[inline(always)]
    pub const fn wosize(self) -> usize {
        (self.0 >> 10) as usize
    }
    /// The size of the block in words, with the header.
    #[inline(always)]
    pub const fn whsize(self) -> usize {
        self.wosize() + 1
    }
    /// The block's tag.
    #[inline(always)]
    pub const fn tag(self) -> u8 {
        self.0 as u8
    }
    /// The block's colour.
    #[inline(always)]
    pub const fn colour(self) -> Colour {
        match (self.0 >> 8) & 3 {
            0 => Colour::White,
            1 => Colour::Gray,
            2 => Colour::Blue,
            _ => Colour::Black,
        }
    }
    #[inline(always)]
    pub(crate) const fn is_white(self) -> bool {
        self.0 & COLOUR_MASK == 0
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Header(wosize {}, tag {}, {:?})", self.wosize(), self.tag(), self.colour())
    }
}

/// An integer or a pointer to a block, not tied to any heap or lifetime.
///
/// Making and comparing values is safe. Following one is not, since nothing guarantees that the block still exists. The
/// safe counterpart is [`Val`](crate::Val).
///
/// # Safety
///
/// All unsafe methods share one contract: the value is a pointer to a block of a live heap, no collection has happened
/// since it was obtained other than through a root, indices are within the block, and where a method reads a particular
/// kind of content (bytes, floats, a custom block's words) the tag is that of this kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Value(u64);

const _: () = assert!(size_of::<Value>() == 8 && size_of::<usize>() == 8);

#[allow(clippy::missing_safety_doc, reason = "the contract is shared and stated on the type")]
impl Value {
    /// The integer 0 as `()`.
    pub const UNIT: Value = Value::int(0);
    /// The integer 0 as `false`.
    pub const FALSE: Value = Value::int(0);
    /// The integer 1 as `true`.
    pub const TRUE: Value = Value::int(1);

    /// An integer; wraps to 63 bits.
    #[inline(always)]
    pub const fn int(n: i64) -> Value {
        Value((n as u64) << 1 | 1)
    }
    /// The value with this representation.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Value {
        Value(bits)
    }
    /// `true` as 1, `false` as 0.
    #[inline(always)]
    pub const fn bool(b: bool) -> Value {
        Value::int(b as i64)
    }
    /// The value whose block has its first field at `p`.
    #[inline(always)]
    pub fn from_ptr(p: *mut u64) -> Value {
        Value(p as u64)
    }
    /// The representation.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }
    /// Whether this is an integer.
    #[inline(always)]
    pub const fn is_int(self) -> bool {
        self.0 & 1 != 0
    }
    /// Whether this is a pointer to a block.
    #[inline(always)]
    pub const fn is_block(self) -> bool {
        self.0 & 1 == 0
    }
    /// The integer. Meaningless for a pointer.
    #[inline(always)]
    pub const fn as_int(self) -> i64 {
        self.0 as i64 >> 1
    }
    /// The address of the first field. Meaningless for an integer.
    #[inline(always)]
    pub const fn as_ptr(self) -> *mut u64 {
        self.0 as *mut u64
    }

    /// The header of the block.
    #[inline(always)]
    pub unsafe fn header(self) -> Header {
        // SAFETY: by contract a block; each has its header one word before.
        unsafe { Header(*self.as_ptr().sub(1)) }
    }
    /// Overwrites the header.
    #[inline(always)]
    pub unsafe fn set_header(self, h: Header) {
        // SAFETY: as for `header`.
        unsafe { *self.as_ptr().sub(1) = h.0 }
    }
    /// The tag of the block.
    #[inline(always)]
    pub unsafe fn tag(self) -> u8 {
        // SAFETY: same contract.
        unsafe { self.header() }.tag()
    }
    /// The size of the block in words, without its header.
    #[inline(always)]
    pub unsafe fn wosize(self) -> usize {
        // SAFETY: same contract.
        unsafe { self.header() }.wosize()
    }
    /// Field `i` as a value.
    #[inline(always)]
    pub unsafe fn field(self, i: usize) -> Value {
        // SAFETY: a block of more than `i` words by contract.
        unsafe { *self.field_ptr(i) }
    }
    /// The address of field `i`. Writing through it bypasses the barrier: see
    /// [`Heap::modify`](crate::Heap::modify).
    #[inline(always)]
    pub unsafe fn field_ptr(self, i: usize) -> *mut Value {
        // SAFETY: stays within the block by contract.
        unsafe { (self.0 as *mut Value).add(i) }
    }
    /// Field `i` as a bare word.
    #[inline(always)]
    pub unsafe fn word(self, i: usize) -> u64 {
        // SAFETY: a block of more than `i` words by contract.
        unsafe { *self.as_ptr().add(i) }
    }
    /// Overwrites field `i` of a freshly allocated young block, or of a block without values, without a barrier.
    #[inline(always)]
    pub unsafe fn set_word(self, i: usize, w: u64) {
        // SAFETY: a block of more than `i` words by contract.
        unsafe { *self.as_ptr().add(i) = w }
    }
    /// Whether this points to something that is not a block of any heap: the operations of custom blocks.
    #[inline(always)]
    pub unsafe fn is_outside(self) -> bool {
        // SAFETY: same contract.
        unsafe { self.header() == Header::OUTSIDE }
    }
    /// The block that holds this pointer's target: itself, or for an infix pointer the enclosing closure.
    #[inline(always)]
    pub unsafe fn enclosing(self) -> Value {
        // SAFETY: a block; an infix header's wosize is the distance to its enclosing block.
        let h = unsafe { self.header() };
        if h.tag() == tag::INFIX { Value(self.0 - 8 * h.wosize() as u64) } else { self }
    }

    /// The number of bytes of a string block.
    #[inline(always)]
    pub unsafe fn string_len(self) -> usize {
        // SAFETY: a string block; its last byte counts the padding.
        unsafe {
            let last = self.wosize() * 8 - 1;
            last - *(self.0 as *const u8).add(last) as usize
        }
    }
    /// The bytes of a string block. The caller chooses `'a`, which must end before the next collection.
    #[inline(always)]
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: a string block, alive for 'a by contract.
        unsafe { std::slice::from_raw_parts(self.0 as *const u8, self.string_len()) }
    }
    /// The bytes of a string block, for writing. As [`Value::bytes`], and nothing else may access them during `'a`.
    #[inline(always)]
    pub unsafe fn bytes_mut<'a>(self) -> &'a mut [u8] {
        // SAFETY: a string block, alive and unshared for 'a by contract.
        unsafe { std::slice::from_raw_parts_mut(self.0 as *mut u8, self.string_len()) }
    }
    /// Sets the padding of a string block so that it has `len` bytes; `len / 8 + 1` must be its wosize.
    #[inline(always)]
    pub unsafe fn set_string_padding(self, len: usize) {
        // SAFETY: the last word lies within the block by contract.
        unsafe {
            // The last byte says how many of the last word's bytes are padding.
            self.set_word(len / 8, (((7 - len % 8) as u64) << 56).to_le());
        }
    }
    /// The content of a boxed float.
    #[inline(always)]
    pub unsafe fn double(self) -> f64 {
        // SAFETY: same contract.
        unsafe { self.double_field(0) }
    }
    /// Float `i` of a float array (or of a boxed float).
    #[inline(always)]
    pub unsafe fn double_field(self, i: usize) -> f64 {
        // SAFETY: same contract.
        f64::from_bits(unsafe { self.word(i) })
    }
    /// Overwrites float `i`.
    #[inline(always)]
    pub unsafe fn set_double_field(self, i: usize, f: f64) {
        // SAFETY: same contract.
        unsafe { self.set_word(i, f.to_bits()) }
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_int() { write!(f, "{}", self.as_int()) } else { write!(f, "{:#x}", self.0) }
    }
}
