//! The decoder: walks marshalled data once, without recursion, and calls a [`Build`] to create the values.

use super::codes::*;
use super::header::Header;
use super::zstd::Decompressor;
use crate::error::{Error, ErrorKind, Result};
use crate::room;

/// The address of a function in a marshalled closure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodePointer {
    /// The byte offset within the code fragment.
    pub offset: u32,
    /// The MD5 of the fragment.
    pub digest: [u8; 16],
}

/// A value in a field, or the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item<Obj> {
    /// An immediate integer (untagged).
    Int(i64),
    /// A block, string, number or atom created by the [`Build`].
    Obj(Obj),
    /// A closure within a block of mutually recursive closures, that many bytes from the block's first field.
    Infix(Obj, u32),
    /// A code address.
    Code(CodePointer),
}

/// Creates the values that the decoder reads.
///
/// Objects are announced in the order in which the format numbers them: a block before its fields, a custom
/// block after its payload. The decoder keeps the returned `Obj`s until the end, to resolve back references, so they
/// must stay valid (with a moving collector, use indices or roots). Then each field of a block is set exactly once,
/// in order, though fields of other blocks come in between.
///
/// Before each call, the decoder checks that the input is long enough: it requests a block of `n` fields only if at
/// least `n` more bytes follow, and the sizes of all objects together never exceed twice the length of the data, once
/// decompressed, nor [`words`](Build::words).
pub trait Build {
    /// A reference to a created object.
    type Obj: Copy;
    /// The builder's error type, to which the decoder's own errors convert.
    type Error: From<Error>;

    /// The memory that the objects may take together, in words. OCaml's readers differ in whether they believe the
    /// header.
    fn words(&self, header: &Header) -> u64 {
        header.words64
    }

    /// Called once, before everything else. The header announces no more objects and words than the data can stand for.
    fn begin(&mut self, header: &Header) -> Result<(), Self::Error> {
        let _ = header;
        Ok(())
    }

    /// The zero-sized block of that tag. Atoms are not numbered.
    fn atom(&mut self, tag: u8) -> Result<Self::Obj, Self::Error>;

    /// A new block with `size` ≥ 1 fields to be set. The tag may be any, including closures (247) and objects (248).
    /// A builder of objects replaces a non-negative id in field 1 by a fresh one when it is set.
    fn block(&mut self, tag: u8, size: usize) -> Result<Self::Obj, Self::Error>;

    /// A new string.
    fn string(&mut self, bytes: &[u8]) -> Result<Self::Obj, Self::Error>;

    /// A new boxed float.
    fn double(&mut self, value: f64) -> Result<Self::Obj, Self::Error>;

    /// A new flat float array.
    fn double_array(
        &mut self,
        values: &mut dyn ExactSizeIterator<Item = f64>,
    ) -> Result<Self::Obj, Self::Error>;

    /// A new custom block; the name determines how the builder reads the payload, and it must read all of it.
    fn custom(&mut self, name: &[u8], payload: &mut Payload<'_>) -> Result<Self::Obj, Self::Error>;

    /// Sets a field of a block created before.
    fn set_field(&mut self, obj: Self::Obj, index: usize, item: Item<Self::Obj>) -> Result<(), Self::Error>;
}

/// The result of [`decode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded<Obj> {
    /// The value's size in bytes, including its header.
    pub consumed: usize,
    /// The value.
    pub root: Item<Obj>,
}

/// Decodes the marshalled value at the start of `bytes`; the bytes after it are ignored.
///
/// Compressed data is decompressed first, if it is not more than [`Decompressor::limit`] allows.
///
/// # Errors
///
/// When the data is truncated or malformed in any way, or when the builder returns an error. Offsets count from the
/// start of `bytes`, or from the start of the decompressed data.
pub fn decode<B: Build>(bytes: &[u8], build: &mut B) -> Result<Decoded<B::Obj>, B::Error> {
    let header = Header::parse(bytes)?;
    let whole = header.whole(bytes)?;
    let data;
    let (bytes, start) = match header.decompressed_len {
        None => (whole, header.header_len),
        Some(_) => {
            data = Decompressor::of_file(&header, &whole[header.header_len..])?.all()?;
            (&data[..], 0)
        }
    };
    let root = decode_data(&header, bytes, start, build)?;
    Ok(Decoded { consumed: whole.len(), root })
}

impl Header {
    /// The bytes of the value, header included.
    ///
    /// # Errors
    ///
    /// When they are not all there.
    pub fn whole<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
        let available = (bytes.len() - self.header_len) as u64;
        if self.data_len > available {
            let needed = self.data_len - available;
            return Err(Error::at(bytes.len(), ErrorKind::Truncated { needed }));
        }
        Ok(&bytes[..self.header_len + self.data_len as usize])
    }
}

/// Decodes a value from its data, decompressed if it was compressed: all bytes from `start` on.
///
/// # Errors
///
/// As for [`decode`]; offsets count from the start of `bytes`.
pub fn decode_data<B: Build>(
    header: &Header,
    bytes: &[u8],
    start: usize,
    build: &mut B,
) -> Result<Item<B::Obj>, B::Error> {
    let data_len = header.plain_len();
    if bytes.len().checked_sub(start).is_none_or(|len| len as u64 != data_len) {
        return Err(Error::malformed(0, "the data is not as long as the header announces").into());
    }
    // The densest codes (an empty string, a block header and its fields) represent two words per byte. A header that
    // announces more does no harm.
    let densest = data_len.saturating_mul(2);
    let words_left = build.words(header).min(densest);
    // Without memory there is no table of objects, either.
    let objects = if header.words64 == 0 { 0 } else { header.objects.min(data_len) };
    build.begin(&Header { objects, words64: header.words64.min(densest), ..*header })?;
    let mut decoder = Decoder {
        input: Payload { bytes, pos: start, sizes: None, old_kind: false },
        objects: room::with_capacity(objects as usize)?,
        max_objects: objects,
        words_left,
        counts_from_start: header.decompressed_len.is_some(),
    };
    decoder.run(build)
}

/// A cursor over the input; custom blocks read their payload through it. Numbers are big-endian.
#[derive(Debug, Clone)]
pub struct Payload<'a> {
    bytes: &'a [u8],
    pos: usize,
    sizes: Option<(u32, u64)>,
    old_kind: bool,
}

impl<'a> Payload<'a> {
    /// The sizes in bytes on 32-bit and 64-bit machines that the writer recorded; `None` for the form
    /// of custom blocks whose size the reader must know.
    pub fn recorded_sizes(&self) -> Option<(u32, u64)> {
        self.sizes
    }

    /// Whether the custom block has the code that only OCaml before 4.08 wrote.
    pub fn is_of_old_kind(&self) -> bool {
        self.old_kind
    }

    /// The byte offset in the whole input, for error messages.
    pub fn offset(&self) -> usize {
        self.pos
    }

    /// The number of remaining bytes: an upper bound for any valid length.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.pos
    }

    /// An error for malformed data at the current position.
    #[cold]
    pub fn malformed(&self, what: impl Into<String>) -> Error {
        Error::malformed(self.pos, what)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    ///
    /// When fewer are left.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        match self.bytes[self.pos..].get(..len) {
            Some(bytes) => {
                self.pos += len;
                Ok(bytes)
            }
            None => Err(self.truncated(len)),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.bytes[self.pos..].first_chunk() {
            Some(bytes) => {
                self.pos += N;
                Ok(*bytes)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[cold]
    fn truncated(&self, len: usize) -> Error {
        let needed = (len - self.remaining()) as u64;
        Error::at(self.bytes.len(), ErrorKind::Truncated { needed })
    }

    /// The next byte. Like the methods below, it fails at the end of the input.
    ///
    /// # Errors
    ///
    /// When fewer bytes are left.
    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// The next 2 bytes.
    ///
    /// # Errors
    ///
    /// When fewer bytes are left.
    #[inline]
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// The next 4 bytes.
    ///
    /// # Errors
    ///
    /// When fewer bytes are left.
    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// The next 8 bytes.
    ///
    /// # Errors
    ///
    /// When fewer bytes are left.
    #[inline]
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A length of 4 or 8 bytes that counts items of `unit` bytes, all of which must follow.
    fn len(&mut self, wide: bool, unit: usize) -> Result<usize> {
        let at = self.pos;
        let len = if wide { self.u64()? } else { self.u32()?.into() };
        match usize::try_from(len).ok().and_then(|len| len.checked_mul(unit)) {
            Some(size) if size <= self.remaining() => Ok(len as usize),
            _ => Err(Error::malformed(at, format!("length {len} exceeds the data"))),
        }
    }

    /// Bytes up to the next NUL, which is skipped.
    fn nul_terminated(&mut self) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.pos..];
        let len = rest
            .iter()
            .position(|&byte| byte == 0)
            .ok_or_else(|| self.malformed("the name of a custom block does not end"))?;
        self.pos += len + 1;
        Ok(&rest[..len])
    }
}

struct Decoder<'a, Obj> {
    input: Payload<'a>,
    objects: Vec<Obj>,
    max_objects: u64,
    words_left: u64,
    /// Whether references are numbers of objects, as in compressed data, and not distances.
    counts_from_start: bool,
}

/// A value; for a new block, also the block and the number of fields that follow.
type Read<Obj> = (Item<Obj>, Option<(Obj, usize)>);

/// A block with fields still to be read.
struct Frame<Obj> {
    obj: Obj,
    next: usize,
    size: usize,
}

impl<Obj: Copy> Decoder<'_, Obj> {
    fn run<B: Build<Obj = Obj>>(&mut self, build: &mut B) -> Result<Item<Obj>, B::Error> {
        let (root, fields) = self.item(build)?;
        let Some((obj, size)) = fields else { return Ok(root) };
        let mut stack: Vec<Frame<Obj>> = Vec::new();
        let mut frame = Frame { obj, next: 0, size };
        loop {
            let (item, fields) = self.item(build)?;
            build.set_field(frame.obj, frame.next, item)?;
            frame.next += 1;
            if let Some((obj, size)) = fields {
                // Complete blocks are not kept, so that the stack stays flat for lists.
                if frame.next < frame.size {
                    room::push(&mut stack, frame)?;
                }
                frame = Frame { obj, next: 0, size };
            } else if frame.next == frame.size {
                match stack.pop() {
                    Some(outer) => frame = outer,
                    None => return Ok(root),
                }
            }
        }
    }

    /// Reads one value, without the fields of a block. Common cases are inlined into the loop.
    #[inline(always)]
    fn item<B: Build<Obj = Obj>>(&mut self, build: &mut B) -> Result<Read<Obj>, B::Error> {
        let at = self.input.pos;
        let code = self.input.u8()?;
        Ok(match code {
            SMALL_BLOCK.. => return self.block(build, at, code & 0xF, usize::from(code >> 4 & 0x7)),
            SMALL_INT.. => (Item::Int((code & 0x3F).into()), None),
            SMALL_STRING.. => (self.string(build, at, (code & 0x1F).into())?, None),
            INT8 => (Item::Int((self.input.u8()? as i8).into()), None),
            INT16 => (Item::Int((self.input.u16()? as i16).into()), None),
            INT32 => (Item::Int((self.input.u32()? as i32).into()), None),
            SHARED8 => {
                let back = self.input.u8()?.into();
                (self.shared(at, back)?, None)
            }
            SHARED16 => {
                let back = self.input.u16()?.into();
                (self.shared(at, back)?, None)
            }
            _ => return self.rare(build, at, code),
        })
    }

    #[inline(never)]
    fn rare<B: Build<Obj = Obj>>(
        &mut self,
        build: &mut B,
        at: usize,
        code: u8,
    ) -> Result<Read<Obj>, B::Error> {
        let item = match code {
            INT64 => Item::Int(self.input.u64()? as i64),
            SHARED32 => {
                let back = self.input.u32()?.into();
                self.shared(at, back)?
            }
            SHARED64 => {
                let back = self.input.u64()?;
                self.shared(at, back)?
            }
            BLOCK32 | BLOCK64 => {
                let header = if code == BLOCK32 { self.input.u32()?.into() } else { self.input.u64()? };
                let size = usize::try_from(header >> 10).unwrap_or(usize::MAX);
                return self.block(build, at, header as u8, size);
            }
            STRING8 => {
                let len = self.input.u8()?.into();
                self.string(build, at, len)?
            }
            STRING32 | STRING64 => {
                let len = self.input.len(code == STRING64, 1)?;
                self.string(build, at, len)?
            }
            DOUBLE_BIG | DOUBLE_LITTLE => {
                self.take_words(at, 2)?;
                let value = double(self.input.array()?, code == DOUBLE_BIG);
                self.number(at, build.double(value)?)?
            }
            DOUBLE_ARRAY8_BIG | DOUBLE_ARRAY8_LITTLE => {
                let len = self.input.u8()?.into();
                self.double_array(build, at, len, code == DOUBLE_ARRAY8_BIG)?
            }
            DOUBLE_ARRAY32_BIG | DOUBLE_ARRAY32_LITTLE => {
                let len = self.input.len(false, 8)?;
                self.double_array(build, at, len, code == DOUBLE_ARRAY32_BIG)?
            }
            DOUBLE_ARRAY64_BIG | DOUBLE_ARRAY64_LITTLE => {
                let len = self.input.len(true, 8)?;
                self.double_array(build, at, len, code == DOUBLE_ARRAY64_BIG)?
            }
            CODEPOINTER => {
                let offset = self.input.u32()?;
                Item::Code(CodePointer { offset, digest: self.input.array()? })
            }
            INFIXPOINTER => return self.infix(build, at),
            CUSTOM | CUSTOM_LEN | CUSTOM_FIXED => self.custom(build, at, code)?,
            _ => {
                return Err(
                    Error::malformed(at, format!("unknown code {code:#04x} in marshalled data")).into()
                );
            }
        };
        Ok((item, None))
    }

    fn infix<B: Build<Obj = Obj>>(&mut self, build: &mut B, at: usize) -> Result<Read<Obj>, B::Error> {
        let offset = self.input.u32()?;
        let (item, fields) = match self.input.bytes.get(self.input.pos) {
            // One level only, or a run of these codes would nest without end.
            Some(&INFIXPOINTER) => (Item::Int(0), None),
            _ => self.item(build)?,
        };
        match item {
            Item::Obj(obj) => Ok((Item::Infix(obj, offset), fields)),
            _ => Err(Error::malformed(at, "an infix pointer into something that is not a block").into()),
        }
    }

    #[inline(always)]
    fn block<B: Build<Obj = Obj>>(
        &mut self,
        build: &mut B,
        at: usize,
        tag: u8,
        size: usize,
    ) -> Result<Read<Obj>, B::Error> {
        if size == 0 {
            return Ok((Item::Obj(build.atom(tag)?), None));
        }
        if size > self.input.remaining() {
            return Err(Error::malformed(at, format!("a block of {size} fields exceeds the data")).into());
        }
        self.take_words(at, 1 + size as u64)?;
        let obj = build.block(tag, size)?;
        Ok((self.number(at, obj)?, Some((obj, size))))
    }

    #[inline(always)]
    fn string<B: Build<Obj = Obj>>(
        &mut self,
        build: &mut B,
        at: usize,
        len: usize,
    ) -> Result<Item<Obj>, B::Error> {
        let bytes = self.input.bytes(len)?;
        self.take_words(at, 2 + len as u64 / 8)?;
        Ok(self.number(at, build.string(bytes)?)?)
    }

    fn double_array<B: Build<Obj = Obj>>(
        &mut self,
        build: &mut B,
        at: usize,
        len: usize,
        big: bool,
    ) -> Result<Item<Obj>, B::Error> {
        let bytes = self.input.bytes(len * 8)?;
        if len == 0 {
            // OCaml's empty arrays are atoms, and its writer never writes this; its reader would number it.
            return Err(Error::malformed(at, "an empty float array").into());
        }
        self.take_words(at, 1 + len as u64)?;
        let (chunks, _) = bytes.as_chunks::<8>();
        let obj = build.double_array(&mut chunks.iter().map(|chunk| double(*chunk, big)))?;
        Ok(self.number(at, obj)?)
    }

    fn custom<B: Build<Obj = Obj>>(
        &mut self,
        build: &mut B,
        at: usize,
        code: u8,
    ) -> Result<Item<Obj>, B::Error> {
        let name = self.input.nul_terminated()?;
        self.input.sizes = None;
        self.input.old_kind = code == CUSTOM;
        // Header and operations, then the payload; customs without recorded sizes are boxed integers.
        let mut words = 3;
        if code == CUSTOM_LEN {
            let sizes = (self.input.u32()?, self.input.u64()?);
            words = 2 + sizes.1.div_ceil(8);
            self.input.sizes = Some(sizes);
        }
        let obj = build.custom(name, &mut self.input)?;
        self.take_words(at, words)?;
        Ok(self.number(at, obj)?)
    }

    /// The object made `back` objects ago.
    #[inline]
    fn shared(&self, at: usize, back: u64) -> Result<Item<Obj>> {
        let index = usize::try_from(back).ok();
        let index = index.and_then(|back| match self.counts_from_start {
            true => Some(back),
            false => self.objects.len().checked_sub(back),
        });
        match index.and_then(|index| self.objects.get(index)) {
            Some(obj) => Ok(Item::Obj(*obj)),
            None => {
                let have = self.objects.len();
                Err(Error::malformed(at, format!("back reference {back}, after {have} objects")))
            }
        }
    }

    /// Assigns the next number to the object.
    #[inline]
    fn number(&mut self, at: usize, obj: Obj) -> Result<Item<Obj>> {
        // Without sharing, objects have no numbers.
        if self.max_objects > 0 {
            if self.objects.len() as u64 == self.max_objects {
                return Err(Error::malformed(at, "more objects than the header announces"));
            }
            self.objects.push(obj);
        }
        Ok(Item::Obj(obj))
    }

    #[inline]
    fn take_words(&mut self, at: usize, words: u64) -> Result<()> {
        match self.words_left.checked_sub(words) {
            Some(left) => {
                self.words_left = left;
                Ok(())
            }
            None => Err(Error::malformed(at, "the objects are bigger than the header announces")),
        }
    }
}

fn double(bytes: [u8; 8], big: bool) -> f64 {
    if big { f64::from_be_bytes(bytes) } else { f64::from_le_bytes(bytes) }
}
