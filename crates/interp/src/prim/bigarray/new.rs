//! Making big arrays: new ones, and views of others.
//!
//! This file contains unsafe code: it fills blocks.

use std::ptr;
use std::rc::Rc;

use spelter_heap::raw::{CustomOps, Value};

use super::memory::{self, Kept, Memory};
use super::{BEFORE_DIMS, Kind, Layout, MAX_DIMS, Proxy, Words, count, flag, hidden_words, is_whole};
use crate::Machine;
use crate::Release;
use crate::fallible;
use crate::prim::{Raise, Res, Slot};

/// What a new block contains.
struct New<'a> {
    data: *mut u8,
    flags: usize,
    dims: &'a [usize],
    /// The bytes that belong to this array alone.
    outside: usize,
}

impl New<'_> {
    /// A block of this kind, which is finalised together with what it shares in `kept`. It has no proxy yet.
    fn block(
        &self,
        m: &mut Machine,
        ops: &'static CustomOps,
        kept: Option<Rc<Kept>>,
    ) -> Result<Value, Raise> {
        let hidden = hidden_words(ops);
        let outside = if hidden == 0 { 0 } else { self.outside };
        // What other parts allocate before a lack of memory can be reported.
        fallible::afford(0)?;
        let words = BEFORE_DIMS + self.dims.len() + hidden;
        // SAFETY: the machine's roots are complete whenever a primitive runs; all words are filled.
        unsafe {
            let v = m.heap.alloc_custom(&mut m.roots, ops, words, outside)?;
            Words::fill(v.as_ptr().add(1).cast(), self.data, self.flags, self.dims);
            if hidden != 0 {
                v.set_word(words, kept.map_or(ptr::null(), Rc::into_raw) as u64);
            }
            Ok(v)
        }
    }
}

/// A proxy that is freed unless an array gets it.
struct Pending(*mut Proxy);

impl Drop for Pending {
    fn drop(&mut self) {
        // SAFETY: no array has it.
        unsafe { memory::drop_proxy(self.0) }
    }
}

impl Machine {
    /// The kind of custom block that new big arrays are.
    ///
    /// # Errors
    /// When there is none, since nothing has registered it.
    pub fn kind_of_numbers(&self) -> Result<&'static CustomOps, Raise> {
        self.customs.arrays().ok_or_else(|| Raise::failure("this machine has no big arrays"))
    }

    /// A big array on this memory, of this kind of custom block.
    ///
    /// # Errors
    /// When memory is exhausted, or too small for the dimensions; when there are too many of these.
    pub fn new_numbers(
        &mut self,
        ops: &'static CustomOps,
        kind: Kind,
        layout: Layout,
        dims: &[usize],
        memory: Memory,
    ) -> Res<'_> {
        let layout = if layout == Layout::Fortran { flag::FORTRAN } else { 0 };
        let (len, managed) = (memory.len, memory.managed);
        let outside = if managed == flag::MANAGED { len } else { 0 };
        let v = self.new_numbers_with(ops, kind as usize | layout, dims, memory, outside)?.raw();
        if managed == flag::MAPPED && self.behaviour().memprof_sees_maps && self.heap.is_sampling() {
            self.sample_mapped(v, len);
        }
        Ok(self.as_val(v))
    }

    /// The same, with any flags besides those of the memory, and bytes that count as outside the heap.
    ///
    /// # Errors
    /// As for [`Machine::new_numbers`]; also when there is no kind with that number.
    pub fn new_numbers_with(
        &mut self,
        ops: &'static CustomOps,
        flags: usize,
        dims: &[usize],
        mut memory: Memory,
        outside: usize,
    ) -> Res<'_> {
        let kind = Kind::ALL.get(flags & flag::KIND_MASK).ok_or_else(Raise::bounds)?;
        let fits = count(dims).and_then(|n| n.checked_mul(kind.size())).is_some_and(|len| len <= memory.len);
        if !fits || dims.len() > MAX_DIMS || !is_whole(ops) {
            return Err(Raise::bounds());
        }
        let flags = flags & !flag::MANAGED_MASK | memory.managed;
        let kept = memory.kept.clone();
        let v = New { data: memory.data, flags, dims, outside }.block(self, ops, kept)?;
        // The array frees it.
        memory.managed = flag::EXTERNAL;
        Ok(self.as_val(v))
    }

    /// A big array that views the memory of the one in a slot, from the element that is `skipped` elements behind its
    /// first one.
    ///
    /// # Errors
    /// When memory is exhausted, or the view would extend beyond the array.
    pub fn new_view(&mut self, s: Slot, layout: Layout, dims: &[usize], skipped: usize) -> Res<'_> {
        let since_5_2 = self.dialect().release >= Release::V5_2;
        let a = self.numbers(s)?;
        let end = count(dims).and_then(|n| n.checked_add(skipped));
        if dims.len() > MAX_DIMS || end.is_none_or(|end| end > a.elements()) {
            return Err(Raise::bounds());
        }
        let ops = self.val(s).custom_ops()?;
        let mut flags = a.words().flags & !flag::FORTRAN;
        if layout == Layout::Fortran {
            flags |= flag::FORTRAN;
        }
        if since_5_2 {
            flags |= flag::SUBARRAY;
        }
        let data = a.data().wrapping_add(skipped * a.kind().size());
        // SAFETY: the words of a block. It may move, but stays in its slot.
        unsafe {
            let proxy = Pending(memory::new_proxy(a.words)?);
            let kept = kept_by(self.raw(s), ops);
            let v = New { data, flags, dims, outside: 0 }.block(self, ops, kept)?;
            let (array, view) = (self.numbers(s)?.words, v.as_ptr().add(1).cast());
            memory::share(array.cast_mut(), view, proxy.0);
            std::mem::forget(proxy);
            Ok(self.as_val(v))
        }
    }
}

/// The share that a view gets in what keeps an array's memory.
///
/// # Safety
/// `v` is a big array of this kind.
unsafe fn kept_by(v: Value, ops: &'static CustomOps) -> Option<Rc<Kept>> {
    // SAFETY: by contract; the word before the last one comes from `Rc::into_raw`, or is 0.
    unsafe {
        let kept = (is_whole(ops)).then(|| v.word(v.wosize() - 2) as *const Kept)?;
        if kept.is_null() {
            return None;
        }
        Rc::increment_strong_count(kept);
        Some(Rc::from_raw(kept))
    }
}
