//! Reading without handles.

use super::{Handle, Scope};
use crate::val::{Val, WrongType};
use crate::value::{Header, Value, tag};
use std::fmt;
use std::ops::Deref;

/// A value that is only looked at: it borrows the scope, so nothing can be allocated or written while it is in use.
///
/// It takes no slot, so to walk through many blocks costs nothing but the reading. [`keep`](Peek::keep) makes a handle of
/// it. What it can read besides fields it inherits from [`Val`]: integers, bytes, floats, the Rust data of externals.
///
/// ```
/// # use spelter_heap::{Handle, Heap};
/// # Heap::default().scope(|s| {
/// let name = s.string(b"zinc")?;
/// let list = s.block(0, [name, 0.into()])?;
/// let first = s.peek(list).field(0)?;
/// assert_eq!(first.bytes()?, b"zinc");
/// let name = first.keep();
/// s.collect();
/// assert_eq!(s.peek(name).bytes()?, b"zinc");
/// # Ok::<(), spelter_heap::ScopeError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy)]
pub struct Peek<'p, 's> {
    val: Val<'p>,
    scope: &'p Scope<'s>,
}

/// What a value is, apart from its content: enough to tell the constructors of a type apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// An integer.
    Int(i64),
    /// A block of values, or of anything else: its tag and its size in words.
    Block {
        /// The tag.
        tag: u8,
        /// The number of fields.
        size: usize,
    },
}

/// Whether the fields of a block with this tag are values, all of them.
const fn holds_values(tag: u8) -> bool {
    tag < tag::CLOSURE || tag == tag::OBJECT || tag == tag::FORWARD
}

impl<'p, 's> Peek<'p, 's> {
    /// # Safety
    /// A valid value of the scope's heap.
    #[inline(always)]
    pub(super) unsafe fn new(scope: &'p Scope<'s>, value: Value) -> Peek<'p, 's> {
        // SAFETY: by contract; nothing collects or writes while the scope is borrowed.
        Peek { val: unsafe { Val::from_raw(value) }, scope }
    }

    /// A handle of the value.
    #[inline(always)]
    pub fn keep(self) -> Handle<'s> {
        self.scope.handle_of(self.val.raw())
    }

    /// The value as such, without the scope.
    #[inline(always)]
    pub fn val(self) -> Val<'p> {
        self.val
    }

    /// Field `i` of a block of values.
    #[inline]
    pub fn field(self, i: usize) -> Result<Peek<'p, 's>, WrongType> {
        self.val.field(i).map(|val| Peek { val, scope: self.scope })
    }

    /// The fields of a block of values.
    ///
    /// # Errors
    /// When it is none. Closures are refused, as by [`Val::fields`].
    #[inline]
    pub fn fields(self) -> Result<impl ExactSizeIterator<Item = Peek<'p, 's>>, WrongType> {
        Ok(self.val.fields()?.iter().map(move |&val| Peek { val, scope: self.scope }))
    }

    /// The fields of a block with this tag and exactly `N` fields, which takes one comparison.
    ///
    /// # Errors
    /// When it is another block, or none; and always if blocks with this tag do not hold values only.
    #[inline(always)]
    pub fn block<const N: usize>(self, tag: u8) -> Result<[Peek<'p, 's>; N], WrongType> {
        let value = self.val.raw();
        // SAFETY: a valid value, and a block has a header.
        let fits = value.is_block()
            && holds_values(tag)
            && unsafe { value.header().without_colour() } == Header::new(N, tag);
        if !fits {
            return Err(WrongType { expected: "a block with another tag or size" });
        }
        // SAFETY: a valid block of N values; they are valid, too.
        Ok(std::array::from_fn(|i| unsafe { Peek::new(self.scope, value.field(i)) }))
    }

    /// What it is.
    #[inline(always)]
    pub fn shape(self) -> Shape {
        let value = self.val.raw();
        if value.is_int() {
            return Shape::Int(value.as_int());
        }
        // SAFETY: a valid block has a header.
        let header = unsafe { value.header() };
        Shape::Block { tag: header.tag(), size: header.wosize() }
    }
}

impl<'p> Deref for Peek<'p, '_> {
    type Target = Val<'p>;

    #[inline(always)]
    fn deref(&self) -> &Val<'p> {
        &self.val
    }
}

impl fmt::Debug for Peek<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.val, f)
    }
}
