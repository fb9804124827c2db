//! Builds marshalled values in the heap.
//!
//! Two builders share all code except how they refer to the objects that they made. `Fast` keeps plain values: nothing
//! that it does can collect, so nothing moves. It gives up ([`Failed::Rooted`]) at a custom block that is made through
//! the machine, which may collect. Then `Rooted` starts over, and keeps each object in a rooted handle.

use std::collections::HashSet;
use std::hash::Hash;
use std::rc::Rc;

use spelter_bytecode::Opcode;
use spelter_bytecode::marshal::{
    Build, CodePointer, Decompressor, Header as MarshalHeader, Item, Payload, decode_data,
};
use spelter_heap::raw::{CustomOps, Header, MAX_YOUNG_WOSIZE, RootId, Value, tag};
use spelter_heap::{Charge, OutOfMemory, Val, WrongType};

use crate::Machine;
use crate::code::Unit;
use crate::exec::dispatch::Grade;
use crate::exec::regs::Regs;
use crate::fallible;
use crate::inspect::memprof::AllocationSource;
use crate::prim::custom::{self, Behaviour};
use crate::prim::obj::is_plain_tag;
use crate::prim::{Raise, Slot};
use crate::threads::interrupt::{PIECE_BYTES, PIECE_WORDS};

/// Why a value could not be built.
#[derive(Debug)]
pub enum Failed {
    /// The machine raises.
    Raise(Raise),
    /// The data is malformed.
    Data(spelter_bytecode::Error),
    /// A closure is malformed, or a code pointer or the address of a function is where none can be.
    Closure(&'static str),
    /// The fast builder reached something that may collect.
    Rooted,
}

impl From<spelter_bytecode::Error> for Failed {
    fn from(e: spelter_bytecode::Error) -> Self {
        if e.is_out_of_memory() { Failed::Raise(Raise::OutOfMemory) } else { Failed::Data(e) }
    }
}

impl From<Raise> for Failed {
    fn from(e: Raise) -> Self {
        Failed::Raise(e)
    }
}

impl From<&'static str> for Failed {
    fn from(what: &'static str) -> Self {
        Failed::Closure(what)
    }
}

impl From<OutOfMemory> for Failed {
    fn from(e: OutOfMemory) -> Self {
        Failed::Raise(e.into())
    }
}

/// What a value is built from.
#[derive(Clone, Copy)]
struct Input<'a> {
    header: &'a MarshalHeader,
    bytes: &'a [u8],
    /// Where the data begin, decompressed if they were compressed.
    start: usize,
}

/// Finds the code address, as a value, for a marshalled code pointer.
pub type FindCode = fn(&mut Machine, &CodePointer) -> Result<Value, Raise>;

impl Machine {
    /// Builds the marshalled value at the start of `bytes`, in a new slot. Also returns how many bytes it consumed.
    /// Messages name `reader`.
    ///
    /// # Errors
    /// [`Failed::Data`] when the data is malformed, [`Failed::Raise`] when a custom block's kind or a code pointer is
    /// unknown, or memory is exhausted.
    pub fn unmarshal(
        &mut self,
        bytes: &[u8],
        find_code: FindCode,
        reader: &'static str,
    ) -> Result<(Slot, usize), Failed> {
        let header = MarshalHeader::parse(bytes)?;
        let consumed = header.total_len() as usize;
        if header.decompressed_len.is_none() {
            let input = Input { header: &header, bytes: header.whole(bytes)?, start: header.header_len };
            return Ok((self.build(input, find_code, reader)?, consumed));
        }
        let (data, _charge) = self.decompress(&header, bytes)?;
        let root = self.build(Input { header: &header, bytes: &data, start: 0 }, find_code, reader)?;
        self.give_back(data.len(), data);
        Ok((root, consumed))
    }

    fn build(&mut self, input: Input<'_>, find_code: FindCode, reader: &'static str) -> Result<Slot, Failed> {
        let next_oo_id = self.next_oo_id;
        match Builder::<Fast>::run(self, input, find_code, reader) {
            Err(Failed::Rooted) => {
                self.next_oo_id = next_oo_id;
                Builder::<Rooted>::run(self, input, find_code, reader)
            }
            done => done,
        }
    }

    /// The data of a compressed value. They may be thousands of times as long as what they have been compressed to, so
    /// that a limit for the heap must leave room for them.
    fn decompress(&mut self, header: &MarshalHeader, bytes: &[u8]) -> Result<(Vec<u8>, Charge), Failed> {
        let len = usize::try_from(header.plain_len()).map_err(|_| Raise::OutOfMemory)?;
        let stored = Decompressor::stored(header, bytes)?;
        let mut decompressor = Decompressor::new(header, stored, u64::MAX)?;
        let charge = self.charge(len)?;
        while decompressor.go_on()? {
            self.check_interrupt()?;
        }
        Ok((decompressor.finish(), charge))
    }
}

/// The code address for a code pointer in a marshalled closure: in the unit with this digest.
///
/// # Errors
/// `Failure` when there is no such unit, or its code is shorter.
pub fn find_code(m: &mut Machine, pointer: &CodePointer) -> Result<Value, Raise> {
    let position = pointer.offset as usize / 4;
    let registry = Rc::clone(&m.registry);
    // The collector may have found a unit dead, but not freed it yet.
    let mut is_alive = |unit: &Unit| unit.object.is_none_or(|weak| m.heap.weak_get(weak).is_some());
    let unit = registry.borrow_mut().find_digest(&pointer.digest)?.find(|unit| is_alive(unit)).cloned();
    if let (Some(unit), 0) = (unit, pointer.offset % 4)
        && let Some(address) = unit.address(position)
        // Checked code was verified under the assumption that it is entered only at functions.
        && (m.engine.grade() == Grade::Trusted || unit.shapes()?.is_function(position))
    {
        return Ok(Regs::code_value(address));
    }
    // For code pointers that cannot be known, the debugger provides a function to show.
    let mark = m.mark();
    let placeholder = m.named_value("Debugger.function_placeholder").map(|s| m.raw(s));
    m.release(mark);
    match placeholder {
        // SAFETY: a block (just tested), and closures begin with their code.
        Some(f) if f.is_block() && unsafe { f.tag() } == tag::CLOSURE => Ok(unsafe { f.field(0) }),
        _ => {
            let digest: String = pointer.digest.iter().map(|b| format!("{b:02X}")).collect();
            Err(Raise::failure(format!("input_value: unknown code module {digest}")))
        }
    }
}

/// The block around an inner closure, and the inner closure's distance from its start, in bytes.
///
/// # Errors
/// When the value is not an inner closure.
pub fn enclosing_closure<'m>(v: Val<'m>) -> Result<(Val<'m>, u32), WrongType> {
    if v.tag()? != tag::INFIX {
        return Err(WrongType { expected: "an inner closure" });
    }
    // SAFETY: a valid infix pointer points into a valid block, which lives as long.
    unsafe {
        let block = v.raw().enclosing();
        Ok((Val::from_raw(block), (v.raw().bits() - block.bits()) as u32))
    }
}

/// The number of fields that are built between two checks for interrupts.
const STEPS: u32 = 1 << 16;

/// How a builder refers to the objects that it made.
trait Keep: Sized {
    type Obj: Copy + Eq + Hash;
    /// Whether objects survive a collection.
    const ROOTED: bool;
    fn keep(m: &mut Machine, v: Value, kept: &mut Vec<RootId>) -> Result<Self::Obj, Failed>;
    fn get(m: &Machine, obj: Self::Obj) -> Value;
}

const OLD_CUSTOM: &str = "custom blocks serialized with OCaml 4.08.0 (or prior) are no longer supported";
const ILL_FORMED: &str = "ill-formed message";
const STRAY_CODE: &str = "a code pointer outside a closure";
const NO_FUNCTION: &str = "a pointer into a closure where there is no function";

struct Fast;

impl Keep for Fast {
    type Obj = Value;
    const ROOTED: bool = false;
    #[inline(always)]
    fn keep(_: &mut Machine, v: Value, _: &mut Vec<RootId>) -> Result<Value, Failed> {
        Ok(v)
    }
    #[inline(always)]
    fn get(_: &Machine, obj: Value) -> Value {
        obj
    }
}

struct Rooted;

impl Keep for Rooted {
    type Obj = RootId;
    const ROOTED: bool = true;
    fn keep(m: &mut Machine, v: Value, kept: &mut Vec<RootId>) -> Result<RootId, Failed> {
        fallible::reserve(kept, 1)?;
        // SAFETY: just allocated.
        let id = unsafe { m.heap.root_new(v) }?;
        kept.push(id);
        Ok(id)
    }
    fn get(m: &Machine, obj: RootId) -> Value {
        m.heap.root_get(obj)
    }
}

struct Builder<'a, K: Keep> {
    m: &'a mut Machine,
    find_code: FindCode,
    /// The name of the primitive, for messages.
    reader: &'static str,
    /// Whether to try the nursery first.
    young: bool,
    kept: Vec<RootId>,
    /// Fields set so far.
    steps: u32,
    /// Closure blocks made, with their sizes as marshalled, and which of their words are code. Most values contain
    /// none.
    closures: Vec<(K::Obj, usize)>,
    codes: HashSet<(K::Obj, usize)>,
    /// Fields that refer to inner closures. They are set when these have been completed.
    infixes: Vec<Infix<K::Obj>>,
}

/// A field that must refer to the function `offset` bytes into `base`.
struct Infix<Obj> {
    block: Obj,
    index: usize,
    base: Obj,
    offset: u32,
}

impl<'a, K: Keep> Builder<'a, K> {
    fn run(
        m: &'a mut Machine,
        input: Input<'_>,
        find_code: FindCode,
        reader: &'static str,
    ) -> Result<Slot, Failed> {
        let mut b = Builder::<K> {
            m,
            find_code,
            reader,
            young: false,
            kept: Vec::new(),
            steps: 0,
            closures: Vec::new(),
            codes: HashSet::new(),
            infixes: Vec::new(),
        };
        let result = b.decode(input);
        for id in std::mem::take(&mut b.kept) {
            // SAFETY: made by this builder, dropped once.
            unsafe { b.m.heap.root_drop(id) };
        }
        let root = result?;
        Ok(b.m.push_raw(root))
    }

    fn decode(&mut self, input: Input<'_>) -> Result<Value, Failed> {
        let root = decode_data(input.header, input.bytes, input.start, self)?;
        self.finish_closures()?;
        let root = match root {
            Item::Int(n) => Value::int(n),
            Item::Obj(obj) => K::get(self.m, obj),
            Item::Infix(base, offset) => {
                self.inner_closure(base, offset).ok_or(Failed::Closure(NO_FUNCTION))?
            }
            Item::Code(_) => return Err(Failed::Closure(STRAY_CODE)),
        };
        Ok(root)
    }

    /// `Failure`, with a text that names the reader.
    #[cold]
    fn failure(&self, what: &str) -> Failed {
        Raise::failure(format!("{}: {what}", self.reader)).into()
    }

    /// Whether a block may be written with its fields. Only its tag makes it special.
    #[inline(never)]
    fn may_be_read(&self, tag: u8, size: usize) -> bool {
        let validates = self.m.behaviour().marshal_validates;
        match tag {
            tag::CONT => !validates,
            tag::OBJECT => size > 1 || !validates,
            _ => tag < tag::NO_SCAN && tag != tag::INFIX,
        }
    }

    /// A block whose fields are `()`, or uninitialised if the tag is not scanned.
    #[inline(always)]
    fn alloc(&mut self, wosize: usize, tag: u8) -> Result<Value, Failed> {
        let v = self.alloc_unsampled(wosize, tag)?;
        if self.m.heap.is_sampling() {
            self.m.sample_block(v, wosize, AllocationSource::Marshal);
        }
        Ok(v)
    }

    #[inline(always)]
    fn alloc_unsampled(&mut self, wosize: usize, tag: u8) -> Result<Value, Failed> {
        if self.young && wosize <= MAX_YOUNG_WOSIZE {
            // SAFETY: all fields are filled before anything else happens: here, or by the caller.
            if let Some(v) = unsafe { self.m.heap.alloc_small(wosize, tag) } {
                if tag < tag::NO_SCAN {
                    for i in 0..wosize {
                        // SAFETY: just allocated with that many fields.
                        unsafe { v.set_word(i, Value::UNIT.bits()) };
                    }
                }
                return Ok(v);
            }
        }
        self.alloc_old(wosize, tag)
    }

    #[inline(never)]
    fn alloc_old(&mut self, wosize: usize, tag: u8) -> Result<Value, Failed> {
        if wosize > PIECE_WORDS && tag < tag::NO_SCAN {
            // SAFETY: never collects.
            let v = unsafe { self.m.heap.alloc_major(wosize, tag::STRING) }?;
            return Ok(self.m.fill_long(v, wosize, tag)?);
        }
        // SAFETY: never collects.
        Ok(unsafe { self.m.heap.alloc_major(wosize, tag) }?)
    }

    #[inline(never)]
    fn closure_block(&mut self, size: usize) -> Result<K::Obj, Failed> {
        // Includes room for the words that closures of loaded code have after their variables; the rest is cut off
        // later.
        let v = self.alloc(size + (size + 1) / 3 + 1, tag::CLOSURE)?;
        let obj = self.keep(v)?;
        fallible::push(&mut self.closures, (obj, size))?;
        Ok(obj)
    }

    /// Tests that closures are well formed, with code addresses exactly where they belong, and then sets the pointers
    /// into them.
    fn finish_closures(&mut self) -> Result<(), Failed> {
        let mut codes = 0;
        for (obj, wosize) in std::mem::take(&mut self.closures) {
            let functions = self.check_closure(obj, wosize)?;
            codes += functions;
            self.complete_closure(K::get(self.m, obj), wosize, functions)?;
        }
        if codes != self.codes.len() {
            return Err(STRAY_CODE.into());
        }
        for Infix { block, index, base, offset } in std::mem::take(&mut self.infixes) {
            let v = self.inner_closure(base, offset).ok_or(NO_FUNCTION)?;
            let block = K::get(self.m, block);
            // SAFETY: a block made here, with this field as the decoder promised. It still holds `()`.
            unsafe { self.m.heap.initialize(block, index, v) };
        }
        Ok(())
    }

    /// Checks a closure block, and returns its number of functions.
    fn check_closure(&self, obj: K::Obj, wosize: usize) -> Result<usize, &'static str> {
        let block = K::get(self.m, obj);
        // SAFETY: a block made here; indices are tested against its size.
        let word = |i: usize| unsafe { block.word(i) };
        let mut functions = 0;
        let mut variables = None;
        loop {
            // An entry: the code, and the distance to the variables. Between two, the header of the second.
            let at = 3 * functions;
            if at + 2 > wosize || !self.codes.contains(&(obj, at)) {
                return Err("a closure without code");
            }
            functions += 1;
            let distance = ((word(at + 1) << 8) >> 9) as usize;
            if *variables.get_or_insert(at + distance) != at + distance || distance % 3 != 2 {
                return Err("a closure with an invalid distance to its variables");
            }
            if distance == 2 {
                return Ok(functions);
            }
            if at + 3 >= wosize || word(at + 2) != Header::new(at + 3, tag::INFIX).bits() {
                return Err("a closure of several functions without infix headers");
            }
        }
    }

    /// Adds the words that refer to the code object to a closure of loaded code, as the unit's own instructions would,
    /// and truncates the block to its size.
    fn complete_closure(&mut self, block: Value, wosize: usize, functions: usize) -> Result<(), Failed> {
        // SAFETY: `block` has room for `wosize` fields and `functions + 1` more, and its first word is code.
        unsafe {
            let registry = self.m.registry.borrow();
            let unit = registry.find(Regs::code_address(block.field(0)) as usize).ok_or(STRAY_CODE)?;
            let mut positions = fallible::with_capacity(functions)?;
            for i in 0..functions {
                let position =
                    unit.find_position(Regs::code_address(block.field(3 * i))).ok_or(STRAY_CODE)?;
                positions.push(position as i64);
            }
            // Verified code reads its environment under the assumption that its own instructions have made it.
            if self.m.engine.grade() == Grade::Checked
                && !unit.shapes()?.has_closure(&positions, wosize + 1 - 3 * functions)
            {
                return Err("a closure of a shape that its unit's code does not make".into());
            }
            let partial = unit.word(positions[0] as usize) == Some(Opcode::RESTART.word());
            let hidden = match unit.object {
                None => 0,
                Some(_) if unit.shapes()?.through_stub => functions + 1,
                Some(_) => usize::from(!partial),
            };
            if let (1.., Some(object)) = (hidden, unit.object) {
                let object = self.m.heap.weak_get(object).ok_or(STRAY_CODE)?;
                if hidden > 1 {
                    for (i, position) in positions.iter().enumerate() {
                        let offset = Value::int(*position);
                        self.m.heap.modify(block, wosize + hidden - 2 - i, offset);
                        self.m.heap.modify(block, 3 * i, self.m.stub_code());
                    }
                }
                self.m.heap.modify(block, wosize + hidden - 1, object);
            }
            drop(registry);
            self.m.heap.truncate(block, wosize + hidden);
        }
        Ok(())
    }

    /// The function at an offset in a checked closure block.
    fn inner_closure(&self, base: K::Obj, offset: u32) -> Option<Value> {
        let at = offset as usize / 8;
        let is_function = offset > 0 && offset.is_multiple_of(24) && self.codes.contains(&(base, at));
        is_function.then(|| Value::from_bits(K::get(self.m, base).bits() + u64::from(offset)))
    }

    /// A boxed integer, or a custom block of a kind that the machine makes.
    fn custom_block(&mut self, name: &[u8], payload: &mut Payload<'_>) -> Result<Value, Failed> {
        let facts = self.m.behaviour();
        if payload.is_of_old_kind() && !facts.reads_unsized_customs {
            return Err(self.failure(OLD_CUSTOM));
        }
        let reader = self.reader;
        let failure = |what: &str| match fallible::lossy(name) {
            Ok(name) if facts.marshal_errors_name_function => {
                Failed::Raise(Raise::failure(format!("{reader}: {what} {name}")))
            }
            Ok(_) => Failed::Raise(Raise::failure(format!("{reader}: {what}"))),
            Err(e) => e.into(),
        };
        let unknown = || failure("unknown custom block identifier");
        let wrong_size = || match facts.marshal_errors_name_function {
            true => failure("error while deserializing custom block"),
            false => failure("incorrect length of serialized custom block"),
        };
        let ops: &'static CustomOps = self.m.customs.find(name).ok_or_else(unknown)?;
        let behaviour: &'static Behaviour = custom::behaviour(ops).ok_or_else(unknown)?;
        let recorded = match (payload.recorded_sizes(), behaviour.fixed_length) {
            (None, None) | (Some(_), Some(_)) if facts.marshal_validates => {
                return Err(failure("wrong custom block kind"));
            }
            // OCaml before 4.08 wrote no sizes of any kind.
            (None, None) if payload.is_of_old_kind() => None,
            (None, None) => return Err(failure("expected a fixed-size custom block")),
            (Some((_, size)), Some((_, fixed))) if size != fixed => return Err(wrong_size()),
            (_, Some((_, fixed))) => Some(fixed),
            (Some((_, size)), None) => Some(size),
        };
        let word = if std::ptr::eq(ops, &custom::INT64) {
            Some(payload.u64()?)
        } else if std::ptr::eq(ops, &custom::INT32) {
            Some(i64::from(payload.u32()? as i32) as u64)
        } else if std::ptr::eq(ops, &custom::NATIVEINT) {
            Some(match payload.u8()? {
                1 => i64::from(payload.u32()? as i32) as u64,
                2 => payload.u64()?,
                _ => return Err(Raise::failure("input_value: ill-formed native integer").into()),
            })
        } else {
            None
        };
        if let Some(word) = word {
            let v = self.alloc(2, tag::CUSTOM)?;
            // SAFETY: just allocated with two words; the boxed integers have no finaliser.
            unsafe {
                v.set_word(0, ops.word());
                v.set_word(1, word);
            }
            return Ok(v);
        }
        if !K::ROOTED {
            return Err(Failed::Rooted);
        }
        let deserialize = behaviour.deserialize.ok_or_else(unknown)?;
        let rest = payload.clone().bytes(payload.remaining())?;
        let mut left = rest;
        let v = deserialize(self.m, ops, &mut left, recorded.unwrap_or(u64::MAX))?;
        if recorded.is_some_and(|recorded| behaviour.block_size(v).is_some_and(|size| size != recorded)) {
            return Err(wrong_size());
        }
        let v = v.raw();
        payload.bytes(rest.len() - left.len())?;
        Ok(v)
    }

    #[inline]
    fn keep(&mut self, v: Value) -> Result<K::Obj, Failed> {
        K::keep(self.m, v, &mut self.kept)
    }
}

impl<K: Keep> Build for Builder<'_, K> {
    type Obj = K::Obj;
    type Error = Failed;

    fn words(&self, header: &MarshalHeader) -> u64 {
        let in_nursery = 2..=1 + MAX_YOUNG_WOSIZE as u64;
        if self.m.behaviour().marshal_grows && !in_nursery.contains(&header.words64) {
            return u64::MAX;
        }
        header.words64
    }

    fn begin(&mut self, header: &MarshalHeader) -> Result<(), Failed> {
        let m = &mut *self.m;
        // SAFETY: the roots are complete whenever a primitive runs, and nothing has been made yet.
        let young = unsafe { m.heap.reserve_young(&mut m.roots, header.words64 as usize) };
        self.young = young && !K::ROOTED;
        Ok(())
    }

    fn atom(&mut self, tag: u8) -> Result<K::Obj, Failed> {
        if !is_plain_tag(tag) || tag >= tag::FORCING && self.m.behaviour().marshal_checks_closures {
            return Err(self.failure(ILL_FORMED));
        }
        let v = self.m.heap.atom(tag);
        self.keep(v)
    }

    #[inline(always)]
    fn block(&mut self, tag: u8, size: usize) -> Result<K::Obj, Failed> {
        if tag >= tag::FORCING {
            if !self.may_be_read(tag, size) {
                return Err(self.failure(ILL_FORMED));
            }
            if tag == tag::CLOSURE {
                return self.closure_block(size);
            }
        }
        let v = self.alloc(size, tag)?;
        self.keep(v)
    }

    #[inline]
    fn string(&mut self, bytes: &[u8]) -> Result<K::Obj, Failed> {
        let v = self.alloc(bytes.len() / 8 + 1, tag::STRING)?;
        // SAFETY: just allocated with the words that these bytes and their padding take.
        unsafe {
            v.set_string_padding(bytes.len());
            for (to, from) in v.bytes_mut().chunks_mut(PIECE_BYTES).zip(bytes.chunks(PIECE_BYTES)) {
                self.m.check_interrupt()?;
                to.copy_from_slice(from);
            }
        }
        self.keep(v)
    }

    fn double(&mut self, value: f64) -> Result<K::Obj, Failed> {
        let v = self.alloc(1, tag::DOUBLE)?;
        // SAFETY: just allocated with one word.
        unsafe { v.set_double_field(0, value) };
        self.keep(v)
    }

    fn double_array(&mut self, values: &mut dyn ExactSizeIterator<Item = f64>) -> Result<K::Obj, Failed> {
        let len = values.len();
        let v = self.alloc(len, tag::DOUBLE_ARRAY)?;
        for i in 0..len {
            if i % STEPS as usize == 0 {
                self.m.check_interrupt()?;
            }
            // SAFETY: just allocated with that many words.
            unsafe { v.set_double_field(i, values.next().unwrap_or(0.0)) };
        }
        self.keep(v)
    }

    fn custom(&mut self, name: &[u8], payload: &mut Payload<'_>) -> Result<K::Obj, Failed> {
        let v = self.custom_block(name, payload)?;
        self.keep(v)
    }

    #[inline]
    fn set_field(&mut self, obj: K::Obj, index: usize, item: Item<K::Obj>) -> Result<(), Failed> {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS) {
            self.m.check_interrupt()?;
        }
        let block = K::get(self.m, obj);
        let v = match item {
            // An object gets a new identity; predefined exceptions, which have negative ones, keep theirs.
            // SAFETY: a block.
            Item::Int(0..) if index == 1 && unsafe { block.tag() } == tag::OBJECT => {
                Value::int(self.m.fresh_oo_id())
            }
            Item::Int(n) => Value::int(n),
            Item::Obj(obj) => K::get(self.m, obj),
            Item::Infix(base, offset) => {
                fallible::push(&mut self.infixes, Infix { block: obj, index, base, offset })?;
                return Ok(());
            }
            Item::Code(pointer) => {
                self.codes.try_reserve(1).map_err(Raise::from)?;
                self.codes.insert((obj, index));
                (self.find_code)(self.m, &pointer)?
            }
        };
        // SAFETY: a block made here, with a field `index` as the decoder promises, written for the first time.
        unsafe { self.m.heap.initialize(block, index, v) };
        Ok(())
    }
}
