//! Operations of primitives on slots: reading, allocating, writing. The safe interface to the heap.
//!
//! Each operation reads its slots anew, checks its arguments, and leaves every value that must survive where the
//! collector sees it. Therefore the functions here are safe, although those of the heap are not.

use std::any::Any;

use spelter_heap::raw::CustomOps;
use spelter_heap::raw::{Header, Value, tag};
use spelter_heap::{Val, WrongType};

use crate::exec::dispatch::Grade;
use crate::prim::custom;
use crate::prim::obj::is_plain_tag;
use crate::prim::{Raise, Res, Slot};
use crate::threads::interrupt::{BLOCKS_AT_ONCE, PIECE_BYTES, PIECE_WORDS, pieces};
use crate::{Machine, fallible};

fn wrong<T>(expected: &'static str) -> Result<T, Raise> {
    Err(Raise::from(WrongType { expected }))
}

/// The maximum size of a string or block in OCaml, in words.
pub const MAX_WOSIZE: usize = (1 << 54) - 1;

impl Machine {
    #[inline]
    pub(crate) fn raw(&self, s: Slot) -> Value {
        self.roots.thread.stack.read(s)
    }

    #[inline]
    pub(crate) fn as_val(&self, v: Value) -> Val<'_> {
        // SAFETY: `v` was just read from a root or just allocated, and the result borrows the machine, so that
        // nothing can allocate while it is in use.
        unsafe { Val::from_raw(v) }
    }

    // ---- reading ---------------------------------------------------------------------------------

    /// The value in a slot.
    #[inline]
    pub fn val(&self, s: Slot) -> Val<'_> {
        self.as_val(self.raw(s))
    }

    /// The integer in a slot.
    ///
    /// # Errors
    /// When it holds a block.
    #[inline]
    pub fn int(&self, s: Slot) -> Result<i64, Raise> {
        Ok(self.val(s).int()?)
    }

    /// The integer in a slot, as a size, an index or a count: negative ones become huge.
    #[inline]
    pub fn index(&self, s: Slot) -> Result<usize, Raise> {
        Ok(self.int(s)? as usize)
    }

    /// The length of the list in a slot.
    ///
    /// # Errors
    /// When it is cyclic, or not a list.
    pub fn list_len(&self, s: Slot) -> Result<usize, Raise> {
        // Brent's cycle detection: compare with a cell that moves to positions at increasing distances.
        let (mut v, mut len) = (self.val(s), 0usize);
        let mut waiting = v;
        while v.is_block() {
            v = v.field(1)?;
            len += 1;
            if v.is_block() && v.same(waiting) {
                return wrong("a list that ends");
            }
            if len.is_power_of_two() {
                waiting = v;
            }
            if len.is_multiple_of(BLOCKS_AT_ONCE) {
                self.check_interrupt()?;
            }
        }
        Ok(len)
    }

    /// The boolean in a slot: anything but `false` is true.
    #[inline]
    pub fn bool(&self, s: Slot) -> bool {
        self.raw(s) != Value::FALSE
    }

    /// The float in a slot.
    #[inline]
    pub fn float(&self, s: Slot) -> Result<f64, Raise> {
        Ok(self.val(s).float()?)
    }

    /// The bytes of the string in a slot.
    #[inline]
    pub fn bytes(&self, s: Slot) -> Result<&[u8], Raise> {
        Ok(self.val(s).bytes()?)
    }

    /// The bytes of the string in a slot, for writing.
    pub fn bytes_mut(&mut self, s: Slot) -> Result<&mut [u8], Raise> {
        self.val(s).bytes()?;
        // SAFETY: it is a string (just checked), and the borrow of the machine excludes all other access.
        Ok(unsafe { self.raw(s).bytes_mut() })
    }

    /// The string in a slot as text, with invalid UTF-8 replaced; for messages.
    pub fn text(&self, s: Slot) -> Result<String, Raise> {
        Ok(fallible::lossy(self.bytes(s)?)?)
    }

    /// The int32 in a slot.
    pub fn int32(&self, s: Slot) -> Result<i32, Raise> {
        Ok(custom::int32(self.val(s))?)
    }

    /// The int64 in a slot.
    pub fn int64(&self, s: Slot) -> Result<i64, Raise> {
        Ok(custom::int64(self.val(s))?)
    }

    /// The nativeint in a slot.
    pub fn nativeint(&self, s: Slot) -> Result<i64, Raise> {
        Ok(custom::nativeint(self.val(s))?)
    }

    // ---- keeping ---------------------------------------------------------------------------------

    /// Pushes a value, which may have just been made, into a new slot. It stays there until the primitive returns or
    /// calls [`Machine::release`]: `let s = m.push(|m| Ok(m.new_string(b"x")))?;`
    pub fn push(&mut self, f: impl for<'m> FnOnce(&'m mut Machine) -> Res<'m>) -> Result<Slot, Raise> {
        let v = f(self)?.raw();
        self.roots.thread.stack.try_push_temp(v)
    }

    /// Pushes an integer into a new slot. Even without memory, there is room for 32 such slots: a primitive that needs
    /// more uses [`Machine::push`], which can fail.
    pub fn push_int(&mut self, i: i64) -> Slot {
        self.push_raw(Value::int(i))
    }

    /// Pushes a copy of a slot's value.
    pub fn push_slot(&mut self, s: Slot) -> Slot {
        self.push_raw(self.raw(s))
    }

    /// Whether the block in `s` is a closure that primitives must not access. In checked code, the machine's safety
    /// depends on a closure's code words, shape and code object, because its own instructions read variables without a
    /// test. In any code, an inner closure has no size of its own.
    pub fn is_sealed(&self, s: Slot) -> bool {
        self.val(s).tag().is_ok_and(|tag| self.seals(tag))
    }

    fn seals(&self, tag: u8) -> bool {
        tag == tag::INFIX || tag == tag::CLOSURE && self.engine.grade() == Grade::Checked
    }

    /// Pushes field `i` of the block in `s` into a new slot.
    pub fn push_field(&mut self, s: Slot, i: usize) -> Result<Slot, Raise> {
        if self.is_sealed(s) {
            return wrong("a block that is not a closure");
        }
        let v = self.val(s).scanned_field(i)?.raw();
        self.roots.thread.stack.try_push_temp(v)
    }

    pub(crate) fn push_raw(&mut self, v: Value) -> Slot {
        self.roots.thread.stack.push_temp(v)
    }

    /// The number of slots in use, for [`Machine::release`].
    pub fn mark(&self) -> usize {
        self.roots.thread.stack.depth()
    }

    /// Releases the slots pushed since `mark`. Needed in loops that push in each iteration.
    ///
    /// # Panics
    /// When `mark` was not taken in this primitive.
    pub fn release(&mut self, mark: usize) {
        self.roots.thread.stack.release(mark);
    }

    /// Overwrites a slot with the result of `f`.
    pub fn assign(
        &mut self,
        s: Slot,
        f: impl for<'m> FnOnce(&'m mut Machine) -> Res<'m>,
    ) -> Result<(), Raise> {
        let v = f(self)?.raw();
        self.roots.thread.stack.write(s, v);
        Ok(())
    }

    /// Overwrites a slot with the value of another.
    pub fn copy_slot(&mut self, to: Slot, from: Slot) {
        let v = self.raw(from);
        self.roots.thread.stack.write(to, v);
    }

    // ---- allocating ------------------------------------------------------------------------------

    /// A block of any tag: its fields are `()` if the tag is scanned, zero words otherwise. The atom for size 0.
    pub(crate) fn alloc_raw(&mut self, wosize: usize, tag: u8) -> Result<Value, Raise> {
        if wosize > MAX_WOSIZE {
            return Err(Raise::OutOfMemory);
        }
        if wosize > PIECE_WORDS && tag < tag::NO_SCAN && !matches!(tag, tag::CLOSURE | tag::INFIX) {
            return self.alloc_long(wosize, tag);
        }
        // SAFETY: the machine's roots are complete whenever a primitive runs, because the registers are on the stack.
        let v = unsafe { self.heap.alloc(&mut self.roots, wosize, tag) }?;
        Ok(v)
    }

    /// A block with so many fields that filling them takes long: the collector treats it as bytes until that is done.
    fn alloc_long(&mut self, wosize: usize, tag: u8) -> Result<Value, Raise> {
        // SAFETY: the machine's roots are complete whenever a primitive runs.
        let v = unsafe { self.heap.alloc(&mut self.roots, wosize, tag::STRING) }?;
        self.fill_long(v, wosize, tag)
    }

    /// Turns a newly allocated string of `wosize` words into a block of values.
    pub(crate) fn fill_long(&self, v: Value, wosize: usize, tag: u8) -> Result<Value, Raise> {
        for part in pieces(wosize) {
            self.check_own_interrupt()?;
            for i in part {
                // SAFETY: just allocated with that many words.
                unsafe { v.set_word(i, Value::UNIT.bits()) };
            }
        }
        // SAFETY: all of its words are values now. Nothing has been allocated since, so it still has its first colour,
        // which is also that of a new block with this tag.
        unsafe { v.set_header(Header::new(wosize, tag).with_colour(v.header().colour())) };
        Ok(v)
    }

    /// A block whose fields are the slots' values.
    pub fn new_block(&mut self, tag: u8, fields: &[Slot]) -> Res<'_> {
        if tag >= tag::ABSTRACT || tag == tag::CLOSURE || tag == tag::INFIX {
            return wrong("a tag of ordinary blocks");
        }
        let b = self.alloc_raw(fields.len(), tag)?;
        for (i, s) in fields.iter().enumerate() {
            let v = self.raw(*s);
            // SAFETY: `b` was just allocated with that many fields, and nothing has been allocated since.
            unsafe { self.heap.initialize(b, i, v) };
        }
        Ok(self.as_val(b))
    }

    /// A block of `wosize` fields, all `()`, or zero words for tags that are not scanned.
    pub fn new_block_sized(&mut self, tag: u8, wosize: usize) -> Res<'_> {
        if !is_plain_tag(tag) {
            return wrong("a tag of ordinary blocks");
        }
        let b = self.alloc_raw(wosize, tag)?;
        Ok(self.as_val(b))
    }

    /// `Some v`
    pub fn new_some(&mut self, v: Slot) -> Res<'_> {
        self.new_block(0, &[v])
    }

    /// `head :: tail`
    pub fn new_cons(&mut self, head: Slot, tail: Slot) -> Res<'_> {
        self.new_block(0, &[head, tail])
    }

    /// A float.
    #[inline]
    pub fn new_float(&mut self, f: f64) -> Res<'_> {
        // SAFETY: the machine's roots are complete whenever a primitive runs.
        let b = unsafe { self.heap.alloc_double(&mut self.roots, f) }?;
        Ok(self.as_val(b))
    }

    /// A string with these bytes (which must not be in the heap: use [`Machine::new_substring`] for those).
    pub fn new_string(&mut self, bytes: &[u8]) -> Res<'_> {
        let b = self.new_bytes_raw(bytes.len())?;
        if bytes.len() > PIECE_BYTES {
            return self.copied(b, bytes);
        }
        // SAFETY: just allocated with this length.
        unsafe { b.bytes_mut() }.copy_from_slice(bytes);
        Ok(self.as_val(b))
    }

    /// Copies these bytes into the newly allocated string `b`, and returns it.
    #[cold]
    fn copied(&mut self, b: Value, bytes: &[u8]) -> Res<'_> {
        let mark = self.mark();
        let s = self.push_raw(b);
        self.in_pieces(bytes.len(), PIECE_BYTES, |m, part| {
            m.bytes_mut(s)?.get_mut(part.clone()).ok_or_else(Raise::bounds)?.copy_from_slice(&bytes[part]);
            Ok(())
        })?;
        let b = self.raw(s);
        self.release(mark);
        Ok(self.as_val(b))
    }

    /// A string of `len` bytes, all zero.
    pub fn new_bytes(&mut self, len: usize) -> Res<'_> {
        let b = self.new_bytes_raw(len)?;
        Ok(self.as_val(b))
    }

    fn new_bytes_raw(&mut self, len: usize) -> Result<Value, Raise> {
        let wosize = len / 8 + 1;
        let b = self.alloc_raw(wosize, tag::STRING)?;
        // SAFETY: the block has `wosize` zeroed words; the last byte of the last word gives the amount of padding.
        unsafe { b.field_ptr(wosize - 1).cast::<u64>().write(((7 - len as u64 % 8) << 56).to_le()) };
        Ok(b)
    }

    /// A new string with the bytes `from..from + len` of the string in `s`.
    pub fn new_substring(&mut self, s: Slot, from: usize, len: usize) -> Res<'_> {
        if from.checked_add(len).is_none_or(|end| self.val(s).bytes().is_ok_and(|b| end > b.len())) {
            return Err(Raise::bounds());
        }
        self.bytes(s)?;
        let b = self.new_bytes_raw(len)?;
        // SAFETY: two different strings of the heap, lengths checked above; nothing is allocated in between.
        unsafe { b.bytes_mut() }.copy_from_slice(&self.bytes(s)?[from..from + len]);
        Ok(self.as_val(b))
    }

    /// A flat float array of `len` elements.
    pub fn new_float_array(&mut self, len: usize) -> Res<'_> {
        if len == 0 {
            return Ok(self.atom(0));
        }
        let b = self.alloc_raw(len, tag::DOUBLE_ARRAY)?;
        Ok(self.as_val(b))
    }

    /// The empty block with a tag.
    pub fn atom(&self, tag: u8) -> Val<'_> {
        self.as_val(self.heap.atom(tag))
    }

    /// An int32.
    pub fn new_int32(&mut self, i: i32) -> Res<'_> {
        self.new_boxed(&custom::INT32, i as i64 as u64)
    }

    /// An int64.
    pub fn new_int64(&mut self, i: i64) -> Res<'_> {
        self.new_boxed(&custom::INT64, i as u64)
    }

    /// A nativeint.
    pub fn new_nativeint(&mut self, i: i64) -> Res<'_> {
        self.new_boxed(&custom::NATIVEINT, i as u64)
    }

    /// A custom block with this payload. `outside_bytes` is the memory that it holds outside the heap.
    ///
    /// # Panics
    /// If the kind is sealed: whoever sealed it knows what its blocks hold, and makes them.
    pub fn new_custom(&mut self, ops: &'static CustomOps, payload: &[u64], outside_bytes: usize) -> Res<'_> {
        assert!(ops.seal() == 0, "blocks of this kind must hold what their kind demands");
        // SAFETY: the machine's roots are complete whenever a primitive runs.
        let b = unsafe { self.heap.alloc_custom(&mut self.roots, ops, payload.len(), outside_bytes) }?;
        for (i, w) in payload.iter().enumerate() {
            // SAFETY: word 0 holds the operations, the payload follows; just allocated with that size.
            unsafe { b.field_ptr(1 + i).cast::<u64>().write(*w) };
        }
        Ok(self.as_val(b))
    }

    /// A custom block that owns `data`, which is dropped when the block dies.
    pub fn new_external(
        &mut self,
        ops: &'static CustomOps,
        data: Box<dyn Any>,
        outside_bytes: usize,
    ) -> Res<'_> {
        // The data of the next external is allocated before a lack of memory can be reported.
        fallible::afford(0)?;
        // SAFETY: the machine's roots are complete whenever a primitive runs.
        let b = unsafe { self.heap.alloc_external(&mut self.roots, ops, data, outside_bytes) }?;
        Ok(self.as_val(b))
    }

    /// A list of the values made from `items`, in order. Each is kept in a slot while the next is made.
    pub fn new_list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut f: impl for<'m> FnMut(&'m mut Machine, T) -> Res<'m>,
    ) -> Res<'_> {
        let mark = self.mark();
        let items = self.push_all(items, &mut f)?;
        let list = self.push_int(0);
        for head in items.into_iter().rev() {
            self.assign(list, |m| m.new_cons(head, list))?;
        }
        let v = self.raw(list);
        self.release(mark);
        Ok(self.as_val(v))
    }

    /// An array (tag 0) of the values made from `items`; the atom if there are none. Not for floats.
    pub fn new_array<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut f: impl for<'m> FnMut(&'m mut Machine, T) -> Res<'m>,
    ) -> Res<'_> {
        let mark = self.mark();
        let slots = self.push_all(items, &mut f)?;
        let v = self.new_block(0, &slots)?.raw();
        self.release(mark);
        Ok(self.as_val(v))
    }

    /// Pushes the value that `f` makes from each item into a new slot, and releases what `f` itself pushed.
    fn push_all<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        f: &mut impl for<'m> FnMut(&'m mut Machine, T) -> Res<'m>,
    ) -> Result<Vec<Slot>, Raise> {
        let mut slots = Vec::new();
        for item in items {
            let mark = self.mark();
            let v = f(self, item)?.raw();
            self.release(mark);
            let slot = self.roots.thread.stack.try_push_temp(v)?;
            fallible::push(&mut slots, slot)?;
        }
        Ok(slots)
    }

    // ---- writing ---------------------------------------------------------------------------------

    fn check_field(&self, block: Slot, i: usize) -> Result<(), Raise> {
        let b = self.val(block);
        let tag = b.tag()?;
        if tag >= tag::ABSTRACT {
            return wrong("a block of values");
        }
        if self.seals(tag) {
            return wrong("a block that is not a closure");
        }
        if i >= b.wosize()? { Err(Raise::bounds()) } else { Ok(()) }
    }

    fn set_field_raw(&mut self, block: Slot, i: usize, v: Value) -> Result<(), Raise> {
        self.check_field(block, i)?;
        let b = self.raw(block);
        // SAFETY: a scanned block with a field `i` (just checked).
        unsafe { self.heap.modify(b, i, v) };
        Ok(())
    }

    /// Field `i` of `block` ← `v`.
    pub fn set_field(&mut self, block: Slot, i: usize, v: Slot) -> Result<(), Raise> {
        self.set_field_raw(block, i, self.raw(v))
    }

    /// Field `i` of `block` ← an integer.
    pub fn set_field_int(&mut self, block: Slot, i: usize, v: i64) -> Result<(), Raise> {
        self.set_field_raw(block, i, Value::int(v))
    }

    /// Double `i` of the float array (or all-float record) in `array` ← `f`.
    pub fn set_float_field(&mut self, array: Slot, i: usize, f: f64) -> Result<(), Raise> {
        if i >= self.val(array).float_len()? {
            return Err(Raise::bounds());
        }
        // SAFETY: a float array with a double `i` (just checked).
        unsafe { self.raw(array).set_double_field(i, f) };
        Ok(())
    }

    /// Copies `len` bytes from one string to another, or within one; the ranges may overlap.
    pub fn blit_bytes(
        &mut self,
        src: Slot,
        src_at: usize,
        dst: Slot,
        dst_at: usize,
        len: usize,
    ) -> Result<(), Raise> {
        let fits = |n: usize, at: usize| at.checked_add(len).is_some_and(|end| end <= n);
        if !fits(self.bytes(src)?.len(), src_at) || !fits(self.bytes(dst)?.len(), dst_at) {
            return Err(Raise::bounds());
        }
        if len > PIECE_BYTES {
            // From the end, if copying from the start would overwrite bytes that are still to be copied.
            let backwards = self.val(src).same(self.val(dst)) && src_at < dst_at;
            return self.in_pieces(len, PIECE_BYTES, |m, part| {
                let at = if backwards { len - part.end } else { part.start };
                m.blit_bytes(src, src_at + at, dst, dst_at + at, part.len())
            });
        }
        let (from, to) = (self.raw(src), self.raw(dst));
        // SAFETY: both ranges lie within their strings (just checked); `copy` allows overlap.
        unsafe {
            let from = from.bytes().as_ptr().add(src_at);
            let to = to.bytes_mut().as_mut_ptr().add(dst_at);
            std::ptr::copy(from, to, len);
        }
        Ok(())
    }

    /// Copies `len` fields between two blocks of values, or doubles between two float arrays, or within one; the ranges
    /// may overlap.
    pub fn blit_fields(
        &mut self,
        src: Slot,
        src_at: usize,
        dst: Slot,
        dst_at: usize,
        len: usize,
    ) -> Result<(), Raise> {
        let (from, to) = (self.val(src), self.val(dst));
        let (from_tag, to_tag) = (from.tag()?, to.tag()?);
        if self.seals(from_tag) || self.seals(to_tag) {
            return wrong("a block that is not a closure");
        }
        let fits = |n: usize, at: usize| at.checked_add(len).is_some_and(|end| end <= n);
        if !fits(from.wosize()?, src_at) || !fits(to.wosize()?, dst_at) {
            return Err(Raise::bounds());
        }
        let floats = from_tag == tag::DOUBLE_ARRAY;
        if floats != (to_tag == tag::DOUBLE_ARRAY) && len > 0 {
            return wrong("two arrays of one kind");
        }
        if !floats && (from_tag >= tag::ABSTRACT || to_tag >= tag::ABSTRACT) && len > 0 {
            return wrong("a block of values");
        }
        if len > PIECE_WORDS {
            let backwards = self.val(src).same(self.val(dst)) && src_at < dst_at;
            if !floats {
                self.collect_minor();
            }
            return self.in_pieces(len, PIECE_WORDS, |m, part| {
                let at = if backwards { len - part.end } else { part.start };
                m.blit_fields(src, src_at + at, dst, dst_at + at, part.len())
            });
        }
        let (from, to) = (self.raw(src), self.raw(dst));
        // SAFETY: both ranges lie within their blocks, which are both flat or both scanned (just checked).
        unsafe {
            if floats {
                std::ptr::copy(from.field_ptr(src_at), to.field_ptr(dst_at), len);
            } else if from == to && src_at < dst_at {
                for i in (0..len).rev() {
                    self.heap.modify(to, dst_at + i, from.field(src_at + i));
                }
            } else {
                for i in 0..len {
                    self.heap.modify(to, dst_at + i, from.field(src_at + i));
                }
            }
        }
        Ok(())
    }

    // ---- exceptions ------------------------------------------------------------------------------

    /// Records this exception value, for [`Raise::Exn`].
    pub fn set_exn(&mut self, exn: Slot) -> Raise {
        self.roots.thread.exn.set(self.raw(exn));
        Raise::Exn
    }

    /// The exception value recorded for [`Raise::Exn`].
    pub fn exn(&self) -> Val<'_> {
        self.as_val(self.roots.thread.exn.get())
    }
}
