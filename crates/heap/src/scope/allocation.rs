//! New blocks, in a scope.

use super::{Handle, Scope};
use crate::heap::OutOfMemory;
use crate::root::EXTERNAL;
use crate::roots::NoRoots;
use crate::value::{MAX_YOUNG_WOSIZE, Value, tag};
use std::any::Any;

/// # Panics
/// If blocks with this tag do not hold values only.
#[inline(always)]
fn check_tag(tag: u8) {
    assert!(tag < tag::NO_SCAN && tag != tag::INFIX, "tag {tag} is not for blocks of values");
}

impl<'s> Scope<'s> {
    /// A block with these fields. Without fields it is the atom: there is one per tag. May collect.
    ///
    /// # Errors
    /// When the heap is full.
    ///
    /// # Panics
    /// If `tag` is not below [`tag::NO_SCAN`], or is the tag of infix headers.
    #[inline]
    pub fn block<const N: usize>(
        &mut self,
        tag: u8,
        fields: [Handle<'s>; N],
    ) -> Result<Handle<'s>, OutOfMemory> {
        check_tag(tag);
        if N == 0 || N > MAX_YOUNG_WOSIZE {
            return self.block_of(tag, &fields);
        }
        let block = self.young_block(N, tag)?;
        for (i, field) in fields.into_iter().enumerate() {
            // SAFETY: a new young block of N fields; the values are read after the allocation.
            unsafe { *block.field_ptr(i) = self.value(field) };
        }
        Ok(self.handle_of(block))
    }

    /// As [`Scope::block`], for any number of fields.
    ///
    /// # Errors
    /// As for [`Scope::block`].
    pub fn block_of(&mut self, tag: u8, fields: &[Handle<'s>]) -> Result<Handle<'s>, OutOfMemory> {
        let block = self.array(tag, fields.len(), Handle::ZERO)?;
        let value = self.value(block);
        for (i, &field) in fields.iter().enumerate() {
            // SAFETY: a new block of that many fields.
            unsafe { self.heap.initialize(value, i, self.value(field)) };
        }
        Ok(block)
    }

    /// A block with `len` fields that all hold `init`. May collect.
    ///
    /// # Errors
    /// As for [`Scope::block`].
    pub fn array(&mut self, tag: u8, len: usize, init: Handle<'s>) -> Result<Handle<'s>, OutOfMemory> {
        check_tag(tag);
        // SAFETY: all values that are needed are on the shadow stack or in roots, which the heap scans itself.
        let block = unsafe { self.heap.alloc(&mut NoRoots, len, tag) }?;
        if init.as_int() != Some(0) {
            for i in 0..len {
                // SAFETY: a new block of that many fields.
                unsafe { self.heap.initialize(block, i, self.value(init)) };
            }
        }
        Ok(self.handle_of(block))
    }

    /// A string of these bytes. May collect.
    ///
    /// # Errors
    /// When the heap is full.
    pub fn string(&mut self, bytes: &[u8]) -> Result<Handle<'s>, OutOfMemory> {
        // SAFETY: as in `array`; `bytes` cannot lie in the heap, which is borrowed mutably.
        let string = unsafe {
            let string = self.heap.alloc_string(&mut NoRoots, bytes.len())?;
            string.bytes_mut().copy_from_slice(bytes);
            string
        };
        Ok(self.handle_of(string))
    }

    /// A boxed float. May collect.
    ///
    /// # Errors
    /// When the heap is full.
    #[inline]
    pub fn float(&mut self, f: f64) -> Result<Handle<'s>, OutOfMemory> {
        let block = self.young_block(1, tag::DOUBLE)?;
        // SAFETY: a new block of one word.
        unsafe { block.set_double_field(0, f) };
        Ok(self.handle_of(block))
    }

    /// An array of unboxed floats. May collect.
    ///
    /// # Errors
    /// When the heap is full.
    pub fn floats(&mut self, floats: &[f64]) -> Result<Handle<'s>, OutOfMemory> {
        let tag = if floats.is_empty() { 0 } else { tag::DOUBLE_ARRAY };
        // SAFETY: as in `array`.
        let block = unsafe { self.heap.alloc(&mut NoRoots, floats.len(), tag) }?;
        for (i, &f) in floats.iter().enumerate() {
            // SAFETY: a new block of that many words.
            unsafe { block.set_double_field(i, f) };
        }
        Ok(self.handle_of(block))
    }

    /// A block that owns a Rust value and drops it when the block dies. `outside_bytes` is the memory that the value
    /// holds, which makes the collector hurry. May collect.
    ///
    /// # Errors
    /// When the heap is full.
    pub fn external<T: Any>(&mut self, data: T, outside_bytes: usize) -> Result<Handle<'s>, OutOfMemory> {
        // SAFETY: as in `array`.
        let block =
            unsafe { self.heap.alloc_external(&mut NoRoots, &EXTERNAL, Box::new(data), outside_bytes) }?;
        Ok(self.handle_of(block))
    }

    /// Rust data with values beside it: a block whose field 0 is an [external](Scope::external), and whose fields from 1
    /// on are these. See [Rust data that holds values](crate::scope#rust-data-that-holds-values). May collect.
    ///
    /// # Errors
    /// As for [`Scope::block`].
    pub fn object<T: Any, const N: usize>(
        &mut self,
        tag: u8,
        data: T,
        outside_bytes: usize,
        fields: [Handle<'s>; N],
    ) -> Result<Handle<'s>, OutOfMemory> {
        self.escape(|s| {
            let external = s.external(data, outside_bytes)?;
            let object = s.array(tag, 1 + N, Handle::ZERO)?;
            let block = s.value(object);
            for (i, field) in [external].into_iter().chain(fields).enumerate() {
                let field = s.value(field);
                // SAFETY: a new block of that many fields.
                unsafe { s.heap.initialize(block, i, field) };
            }
            Ok(object)
        })
    }

    /// A young block whose fields the caller must fill at once.
    #[inline(always)]
    fn young_block(&mut self, wosize: usize, tag: u8) -> Result<Value, OutOfMemory> {
        // SAFETY: the callers fill the fields.
        match unsafe { self.heap.alloc_small(wosize, tag) } {
            Some(block) => Ok(block),
            None => self.young_block_after_work(wosize, tag),
        }
    }

    /// The same, after the collection work that is due.
    #[cold]
    #[inline(never)]
    fn young_block_after_work(&mut self, wosize: usize, tag: u8) -> Result<Value, OutOfMemory> {
        // SAFETY: as in `array`; the callers fill the fields.
        let block = unsafe { self.heap.alloc_young(&mut NoRoots, wosize, tag) }?;
        if self.heap.exhausted() {
            for i in 0..wosize {
                // SAFETY: a new block of that many words.
                unsafe { block.set_word(i, Value::UNIT.bits()) };
            }
            return Err(OutOfMemory { words: wosize });
        }
        Ok(block)
    }
}
