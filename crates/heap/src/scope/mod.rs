//! Scopes: safe code with many values, at the speed of an interpreter.
//!
//! [`Heap::scope`] opens a scope and passes it to a closure. What is allocated or read there is named by [`Handle`]s:
//! words that may be copied freely, need no `Drop`, and stay valid however often the collector runs. When the closure
//! ends, all its handles end together.
//!
//! ```
//! use spelter_heap::{Handle, Heap};
//!
//! let mut heap = Heap::default();
//! let sum = heap.scope(|s| {
//!     let mut list = Handle::ZERO;
//!     for n in 1..=10 {
//!         list = s.block(0, [n.into(), list])?;
//!     }
//!     let mut sum = 0;
//!     let mut rest = s.peek(list);
//!     while let Ok([head, tail]) = rest.block(0) {
//!         sum += head.int()?;
//!         rest = tail;
//!     }
//!     Ok::<_, spelter_heap::ScopeError>(sum)
//! })?;
//! assert_eq!(sum, 55);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`tutorial`](crate::tutorial) builds a Lisp this way, from an empty file.
//!
//! # Which type for what
//!
//! | type | lives | costs | for |
//! |---|---|---|---|
//! | [`Peek`] | until the scope is borrowed mutably | nothing | looking at values, walking through data |
//! | [`Handle`] | as long as its scope | a slot of 8 bytes; integers need none | arguments, results, local variables |
//! | [`Var`] | as long as its scope | a slot | what loops change, results of inner scopes |
//! | [`Root`] | until dropped | a slot in a table, and a `Drop` | what Rust structures hold between scopes |
//! | [`Weak`] | until dropped | an ephemeron and a root | caches and tables of names |
//!
//! A scope grows with each handle that is made in it, so a loop or a recursion opens an inner scope for each turn:
//! [`Scope::scope`] pops all its handles at its end, [`Scope::escape`] all but the result, and inner scopes write what
//! else should remain into the [`Var`]s of outer ones.
//!
//! ```
//! # use spelter_heap::{Handle, Heap, OutOfMemory};
//! # let mut heap = Heap::default();
//! # heap.scope(|s| {
//! let last = s.var(Handle::ZERO);
//! for n in 0..1_000_000 {
//!     s.scope(|s| {
//!         let block = s.block(0, [n.into()])?;
//!         s.set(last, block);
//!         Ok::<_, OutOfMemory>(())
//!     })?;
//! }
//! let last = s.get(last);
//! assert_eq!(s.peek(last).field(0)?.int()?, 999_999);
//! # Ok::<_, spelter_heap::ScopeError>(())
//! # }).unwrap();
//! ```
//!
//! # How it works
//!
//! The heap has a *shadow stack* of values. A handle is either an integer itself, or the position of a slot that holds a
//! block. To make one is to push a value, to use one is to read a slot, to end a scope is to set the top of the stack
//! back. A collection reads the stack and writes the new addresses of blocks into it. Minor collections skip the part
//! that they have seen before, so a deep recursion does not slow them down.
//!
//! The slots are what makes a collection possible at every allocation, at any depth of recursion. Without them, a
//! collector for Rust can run only when no code holds a pointer (`gc-arena`'s `mutate`), or must count references
//! (`dumpster`, `boa_gc`), or search the native stack. V8's handle scopes are the model; lifetimes check what C++
//! programmers must promise.
//!
//! # Why it is sound
//!
//! A position is used without a test, so types must guarantee that a handle is only used while its slot exists, and with
//! its own heap.
//!
//! - **No handle outlives its scope.** The closure must accept any lifetime `'s`, so its result, and whatever else
//!   exists before it runs, cannot mention `'s`.
//! - **No handle meets another heap.** `Scope<'s>` is invariant in `'s`, and is only reached by a `&mut` that its closure
//!   gets. Two scopes thus have two lifetimes of which neither is known to outlive the other, and `Handle<'a>` is not a
//!   `Handle<'b>`.
//! - **But outer handles are inner handles.** The closure of a nested scope gets an [`Inner<'i, 's>`](Inner), whose type
//!   says that `'s` outlives `'i`. So `Handle<'s>`, which is covariant, is also a `Handle<'i>`; the slot is further down
//!   the same stack. An inner scope borrows the outer one mutably, so the outer one cannot push meanwhile, nor open a
//!   second one: scopes end in the reverse order. They do so on a panic, too.
//! - **No value is used across a collection.** A [`Peek`] borrows its scope, and all that allocates, collects or writes
//!   takes the scope by `&mut`. Making handles takes `&`, because only the shadow stack changes.
//! - **Slots always hold valid values.** Only values read from this heap, or integers, are written to them. Which
//!   block a handle stands for does not change (that of a variable does), but nothing depends on it: kinds and bounds
//!   are checked at each access.
//!
//! # Rust data that holds values
//!
//! The collector does not look into Rust values, so these cannot hold handles, whose lifetime would not fit anyway. An
//! *object* ([`Scope::object`]) is Rust data with fields beside it: a block whose first field is an external that owns
//! the data. Its other fields are traced, written with the barrier, and read like those of any block; [`Scope::data`]
//! and [`Scope::data_mut`] find the Rust part. Data that refers to a growing number of values keeps indices into an array
//! that is one of the fields.
//!
//! ```
//! # use spelter_heap::{Heap, ScopeError};
//! # use std::collections::HashMap;
//! # let mut heap = Heap::default();
//! # heap.scope(|s| {
//! let values = s.array(0, 16, 0.into())?;
//! let table = s.object(0, HashMap::<String, usize>::new(), 0, [values])?;
//! let index = s.data::<HashMap<String, usize>>(table)?.len();
//! s.data_mut::<HashMap<String, usize>>(table)?.insert("zinc".into(), index);
//! let value = s.string(b"Zn")?;
//! let values = s.field(table, 1)?;
//! s.set_field(values, index, value)?;
//! # Ok::<_, ScopeError>(())
//! # }).unwrap();
//! ```

mod allocation;
mod handle;
mod mourning;
mod peek;
pub(crate) mod shadow;
mod view;

pub use handle::{Handle, Var};
pub use mourning::Weak;
pub use peek::{Peek, Shape};
pub use view::View;

use crate::heap::{Heap, OutOfMemory};
use crate::root::Root;
use crate::val::{Val, WrongType};
use crate::value::Value;
use std::any::Any;
use std::marker::PhantomData;
use std::ops::{ControlFlow, Deref, DerefMut};
use std::ptr;

/// Why an operation of a scope failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A value is of another kind.
    #[error(transparent)]
    Type(#[from] WrongType),
    /// There is no memory.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
}

/// A heap in use by a scope: all safe operations on values. See the [module's documentation](self).
#[repr(transparent)]
pub struct Scope<'s> {
    heap: Heap,
    /// Invariant: no two scopes have the same lifetime.
    brand: PhantomData<fn(&'s ()) -> &'s ()>,
}

/// A scope within the scope `'s`. It dereferences to the [`Scope`] that it is, and its type tells the compiler that
/// handles of the outer scope can be used in it.
#[repr(transparent)]
pub struct Inner<'i, 's: 'i> {
    scope: Scope<'i>,
    outer: PhantomData<&'i &'s ()>,
}

impl<'i> Deref for Inner<'i, '_> {
    type Target = Scope<'i>;

    #[inline(always)]
    fn deref(&self) -> &Scope<'i> {
        &self.scope
    }
}

impl<'i> DerefMut for Inner<'i, '_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Scope<'i> {
        &mut self.scope
    }
}

/// An open scope, whose handles end when this is dropped, also by a panic.
struct Open<'h> {
    heap: &'h mut Heap,
    base: usize,
}

impl Open<'_> {
    #[inline(always)]
    fn new(heap: &mut Heap) -> Open<'_> {
        let base = heap.shadow.top();
        Open { heap, base }
    }

    /// The scope, with a lifetime that the caller leaves to a closure, which must accept any.
    #[inline(always)]
    fn scope<'s>(&mut self) -> &mut Scope<'s> {
        // SAFETY: a scope is laid out as a heap. It is not moved: nobody has another scope of this lifetime to put in
        // its place.
        unsafe { &mut *ptr::from_mut::<Heap>(self.heap).cast::<Scope<'s>>() }
    }

    /// The same, for a scope within the scope `'s`, which is the one that `self` was made from.
    #[inline(always)]
    fn inner<'i, 's: 'i>(&mut self) -> &mut Inner<'i, 's> {
        // SAFETY: as in `scope`. The slots of `'s` are below `base`, and exist for longer than those of `'i`.
        unsafe { &mut *ptr::from_mut::<Heap>(self.heap).cast::<Inner<'i, 's>>() }
    }
}

impl<'h> Open<'h> {
    /// Ends all handles of the scope, but pushes the values of these again. Returns the new handles' representations.
    #[inline(always)]
    fn restart<const N: usize>(&mut self, handles: [Handle<'_>; N]) -> [u64; N] {
        let shadow = &self.heap.shadow;
        let values = handles.map(|h| match h.position() {
            // SAFETY: the slot has not been popped, and handles are of this scope or of one around it.
            Some(at) if at >= self.base => Some(unsafe { shadow.get(at) }),
            _ => None,
        });
        shadow.cut(self.base);
        std::array::from_fn(|i| match values[i] {
            Some(value) => Handle::at(shadow.push(value)).bits(),
            None => handles[i].bits(),
        })
    }
}

impl Drop for Open<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.heap.shadow.cut(self.base);
    }
}

impl Heap {
    /// Opens a scope, passes it to `f`, and closes it. See the [module's documentation](crate::scope).
    ///
    /// The result cannot hold handles: it is Rust data, or [`Root`]s.
    #[inline]
    pub fn scope<R>(&mut self, f: impl for<'s> FnOnce(&mut Scope<'s>) -> R) -> R {
        let mut open = Open::new(self);
        let result = f(open.scope());
        drop(open);
        self.shadow.trim();
        result
    }
}

impl<'s> Scope<'s> {
    /// Opens a scope within this one. Its handles end with it; use [`Scope::escape`] to return one, and [`Scope::var`] for
    /// others that should remain.
    #[inline]
    pub fn scope<R>(&mut self, f: impl for<'i> FnOnce(&mut Inner<'i, 's>) -> R) -> R {
        f(Open::new(&mut self.heap).inner())
    }

    /// Opens a scope within this one, and returns the value of the handle that `f` returns, as a handle of this scope.
    ///
    /// # Errors
    /// That of `f`.
    #[inline]
    pub fn escape<E>(
        &mut self,
        f: impl for<'i> FnOnce(&mut Inner<'i, 's>) -> Result<Handle<'i>, E>,
    ) -> Result<Handle<'s>, E> {
        let mut open = Open::new(&mut self.heap);
        let result = f(open.inner())?;
        let [result] = open.restart([result]);
        // What is left now belongs to the outer scope.
        open.base = open.heap.shadow.top();
        Ok(Handle::from_bits(result))
    }

    /// A loop whose turns have scopes of their own. Each turn gets the handles with which the turn before it continued, the
    /// first one `start`, until a turn breaks with the result. A loop so takes no more room than its longest turn.
    ///
    /// ```
    /// # use spelter_heap::{Handle, Heap, OutOfMemory};
    /// # use std::ops::ControlFlow::{Break, Continue};
    /// # let mut heap = Heap::default();
    /// # heap.scope(|s| {
    /// let start = [Handle::int(1_000_000), Handle::ZERO];
    /// let last = s.repeat(start, |s, [n, last]| match n.as_int() {
    ///     Some(0) | None => Ok::<_, OutOfMemory>(Break(last)),
    ///     Some(n) => Ok(Continue([Handle::int(n - 1), s.block(0, [n.into()])?])),
    /// })?;
    /// assert_eq!(s.peek(last).field(0)?.int(), Ok(1));
    /// # Ok::<_, spelter_heap::ScopeError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// That of `f`.
    #[inline]
    pub fn repeat<const N: usize, E>(
        &mut self,
        start: [Handle<'s>; N],
        mut f: impl for<'i> FnMut(
            &mut Inner<'i, 's>,
            [Handle<'i>; N],
        ) -> Result<ControlFlow<Handle<'i>, [Handle<'i>; N]>, E>,
    ) -> Result<Handle<'s>, E> {
        let mut open = Open::new(&mut self.heap);
        // Handles of an outer scope, or of this one: their slots are below `base`, or pushed again after each turn.
        let mut turn = start.map(Handle::bits);
        loop {
            let result = {
                let scope = open.inner();
                f(scope, turn.map(Handle::from_bits))?
            };
            match result {
                ControlFlow::Continue(next) => turn = open.restart(next),
                ControlFlow::Break(result) => {
                    let [result] = open.restart([result]);
                    // What is left now belongs to the outer scope.
                    open.base = open.heap.shadow.top();
                    return Ok(Handle::from_bits(result));
                }
            }
        }
    }

    /// A new variable that holds this value.
    #[inline]
    pub fn var(&self, h: Handle<'s>) -> Var<'s> {
        Var::at(self.heap.shadow.push(self.value(h)))
    }

    /// The value of a variable.
    #[inline]
    pub fn get(&self, var: Var<'s>) -> Handle<'s> {
        // SAFETY: the slot exists during 's, and this is its heap (see the module's documentation).
        self.handle_of(unsafe { self.heap.shadow.get(var.position) })
    }

    /// Changes the value of a variable, which may be one of an outer scope.
    #[inline]
    pub fn set(&self, var: Var<'s>, h: Handle<'s>) {
        // SAFETY: as in `get`. The variable's slot holds a value of this heap, in this scope or an outer one.
        unsafe { self.heap.shadow.set(var.position, self.value(h)) }
    }

    /// The heap, for inspection.
    #[inline(always)]
    pub fn heap(&self) -> &Heap {
        &self.heap
    }

    /// Looks at a value: reads it, or walks from there, without making handles.
    #[inline(always)]
    pub fn peek(&self, h: Handle<'s>) -> Peek<'_, 's> {
        // SAFETY: the value of a handle is valid.
        unsafe { Peek::new(self, self.value(h)) }
    }

    /// Looks at the value of a variable.
    #[inline(always)]
    pub fn peek_var(&self, var: Var<'s>) -> Peek<'_, 's> {
        // SAFETY: as in `get`.
        unsafe { Peek::new(self, self.heap.shadow.get(var.position)) }
    }

    /// The integer.
    ///
    /// # Errors
    /// When the value is a block.
    #[inline(always)]
    pub fn int(&self, h: Handle<'s>) -> Result<i64, WrongType> {
        h.as_int().ok_or(WrongType { expected: "an integer" })
    }

    /// Field `i` of a block of values.
    ///
    /// # Errors
    /// When there is no such field. Closures are refused, as by [`Val::field`].
    #[inline]
    pub fn field(&self, block: Handle<'s>, i: usize) -> Result<Handle<'s>, WrongType> {
        self.peek(block).field(i).map(Peek::keep)
    }

    /// Writes field `i` of a block of values.
    ///
    /// # Errors
    /// When there is no such field.
    #[inline]
    pub fn set_field(&mut self, block: Handle<'s>, i: usize, v: Handle<'s>) -> Result<(), WrongType> {
        self.peek(block).field(i)?;
        let (block, v) = (self.value(block), self.value(v));
        // SAFETY: a valid block of values with a field `i`, since that could be read.
        unsafe { self.heap.modify(block, i, v) };
        Ok(())
    }

    /// The bytes of a string.
    ///
    /// # Errors
    /// When it is none.
    #[inline]
    pub fn bytes(&self, string: Handle<'s>) -> Result<&[u8], WrongType> {
        self.peek(string).bytes()
    }

    /// The bytes of a string, for writing.
    ///
    /// # Errors
    /// When it is none.
    pub fn bytes_mut(&mut self, string: Handle<'s>) -> Result<&mut [u8], WrongType> {
        self.peek(string).bytes()?;
        // SAFETY: a valid string; the scope is borrowed mutably, so nothing else can access it.
        Ok(unsafe { self.value(string).bytes_mut() })
    }

    /// Writes element `i` of a float array.
    ///
    /// # Errors
    /// When there is no such element.
    pub fn set_float(&mut self, floats: Handle<'s>, i: usize, f: f64) -> Result<(), WrongType> {
        self.peek(floats).float_field(i)?;
        // SAFETY: a valid float array with an element `i`, since that could be read.
        unsafe { self.value(floats).set_double_field(i, f) };
        Ok(())
    }

    /// The Rust data of an external, or of an [object](Scope::object).
    ///
    /// # Errors
    /// When there is none, or it is of another type.
    pub fn data<T: Any>(&self, h: Handle<'s>) -> Result<&T, WrongType> {
        self.external_of(h).external()
    }

    /// The same, for writing.
    ///
    /// # Errors
    /// As for [`Scope::data`].
    pub fn data_mut<T: Any>(&mut self, h: Handle<'s>) -> Result<&mut T, WrongType> {
        let external = self.external_of(h);
        external.external::<T>()?;
        // SAFETY: a valid external, since that could be read; the scope is borrowed mutably, so nothing else can
        // access the data.
        unsafe { external.raw().external_mut() }.ok_or(WrongType { expected: "an external" })
    }

    /// The external in the first field of an object, or else the value itself.
    fn external_of(&self, h: Handle<'s>) -> Val<'_> {
        let value = self.peek(h).val();
        value.field(0).unwrap_or(value)
    }

    /// Whether both are the same integer or the very same block.
    #[inline(always)]
    pub fn same(&self, a: Handle<'s>, b: Handle<'s>) -> bool {
        self.value(a) == self.value(b)
    }

    /// A root of a value, which outlives the scope.
    pub fn root(&self, h: Handle<'s>) -> Root {
        // SAFETY: the value of a handle is valid.
        unsafe { self.heap.keep(self.value(h)) }
    }

    /// A handle of a root's value.
    ///
    /// # Panics
    /// If the root belongs to another heap.
    #[inline]
    pub fn handle(&self, root: &Root) -> Handle<'s> {
        self.handle_of(self.heap.value(root))
    }

    /// Collects everything that is not reachable from a handle, a variable or a root.
    ///
    /// # Panics
    /// As [`Heap::collect`].
    pub fn collect(&mut self) {
        self.heap.collect();
    }

    /// The value of a handle.
    #[inline(always)]
    fn value(&self, h: Handle<'s>) -> Value {
        match h.position() {
            // SAFETY: the slot exists during 's, and this is its heap (see the module's documentation).
            Some(at) => unsafe { self.heap.shadow.get(at) },
            None => Value::from_bits(h.bits()),
        }
    }

    /// A handle of a valid value.
    #[inline(always)]
    fn handle_of(&self, v: Value) -> Handle<'s> {
        if v.is_int() { Handle::int(v.as_int()) } else { Handle::at(self.heap.shadow.push(v)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roots::NoRoots;

    #[test]
    fn handles_and_variables_are_roots_until_their_scope_ends() {
        let blocks = |heap: &mut Heap| {
            let mut count = 0;
            heap.each_root(&mut NoRoots, |_, _| count += 1);
            count
        };
        let mut heap = Heap::default();
        heap.scope(|s| {
            let block = s.block(0, [1.into()]).unwrap();
            assert_eq!(blocks(&mut s.heap), 1);
            s.scope(|s| {
                s.var(block);
                s.var(2.into());
                assert_eq!(blocks(&mut s.heap), 2);
            });
            assert_eq!(blocks(&mut s.heap), 1);
        });
        assert_eq!(blocks(&mut heap), 0);
    }
}
