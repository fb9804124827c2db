//! Rust types as values.

use super::{Handle, Peek, Scope};
use crate::heap::OutOfMemory;
use crate::val::WrongType;

/// A Rust type whose values can be read from the heap, and written to it.
///
/// | Rust | on the heap |
/// |---|---|
/// | [`Handle`], [`Peek`] | any value |
/// | `i64` | an integer; wraps to 63 bits |
/// | `bool`, `()` | the integers 0 and 1, 0 |
/// | `f64` | a boxed float |
/// | `&[u8]` | a string |
/// | `&str`, `String` | a string, which must be UTF-8 when read |
/// | `Option<T>` | as OCaml's: 0, or a block with tag 0 and one field |
/// | tuples, `[T; N]` | a block with tag 0 |
/// | a struct that derives `View` | a block with a field for each of its fields |
/// | an enum that derives `View` | an integer for each variant without fields, a block for each other |
///
/// A view that holds handles lives as long as the scope `'s`; one that holds what it only [peeks](Peek) at (`'p`) costs
/// nothing to read, and ends before the next allocation.
///
/// # Deriving it
///
/// `#[derive(View)]` needs the feature `derive`. A struct has tag 0, or that of `#[view(tag = 3)]`. An enum is laid out as
/// OCaml lays out a variant type: variants without fields are the integers 0, 1, 2, …, the others have the tags 0, 1,
/// 2, … in the order of the declaration. On a variant, `#[view(tag = 3)]` chooses its tag, and makes a variant without
/// fields an empty block; and `#[view(int)]` makes a variant with a single `i64` stand for all integers, as in a
/// language where a value may be a number.
///
/// A lifetime `'p` of the type is that of peeking, one with any other name that of the scope. A type parameter can be
/// either: `Pair<Handle<'s>>`, `Pair<Peek<'p, 's>>`.
///
/// ```
/// use spelter_heap::{Handle, Heap, Peek, View};
///
/// #[derive(View)]
/// struct Pair<T> {
///     head: T,
///     tail: T,
/// }
///
/// #[derive(View, Debug, PartialEq)]
/// enum Figure<'p> {
///     Point,
///     Circle { radius: f64 },
///     Text(f64, f64, &'p str),
/// }
///
/// let mut heap = Heap::default();
/// heap.scope(|s| {
///     let head = s.make(Figure::Text(0.0, 1.5, "zinc"))?;
///     let tail = s.make(Figure::Point)?;
///     let pair = s.make(Pair { head, tail })?;
///     s.collect();
///     let peeked: Pair<Peek<'_, '_>> = s.view(pair)?;
///     assert_eq!(peeked.head.view(), Ok(Figure::Text(0.0, 1.5, "zinc")));
///     let kept: Pair<Handle<'_>> = s.view(pair)?;
///     assert_eq!(kept.tail.as_int(), Some(0));
///     assert!(s.view::<Pair<Handle<'_>>>(kept.head).is_err());
///     Ok::<_, spelter_heap::ScopeError>(())
/// })
/// # .unwrap();
/// ```
pub trait View<'p, 's>: Sized {
    /// Reads a value.
    ///
    /// # Errors
    /// When it is not laid out as this type demands.
    fn read(value: Peek<'p, 's>) -> Result<Self, WrongType>;

    /// Writes a value, which may allocate.
    ///
    /// # Errors
    /// When the heap is full.
    fn write(self, s: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory>;
}

impl<'s> Scope<'s> {
    /// Reads a value as a Rust type.
    ///
    /// # Errors
    /// When it is not laid out as that type demands.
    #[inline(always)]
    pub fn view<'p, T: View<'p, 's>>(&'p self, h: Handle<'s>) -> Result<T, WrongType> {
        T::read(self.peek(h))
    }

    /// Writes a value of a Rust type. May collect.
    ///
    /// # Errors
    /// When the heap is full.
    #[inline(always)]
    pub fn make<'p, T: View<'p, 's>>(&mut self, value: T) -> Result<Handle<'s>, OutOfMemory> {
        value.write(self)
    }
}

impl<'p, 's> Peek<'p, 's> {
    /// Reads the value as a Rust type.
    ///
    /// # Errors
    /// When it is not laid out as that type demands.
    #[inline(always)]
    pub fn view<T: View<'p, 's>>(self) -> Result<T, WrongType> {
        T::read(self)
    }
}

impl<'p, 's> View<'p, 's> for Peek<'p, 's> {
    #[inline(always)]
    fn read(value: Peek<'p, 's>) -> Result<Self, WrongType> {
        Ok(value)
    }
    #[inline(always)]
    fn write(self, _: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory> {
        Ok(self.keep())
    }
}

impl<'p, 's> View<'p, 's> for Handle<'s> {
    #[inline(always)]
    fn read(value: Peek<'p, 's>) -> Result<Self, WrongType> {
        Ok(value.keep())
    }
    #[inline(always)]
    fn write(self, _: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory> {
        Ok(self)
    }
}

impl<'p, 's> View<'p, 's> for i64 {
    #[inline(always)]
    fn read(value: Peek<'p, 's>) -> Result<Self, WrongType> {
        value.int()
    }
    #[inline(always)]
    fn write(self, _: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory> {
        Ok(Handle::int(self))
    }
}

impl<'p, 's> View<'p, 's> for bool {
    fn read(value: Peek<'p, 's>) -> Result<Self, WrongType> {
        match value.int() {
            Ok(n @ 0..=1) => Ok(n == 1),
            _ => Err(WrongType { expected: "a boolean" }),
        }
    }
    fn write(self, _: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory> {
        Ok(Handle::int(self.into()))
    }
}

impl<'p, 's> View<'p, 's> for () {
    fn read(value: Peek<'p, 's>) -> Result<Self, WrongType> {
        if value.int() == Ok(0) { Ok(()) } else { Err(WrongType { expected: "()" }) }
    }
    fn write(self, _: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory> {
        Ok(Handle::ZERO)
    }
}

impl<'p, 's> View<'p, 's> for f64 {
    #[inline]
    fn read(value: Peek<'p, 's>) -> Result<Self, WrongType> {
        value.float()
    }
    #[inline]
    fn write(self, s: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory> {
        s.float(self)
    }
}

impl<'p, 's> View<'p, 's> for &'p [u8] {
    fn read(value: Peek<'p, 's>) -> Result<Self, WrongType> {
        value.bytes()
    }
    fn write(self, s: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory> {
        s.string(self)
    }
}

impl<'p, 's> View<'p, 's> for &'p str {
    fn read(value: Peek<'p, 's>) -> Result<Self, WrongType> {
        std::str::from_utf8(value.bytes()?).map_err(|_| WrongType { expected: "a string in UTF-8" })
    }
    fn write(self, s: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory> {
        s.string(self.as_bytes())
    }
}

impl<'p, 's> View<'p, 's> for String {
    fn read(value: Peek<'p, 's>) -> Result<Self, WrongType> {
        value.view::<&str>().map(str::to_owned)
    }
    fn write(self, s: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory> {
        s.string(self.as_bytes())
    }
}

impl<'p, 's, T: View<'p, 's>> View<'p, 's> for Option<T> {
    fn read(value: Peek<'p, 's>) -> Result<Self, WrongType> {
        if value.int() == Ok(0) {
            return Ok(None);
        }
        let [some] = value.block(0).map_err(|_| WrongType { expected: "an option" })?;
        T::read(some).map(Some)
    }
    fn write(self, s: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory> {
        let Some(some) = self else { return Ok(Handle::ZERO) };
        let some = some.write(s)?;
        s.block(0, [some])
    }
}

impl<'p, 's, T: View<'p, 's>, const N: usize> View<'p, 's> for [T; N] {
    fn read(value: Peek<'p, 's>) -> Result<Self, WrongType> {
        let fields: [Peek<'p, 's>; N] = value.block(0)?;
        let mut wrong = None;
        let read = fields.map(|field| T::read(field).map_err(|error| wrong = Some(error)).ok());
        match wrong {
            None => Ok(read.map(|field| field.expect("no field is wrong"))),
            Some(error) => Err(error),
        }
    }
    fn write(self, s: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory> {
        let mut fields = [Handle::ZERO; N];
        for (field, value) in fields.iter_mut().zip(self) {
            *field = value.write(s)?;
        }
        s.block(0, fields)
    }
}

macro_rules! tuples {
    ($($($t:ident $field:ident),+;)+) => {$(
        impl<'p, 's, $($t: View<'p, 's>),+> View<'p, 's> for ($($t,)+) {
            fn read(value: Peek<'p, 's>) -> Result<Self, WrongType> {
                let [$($field),+] = value.block(0)?;
                Ok(($($t::read($field)?,)+))
            }
            fn write(self, s: &mut Scope<'s>) -> Result<Handle<'s>, OutOfMemory> {
                let ($($field,)+) = self;
                let fields = [$($field.write(s)?),+];
                s.block(0, fields)
            }
        }
    )+};
}

tuples! {
    A a, B b;
    A a, B b, C c;
    A a, B b, C c, D d;
}
