//! Handles and variables: names of slots on the shadow stack.

use crate::value::Value;
use std::fmt;
use std::marker::PhantomData;

/// A value that lives as long as the scope `'s`: an integer, or a block that the collector keeps alive and may move.
///
/// It is a word, and may be copied freely. To read it, or to use it at all, takes the [`Scope`](crate::Scope) that made it
/// or one within that. A handle of an outer scope is also a handle of the scopes within it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Handle<'s> {
    /// The integer as the heap represents it, which is odd; or the position of a block on the shadow stack, which is even.
    bits: u64,
    scope: PhantomData<(&'s (), *mut ())>,
}

impl<'s> Handle<'s> {
    /// The integer 0, which is also OCaml's `()`, `false`, `[]` and `None`.
    pub const ZERO: Handle<'s> = Handle::int(0);

    /// An integer; wraps to 63 bits.
    #[inline(always)]
    pub const fn int(n: i64) -> Handle<'s> {
        Handle { bits: Value::int(n).bits(), scope: PhantomData }
    }

    /// The integer, if it is one.
    #[inline(always)]
    pub const fn as_int(self) -> Option<i64> {
        let value = Value::from_bits(self.bits);
        if value.is_int() { Some(value.as_int()) } else { None }
    }

    /// Whether this is an integer; if not, it is a block.
    #[inline(always)]
    pub const fn is_int(self) -> bool {
        Value::from_bits(self.bits).is_int()
    }

    /// The handle of the block at this position, which must stay there during `'s`.
    #[inline(always)]
    pub(super) fn at(position: usize) -> Handle<'s> {
        Handle { bits: position as u64, scope: PhantomData }
    }

    /// The position of the block.
    #[inline(always)]
    pub(super) fn position(self) -> Option<usize> {
        (!self.is_int()).then_some(self.bits as usize)
    }

    /// The handle with this representation, which must be valid during `'s`.
    #[inline(always)]
    pub(super) fn from_bits(bits: u64) -> Handle<'s> {
        Handle { bits, scope: PhantomData }
    }

    /// The representation.
    #[inline(always)]
    pub(super) fn bits(self) -> u64 {
        self.bits
    }
}

impl From<i64> for Handle<'_> {
    fn from(n: i64) -> Self {
        Handle::int(n)
    }
}

impl fmt::Debug for Handle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_int() {
            Some(n) => write!(f, "{n}"),
            None => write!(f, "block #{}", self.bits / 8),
        }
    }
}

/// A place for a value, in the scope `'s`, that can be written again, also from the scopes within. See
/// [`Scope::var`](crate::Scope::var).
#[derive(Clone, Copy)]
pub struct Var<'s> {
    pub(super) position: usize,
    scope: PhantomData<(&'s (), *mut ())>,
}

impl Var<'_> {
    /// The variable at this position, which must stay there during the scope.
    #[inline(always)]
    pub(super) fn at(position: usize) -> Self {
        Var { position, scope: PhantomData }
    }
}

impl fmt::Debug for Var<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "variable #{}", self.position / 8)
    }
}
