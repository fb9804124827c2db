//! Operations on whole blocks, for `Obj`, arrays and `let rec`, beyond those of [slots](crate::prim::slots): copying,
//! retagging, truncating and overwriting blocks, and reading their raw words. Everything is checked here, so that no
//! program can make a block that the collector, or a later reader, would misinterpret.

use std::rc::Rc;

use spelter_heap::Val;
use spelter_heap::raw::{Header, MAX_YOUNG_WOSIZE, Seen, Value, tag};

use crate::Machine;
use crate::exec::dispatch::Grade;
use crate::exec::regs::{Regs, enclosing, last_field};
use crate::inspect::backtrace::code_point;
use crate::layout::{SIBLING_WORDS, closinfo, variables_at};
use crate::prim::{Raise, Res, Slot};
use crate::threads::interrupt::{BLOCKS_AT_ONCE, PIECE_WORDS, pieces};

fn refuse<T>(what: &'static str) -> Result<T, Raise> {
    Err(Raise::invalid(what))
}

/// Whether the collector treats the words of a block with this tag as values.
fn scanned(tag: u8) -> bool {
    tag < tag::NO_SCAN
}

/// Whether a block has the tag of closures, but no code, for instance because `let rec` has not filled it in yet. Only
/// the machine makes or reads such blocks.
fn is_without_code(v: Value, h: Header) -> bool {
    // SAFETY: a live closure block has two words at least.
    h.tag() == tag::CLOSURE && unsafe { v.field(0) } == Value::UNIT
}

/// Whether a block with this tag may consist of words that are all `()` or all zero, or of no words.
pub(crate) fn is_plain_tag(tag: u8) -> bool {
    scanned(tag) && tag != tag::CLOSURE && tag != tag::INFIX
        || matches!(tag, tag::DOUBLE_ARRAY | tag::ABSTRACT)
}

impl Machine {
    /// The block in a slot, and its header.
    fn block(&self, s: Slot) -> Result<(Value, Header), Raise> {
        let v = self.raw(s);
        if v.is_int() {
            return refuse("primitive: a block was expected");
        }
        // SAFETY: a slot holds an integer or a live block.
        Ok((v, unsafe { v.header() }))
    }

    /// Whether checked code is running, which must not see addresses.
    fn keeps_addresses(&self) -> bool {
        self.engine.grade() == Grade::Checked
    }

    /// Whether the words of an ordinary block are all integers, so that reading them as raw words reveals no address.
    fn is_without_addresses(&self, v: Value, h: Header) -> Result<bool, Raise> {
        if !self.keeps_addresses() {
            return Ok(true);
        }
        for mut part in pieces(h.wosize()) {
            self.check_own_interrupt()?;
            // SAFETY: a live block of that many words.
            if !part.all(|i| unsafe { v.field(i) }.is_int()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether code relies on the shape of the block, so that it must not be changed.
    fn is_table(&self, v: Value) -> bool {
        v == self.roots.globals
    }

    /// The closure whose block contains a value: the value itself, unless it is an inner closure.
    pub fn enclosing<'m>(&'m self, v: Val<'m>) -> Val<'m> {
        if v.is_int() {
            return v;
        }
        // SAFETY: a live block; the block around an inner closure is live too.
        self.as_val(unsafe { v.raw().enclosing() })
    }

    // ---- arrays ----------------------------------------------------------------------------------

    /// A block of `len` copies of the value in `init`.
    pub fn new_filled(&mut self, tag: u8, len: usize, init: Slot) -> Res<'_> {
        if !scanned(tag) || tag == tag::INFIX || tag == tag::CLOSURE {
            return refuse("primitive: not a tag of ordinary blocks");
        }
        if len > PIECE_WORDS && self.raw(init).is_block() {
            self.collect_minor();
        }
        let b = self.alloc_raw(len, tag)?;
        let v = self.raw(init);
        for part in pieces(len) {
            self.check_own_interrupt()?;
            for i in part {
                // SAFETY: `b` was just allocated with that many fields, and nothing has been allocated since.
                unsafe { self.heap.initialize(b, i, v) };
            }
        }
        Ok(self.as_val(b))
    }

    /// A flat float array of `len` times `init`.
    pub fn new_filled_floats(&mut self, len: usize, init: f64) -> Res<'_> {
        let b = self.alloc_raw(len, if len == 0 { 0 } else { tag::DOUBLE_ARRAY })?;
        for part in pieces(len) {
            self.check_own_interrupt()?;
            for i in part {
                // SAFETY: just allocated with that many doubles.
                unsafe { b.set_double_field(i, init) };
            }
        }
        Ok(self.as_val(b))
    }

    /// One array made of the pieces `(array, from, length)`, flat if one of the arrays is. The atom if it is empty.
    pub fn new_gathered(&mut self, pieces: &[(Slot, usize, usize)]) -> Res<'_> {
        let mut total: usize = 0;
        let mut flat = false;
        for (i, (array, from, len)) in pieces.iter().enumerate() {
            if i % BLOCKS_AT_ONCE == BLOCKS_AT_ONCE - 1 {
                self.check_own_interrupt()?;
            }
            let (_, h) = self.block(*array)?;
            if self.is_sealed(*array) {
                return refuse("primitive: an array was expected");
            }
            flat |= h.tag() == tag::DOUBLE_ARRAY;
            if from.checked_add(*len).is_none_or(|end| end > h.wosize()) {
                return Err(Raise::bounds());
            }
            total = total.saturating_add(*len);
        }
        for (i, (array, _, len)) in pieces.iter().enumerate() {
            if i % BLOCKS_AT_ONCE == BLOCKS_AT_ONCE - 1 {
                self.check_own_interrupt()?;
            }
            let tag = self.block(*array)?.1.tag();
            if *len > 0 && (flat != (tag == tag::DOUBLE_ARRAY) || !flat && !scanned(tag)) {
                return refuse("primitive: arrays of one kind were expected");
            }
        }
        if total > crate::MAX_WOSIZE {
            return refuse("Array.concat");
        }
        let tag = if flat && total > 0 { tag::DOUBLE_ARRAY } else { 0 };
        if total > PIECE_WORDS && !flat {
            self.collect_minor();
        }
        let b = self.alloc_raw(total, tag)?;
        let mut at = 0;
        for (i, (array, from, len)) in pieces.iter().enumerate() {
            if i % BLOCKS_AT_ONCE == BLOCKS_AT_ONCE - 1 {
                self.check_own_interrupt()?;
            }
            let v = self.raw(*array);
            for part in crate::threads::interrupt::pieces(*len) {
                self.check_own_interrupt()?;
                // SAFETY: both ranges lie within their blocks (checked above; the sum is the new one's size), which are both
                // flat or both scanned. A block that was just allocated and is not large is young, and needs no barrier.
                unsafe {
                    if flat || total <= MAX_YOUNG_WOSIZE {
                        let (from, to) = (v.field_ptr(from + part.start), b.field_ptr(at + part.start));
                        std::ptr::copy_nonoverlapping(from, to, part.len());
                    } else {
                        for i in part {
                            self.heap.initialize(b, at + i, v.field(from + i));
                        }
                    }
                }
            }
            at += len;
        }
        Ok(self.as_val(b))
    }

    /// Fields `at..at + len` of an array of values ← the value in `v`.
    pub fn fill_fields(&mut self, array: Slot, at: usize, len: usize, v: Slot) -> Result<(), Raise> {
        let (b, h) = self.block(array)?;
        if !scanned(h.tag()) || self.is_sealed(array) {
            return refuse("primitive: an array was expected");
        }
        let end = at.checked_add(len).filter(|end| *end <= h.wosize()).ok_or_else(Raise::bounds)?;
        if len > PIECE_WORDS {
            if self.raw(v).is_block() {
                self.collect_minor();
            }
            return self
                .in_pieces(len, PIECE_WORDS, |m, part| m.fill_fields(array, at + part.start, part.len(), v));
        }
        let v = self.raw(v);
        for i in at..end {
            // SAFETY: a field of a scanned block.
            unsafe { self.heap.modify(b, i, v) };
        }
        Ok(())
    }

    // ---- whole blocks ----------------------------------------------------------------------------

    /// A block as made by `Obj.new_block`.
    ///
    /// # Errors
    /// For custom blocks and infix headers; for closures without room for their closinfo; for strings without a word
    /// for their padding.
    pub fn new_raw_block(&mut self, tag: u8, wosize: usize) -> Res<'_> {
        match tag {
            tag::CUSTOM | tag::INFIX => return refuse("Obj.new_block"),
            tag::CLOSURE if wosize < 2 || self.engine.grade() == Grade::Checked => {
                return refuse("Obj.new_block");
            }
            tag if wosize == 0 && !is_plain_tag(tag) => return refuse("Obj.new_block"),
            _ => {}
        }
        let b = self.alloc_raw(wosize, tag)?;
        if tag == tag::CLOSURE {
            // SAFETY: just allocated with at least two fields; an integer over an integer.
            unsafe { *b.field_ptr(1) = closinfo(2) };
        }
        Ok(self.as_val(b))
    }

    /// A copy of the block in `s`, under another tag (`Obj.with_tag`) or its own.
    ///
    /// # Errors
    /// When the copy would interpret words as something that they are not: as values, bytes or operations; in checked
    /// code, as numbers when they are addresses. Also for blocks that look like closures but have no code.
    pub fn new_copy(&mut self, s: Slot, new_tag: Option<u8>) -> Res<'_> {
        let (v, h) = self.block(s)?;
        let (wosize, old_tag) = (h.wosize(), h.tag());
        let tag = new_tag.unwrap_or(old_tag);
        if wosize == 0 {
            return if is_plain_tag(tag) { Ok(self.atom(tag)) } else { refuse("Obj.with_tag") };
        }
        match (old_tag, tag) {
            (tag::CUSTOM, tag::CUSTOM) => return self.copy_of_custom(v),
            (tag::ABSTRACT, tag::ABSTRACT) => return self.copy_of_abstract(s),
            _ => {}
        }
        if !self.may_retag(v, h, tag)? {
            return refuse("Obj.with_tag: the block's words mean something else under that tag");
        }
        if wosize > PIECE_WORDS && scanned(tag) {
            self.collect_minor();
        }
        let b = self.alloc_raw(wosize, tag)?;
        let v = self.raw(s);
        for part in pieces(wosize) {
            self.check_own_interrupt()?;
            // SAFETY: two blocks of the same size. What is copied into a scanned block comes from a scanned block
            // (`may_retag`); a block that was just allocated and is not large is young, and needs no barrier.
            unsafe {
                if !scanned(tag) || wosize <= MAX_YOUNG_WOSIZE {
                    let (from, to) = (v.field_ptr(part.start), b.field_ptr(part.start));
                    std::ptr::copy_nonoverlapping(from, to, part.len());
                } else {
                    for i in part {
                        self.heap.initialize(b, i, v.field(i));
                    }
                }
            }
        }
        Ok(self.as_val(b))
    }

    /// A copy of a custom block, only for kinds that do not depend on the number of copies.
    fn copy_of_custom(&mut self, v: Value) -> Res<'_> {
        // SAFETY: the caller has tested the tag. The payload is copied before anything is allocated.
        let (ops, payload) = unsafe { (v.custom_ops(), v.custom_payload().to_vec()) };
        // Externals have an empty payload, and cannot be copied either.
        if ops.is_mourned() || payload.is_empty() {
            return refuse("Obj.dup: a custom block that owns its data");
        }
        self.new_custom(ops, &payload, 0)
    }

    /// A copy of an abstract block: of an ephemeron, which must be registered with the collector, or of words that are
    /// all zero.
    fn copy_of_abstract(&mut self, s: Slot) -> Res<'_> {
        let wosize = self.block(s)?.1.wosize();
        let Ok(keys) = self.ephemeron_keys(s) else { return self.new_block_sized(tag::ABSTRACT, wosize) };
        let copy = self.push(|m| m.new_ephemeron(keys))?;
        self.ephemeron_blit(s, 0, copy, 0, keys)?;
        self.ephemeron_blit_data(s, copy)?;
        Ok(self.val(copy))
    }

    /// Whether the words of a block may be read under another tag.
    ///
    /// # Errors
    /// When the call must stop before the answer is known.
    fn may_retag(&self, v: Value, h: Header, tag: u8) -> Result<bool, Raise> {
        let old = h.tag();
        if old == tag {
            let is_sealed = self.keeps_addresses() && is_without_code(v, h);
            return Ok(!is_sealed && !matches!(tag, tag::CUSTOM | tag::INFIX));
        }
        if self.keeps_addresses() && (old == tag::CLOSURE || tag == tag::CLOSURE) {
            return Ok(false);
        }
        if scanned(old) && !scanned(tag) && !self.is_without_addresses(v, h)? {
            return Ok(false);
        }
        Ok(match tag {
            // Abstract blocks are ephemerons, or all zero.
            tag::CUSTOM | tag::INFIX | tag::ABSTRACT => false,
            _ if matches!(old, tag::CUSTOM | tag::INFIX | tag::ABSTRACT) => false,
            // A closure that was made with another tag has code and closinfo only if the program wrote them.
            tag::CLOSURE => {
                // SAFETY: a block of at least two words.
                scanned(old) && h.wosize() >= 2 && unsafe { v.field(0).is_int() && v.field(1).is_int() }
            }
            // SAFETY: a block of at least one word.
            tag::STRING => h.wosize() > 0 && unsafe { v.word(h.wosize() - 1) }.to_le_bytes()[7] < 8,
            _ if scanned(tag) => scanned(old),
            _ => true,
        })
    }

    /// Changes the tag of the block in `s` (`Obj.set_tag`).
    ///
    /// # Errors
    /// The errors of [`Machine::new_copy`]; also for empty blocks, which are shared.
    pub fn set_tag(&mut self, s: Slot, tag: u8) -> Result<(), Raise> {
        let (v, h) = self.block(s)?;
        if h.tag() == tag {
            return Ok(());
        }
        if h.wosize() == 0 || self.is_table(v) || !self.may_retag(v, h, tag)? {
            return refuse("Obj.set_tag: the block's words mean something else under that tag");
        }
        if scanned(h.tag()) && !scanned(tag) {
            self.settle()?;
        }
        let (v, h) = self.block(s)?;
        self.retag(v, h, tag)
    }

    /// Makes the collector process its records about fields, before some of them become raw words.
    ///
    /// # Errors
    /// When the call must stop meanwhile.
    fn settle(&mut self) -> Result<(), Raise> {
        // It is postponed only for a call that must stop.
        while !self.complete_major() {
            self.stop_or_wait()?;
        }
        self.collect_minor();
        Ok(())
    }

    /// Overwrites the tag of a block. The caller has made sure that its words are valid under that tag.
    ///
    /// # Errors
    /// When the call must stop before it is done.
    fn retag(&mut self, v: Value, h: Header, tag: u8) -> Result<(), Raise> {
        // SAFETY: a live block. Fields that the collector will no longer see are shown to the barrier first, since
        // marking relies on reaching what was reachable when it began.
        unsafe {
            if scanned(h.tag()) && !scanned(tag) {
                for part in pieces(h.wosize()) {
                    self.check_own_interrupt()?;
                    for i in part {
                        let field = v.field(i);
                        self.heap.modify(v, i, field);
                    }
                }
            }
            // Keeps the current colour, which may have changed meanwhile.
            v.set_header(Header::new(h.wosize(), tag).with_colour(v.header().colour()));
        }
        Ok(())
    }

    /// Makes the block in `s` smaller (`Obj.truncate`).
    ///
    /// # Errors
    /// For sizes that are 0 or larger than the current one; for blocks whose last words have a special meaning:
    /// closures, custom and abstract blocks, and strings that would not end in valid padding.
    pub fn truncate(&mut self, s: Slot, wosize: usize) -> Result<(), Raise> {
        let (v, h) = self.block(s)?;
        if wosize == 0 || wosize > h.wosize() || self.is_table(v) {
            return refuse("Obj.truncate");
        }
        if wosize == h.wosize() {
            return Ok(());
        }
        // SAFETY: `wosize` is at least one, and less than the block's size.
        let last = unsafe { v.word(wosize - 1) }.to_le_bytes()[7];
        match h.tag() {
            tag::CLOSURE | tag::INFIX | tag::CUSTOM | tag::ABSTRACT => return refuse("Obj.truncate"),
            tag::STRING if last >= 8 => return refuse("Obj.truncate"),
            _ => {}
        }
        // In steps if the collector must see what is cut off. The block is valid after each step.
        let mut left = h.wosize();
        while scanned(h.tag()) && left - wosize > PIECE_WORDS {
            left -= PIECE_WORDS;
            // SAFETY: the size is at least `wosize`, and it is not a custom block.
            unsafe { self.heap.truncate(v, left) };
            self.check_own_interrupt()?;
        }
        // SAFETY: the size was checked, and it is not a custom block.
        unsafe { self.heap.truncate(v, wosize) };
        Ok(())
    }

    /// Whether the value in `s` is a block in the nursery.
    pub fn is_young(&self, s: Slot) -> bool {
        self.heap.is_young_block(self.raw(s))
    }

    /// The number of words, including headers, of all blocks that are reachable from the value in `s`.
    ///
    /// # Errors
    /// When there is no memory to record which blocks have been counted, or the call must stop.
    pub fn reachable_words(&self, s: Slot) -> Result<usize, Raise> {
        let mut seen = Seen::counting(!self.behaviour().sees_outside);
        // SAFETY: a slot holds a valid value.
        let outcome = unsafe {
            self.heap.reachable_words_unless(self.raw(s), &mut seen, || self.check_own_interrupt())
        };
        self.give_back(seen.bytes(), seen);
        outcome
    }

    // ---- bare words ------------------------------------------------------------------------------

    /// Word `i` of the block in `s`, without interpretation.
    ///
    /// # Errors
    /// In checked code, for anything but integers and the contents of strings and floats. Instead of the address of a
    /// function's code, it receives the code point, as in backtraces.
    pub fn raw_field(&self, s: Slot, i: usize) -> Result<u64, Raise> {
        let (v, h) = self.block(s)?;
        let size = match h.tag() {
            // SAFETY: an inner closure extends to the end of the enclosing block.
            tag::INFIX => (unsafe { v.enclosing().wosize() }) - h.wosize(),
            _ => h.wosize(),
        };
        if i >= size {
            return Err(Raise::bounds());
        }
        // SAFETY: within the block.
        let word = unsafe { v.word(i) };
        let is_number = match h.tag() {
            tag::STRING | tag::DOUBLE | tag::DOUBLE_ARRAY => true,
            tag::CLOSURE | tag::INFIX if i == 0 && self.keeps_addresses() => {
                let place = code_point(&self.registry.borrow(), Value::from_bits(word));
                return Ok(place.map_or(0, |place| place.to_int() as u64));
            }
            tag::CLOSURE | tag::INFIX => false,
            tag => scanned(tag) && word & 1 != 0,
        };
        if is_number || !self.keeps_addresses() { Ok(word) } else { refuse("Obj.raw_field: no number") }
    }

    /// Whether a word is a code address that a trusted program may store in a closure: that of code that is never
    /// freed, or of a function that the closure keeps alive, either itself or through the function that it partially
    /// applies.
    pub(crate) fn may_run(&self, closure: Value, word: Value) -> bool {
        if self.engine.grade() != Grade::Trusted || !Regs::is_code_value(word) {
            return false;
        }
        // SAFETY: a closure (callers have tested its tag), which has at least two words, or another block whose words
        // are read only within its size.
        let kept = |v: Value| self.unit_of_object(unsafe { Val::from_raw(last_field(v)) });
        if word == self.stub_code() {
            return kept(closure).is_some();
        }
        let address = Regs::code_address(word);
        let Some(unit) = self.registry.borrow().find(address as usize).cloned() else { return false };
        if !unit.is_loaded() {
            return true;
        }
        let is_unit = |v: Value| kept(v).is_some_and(|kept| Rc::ptr_eq(&kept, &unit));
        // SAFETY: the tag and size are tested; a partial application has the function in its third word.
        let function = unsafe {
            let (block, _) = enclosing(closure);
            let third = if block.wosize() > 2 { block.field(2) } else { Value::int(0) };
            third.is_block() && matches!(third.tag(), tag::CLOSURE | tag::INFIX) && is_unit(third)
        };
        unit.shapes().is_ok_and(|shapes| shapes.is_function(unit.position(address as usize)))
            && (function || is_unit(closure))
    }

    /// Overwrites word `i` of the block in `s`.
    ///
    /// # Errors
    /// When the word would be treated as a pointer, or the block would lose its shape.
    pub fn set_raw_field(&mut self, s: Slot, i: usize, bits: u64) -> Result<(), Raise> {
        let (v, h) = self.block(s)?;
        if i >= h.wosize() {
            return Err(Raise::bounds());
        }
        let word = Value::from_bits(bits);
        match h.tag() {
            tag::DOUBLE | tag::DOUBLE_ARRAY => {}
            tag::STRING if i + 1 < h.wosize() || bits.to_le_bytes()[7] < 8 => {}
            // The toplevel's `#trace` stores one function's code in another's closure.
            tag::CLOSURE | tag::INFIX if i == 0 && self.may_run(v, word) => {}
            tag::CLOSURE | tag::INFIX => return refuse("Obj.set_raw_field: a closure"),
            tag if scanned(tag) && word.is_int() => {
                // SAFETY: an integer into a field of a scanned block.
                unsafe { self.heap.modify(v, i, word) };
                return Ok(());
            }
            _ => return refuse("Obj.set_raw_field: the word would break the block"),
        }
        // SAFETY: within a block that is not scanned, and whose words may be anything (but for the padding, checked above).
        unsafe { v.set_word(i, bits) };
        Ok(())
    }

    /// The value `offset` bytes away from the one in `s`: an integer, or a closure within the same block.
    ///
    /// # Errors
    /// When there is no value at that place.
    pub fn add_offset(&self, s: Slot, offset: i64) -> Result<Val<'_>, Raise> {
        let v = self.raw(s);
        let target = Value::from_bits(v.bits().wrapping_add(offset as u64));
        if offset == 0 || v.is_int() && target.is_int() {
            return Ok(self.as_val(target));
        }
        if v.is_block() && offset % 8 == 0 {
            // SAFETY: live blocks; the infix header looked at lies within the enclosing block, after its closinfo.
            unsafe {
                let outer = v.enclosing();
                let distance = target.bits().wrapping_sub(outer.bits()) / 8;
                let h = outer.header();
                // After the functions come variables, which may be integers that look like headers.
                let variables = || variables_at(outer.field(1)).min(h.wosize()) as u64;
                // Also, one function's distance to the variables may look like the header of a next function.
                let is_entry = || distance.is_multiple_of(SIBLING_WORDS as u64) || is_without_code(outer, h);
                if distance == 0
                    || h.tag() == tag::CLOSURE
                        && (3..variables()).contains(&distance)
                        && is_entry()
                        && target.header() == Header::new(distance as usize, tag::INFIX)
                {
                    return Ok(self.as_val(target));
                }
            }
        }
        refuse("Obj.add_offset: there is no value at this offset")
    }

    // ---- let rec through values ------------------------------------------------------------------

    /// A dummy block of `wosize` fields, to be overwritten by [`Machine::update_dummy`].
    pub fn new_dummy(&mut self, wosize: usize) -> Res<'_> {
        self.new_block_sized(0, wosize)
    }

    /// A dummy for a closure, to be overwritten by [`Machine::update_dummy`]. The compiler assumes `wosize` words;
    /// closures of loaded code are larger.
    pub fn new_dummy_function(&mut self, wosize: usize) -> Res<'_> {
        let slack = self.closure_slack();
        self.new_block_sized(0, wosize.saturating_add(slack))
    }

    /// A dummy for a block of closures, to be overwritten by [`Machine::update_dummy`]. Returns the closure `offset`
    /// words into it. Until then the whole block counts as code words.
    pub fn new_dummy_infix(&mut self, wosize: usize, offset: usize) -> Res<'_> {
        let wosize = wosize.saturating_add(self.closure_slack());
        if wosize < 2 || offset == 1 || offset == 2 || offset >= wosize {
            return refuse("caml_alloc_dummy_infix");
        }
        let b = self.alloc_raw(wosize, tag::CLOSURE)?;
        // SAFETY: within the new block: integers over integers. An infix header is odd.
        unsafe {
            *b.field_ptr(1) = closinfo(wosize);
            if offset == 0 {
                return Ok(self.as_val(b));
            }
            let header = Header::new(offset, tag::INFIX);
            *b.field_ptr(offset - 1) = Value::from_bits(header.bits());
            Ok(self.as_val(Value::from_ptr(b.field_ptr(offset).cast())))
        }
    }

    /// Overwrites a dummy, including its tag, with the final value.
    ///
    /// # Errors
    /// When that is not a block of the dummy's size.
    pub fn update_dummy(&mut self, dummy: Slot, new: Slot) -> Result<(), Raise> {
        if self.block(new)?.1.tag() == tag::DOUBLE_ARRAY {
            self.settle()?;
        }
        let ((mut to, mut to_h), (mut from, mut from_h)) = (self.block(dummy)?, self.block(new)?);
        if to_h.tag() == tag::INFIX || from_h.tag() == tag::INFIX {
            if to_h.tag() != from_h.tag() || to_h.wosize() != from_h.wosize() {
                return refuse("caml_update_dummy: not the closure that the dummy stands for");
            }
            // SAFETY: infix pointers point into live blocks.
            unsafe {
                (to, from) = (to.enclosing(), from.enclosing());
                (to_h, from_h) = (to.header(), from.header());
            }
        }
        if to_h.wosize() != from_h.wosize() {
            return refuse("caml_update_dummy: not of the dummy's size");
        }
        let tag = from_h.tag();
        if from_h.wosize() == 0 || to == from {
            return Ok(());
        }
        // SAFETY: both are live blocks.
        let is_object = |v: Value| self.unit_of_object(unsafe { Val::from_raw(v) }).is_some();
        if is_object(from) || is_object(to) {
            return refuse("caml_update_dummy: not a block that `let rec` makes");
        }
        if to_h.tag() == tag::CLOSURE && !self.may_become(to, from, from_h) {
            return refuse("caml_update_dummy: not the closure that the dummy stands for");
        }
        if self.keeps_addresses() && is_without_code(from, from_h) {
            return refuse("caml_update_dummy: a closure without code");
        }
        if self.is_table(to) || !scanned(to_h.tag()) || !scanned(tag) && tag != tag::DOUBLE_ARRAY {
            return refuse("caml_update_dummy: not a block that `let rec` makes");
        }
        self.retag(to, to_h, tag)?;
        for part in pieces(from_h.wosize()) {
            if part.start > 0 {
                self.check_own_interrupt()?;
            }
            for i in part {
                // SAFETY: two blocks of the same size and tag by now, scanned or made of doubles.
                unsafe {
                    if tag == tag::DOUBLE_ARRAY {
                        to.set_word(i, from.word(i));
                    } else {
                        self.heap.modify(to, i, from.field(i));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the closure `to` may be overwritten with a block of the same size: it has the same inner closures, and
    /// in checked code it still is a dummy without code.
    fn may_become(&self, to: Value, from: Value, h: Header) -> bool {
        // SAFETY: live blocks of the same size, at least two words.
        unsafe {
            let is_dummy = to.field(0) == Value::UNIT && to.field(1) == closinfo(h.wosize());
            let variables = |v: Value| variables_at(v.field(1)).min(h.wosize());
            // An integer among the variables may look like a header.
            let has_inner = |i: usize| {
                h.tag() == tag::CLOSURE
                    && from.word(i) == to.word(i)
                    && (i + 1).is_multiple_of(SIBLING_WORDS)
                    && i + 1 < variables(from)
            };
            let is_inner = |i: &usize| to.word(*i) == Header::new(i + 1, tag::INFIX).bits();
            let same_inner = (2..variables(to)).filter(is_inner).all(has_inner);
            same_inner && (is_dummy || !self.keeps_addresses())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    fn machine() -> Machine {
        Machine::new(Settings::default())
    }

    fn block(m: &mut Machine, tag: u8, ints: &[i64]) -> Slot {
        let fields: Vec<Slot> = ints.iter().map(|i| m.push_int(*i)).collect();
        m.push(|m| m.new_block(tag, &fields)).unwrap()
    }

    /// Whether an operation was refused with `Invalid_argument`.
    fn refused<T>(outcome: Result<T, Raise>) -> bool {
        matches!(outcome, Err(Raise::Invalid(_)))
    }

    #[test]
    fn words_are_never_taken_for_what_they_are_not() {
        let mut m = machine();
        let pair = block(&mut m, 0, &[1, 2]);
        let int64 = m.push(|m| m.new_int64(5)).unwrap();
        let float = m.push(|m| m.new_float(1.5)).unwrap();
        let empty = m.push(|m| Ok(m.atom(0))).unwrap();
        for tag in [tag::CUSTOM, tag::INFIX] {
            assert!(refused(m.set_tag(pair, tag)));
            assert!(refused(m.new_copy(pair, Some(tag))));
            assert!(refused(m.new_raw_block(tag, 3)));
        }
        assert!(refused(m.set_tag(float, 0)));
        assert!(refused(m.set_tag(int64, tag::STRING)));
        assert!(refused(m.set_tag(empty, 1)));
        // An even word would be a pointer.
        assert!(refused(m.set_raw_field(pair, 0, 8)));
        assert!(refused(m.set_raw_field(pair, 2, 1)));
        assert!(refused(m.set_raw_field(int64, 0, 1)));
        assert_eq!(m.set_raw_field(pair, 0, 9), Ok(()));
        assert_eq!(m.val(pair).field(0).and_then(Val::int), Ok(4));
    }

    #[test]
    fn strings_keep_their_padding() {
        let mut m = machine();
        let s = m.push(|m| m.new_string(&[0xFF; 20])).unwrap();
        assert!(refused(m.truncate(s, 2)));
        assert!(refused(m.set_raw_field(s, 2, u64::MAX)));
        assert_eq!(m.set_raw_field(s, 0, 0), Ok(()));
        assert_eq!(m.bytes(s).unwrap().len(), 20);
        let pair = block(&mut m, 0, &[1, -1]);
        assert!(refused(m.set_tag(pair, tag::STRING)));
    }

    #[test]
    fn dummies_become_the_final_values() {
        let mut m = machine();
        let real = block(&mut m, 7, &[1, 2, 3]);
        let dummy = m.push(|m| m.new_dummy(3)).unwrap();
        let short = m.push(|m| m.new_dummy(2)).unwrap();
        assert_eq!(m.update_dummy(dummy, real), Ok(()));
        assert_eq!(m.val(dummy).tag(), Ok(7));
        assert_eq!(m.val(dummy).field(2).and_then(Val::int), Ok(3));
        assert!(refused(m.update_dummy(short, real)));
        let floats = m.push(|m| m.new_filled_floats(2, 1.5)).unwrap();
        assert_eq!(m.update_dummy(short, floats), Ok(()));
        assert_eq!(m.val(short).float_field(1), Ok(1.5));
        let inner = m.push(|m| m.new_dummy_infix(8, 4)).unwrap();
        assert_eq!(m.val(inner).tag(), Ok(tag::INFIX));
        let outer = m.enclosing(m.val(inner));
        assert_eq!((outer.tag(), outer.wosize()), (Ok(tag::CLOSURE), Ok(8)));
        assert!(refused(m.update_dummy(inner, real)));
        assert!(refused(m.new_dummy_infix(8, 8)));
    }

    #[test]
    fn offsets_lead_to_closures_only() {
        let mut m = machine();
        let inner = m.push(|m| m.new_dummy_infix(8, 4)).unwrap();
        let outer = m.add_offset(inner, -32).unwrap();
        assert_eq!(outer.tag(), Ok(tag::CLOSURE));
        assert!(refused(m.add_offset(inner, 8)));
        assert!(refused(m.add_offset(inner, 800)));
        let pair = block(&mut m, 0, &[1, 2]);
        assert!(refused(m.add_offset(pair, 8)));
    }

    #[test]
    fn gathers_arrays_of_one_kind() {
        let mut m = machine();
        let ints = block(&mut m, 0, &[1, 2, 3]);
        let floats = m.push(|m| m.new_filled_floats(2, 1.5)).unwrap();
        let empty = m.push(|m| Ok(m.atom(0))).unwrap();
        let both = m.new_gathered(&[(ints, 1, 2), (empty, 0, 0), (ints, 0, 1)]).unwrap();
        let all: Vec<_> = (0..3).map(|i| both.field(i).and_then(Val::int).unwrap()).collect();
        assert_eq!(all, [2, 3, 1]);
        assert_eq!(m.new_gathered(&[(empty, 0, 0), (floats, 0, 2)]).unwrap().float_len(), Ok(2));
        assert!(refused(m.new_gathered(&[(ints, 0, 3), (floats, 0, 2)])));
        assert!(refused(m.new_gathered(&[(ints, 2, 2)])));
        assert!(refused(m.new_gathered(&[(ints, usize::MAX, 2)])));
    }

    #[test]
    fn abstract_blocks_are_ephemerons_or_zero() {
        let mut m = machine();
        let pair = block(&mut m, 0, &[0, 1, 2]);
        assert!(refused(m.set_tag(pair, tag::ABSTRACT)));
        assert!(refused(m.new_copy(pair, Some(tag::ABSTRACT))));
        let e = m.push(|m| m.new_ephemeron(2)).unwrap();
        m.ephemeron_set(e, 1, Some(pair)).unwrap();
        assert!(refused(m.truncate(e, 1)));
        assert!(refused(m.set_tag(e, tag::DOUBLE_ARRAY)));
        assert!(refused(m.set_raw_field(e, 2, 8)));
        let copy = m.push(|m| m.new_copy(e, None)).unwrap();
        let key = m.ephemeron_get(copy, 1).unwrap().unwrap();
        assert!(m.val(key).same(m.val(pair)));
        let zero = m.push(|m| m.new_raw_block(tag::ABSTRACT, 3)).unwrap();
        let copy = m.push(|m| m.new_copy(zero, None)).unwrap();
        assert!(refused(m.raw_field(copy, 2)), "a word that may be anything");
        // SAFETY: no code is loaded.
        let engine = unsafe { crate::Engine::trusted(crate::Dispatch::default()) };
        let mut m = Machine::new(Settings { engine, ..Settings::default() });
        let zero = m.push(|m| m.new_raw_block(tag::ABSTRACT, 3)).unwrap();
        let copy = m.push(|m| m.new_copy(zero, None)).unwrap();
        assert_eq!(m.raw_field(copy, 2), Ok(0));
    }

    #[test]
    fn copies_of_custom_blocks() {
        let mut m = machine();
        let five = m.push(|m| m.new_int64(5)).unwrap();
        let copy = m.push(|m| m.new_copy(five, None)).unwrap();
        assert_eq!(m.int64(copy), Ok(5));
        assert!(!m.val(five).same(m.val(copy)));
        assert!(refused(m.new_copy(five, Some(0))));
    }
}
