//! Big arrays: the host sees their elements as slices, and gives guests its own vectors.

use std::ops::{Deref, DerefMut, Range};

use spelter_interp::Raise;
use spelter_interp::prim::bigarray::{Kind, Memory};

use super::argument::{Argument, Lending};
use super::reply::Reply;
use crate::context::{Context, Local};
use crate::trust;
use crate::wrong_type::WrongType;

mod sealed {
    pub trait Sealed {}
}

/// A type of elements of big arrays that a host can see.
///
/// | Rust | `Bigarray.kind` |
/// |---|---|
/// | `f32`, `f64` | `float32`, `float64` |
/// | `i8`, `i16`, `u16` | `int8_signed`, `int16_signed`, `int16_unsigned` |
/// | `u8` | `int8_unsigned`, `char` |
/// | `i32` | `int32` |
/// | `i64` | `int64`, `nativeint`, `int` |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the type of the elements of a big array",
    label = "no kind of `Bigarray` has such elements",
    note = "elements are `f32`, `f64`, `i8`, `u8`, `i16`, `u16`, `i32` or `i64`"
)]
pub trait Element: sealed::Sealed + Copy + Send + 'static {
    /// The kinds of arrays that are seen as slices of this type; new ones are of the first.
    #[doc(hidden)]
    const KINDS: &'static [Kind];
    /// What is expected, for messages.
    #[doc(hidden)]
    const EXPECTED: &'static str;
}

macro_rules! elements {
    ($($type:ty: $name:literal $($kind:ident)*;)*) => { $(
        impl sealed::Sealed for $type {}

        impl Element for $type {
            const KINDS: &'static [Kind] = &[$(Kind::$kind),*];
            const EXPECTED: &'static str = concat!("a big array of kind ", $name);
        }
    )* };
}

elements! {
    f32: "float32" Float32;
    f64: "float64" Float64;
    i8: "int8_signed" Sint8;
    u8: "int8_unsigned or char" Uint8 Char;
    i16: "int16_signed" Sint16;
    u16: "int16_unsigned" Uint16;
    i32: "int32" Int32;
    i64: "int64, nativeint or int" Int64 NativeInt CamlInt;
}

/// A vector that becomes a big array of one dimension without being copied: the array owns it.
///
/// Its memory counts towards the heap's limit, and is freed with the last array that views it.
///
/// ```
/// use spelter::{BigArray, Elements, Vm};
///
/// // external samples : int -> (float, float64_elt, c_layout) Array1.t = "host_samples"
/// // external mean : (float, float64_elt, c_layout) Array1.t -> float = "host_mean"
/// let samples = |n: u32| BigArray::new((0..n).map(f64::from).collect());
/// let mean = |all: Elements<'_, f64>| all.iter().sum::<f64>() / all.len() as f64;
/// let mut vm = Vm::builder().primitive("host_samples", samples).primitive("host_mean", mean).build();
///
/// let sum = vm.with(|cx| {
///     let array = cx.new_big_array(BigArray::new(vec![1.0, 2.0, 39.0]))?;
///     cx.elements_mut::<f64>(array)?[0] = 1.5;
///     Ok(cx.elements::<f64>(array)?.iter().sum::<f64>())
/// })?;
/// assert_eq!(sum, 42.5);
/// # Ok::<(), spelter::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BigArray<T> {
    elements: Vec<T>,
    kind: Kind,
}

impl<T: Element> BigArray<T> {
    /// An array of these elements.
    pub fn new(elements: Vec<T>) -> Self {
        BigArray { elements, kind: T::KINDS[0] }
    }
}

impl BigArray<u8> {
    /// An array of kind `char`.
    pub fn chars(elements: Vec<u8>) -> Self {
        BigArray { elements, kind: Kind::Char }
    }
}

/// The elements of a big array, borrowed while a host function runs: an argument of functions that do not take the
/// context, since other code could change the elements. Others use [`Context::elements`].
///
/// The array may have any number of dimensions; the elements are in the order of memory. Those of mapped files are
/// refused, since other processes may change them.
#[derive(Debug)]
pub struct Elements<'a, T>(&'a [T]);

/// The elements of a big array, for reading and writing: see [`Elements`]. The memory must not be that of another argument.
#[derive(Debug)]
pub struct ElementsMut<'a, T>(&'a mut [T]);

impl<T> Deref for Elements<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0
    }
}

impl<T> Deref for ElementsMut<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0
    }
}

impl<T> DerefMut for ElementsMut<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0
    }
}

impl<'c> Context<'c> {
    /// A vector as a big array of one dimension, in C's layout, which owns it.
    ///
    /// # Errors
    /// `Out_of_memory` when the heap's limit does not allow it.
    pub fn new_big_array<T: Element>(&mut self, array: BigArray<T>) -> Result<Local<'c>, Raise> {
        let len = array.elements.len();
        let kind = array.kind;
        let slot = self.m.push(|m| {
            let ops = m.kind_of_numbers()?;
            let memory = Memory::charged(m, trust::Bytes(array.elements))?;
            let bytes = memory.len();
            let flags = kind as usize; // in the layout of C
            m.new_numbers_with(ops, flags, &[len], memory, bytes)
        })?;
        Ok(Local::new(slot))
    }

    /// The elements of a big array, without a copy, while nothing can change in the machine.
    ///
    /// # Errors
    /// When the value is no big array of such elements, or is that of a mapped file, which other processes may change.
    pub fn elements<T: Element>(&self, v: Local<'c>) -> Result<&[T], WrongType> {
        self.check_elements::<T>(v)?;
        let bytes = self.m.numbers(v.slot).map(|array| array.bytes()).unwrap_or_default();
        trust::elements(bytes).ok_or_else(|| self.wrong(v, "a big array whose elements are aligned"))
    }

    /// The same, for reading and writing.
    ///
    /// # Errors
    /// As for [`Context::elements`].
    pub fn elements_mut<T: Element>(&mut self, v: Local<'c>) -> Result<&mut [T], WrongType> {
        self.elements::<T>(v)?;
        let bytes = self.m.elements_mut(v.slot).unwrap_or_default();
        Ok(trust::elements_mut(bytes).unwrap_or_default())
    }

    fn check_elements<T: Element>(&self, v: Local<'c>) -> Result<(), WrongType> {
        match self.m.numbers(v.slot) {
            Ok(array) if !T::KINDS.contains(&array.kind()) => {
                Err(self.wrong(v, format!("{}, not of {:?}", T::EXPECTED, array.kind())))
            }
            Ok(array) if array.is_mapped() => Err(self.wrong(v, "a big array that is not a mapped file")),
            Ok(_) => Ok(()),
            Err(_) => Err(self.wrong(v, T::EXPECTED)),
        }
    }
}

impl<T: Element> Reply for BigArray<T> {
    fn reply<'c>(self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        cx.new_big_array(self)
    }
}

impl<T: Element> Argument for Elements<'_, T> {
    type Arg<'a> = Elements<'a, T>;
    type Held<'c> = trust::View<'c, T>;
    const IS_VIEW: bool = true;

    fn hold<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<trust::View<'c, T>, WrongType> {
        trust::View::of(cx, v)
    }

    fn lend<'a, 'c>(held: &'a mut trust::View<'c, T>, lending: Lending) -> Elements<'a, T> {
        Elements(held.shared(lending))
    }

    fn memory(held: &trust::View<'_, T>) -> Option<(Range<usize>, bool)> {
        Some((held.range(), false))
    }
}

impl<T: Element> Argument for ElementsMut<'_, T> {
    type Arg<'a> = ElementsMut<'a, T>;
    type Held<'c> = trust::View<'c, T>;
    const IS_VIEW: bool = true;

    fn hold<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<trust::View<'c, T>, WrongType> {
        trust::View::of(cx, v)
    }

    fn lend<'a, 'c>(held: &'a mut trust::View<'c, T>, lending: Lending) -> ElementsMut<'a, T> {
        ElementsMut(held.exclusive(lending))
    }

    fn memory(held: &trust::View<'_, T>) -> Option<(Range<usize>, bool)> {
        Some((held.range(), true))
    }
}
