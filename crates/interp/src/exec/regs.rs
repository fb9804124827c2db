//! The machine's registers, and every access that instructions make through them.
//!
//! This is where the interpreter accesses raw memory. A [`Regs`] exists only while code runs that is *trusted*
//! (compiled by `ocamlc`; the contract of [`Regs::enter`]) or *checked* (verified statically, with every access to a
//! block tested here). So operands lie within the code, `sp` lies within the stack, and accesses to blocks are valid or
//! refused. The unsafe blocks below rely on that invariant of the type, and because of it the handlers themselves are
//! safe code.

use std::alloc::{Layout, alloc_zeroed};
use std::cell::Cell;
use std::cmp::Ordering;
use std::hint::cold_path;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;

use spelter_heap::raw::{CustomOps, Header, MAX_YOUNG_WOSIZE, Value, tag};
use spelter_heap::{Heap, OutOfMemory};

use crate::exec::fault::Fault;
use crate::threads::interrupt::PIECE_BYTES;

/// How far the machine trusts the code that it runs.
pub(crate) trait Trust: 'static {
    /// Whether each access to a block is tested at run time.
    const CHECKED: bool;
    /// Whether a handler gives up where it would have to call a function: see [`Quick`].
    const QUICK: bool = false;
    /// Whether safe points burn fuel.
    const METERED: bool = false;
}

/// Code from a compiler that we trust, as `ocamlrun` does.
pub(crate) struct Trusted;
/// Code from any source: verified when it is loaded, tested while it runs.
pub(crate) struct Checked;
/// The same, in a machine that counts what its code does.
pub(crate) struct Metered;

impl Trust for Trusted {
    const CHECKED: bool = false;
}
impl Trust for Checked {
    const CHECKED: bool = true;
}
impl Trust for Metered {
    const CHECKED: bool = true;
    const METERED: bool = true;
}

/// The quick form of handlers. Where it would have to call (to collect, to raise, to run a primitive), it gives up, and
/// the full form starts over. So the quick form needs no native stack frame and saves no registers. Until then it must
/// not change anything that the full form reads: tests come before writes.
pub(crate) struct Quick<T>(PhantomData<T>);

impl<T: Trust> Trust for Quick<T> {
    const CHECKED: bool = T::CHECKED;
    const QUICK: bool = true;
    const METERED: bool = T::METERED;
}

/// `pc`, `sp`, `accu`, `env`, `extra_args`: the values that dispatch keeps in machine registers.
#[derive(Clone, Copy)]
pub(crate) struct Regs {
    /// The next cell: first the operands of the running instruction, then the next instruction.
    pub(crate) pc: *const u64,
    pub(crate) sp: *mut Value,
    pub(crate) accu: Value,
    pub(crate) env: Value,
    pub(crate) extra: usize,
}

type Access<T> = Result<T, Fault>;

impl Regs {
    /// # Safety
    /// `pc` points into code that is trusted or verified, `sp` into a stack with the slack that function entry
    /// guarantees, and the frame at `sp` is the one that the code at `pc` expects.
    #[inline(always)]
    pub(crate) unsafe fn enter(
        pc: *const u64,
        sp: *mut Value,
        accu: Value,
        env: Value,
        extra: usize,
    ) -> Self {
        Regs { pc, sp, accu, env, extra }
    }

    // ---- code ------------------------------------------------------------------------------------

    /// The next operand.
    #[inline(always)]
    pub(crate) fn operand(&mut self) -> i64 {
        // SAFETY: in translated code, each instruction's operands follow it.
        unsafe {
            let v = *self.pc;
            self.pc = self.pc.add(1);
            v as i64
        }
    }

    /// The next operand, as a size or an index.
    #[inline(always)]
    pub(crate) fn operand_usize(&mut self) -> usize {
        self.operand() as usize
    }

    /// The operand `i` cells ahead, without advancing.
    #[inline(always)]
    pub(crate) fn operand_at(&self, i: usize) -> i64 {
        // SAFETY: as for `operand`; callers stay within the instruction's operands.
        unsafe { *self.pc.add(i) as i64 }
    }

    /// The cell `offset` cells from `pc`.
    #[inline(always)]
    pub(crate) fn target(&self, offset: i64) -> *const u64 {
        self.pc.wrapping_offset(offset as isize)
    }

    // ---- stack -----------------------------------------------------------------------------------

    /// `sp[n]`
    #[inline(always)]
    pub(crate) fn peek(&self, n: usize) -> Value {
        // SAFETY: the frame reaches that far (type invariant).
        unsafe { *self.sp.add(n) }
    }

    /// `sp[n]`, loaded as a single word. Loading two words at once that were just pushed one by one would stall the
    /// processor until both have left its store buffer.
    #[inline(always)]
    pub(crate) fn peek_alone(&self, n: usize) -> Value {
        // SAFETY: the frame reaches that far (type invariant).
        unsafe { self.sp.add(n).read_volatile() }
    }

    /// `sp[n] ← v`
    #[inline(always)]
    pub(crate) fn poke(&mut self, n: usize, v: Value) {
        // SAFETY: the frame reaches that far (type invariant).
        unsafe { *self.sp.add(n) = v }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, v: Value) {
        // SAFETY: function entry left the slack that bounds pushes between two checks.
        unsafe {
            self.sp = self.sp.sub(1);
            *self.sp = v;
        }
    }

    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Value {
        let v = self.peek(0);
        self.drop(1);
        v
    }

    #[inline(always)]
    pub(crate) fn drop(&mut self, n: usize) {
        self.sp = self.sp.wrapping_add(n);
    }

    /// Moves the top `n` words up by `by` words (towards the base), as tail calls do with their arguments.
    #[inline(always)]
    pub(crate) fn slide(&mut self, n: usize, by: usize) {
        for i in (0..n).rev() {
            self.poke(i + by, self.peek_alone(i));
        }
        self.drop(by);
    }

    /// Moves the top `n` words down by `by` words, which makes room for `by` words between them and the rest.
    #[inline(always)]
    pub(crate) fn lift(&mut self, n: usize, by: usize) {
        self.sp = self.sp.wrapping_sub(by);
        for i in 0..n {
            // Loading every other word on its own keeps all loads single, and keeps the top word, usually just pushed,
            // in its register.
            let v = if i % 2 == 0 { self.peek(i + by) } else { self.peek_alone(i + by) };
            self.poke(i, v);
        }
    }

    // ---- code addresses --------------------------------------------------------------------------

    /// A code address as a value: odd, so that the collector treats it as an integer.
    #[inline(always)]
    pub(crate) fn code_value(pc: *const u64) -> Value {
        Value::from_bits(pc as u64 | 1)
    }

    /// Whether a word may be a code address. Cells are aligned, so most integers cannot be one.
    #[inline(always)]
    pub(crate) fn is_code_value(v: Value) -> bool {
        v.bits() & 7 == 1
    }

    /// The address in such a value. Subtracting 1 costs nothing where the address is only used for a load.
    #[inline(always)]
    pub(crate) fn code_address(v: Value) -> *const u64 {
        v.bits().wrapping_sub(1) as *const u64
    }
}

/// Allocates `count` words of zero, which the system backs with memory only when they are used.
///
/// # Errors
/// When there is not enough memory.
pub(crate) fn zero_words(count: usize) -> Result<Box<[u64]>, OutOfMemory> {
    let none = OutOfMemory { words: count };
    let layout = Layout::array::<u64>(count).map_err(|_| none)?;
    if layout.size() == 0 {
        return Ok(Box::default());
    }
    // SAFETY: a layout whose size is not zero. The allocator returns `count` zeros, which a box may own as a slice.
    unsafe {
        let words = alloc_zeroed(layout).cast::<u64>();
        if words.is_null() {
            return Err(none);
        }
        Ok(Box::from_raw(std::ptr::slice_from_raw_parts_mut(words, count)))
    }
}

/// Like `zero_words`, but as `Cell`s.
pub(crate) fn zero_cells(count: usize) -> Result<Box<[Cell<u64>]>, OutOfMemory> {
    let zeros = zero_words(count)?;
    // SAFETY: a cell has the same layout as its contents.
    Ok(unsafe { Box::from_raw(Box::into_raw(zeros) as *mut [Cell<u64>]) })
}

/// The closure word `i` words from a closure entry `v`, which may follow an infix header.
#[inline(always)]
pub(crate) fn closure_field<T: Trust>(v: Value, i: usize) -> Access<Value> {
    if T::CHECKED {
        if !v.is_block() {
            return Err(Fault::NotAClosure);
        }
        let (block, offset) = enclosing(v);
        // SAFETY: checked code never sees an even word that is not a block.
        unsafe {
            if block.tag() != tag::CLOSURE {
                return Err(Fault::NotAClosure);
            }
            if offset + i >= block.wosize() {
                return Err(Fault::Field(i));
            }
        }
    }
    // SAFETY: tested above, or trusted.
    Ok(unsafe { v.field(i) })
}

/// The code address in the closure entry `v`, as the word that holds it. `v` may be any value.
pub(crate) fn closure_code(v: Value) -> Access<Value> {
    let code = closure_field::<Checked>(v, 0)?;
    // A closure that `let rec` has not filled in yet looks like one, but has `()` for its code.
    if Regs::is_code_value(code) && code != Value::UNIT { Ok(code) } else { Err(Fault::NotAClosure) }
}

/// The code address for a call. In checked code, a test of the tag is enough: its closures are made only by its own
/// instructions, or are those that `let rec` has not filled in yet, and primitives neither make nor change any
/// (`Machine::is_sealed`).
#[inline(always)]
pub(crate) fn called_code<T: Trust>(v: Value) -> Access<Value> {
    // SAFETY: a block (just tested).
    if T::CHECKED && !(v.is_block() && unsafe { is_closure_tag(v.tag()) }) {
        return Err(Fault::NotAClosure);
    }
    // SAFETY: an entry of a closure, by its tag, or trusted.
    let code = unsafe { v.field(0) };
    if T::CHECKED && code == Value::UNIT {
        return Err(Fault::NotAClosure);
    }
    Ok(code)
}

/// Whether values of this tag are closure entries: one test for both tags.
#[inline(always)]
fn is_closure_tag(t: u8) -> bool {
    const { assert!((tag::INFIX - tag::CLOSURE).is_power_of_two()) };
    t.wrapping_sub(tag::CLOSURE) & !(tag::INFIX - tag::CLOSURE) == 0
}

/// Variable `i` of the running closure, without a test: the compiler or the verifier guarantees that closures of this
/// function have that variable.
#[inline(always)]
pub(crate) fn variable(env: Value, i: usize) -> Value {
    debug_assert!(closure_field::<Checked>(env, i).is_ok());
    // SAFETY: trusted or verified.
    unsafe { env.field(i) }
}

/// The block that a closure entry belongs to, and the entry's distance from its start, in words.
#[inline(always)]
pub(crate) fn enclosing(v: Value) -> (Value, usize) {
    // SAFETY: `v` is a block (callers test); an infix header says how far it is from its block's start.
    unsafe {
        let header: Header = v.header();
        if header.tag() == tag::INFIX {
            let offset = header.wosize();
            (Value::from_bits(v.bits() - 8 * offset as u64), offset)
        } else {
            (v, 0)
        }
    }
}

/// The last word of the block that `v` is an entry of. In closures of loaded code, it is the code object.
#[inline(always)]
pub(crate) fn last_field(v: Value) -> Value {
    let (block, _) = enclosing(v);
    // SAFETY: callers pass closures of loaded code, which are not empty.
    unsafe { block.field(block.wosize() - 1) }
}

/// Field `i` of the code object that a closure of loaded code refers to, without a test: the unit's own instructions,
/// or unmarshalling, stored that object in the closure, and neither the closure nor the object can be changed.
#[inline(always)]
pub(crate) fn object_field(closure: Value, i: usize) -> Value {
    let object = last_field(closure);
    debug_assert!(closure_field::<Checked>(object, i).is_ok());
    // SAFETY: trusted, or sealed: code objects have these fields.
    unsafe { object.field(i) }
}

/// The entry `words` words from that of the running closure. Untested for the same reason as [`variable`].
#[inline(always)]
pub(crate) fn sibling(env: Value, words: i64) -> Value {
    let entry = Value::from_bits(env.bits().wrapping_add_signed(8 * words));
    debug_assert!(closure_code(entry).is_ok() && enclosing(entry).0 == enclosing(env).0);
    entry
}

/// Global `g`, without a test: the table has as many entries as the code was verified for, and cannot be truncated or
/// retagged.
#[inline(always)]
pub(crate) fn global(globals: Value, g: usize) -> Value {
    debug_assert!(field::<Checked>(globals, g).is_ok());
    // SAFETY: trusted or verified.
    unsafe { globals.field(g) }
}

/// Whether blocks of this tag hold values that any code may read and write. Nearly all tags below the special ones do.
#[inline(always)]
fn holds_values(t: u8) -> bool {
    if t < tag::CLOSURE {
        return true;
    }
    cold_path();
    t == tag::OBJECT || t == tag::FORWARD
}

/// Tests that `v` is a block of values that has a field `i`.
#[inline(always)]
fn check_field<T: Trust>(v: Value, i: usize) -> Access<()> {
    if T::CHECKED {
        let h = header::<T>(v)?;
        if !holds_values(h.tag()) {
            return Err(Fault::Kind("a block of values"));
        }
        if i >= h.wosize() {
            return Err(Fault::Field(i));
        }
    }
    Ok(())
}

/// Field `i` of block `v`.
#[inline(always)]
pub(crate) fn field<T: Trust>(v: Value, i: usize) -> Access<Value> {
    check_field::<T>(v, i)?;
    // SAFETY: tested, or trusted.
    Ok(unsafe { v.field(i) })
}

/// Whether field `i` of `v` may be written.
#[inline(always)]
pub(crate) fn writable<T: Trust>(v: Value, i: usize) -> Access<()> {
    check_field::<T>(v, i)
}

/// Adds to the integer in field 0 of `v`.
#[inline(always)]
pub(crate) fn offset_ref<T: Trust>(v: Value, by: i64) -> Access<()> {
    offset_field::<T>(v, 0, by).map(drop)
}

/// Replaces the integer in field `i` of `v` by the sum with another one, which needs no barrier. Returns the old one.
#[inline(always)]
pub(crate) fn offset_field<T: Trust>(v: Value, i: usize, by: i64) -> Access<Value> {
    let old = field::<T>(v, i)?;
    if T::CHECKED && !old.is_int() {
        return Err(Fault::Kind("an integer"));
    }
    // SAFETY: as for `field`; the sum of an odd word and an even one is odd.
    unsafe { *v.field_ptr(i) = Value::from_bits(old.bits().wrapping_add_signed(by << 1)) };
    Ok(old)
}

#[inline(always)]
fn check_kind<T: Trust>(v: Value, t: u8, what: &'static str) -> Access<()> {
    if T::CHECKED {
        if !v.is_block() {
            return Err(Fault::NotABlock);
        }
        // SAFETY: a block (just tested).
        if unsafe { v.tag() } != t {
            return Err(Fault::Kind(what));
        }
    }
    Ok(())
}

/// Double `i` of a float array or all-float record.
#[inline(always)]
pub(crate) fn double_field<T: Trust>(v: Value, i: usize) -> Access<f64> {
    check_kind::<T>(v, tag::DOUBLE_ARRAY, "a float array")?;
    // SAFETY: tested, or trusted.
    unsafe {
        if T::CHECKED && i >= v.wosize() {
            return Err(Fault::Field(i));
        }
        Ok(v.double_field(i))
    }
}

/// Double `i` of a float array or all-float record ← `f`.
#[inline(always)]
pub(crate) fn set_double_field<T: Trust>(v: Value, i: usize, f: f64) -> Access<()> {
    double_field::<T>(v, i)?;
    // SAFETY: tested, or trusted.
    unsafe { v.set_double_field(i, f) };
    Ok(())
}

/// The float in a boxed float.
#[inline(always)]
pub(crate) fn double<T: Trust>(v: Value) -> Access<f64> {
    check_kind::<T>(v, tag::DOUBLE, "a float")?;
    // SAFETY: tested, or trusted.
    Ok(unsafe { v.double() })
}

/// The payload of a boxed integer of this kind.
#[inline(always)]
pub(crate) fn boxed_word<T: Trust>(v: Value, kind: &'static CustomOps) -> Access<i64> {
    check_kind::<T>(v, tag::CUSTOM, "a boxed integer")?;
    // SAFETY: tested, or trusted; boxed integers own nothing, so their first word is just the operations' address.
    unsafe {
        if T::CHECKED && v.word(0) != kind.word() {
            return Err(Fault::Kind("a boxed integer of another kind"));
        }
        Ok(v.word(1) as i64)
    }
}

/// Turns a newly allocated block of two words into a boxed integer.
#[inline(always)]
pub(crate) fn init_boxed(b: Value, kind: &'static CustomOps, payload: i64) {
    // SAFETY: callers have just allocated `b` with that many words.
    unsafe {
        b.set_word(0, kind.word());
        b.set_word(1, payload as u64);
    }
}

/// The length of a string.
#[inline(always)]
pub(crate) fn string_len<T: Trust>(v: Value) -> Access<usize> {
    check_kind::<T>(v, tag::STRING, "a string")?;
    // SAFETY: tested, or trusted.
    Ok(unsafe { v.string_len() })
}

/// The order of two strings, if their first words decide it. The last byte gives the amount of padding in the last
/// word, which is zero: up to there, words are ordered as strings are.
#[inline(always)]
pub(crate) fn string_order<T: Trust>(a: Value, b: Value) -> Access<Option<Ordering>> {
    check_kind::<T>(a, tag::STRING, "a string")?;
    check_kind::<T>(b, tag::STRING, "a string")?;
    // SAFETY: tested, or trusted; a string has at least one word.
    unsafe {
        let (x, y) = (u64::from_be(a.word(0)), u64::from_be(b.word(0)));
        Ok(match x ^ y {
            0 if a.wosize() | b.wosize() == 1 => Some(Ordering::Equal),
            0..=0xFF => None,
            _ => Some(x.cmp(&y)),
        })
    }
}

/// Byte `i` of a string. The index is the program's, so checked code tests it against the length.
#[inline(always)]
pub(crate) fn byte<T: Trust>(v: Value, i: i64) -> Access<*mut u8> {
    check_kind::<T>(v, tag::STRING, "a string")?;
    // SAFETY: tested, or trusted.
    unsafe {
        if T::CHECKED && (i < 0 || i as usize >= v.string_len()) {
            return Err(Fault::Field(i as usize));
        }
        Ok(v.field_ptr(0).cast::<u8>().offset(i as isize))
    }
}

/// The integer in `v`.
#[inline(always)]
pub(crate) fn int<T: Trust>(v: Value) -> Access<i64> {
    if T::CHECKED && !v.is_int() {
        return Err(Fault::Kind("an integer"));
    }
    Ok(v.as_int())
}

/// Tests that both are integers: programs may not see addresses, not even their order.
#[inline(always)]
pub(crate) fn ints<T: Trust>(a: Value, b: Value) -> Access<()> {
    if T::CHECKED && a.bits() & b.bits() & 1 == 0 {
        return Err(Fault::Kind("an integer"));
    }
    Ok(())
}

/// The header of block `v`.
#[inline(always)]
pub(crate) fn header<T: Trust>(v: Value) -> Access<Header> {
    if T::CHECKED && !v.is_block() {
        return Err(Fault::NotABlock);
    }
    // SAFETY: tested, or trusted.
    Ok(unsafe { v.header() })
}

/// Writes field `i` for the first time, in a newly allocated block of `wosize` words.
#[inline(always)]
pub(crate) fn init_field(heap: &mut Heap, b: Value, wosize: usize, i: usize, v: Value) {
    debug_assert!(i < wosize);
    // SAFETY: `b` has just been allocated with `wosize` fields; a large one is old and needs the barrier.
    unsafe {
        if wosize <= MAX_YOUNG_WOSIZE {
            *b.field_ptr(i) = v;
        } else {
            heap.initialize(b, i, v);
        }
    }
}

/// Field `i` of `v` ← `to`, with the barrier. Does nothing and returns false where the quick form would have to call.
#[inline(always)]
#[must_use]
pub(crate) fn modify<T: Trust>(heap: &mut Heap, v: Value, i: usize, to: Value) -> bool {
    // SAFETY: callers tested `writable`, or the code is trusted.
    unsafe {
        if T::QUICK {
            return heap.modify_quickly(v, i, to);
        }
        heap.modify(v, i, to);
    }
    true
}

/// A value at an absolute address in the code: a unit's slot.
#[inline(always)]
pub(crate) fn slot_at(address: i64) -> Value {
    // SAFETY: translation resolved the operand to a word of a pinned block, which the code object of the running unit
    // keeps alive (the frame invariant).
    unsafe { *(address as *const Value) }
}

/// The method cache at an absolute address in the code.
#[inline(always)]
pub(crate) fn cache_at<'a>(address: i64) -> &'a AtomicU64 {
    // SAFETY: translation resolved it to an entry of the unit's caches, which live as long as its code, and are only
    // accessed here once the code runs.
    unsafe { &*(address as *const AtomicU64) }
}

/// Writes a float into a newly allocated block.
#[inline(always)]
pub(crate) fn init_double(b: Value, i: usize, f: f64) {
    // SAFETY: callers have just allocated `b` with that many doubles.
    unsafe { b.set_double_field(i, f) }
}

/// Turns a newly allocated block of `wosize` words into a string of `len` zero bytes.
#[inline(always)]
pub(crate) fn init_string(b: Value, wosize: usize, len: usize) {
    debug_assert!(len / 8 + 1 == wosize);
    // SAFETY: callers have just allocated `b` with that many words; the last byte gives the amount of padding.
    unsafe {
        for i in 0..wosize - 1 {
            b.set_word(i, 0);
        }
        b.set_word(wosize - 1, ((7 - len as u64 % 8) << 56).to_le());
    }
}

/// Copies `n` bytes from one string to another, or within one. Does nothing and returns false if either is too short.
#[inline(always)]
#[must_use]
pub(crate) fn blit_bytes<T: Trust>(from: (Value, i64), to: (Value, i64), n: i64) -> bool {
    let has = |(v, at): (Value, i64)| {
        string_len::<T>(v)
            .is_ok_and(|len| at >= 0 && n >= 0 && at.checked_add(n).is_some_and(|end| end <= len as i64))
    };
    // Long copies are left to the primitive, which checks for interrupts.
    if n > PIECE_BYTES as i64 || !has(from) || !has(to) {
        return false;
    }
    let start = |(v, at): (Value, i64)| v.as_ptr().cast::<u8>().wrapping_offset(at as isize);
    // SAFETY: both ranges lie within their strings (just tested); `copy` allows overlap.
    unsafe { std::ptr::copy(start(from), start(to), n as usize) };
    true
}

/// Gives a block of one value, which callers have tested for, the tag of a forced suspension.
#[inline(always)]
pub(crate) fn set_forward(v: Value) {
    // SAFETY: it is a block of one value, and stays one.
    unsafe { v.set_header(Header::new(1, tag::FORWARD).with_colour(v.header().colour())) }
}

/// Stores a byte at the address that [`byte`] returned.
#[inline(always)]
pub(crate) fn store_byte(at: *mut u8, b: u8) {
    // SAFETY: `byte` tested the address, or the code is trusted.
    unsafe { *at = b }
}

/// Loads a byte from the address that [`byte`] returned.
#[inline(always)]
pub(crate) fn load_byte(at: *mut u8) -> u8 {
    // SAFETY: `byte` tested the address, or the code is trusted.
    unsafe { *at }
}

/// Word `i` of a closure block, of any kind.
#[inline(always)]
pub(crate) fn closure_word(block: Value, i: usize) -> Value {
    // SAFETY: callers computed `i` from the block's own size.
    unsafe { block.field(i) }
}
