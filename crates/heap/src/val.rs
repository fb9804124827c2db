//! Values that cannot become stale: a [`Val`] borrows the heap, so nothing that might collect can be called while it is
//! in use.

use crate::custom::CustomOps;
use crate::heap::Heap;
use crate::value::{Value, tag};
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;

/// A value is not of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("wrong type: expected {expected}")]
pub struct WrongType {
    /// The expected kind, such as "an integer".
    pub expected: &'static str,
}

const fn wrong<T>(expected: &'static str) -> Result<T, WrongType> {
    Err(WrongType { expected })
}

/// A value of a heap that is borrowed for `'h`. Reading it is safe: kinds and bounds are checked.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Val<'h> {
    value: Value,
    heap: PhantomData<&'h Heap>,
}

impl<'h> Val<'h> {
    /// An integer; wraps to 63 bits.
    #[inline(always)]
    pub const fn from_int(n: i64) -> Val<'h> {
        Val { value: Value::int(n), heap: PhantomData }
    }

    /// The value with this raw representation.
    ///
    /// # Safety
    /// It is valid, stays so during `'h` (nothing collects), and every block reachable from it is initialised as its
    /// tag demands and not written to during `'h`.
    #[inline(always)]
    pub const unsafe fn from_raw(value: Value) -> Val<'h> {
        Val { value, heap: PhantomData }
    }
    /// The raw representation.
    #[inline(always)]
    pub const fn raw(self) -> Value {
        self.value
    }

    /// Whether this is an integer.
    #[inline(always)]
    pub const fn is_int(self) -> bool {
        self.value.is_int()
    }
    /// Whether this is a block.
    #[inline(always)]
    pub const fn is_block(self) -> bool {
        self.value.is_block()
    }
    /// The integer.
    #[inline(always)]
    pub const fn int(self) -> Result<i64, WrongType> {
        if self.is_int() { Ok(self.value.as_int()) } else { wrong("an integer") }
    }
    /// The tag of the block.
    #[inline]
    pub fn tag(self) -> Result<u8, WrongType> {
        if self.is_int() {
            return wrong("a block");
        }
        // SAFETY: a valid block.
        Ok(unsafe { self.value.tag() })
    }
    /// Whether this is neither an integer nor a block of any heap: word 0 of a custom block.
    #[inline]
    pub fn is_outside(self) -> bool {
        // SAFETY: a valid value; all that are not integers have a header.
        self.is_block() && unsafe { self.value.is_outside() }
    }
    /// The size of the block in words. For the inner part of a closure, its distance from the start.
    #[inline]
    pub fn wosize(self) -> Result<usize, WrongType> {
        if self.is_int() {
            return wrong("a block");
        }
        // SAFETY: a valid block.
        Ok(unsafe { self.value.wosize() })
    }
    fn has_tag(self, tag: u8) -> bool {
        self.tag() == Ok(tag)
    }

    /// Whether this is a block whose words are all values: not a closure, some of whose words are code.
    fn holds_values(self) -> bool {
        self.tag().is_ok_and(|t| t < tag::CLOSURE || t == tag::OBJECT || t == tag::FORWARD)
    }

    /// Field `i` of a block of values. Closures are refused: see [`Val::scanned_field`].
    #[inline]
    pub fn field(self, i: usize) -> Result<Val<'h>, WrongType> {
        if !self.holds_values() {
            return wrong("a block of values");
        }
        // SAFETY: a valid block; its fields are values, and the index is checked.
        unsafe {
            if i >= self.value.wosize() {
                return wrong("a block with more fields");
            }
            Ok(Val::from_raw(self.value.field(i)))
        }
    }
    /// The fields of a block of values. Closures are refused: see [`Val::scanned_fields`].
    #[inline]
    pub fn fields(self) -> Result<&'h [Val<'h>], WrongType> {
        if !self.holds_values() {
            return wrong("a block of values");
        }
        // SAFETY: a block of values.
        Ok(unsafe { self.words() })
    }
    /// Word `i` of a block of values or a closure. A code address among a closure's words looks like an integer:
    /// callers must not pass it to a program as one. Pointers to inner closures are refused.
    #[inline]
    pub fn scanned_field(self, i: usize) -> Result<Val<'h>, WrongType> {
        self.scanned_fields()?.get(i).copied().ok_or(WrongType { expected: "a block with more fields" })
    }
    /// The words of a block of values or a closure; see [`Val::scanned_field`].
    #[inline]
    pub fn scanned_fields(self) -> Result<&'h [Val<'h>], WrongType> {
        if !self.tag().is_ok_and(|t| t < tag::NO_SCAN && t != tag::INFIX) {
            return wrong("a block of values");
        }
        // SAFETY: a block whose words the collector treats as values.
        Ok(unsafe { self.words() })
    }
    /// # Safety
    /// This is a block of words that the collector scans.
    unsafe fn words(self) -> &'h [Val<'h>] {
        // SAFETY: a valid block of that many values, and `Val` has the layout of a value; nothing changes them during
        // 'h.
        unsafe { std::slice::from_raw_parts(self.value.as_ptr().cast(), self.value.wosize()) }
    }
    /// The bytes of a string.
    #[inline]
    pub fn bytes(self) -> Result<&'h [u8], WrongType> {
        if !self.has_tag(tag::STRING) {
            return wrong("a string");
        }
        // SAFETY: a valid string block, and nothing changes it during 'h.
        Ok(unsafe { self.value.bytes() })
    }
    /// The content of a boxed float.
    #[inline]
    pub fn float(self) -> Result<f64, WrongType> {
        if !self.has_tag(tag::DOUBLE) {
            return wrong("a float");
        }
        // SAFETY: a valid boxed float.
        Ok(unsafe { self.value.double() })
    }
    /// The length of a float array. Every empty block counts as one.
    pub fn float_len(self) -> Result<usize, WrongType> {
        let len = self.wosize().map_err(|_| WrongType { expected: "a float array" })?;
        if len == 0 || self.has_tag(tag::DOUBLE_ARRAY) { Ok(len) } else { wrong("a float array") }
    }
    /// Element `i` of a float array.
    pub fn float_field(self, i: usize) -> Result<f64, WrongType> {
        if i >= self.float_len()? {
            return wrong("a longer float array");
        }
        // SAFETY: a valid float array; the index is checked.
        Ok(unsafe { self.value.double_field(i) })
    }
    /// Whether both are the same integer or the very same block.
    #[inline(always)]
    pub fn same(self, other: Val<'_>) -> bool {
        self.value == other.value
    }

    /// The operations of a custom block.
    #[inline]
    pub fn custom_ops(self) -> Result<&'static CustomOps, WrongType> {
        if !self.has_tag(tag::CUSTOM) {
            return wrong("a custom block");
        }
        // SAFETY: a valid custom block.
        Ok(unsafe { self.value.custom_ops() })
    }
    /// A value by which programs tell kinds of custom blocks apart: word 0, or what stands for it if that points to the
    /// operations of a C library.
    pub fn custom_kind(self) -> Result<Val<'h>, WrongType> {
        let kind = Value::from_bits(self.custom_ops()?.own_word());
        // SAFETY: the address of static data with a header.
        Ok(unsafe { Val::from_raw(kind) })
    }
    /// Word `i` of a custom block's payload.
    pub fn custom_word(self, i: usize) -> Result<u64, WrongType> {
        self.custom_ops()?;
        // SAFETY: a valid custom block; the index is checked.
        unsafe {
            if i >= crate::custom::payload_len(self.value) {
                return wrong("a custom block with a larger payload");
            }
            Ok(self.value.word(1 + i))
        }
    }
    /// The Rust value that an external owns.
    pub fn external<T: Any>(self) -> Result<&'h T, WrongType> {
        self.custom_ops()?;
        // SAFETY: a valid custom block, and nothing changes it during 'h.
        unsafe { self.value.external() }.ok_or(WrongType { expected: std::any::type_name::<T>() })
    }
}

impl fmt::Debug for Val<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.value, f)
    }
}
