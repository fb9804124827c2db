//! Why OCaml's own reader refuses damaged data, since 5.4.
//!
//! That reader tests every step and says what is wrong; the [decoder](super::decode) tests other things, in another
//! order, so that it is fast and takes no memory for what cannot be there. Once it has refused some data, this pass
//! reads them again as OCaml does, without making anything, and finds what OCaml finds first.

use super::codes::*;
use super::decode::CodePointer;
use super::header::Header;
use super::zstd::Decompressor;
use crate::error::{Error, Result};
use crate::room;

/// What OCaml's reader finds wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal<E> {
    /// `Failure`, whose text begins with `input_value` whatever the reader is called.
    Data(&'static str),
    /// `Failure`, whose text begins with the name of the reader.
    Named(&'static str),
    /// The same; the text ends with this name of a kind of custom blocks.
    Custom(&'static str, Vec<u8>),
    /// There is no memory for a block of that size.
    OutOfMemory,
    /// What a kind of custom blocks or a code pointer raises.
    Raised(E),
}

/// What differs between versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether closures, the places of code pointers and the tags of empty blocks are tested.
    pub checks_closures: bool,
}

/// The kinds of custom blocks, and the code, that a program knows.
pub trait Kinds {
    /// What it raises.
    type Error;

    /// The kind of that name; its size in bytes, if all blocks of this kind have the same.
    fn custom(&mut self, name: &[u8]) -> Option<Option<u64>>;

    /// Reads a payload from the start of `data`, for a block with `room` bytes: how many bytes it took, and the size of
    /// the block.
    fn payload(&mut self, name: &[u8], data: &[u8], room: u64) -> Result<(usize, u64), Self::Error>;

    /// Whether there is such code.
    fn code(&mut self, pointer: &CodePointer) -> Result<(), Self::Error>;
}

/// What OCaml's reader finds wrong in the marshalled value at the start of `bytes`. `None` if it accepts the value.
///
/// # Errors
///
/// When the data is shorter than its header announces, cannot be decompressed, or there is no memory.
pub fn refusal<K: Kinds>(bytes: &[u8], rules: Rules, kinds: &mut K) -> Result<Option<Refusal<K::Error>>> {
    let header = Header::parse(bytes)?;
    let data = Decompressor::stored(&header, bytes)?;
    let plain;
    let data = match header.decompressed_len {
        None => data,
        Some(_) => {
            plain = Decompressor::new(&header, data, u64::MAX)?.all()?;
            &plain
        }
    };
    let whole = header.words64;
    let mut reader = Reader {
        data,
        pos: 0,
        kinds,
        rules,
        nursery: (2..=MAX_YOUNG_WHSIZE).contains(&whole).then_some(whole),
        max_objects: if whole == 0 { 0 } else { header.objects },
        objects: Vec::new(),
        counts_from_start: header.decompressed_len.is_some(),
        stack: Vec::new(),
        closures: Vec::new(),
    };
    match reader.run() {
        Ok(()) => Ok(None),
        Err(Stop::Refused(refusal)) => Ok(Some(refusal)),
        Err(Stop::Failed(e)) => Err(e),
    }
}

/// The largest value, with its headers, that OCaml makes in the nursery: only there the sizes are tested.
const MAX_YOUNG_WHSIZE: u64 = 257;
/// The largest size of a block, in words.
const MAX_WOSIZE: u64 = (1 << 54) - 1;
/// No machine has memory for a block of so many words.
const NO_MEMORY: u64 = 1 << 37;

const FORCING: u8 = 244;
const CONT: u8 = 245;
const CLOSURE: u8 = 247;
const OBJECT: u8 = 248;
const INFIX: u8 = 249;
const NO_SCAN: u8 = 251;

enum Stop<E> {
    Refused(Refusal<E>),
    Failed(Error),
}

impl<E> From<Error> for Stop<E> {
    fn from(e: Error) -> Self {
        Stop::Failed(e)
    }
}

impl<E> From<Refusal<E>> for Stop<E> {
    fn from(refusal: Refusal<E>) -> Self {
        Stop::Refused(refusal)
    }
}

/// As much of a value as the tests need.
#[derive(Clone, Copy)]
enum Word {
    Int(i64),
    Code,
    /// A block; its number among the closures, if it is one.
    Block(Option<usize>),
}

/// A closure block: its size, and the fields read so far.
struct Closure {
    size: u64,
    fields: Vec<Word>,
}

/// Where a value goes.
#[derive(Clone, Copy)]
enum Place {
    /// A field that no test reads.
    Anywhere,
    /// The next field of a closure.
    Closure(usize),
    /// The value into which an infix pointer points, which is that entry of the stack.
    Pointed(usize),
}

/// What is to be done, last in first out.
enum Step {
    Read { left: u64, to: Place },
    Shift { offset: u32, of: Word },
    Check(usize),
}

struct Reader<'a, K: Kinds> {
    data: &'a [u8],
    pos: usize,
    kinds: &'a mut K,
    rules: Rules,
    /// The words left of the memory that the header asked for, if it is in the nursery.
    nursery: Option<u64>,
    max_objects: u64,
    objects: Vec<Word>,
    counts_from_start: bool,
    stack: Vec<Step>,
    closures: Vec<Closure>,
}

impl<'a, K: Kinds> Reader<'a, K> {
    fn run(&mut self) -> Result<(), Stop<K::Error>> {
        self.push(Step::Read { left: 1, to: Place::Anywhere })?;
        while let Some(step) = self.stack.pop() {
            match step {
                Step::Shift { offset, of } if !self.is_function(of, offset) => {
                    return Err(Refusal::Named("bad infix offset").into());
                }
                Step::Check(closure) if !is_well_formed(&self.closures[closure]) => {
                    return Err(Refusal::Named("ill-formed function closure").into());
                }
                Step::Shift { .. } | Step::Check(_) => {}
                Step::Read { left, to } => {
                    if left > 1 {
                        self.push(Step::Read { left: left - 1, to })?;
                    }
                    self.item(to)?;
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, step: Step) -> Result<()> {
        room::push(&mut self.stack, step)
    }

    fn store(&mut self, to: Place, word: Word) -> Result<()> {
        match to {
            Place::Anywhere => {}
            Place::Closure(closure) => room::push(&mut self.closures[closure].fields, word)?,
            Place::Pointed(entry) => {
                if let Some(Step::Shift { of, .. }) = self.stack.get_mut(entry) {
                    *of = word;
                }
            }
        }
        Ok(())
    }

    fn item(&mut self, to: Place) -> Result<(), Stop<K::Error>> {
        let code = self.u8()?;
        let word = match code {
            SMALL_BLOCK.. => return self.block(to, code & 0xF, u64::from(code >> 4 & 0x7)),
            SMALL_INT.. => Word::Int((code & 0x3F).into()),
            SMALL_STRING.. => self.string((code & 0x1F).into())?,
            INT8 => Word::Int(i64::from(self.u8()? as i8)),
            INT16 => Word::Int(i64::from(u16::from_be_bytes(self.array()?) as i16)),
            INT32 => Word::Int(i64::from(self.u32()? as i32)),
            INT64 => Word::Int(self.u64()? as i64),
            SHARED8 => {
                let back = self.u8()?.into();
                self.shared(back)?
            }
            SHARED16 => {
                let back = u16::from_be_bytes(self.array()?).into();
                self.shared(back)?
            }
            SHARED32 | SHARED64 => {
                let back = self.size(code == SHARED64)?;
                self.shared(back)?
            }
            BLOCK32 | BLOCK64 => {
                let header = self.size(code == BLOCK64)?;
                let tag = header as u8;
                if tag >= NO_SCAN || tag == INFIX || tag == CONT {
                    let kind = if code == BLOCK32 { "invalid block32" } else { "invalid block64" };
                    return Err(Refusal::Named(kind).into());
                }
                return self.block(to, tag, header >> 10);
            }
            STRING8 => {
                let len = self.u8()?.into();
                self.string(len)?
            }
            STRING32 | STRING64 => {
                let len = self.size(code == STRING64)?;
                self.string(len)?
            }
            DOUBLE_BIG | DOUBLE_LITTLE => self.doubles(1)?,
            DOUBLE_ARRAY8_BIG | DOUBLE_ARRAY8_LITTLE => {
                let len = self.u8()?.into();
                self.double_array(len)?
            }
            DOUBLE_ARRAY32_BIG | DOUBLE_ARRAY32_LITTLE => {
                let len = self.size(false)?;
                self.double_array(len)?
            }
            DOUBLE_ARRAY64_BIG | DOUBLE_ARRAY64_LITTLE => {
                let len = self.size(true)?;
                self.double_array(len)?
            }
            CODEPOINTER => {
                if self.rules.checks_closures && !matches!(to, Place::Closure(_)) {
                    return Err(Refusal::Named("code pointer outside closure").into());
                }
                let offset = self.u32()?;
                let pointer = CodePointer { offset, digest: self.array()? };
                self.kinds.code(&pointer).map_err(Refusal::Raised)?;
                Word::Code
            }
            INFIXPOINTER => {
                let offset = self.u32()?;
                self.store(to, Word::Block(None))?;
                let entry = self.stack.len();
                self.push(Step::Shift { offset, of: Word::Int(0) })?;
                self.push(Step::Read { left: 1, to: Place::Pointed(entry) })?;
                return Ok(());
            }
            CUSTOM => {
                return Err(Refusal::Named(
                    "custom blocks serialized with OCaml 4.08.0 (or prior) are no longer supported",
                )
                .into());
            }
            CUSTOM_LEN | CUSTOM_FIXED => self.custom(code == CUSTOM_FIXED)?,
            _ => return Err(Refusal::Named("ill-formed message").into()),
        };
        Ok(self.store(to, word)?)
    }

    fn block(&mut self, to: Place, tag: u8, size: u64) -> Result<(), Stop<K::Error>> {
        if size == 0 {
            if self.rules.checks_closures && tag >= FORCING {
                return Err(Refusal::Named("bad atom tag").into());
            }
            return Ok(self.store(to, Word::Block(None))?);
        }
        self.alloc(size)?;
        let closure = (tag == CLOSURE).then_some(self.closures.len());
        let word = Word::Block(closure);
        self.record(word)?;
        self.store(to, word)?;
        if tag == OBJECT && size < 2 {
            return Err(Refusal::Named("bad object block").into());
        }
        let mut to = Place::Anywhere;
        if let Some(closure) = closure {
            room::push(&mut self.closures, Closure { size, fields: Vec::new() })?;
            to = Place::Closure(closure);
            if self.rules.checks_closures {
                self.push(Step::Check(closure))?;
            }
        }
        Ok(self.push(Step::Read { left: size, to })?)
    }

    fn string(&mut self, len: u64) -> Result<Word, Stop<K::Error>> {
        if len > MAX_WOSIZE * 8 - 1 {
            return Err(Refusal::Named("string too large").into());
        }
        self.alloc(len / 8 + 1)?;
        self.record(Word::Block(None))?;
        self.bytes(len)?;
        Ok(Word::Block(None))
    }

    fn double_array(&mut self, len: u64) -> Result<Word, Stop<K::Error>> {
        match len {
            0 => Err(Refusal::Named("invalid double_array").into()),
            len => self.doubles(len),
        }
    }

    fn doubles(&mut self, len: u64) -> Result<Word, Stop<K::Error>> {
        self.alloc(len)?;
        self.record(Word::Block(None))?;
        self.bytes(len.saturating_mul(8))?;
        Ok(Word::Block(None))
    }

    fn custom(&mut self, is_fixed: bool) -> Result<Word, Stop<K::Error>> {
        let rest = &self.data[self.pos..];
        let len = rest.iter().position(|byte| *byte == 0);
        let name = &rest[..len.ok_or(Refusal::Named("unterminated custom block identifier"))?];
        let about = |what| match room::to_vec(name) {
            Ok(name) => Stop::Refused(Refusal::Custom(what, name)),
            Err(e) => Stop::Failed(e),
        };
        let fixed = self.kinds.custom(name);
        let fixed = fixed.ok_or_else(|| about("unknown custom block identifier"))?;
        if is_fixed != fixed.is_some() {
            return Err(about("wrong custom block kind"));
        }
        self.pos += name.len() + 1;
        let expected = match fixed {
            Some(size) => size,
            None => {
                self.bytes(4)?;
                self.u64()?
            }
        };
        if self.rules.checks_closures && expected > (MAX_WOSIZE - 1) * 8 {
            return Err(Refusal::Named("custom block size too large").into());
        }
        self.alloc(1 + expected.div_ceil(8))?;
        let data = &self.data[self.pos..];
        let room = expected.div_ceil(8).saturating_mul(8);
        let (taken, size) = self.kinds.payload(name, data, room).map_err(Refusal::Raised)?;
        self.pos += taken.min(data.len());
        if size != expected {
            return Err(about("error while deserializing custom block"));
        }
        self.record(Word::Block(None))?;
        Ok(Word::Block(None))
    }

    fn shared(&self, back: u64) -> Result<Word, Stop<K::Error>> {
        let made = self.objects.len() as u64;
        let number = if self.counts_from_start { back } else { made.wrapping_sub(back) };
        let object = self.objects.get(usize::try_from(number).unwrap_or(usize::MAX));
        Ok(*object.ok_or(Refusal::Named("invalid shared reference"))?)
    }

    fn alloc(&mut self, wosize: u64) -> Result<(), Refusal<K::Error>> {
        if wosize > MAX_WOSIZE {
            return Err(Refusal::Data("block size too large"));
        }
        match &mut self.nursery {
            Some(left) if wosize >= *left => return Err(Refusal::Data("invalid allocation")),
            Some(left) => *left -= 1 + wosize,
            None if wosize >= NO_MEMORY => return Err(Refusal::OutOfMemory),
            None => {}
        }
        Ok(())
    }

    /// Gives the next number to a block.
    fn record(&mut self, word: Word) -> Result<(), Stop<K::Error>> {
        if self.max_objects > 0 {
            if self.objects.len() as u64 >= self.max_objects {
                return Err(Refusal::Data("too many objects").into());
            }
            room::push(&mut self.objects, word)?;
        }
        Ok(())
    }

    /// Whether there is a function `offset` bytes into a block.
    fn is_function(&self, of: Word, offset: u32) -> bool {
        let Word::Block(Some(closure)) = of else { return false };
        let at = offset as usize / 8;
        let header = at.checked_sub(1).and_then(|before| self.closures[closure].fields.get(before));
        offset.is_multiple_of(8) && matches!(header, Some(Word::Int(n)) if is_infix_header(*n, at as u64))
    }

    fn bytes(&mut self, len: u64) -> Result<&'a [u8], Refusal<K::Error>> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let bytes = self.data[self.pos..].get(..len).ok_or(Refusal::Data("invalid read"))?;
        self.pos += len;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal<K::Error>> {
        let bytes = self.data[self.pos..].first_chunk().ok_or(Refusal::Data("invalid read"))?;
        self.pos += N;
        Ok(*bytes)
    }

    fn u8(&mut self) -> Result<u8, Refusal<K::Error>> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Refusal<K::Error>> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Refusal<K::Error>> {
        self.array().map(u64::from_be_bytes)
    }

    /// A number of 4 or 8 bytes.
    fn size(&mut self, wide: bool) -> Result<u64, Refusal<K::Error>> {
        if wide { self.u64() } else { self.u32().map(u64::from) }
    }
}

/// Whether an integer is, as a word, the header of an inner closure that many words from the start of its block.
fn is_infix_header(n: i64, at: u64) -> bool {
    let header = (n as u64) << 1 | 1;
    header as u8 == INFIX && header >> 10 == at
}

/// The number of arguments of a closure, and the distance to its variables, from the word after its code.
fn closure_info(word: Word) -> Option<(i64, u64)> {
    match word {
        Word::Int(n) => {
            let word = (n as u64) << 1 | 1;
            Some((word as i64 >> 56, word << 8 >> 9))
        }
        _ => None,
    }
}

/// OCaml's test of a closure that has been read completely: the distances to the variables agree, inner closures have
/// headers, and no variable is a code pointer.
fn is_well_formed(closure: &Closure) -> bool {
    let size = closure.size;
    let field = |i: u64| closure.fields.get(i as usize).copied();
    let info = |i: u64| field(i).and_then(closure_info);
    let Some((mut arity, variables)) = info(1) else { return false };
    if !(2..=size).contains(&variables) {
        return false;
    }
    let mut at = 0;
    loop {
        at += if matches!(arity, 0 | 1) { 3 } else { 4 };
        if at >= variables {
            break;
        }
        let has_header = matches!(field(at - 1), Some(Word::Int(n)) if is_infix_header(n, at));
        match info(at + 1) {
            Some((inner, distance))
                if has_header && at + 1 < size && distance.wrapping_add(at) == variables =>
            {
                arity = inner;
            }
            _ => return false,
        }
    }
    at - 1 == variables && closure.fields.iter().skip(at as usize - 1).all(|word| !matches!(word, Word::Code))
}
