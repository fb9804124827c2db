//! Ephemerons and finalisers: the heap's unsafe functions, with checks, for primitives.

use spelter_heap::Val;
use spelter_heap::WrongType;
use spelter_heap::raw::{FIRST_KEY, Value, tag};

use crate::Machine;
use crate::prim::slots::MAX_WOSIZE;
use crate::prim::{Raise, Res, Slot};
use crate::threads::interrupt::PIECE_WORDS;

/// The maximum number of keys of an ephemeron.
pub const MAX_KEYS: usize = MAX_WOSIZE - FIRST_KEY;

impl Machine {
    // ---- ephemerons ------------------------------------------------------------------------------

    /// A new ephemeron with this many keys, with nothing set.
    ///
    /// # Errors
    /// When memory is exhausted.
    pub fn new_ephemeron(&mut self, keys: usize) -> Res<'_> {
        if keys > MAX_KEYS {
            return Err(Raise::OutOfMemory);
        }
        // SAFETY: the machine's roots are complete whenever a primitive runs.
        let e = unsafe { self.heap.ephe_create(&mut self.roots, keys) }?;
        // SAFETY: just allocated; the result borrows the machine.
        Ok(unsafe { Val::from_raw(e) })
    }

    /// The ephemeron in a slot.
    fn ephemeron(&self, e: Slot) -> Result<Value, Raise> {
        let v = self.val(e);
        // The first word of an ephemeron is a boolean of the heap; other abstract blocks consist of zero words.
        // SAFETY: a block of at least one word, which is only read.
        let is_ephemeron = v.tag()? == tag::ABSTRACT
            && v.wosize()? >= FIRST_KEY
            && [Value::FALSE, Value::TRUE].contains(&unsafe { v.raw().field(0) });
        if is_ephemeron { Ok(v.raw()) } else { Err(WrongType { expected: "an ephemeron" }.into()) }
    }

    fn ephemeron_key(&self, e: Slot, key: usize) -> Result<Value, Raise> {
        if key < self.ephemeron_keys(e)? { self.ephemeron(e) } else { Err(Raise::bounds()) }
    }

    /// The number of keys of an ephemeron, set or not.
    pub fn ephemeron_keys(&self, e: Slot) -> Result<usize, Raise> {
        Ok(self.val(e).wosize()?.saturating_sub(FIRST_KEY)).and_then(|n| self.ephemeron(e).map(|_| n))
    }

    /// A key, in a new slot. `None` if it is unset or dead.
    pub fn ephemeron_get(&mut self, e: Slot, key: usize) -> Result<Option<Slot>, Raise> {
        let b = self.ephemeron_key(e, key)?;
        // SAFETY: an ephemeron with this key.
        let v = unsafe { self.heap.ephe_get_key(b, key) };
        Ok(v.map(|v| self.push_raw(v)))
    }

    /// The data, in a new slot. `None` if it is unset or dead.
    pub fn ephemeron_get_data(&mut self, e: Slot) -> Result<Option<Slot>, Raise> {
        let b = self.ephemeron(e)?;
        // SAFETY: an ephemeron.
        let v = unsafe { self.heap.ephe_get_data(b) };
        Ok(v.map(|v| self.push_raw(v)))
    }

    /// Sets a key, or unsets it.
    pub fn ephemeron_set(&mut self, e: Slot, key: usize, v: Option<Slot>) -> Result<(), Raise> {
        let b = self.ephemeron_key(e, key)?;
        let v = v.map(|s| self.raw(s));
        // SAFETY: an ephemeron with this key; `v` was just read from a root.
        unsafe {
            match v {
                Some(v) => self.heap.ephe_set_key(b, key, v),
                None => self.heap.ephe_unset_key(b, key),
            }
        }
        Ok(())
    }

    /// Sets the data, or unsets it.
    pub fn ephemeron_set_data(&mut self, e: Slot, v: Option<Slot>) -> Result<(), Raise> {
        let b = self.ephemeron(e)?;
        let v = v.map(|s| self.raw(s));
        // SAFETY: an ephemeron; `v` was just read from a root.
        unsafe {
            match v {
                Some(v) => self.heap.ephe_set_data(b, v),
                None => self.heap.ephe_unset_data(b),
            }
        }
        Ok(())
    }

    /// Whether a key is set and alive.
    pub fn ephemeron_check(&self, e: Slot, key: usize) -> Result<bool, Raise> {
        let b = self.ephemeron_key(e, key)?;
        // SAFETY: an ephemeron with this key.
        Ok(unsafe { self.heap.ephe_check_key(b, key) })
    }

    /// Whether the data is set and alive.
    pub fn ephemeron_check_data(&self, e: Slot) -> Result<bool, Raise> {
        let b = self.ephemeron(e)?;
        // SAFETY: an ephemeron.
        Ok(unsafe { self.heap.ephe_check_data(b) })
    }

    /// Copies `len` keys, set or not. Both ephemerons may be the same, and the ranges may overlap.
    pub fn ephemeron_blit(
        &mut self,
        from: Slot,
        i: usize,
        to: Slot,
        j: usize,
        len: usize,
    ) -> Result<(), Raise> {
        let fits = |keys: usize, at: usize| at.checked_add(len).is_some_and(|end| end <= keys);
        if !fits(self.ephemeron_keys(from)?, i) || !fits(self.ephemeron_keys(to)?, j) {
            return Err(Raise::bounds());
        }
        if len > PIECE_WORDS {
            let backwards = self.val(from).same(self.val(to)) && i < j;
            return self.in_pieces(len, PIECE_WORDS, |m, part| {
                let at = if backwards { len - part.end } else { part.start };
                m.ephemeron_blit(from, i + at, to, j + at, part.len())
            });
        }
        let (from, to) = (self.raw(from), self.raw(to));
        // SAFETY: two ephemerons with these keys.
        unsafe { self.heap.ephe_blit_key(from, i, to, j, len) };
        Ok(())
    }

    /// Copies the data, set or not.
    pub fn ephemeron_blit_data(&mut self, from: Slot, to: Slot) -> Result<(), Raise> {
        let (from, to) = (self.ephemeron(from)?, self.ephemeron(to)?);
        // SAFETY: two ephemerons.
        unsafe { self.heap.ephe_blit_data(from, to) };
        Ok(())
    }

    // ---- finalisers ------------------------------------------------------------------------------

    /// Registers `function` to be called with the block in `v` once it is unreachable; with `last`, to be called with
    /// `()` once it has been freed.
    ///
    /// # Errors
    /// When `v` does not hold a block of the heap.
    pub fn finalise(&mut self, function: Slot, v: Slot, last: bool) -> Result<(), Raise> {
        if self.is_outside(self.val(v)) {
            return Err(Raise::invalid("Gc.finalise"));
        }
        self.val(v).tag()?;
        let (function, v) = (self.raw(function), self.raw(v));
        // SAFETY: both were just read from roots, and `v` is a block.
        unsafe {
            // An inner closure is freed together with its block.
            if last {
                self.heap.final_register_last(function, v.enclosing())?;
            } else {
                self.heap.final_register(function, v)?;
            }
        }
        Ok(())
    }
}
