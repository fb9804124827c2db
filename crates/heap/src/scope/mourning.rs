//! Values that die: weak references, ephemerons and finalisers, in a scope.

use super::{Handle, Scope, ScopeError};
use crate::heap::OutOfMemory;
use crate::raw::FIRST_KEY;
use crate::root::Root;
use crate::roots::NoRoots;
use crate::val::WrongType;
use crate::value::{Value, tag};

/// A reference that does not keep its value alive. It outlives scopes, like a [`Root`].
#[derive(Clone)]
pub struct Weak {
    /// An ephemeron whose only key is the value.
    ephemeron: Root,
}

impl<'s> Scope<'s> {
    /// A weak reference to a value. May collect.
    ///
    /// # Errors
    /// When the heap is full.
    pub fn weak(&mut self, h: Handle<'s>) -> Result<Weak, OutOfMemory> {
        self.scope(|s| {
            let ephemeron = s.ephemeron(1)?;
            s.set_key(ephemeron, 0, Some(h)).expect("it has one key");
            Ok(Weak { ephemeron: s.root(ephemeron) })
        })
    }

    /// The value of a weak reference, unless a collection has found it dead.
    ///
    /// # Panics
    /// If the reference belongs to another heap.
    pub fn upgrade(&mut self, weak: &Weak) -> Option<Handle<'s>> {
        let ephemeron = self.heap.value(&weak.ephemeron);
        // SAFETY: an ephemeron with one key.
        let value = unsafe { self.heap.ephe_get_key(ephemeron, 0) }?;
        Some(self.handle_of(value))
    }

    /// An ephemeron with `keys` keys, all unset, like its data: the data is kept alive by the ephemeron only while all
    /// its keys are alive, and the keys are not kept alive by it at all. When a collection finds a key dead, it unsets
    /// that key and the data. May collect.
    ///
    /// Without data it is an array of weak references.
    ///
    /// # Errors
    /// When the heap is full.
    pub fn ephemeron(&mut self, keys: usize) -> Result<Handle<'s>, OutOfMemory> {
        // SAFETY: all values that are needed are on the shadow stack or in roots, which the heap scans itself.
        let ephemeron = unsafe { self.heap.ephe_create(&mut NoRoots, keys) }?;
        Ok(self.handle_of(ephemeron))
    }

    /// The number of keys of an ephemeron.
    ///
    /// # Errors
    /// When it is none.
    pub fn keys(&self, ephemeron: Handle<'s>) -> Result<usize, WrongType> {
        let value = self.peek(ephemeron);
        // Scopes and roots make no other blocks with this tag.
        if value.tag() != Ok(tag::ABSTRACT) {
            return Err(WrongType { expected: "an ephemeron" });
        }
        value.wosize()?.checked_sub(FIRST_KEY).ok_or(WrongType { expected: "an ephemeron" })
    }

    /// Key `i` of an ephemeron, if it is set.
    ///
    /// # Errors
    /// When it is no ephemeron, or has no such key.
    pub fn key(&mut self, ephemeron: Handle<'s>, i: usize) -> Result<Option<Handle<'s>>, WrongType> {
        let ephemeron = self.with_key(ephemeron, i)?;
        // SAFETY: an ephemeron with such a key.
        let key = unsafe { self.heap.ephe_get_key(ephemeron, i) };
        Ok(key.map(|key| self.handle_of(key)))
    }

    /// Sets key `i` of an ephemeron, or unsets it.
    ///
    /// # Errors
    /// As for [`Scope::key`].
    pub fn set_key(
        &mut self,
        ephemeron: Handle<'s>,
        i: usize,
        key: Option<Handle<'s>>,
    ) -> Result<(), WrongType> {
        let ephemeron = self.with_key(ephemeron, i)?;
        let key = key.map(|key| self.value(key));
        // SAFETY: an ephemeron with such a key.
        unsafe {
            match key {
                Some(key) => self.heap.ephe_set_key(ephemeron, i, key),
                None => self.heap.ephe_unset_key(ephemeron, i),
            }
        }
        Ok(())
    }

    /// The data of an ephemeron, if it is set.
    ///
    /// # Errors
    /// When it is no ephemeron.
    pub fn key_data(&mut self, ephemeron: Handle<'s>) -> Result<Option<Handle<'s>>, WrongType> {
        self.keys(ephemeron)?;
        // SAFETY: an ephemeron.
        let data = unsafe { self.heap.ephe_get_data(self.value(ephemeron)) };
        Ok(data.map(|data| self.handle_of(data)))
    }

    /// Sets the data of an ephemeron, or unsets it.
    ///
    /// # Errors
    /// When it is no ephemeron.
    pub fn set_key_data(&mut self, ephemeron: Handle<'s>, data: Option<Handle<'s>>) -> Result<(), WrongType> {
        self.keys(ephemeron)?;
        let ephemeron = self.value(ephemeron);
        let data = data.map(|data| self.value(data));
        // SAFETY: an ephemeron.
        unsafe {
            match data {
                Some(data) => self.heap.ephe_set_data(ephemeron, data),
                None => self.heap.ephe_unset_data(ephemeron),
            }
        }
        Ok(())
    }

    fn with_key(&self, ephemeron: Handle<'s>, i: usize) -> Result<Value, WrongType> {
        if i >= self.keys(ephemeron)? {
            return Err(WrongType { expected: "an ephemeron with more keys" });
        }
        Ok(self.value(ephemeron))
    }

    /// Makes a finaliser due when a collection finds a block unreachable, for the first time: it gets the block, which
    /// stays alive until then, and may make it reachable again. `finaliser` is whatever the client recognises; the heap
    /// keeps it alive and calls nothing. As OCaml's `Gc.finalise`.
    ///
    /// # Errors
    /// When `block` is an integer, or there is no memory.
    pub fn finalise_first(&mut self, finaliser: Handle<'s>, block: Handle<'s>) -> Result<(), ScopeError> {
        self.mortal(block)?;
        // SAFETY: both are valid values, and one is a block.
        Ok(unsafe { self.heap.final_register(self.value(finaliser), self.value(block)) }?)
    }

    /// Makes a finaliser due when a collection has found a block dead for good: it gets the integer 0. As OCaml's
    /// `Gc.finalise_last`.
    ///
    /// # Errors
    /// As for [`Scope::finalise_first`].
    pub fn finalise_last(&mut self, finaliser: Handle<'s>, block: Handle<'s>) -> Result<(), ScopeError> {
        self.mortal(block)?;
        // SAFETY: both are valid values, and one is a block.
        Ok(unsafe { self.heap.final_register_last(self.value(finaliser), self.value(block)) }?)
    }

    /// The next finaliser that is due, and its argument. The client runs it when it can, for instance between two
    /// evaluations.
    pub fn next_finaliser(&mut self) -> Option<(Handle<'s>, Handle<'s>)> {
        let (finaliser, argument) = self.heap.next_finaliser()?;
        Some((self.handle_of(finaliser), self.handle_of(argument)))
    }

    fn mortal(&self, block: Handle<'s>) -> Result<(), WrongType> {
        self.peek(block).tag().map(|_| ())
    }
}
