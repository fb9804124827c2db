//! Big arrays: blocks with C's layout, their memory outside the heap, their kind and shape, and the mapping of indices to
//! elements. Everything else about big arrays is in the primitives.
//!
//! ```text
//! word 0    : the operations
//! words 1.. : C's struct caml_ba_array: data, number of dimensions, flags, proxy, the dimensions
//! then      : what keeps the memory (`memory`), which C does not know; not in blocks of a C library's own kind
//! last word : the bytes outside the heap
//! ```
//!
//! C's libraries read all of the struct, and may change it as OCaml's rules allow. Programs change none of it, so in
//! checked machines a block is always as it was made.
//!
//! This file contains unsafe code: elements are accessed by address, by instructions (`handlers/elements.rs`) and by
//! primitives. A slice of them borrows the machine, so nothing writes to them meanwhile.

mod kind;
mod memory;
mod new;

use std::any::Any;
use std::marker::PhantomData;
use std::ops::Range;

use spelter_heap::raw::{CustomOps, Value, tag};
use spelter_heap::{Heap, Val, WrongType};

use crate::Machine;
use crate::exec::regs::Trust;
use crate::prim::custom::{INT32, INT64, NATIVEINT, boxed_int};
use crate::prim::{Raise, Res, Slot};

pub use kind::{Kind, Layout, of_half, to_half};
pub use memory::{Memory, finalise};
use memory::{bytes_at, bytes_at_mut};

/// The maximum number of dimensions of an array.
pub const MAX_DIMS: usize = 16;

/// The flags of an array: the number of its kind, and these.
pub mod flag {
    /// The bits of the kind.
    pub const KIND_MASK: usize = 0xFF;
    /// The layout is Fortran's.
    pub const FORTRAN: usize = 0x100;
    /// Whose the memory is.
    pub const MANAGED_MASK: usize = 0x600;
    /// It is not OCaml's.
    pub const EXTERNAL: usize = 0;
    /// OCaml frees it.
    pub const MANAGED: usize = 0x200;
    /// It is that of a mapped file.
    pub const MAPPED: usize = 0x400;
    /// It belongs to a larger array (since OCaml 5.2).
    pub const SUBARRAY: usize = 0x800;
}

/// C's `struct caml_ba_array`, up to its dimensions.
#[repr(C)]
pub struct Words {
    data: *mut u8,
    rank: usize,
    flags: usize,
    /// If other arrays share the memory.
    proxy: *mut Proxy,
}

/// C's `struct caml_ba_proxy`.
#[repr(C)]
struct Proxy {
    /// The number of arrays that share the memory.
    count: usize,
    data: *mut u8,
    /// The size of a mapped file.
    size: usize,
}

/// How many words of a payload come before the dimensions.
pub const BEFORE_DIMS: usize = size_of::<Words>() / 8;

impl Words {
    /// Fills the payload of an array that has no proxy yet.
    ///
    /// # Safety
    /// There is room for as many dimensions. The flags contain the number of a kind, and say whose memory it is at `data`.
    pub unsafe fn fill(this: *mut Words, data: *mut u8, flags: usize, dims: &[usize]) {
        // SAFETY: by contract.
        unsafe {
            this.write(Words { data, rank: dims.len(), flags, proxy: std::ptr::null_mut() });
            dims.as_ptr().copy_to_nonoverlapping(this.add(1).cast(), dims.len());
        }
    }

    /// The size of each dimension.
    ///
    /// # Safety
    /// This is that of a block.
    #[inline(always)]
    pub unsafe fn dims<'a>(this: *const Words) -> &'a [usize] {
        // SAFETY: the dimensions follow.
        unsafe { std::slice::from_raw_parts(this.add(1).cast(), (*this).rank) }
    }

    /// # Safety
    /// As for [`Words::dims`].
    unsafe fn byte_len(this: *const Words) -> usize {
        // SAFETY: by contract.
        unsafe { product(Words::dims(this)).wrapping_mul(Words::kind(this).size()) }
    }

    /// The kind of the elements.
    ///
    /// # Safety
    /// As for [`Words::dims`].
    #[inline(always)]
    pub unsafe fn kind(this: *const Words) -> Kind {
        // SAFETY: the flags of a block contain the number of a kind.
        unsafe { std::mem::transmute::<u8, Kind>((*this).flags as u8) }
    }
}

/// The seals of kinds of custom blocks that are big arrays: with what keeps the memory, and without it.
const SEAL: u8 = 1;
const SEAL_OF_C: u8 = 2;

/// The operations of big arrays whose behaviour this is. Such a block is finalised by C's rules.
pub const fn operations(
    name: &'static std::ffi::CStr,
    behaviour: &'static (dyn Any + Send + Sync),
) -> CustomOps {
    CustomOps::new(name, behaviour).retired_by(memory::retire).counting().sealed(SEAL)
}

/// How many words a block of this kind has behind what C knows.
pub fn hidden_words(ops: &CustomOps) -> usize {
    usize::from(is_whole(ops))
}

/// Makes a kind of a C library, whose operations say what else it does, one of big arrays.
pub const fn operations_of_c(kind: CustomOps) -> CustomOps {
    kind.sealed(SEAL_OF_C)
}

/// Whether blocks of a kind are big arrays that the machine makes.
pub(crate) fn is_whole(ops: &CustomOps) -> bool {
    ops.seal() == SEAL
}

/// Whether blocks of a kind are big arrays.
#[inline(always)]
fn are_arrays(ops: &CustomOps) -> bool {
    matches!(ops.seal(), SEAL | SEAL_OF_C)
}

/// The number of elements, unless it overflows.
pub fn count(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
}

/// The number of elements of an array that exists. It fits, but in another order a part of the product may not, if a
/// dimension is zero.
fn product(dims: &[usize]) -> usize {
    dims.iter().fold(1, |n, dim| n.wrapping_mul(*dim))
}

/// One element, as OCaml sees it.
#[derive(Clone, Copy)]
pub enum Element {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A boxed integer of that kind.
    Boxed(&'static CustomOps, i64),
    /// A complex number.
    Complex(f64, f64),
}

/// Something from which an element can be made.
pub(crate) trait Source: Copy {
    fn int(self) -> Result<i64, WrongType>;
    fn float(self) -> Result<f64, WrongType>;
    fn boxed(self, kind: &'static CustomOps) -> Result<i64, WrongType>;
    fn complex(self) -> Result<(f64, f64), WrongType>;
}

impl Source for Val<'_> {
    fn int(self) -> Result<i64, WrongType> {
        Val::int(self)
    }
    fn float(self) -> Result<f64, WrongType> {
        Val::float(self)
    }
    fn boxed(self, kind: &'static CustomOps) -> Result<i64, WrongType> {
        boxed_int(self, kind)
    }
    fn complex(self) -> Result<(f64, f64), WrongType> {
        Ok((self.float_field(0)?, self.float_field(1)?))
    }
}

/// Why an element cannot be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoElement {
    /// A value is not of the kind of the elements.
    Kind(WrongType),
    /// The number of indices is not the number of dimensions.
    Rank,
    /// An index is out of bounds.
    Bounds,
}

impl From<WrongType> for NoElement {
    #[inline]
    fn from(e: WrongType) -> Self {
        NoElement::Kind(e)
    }
}

impl NoElement {
    /// The exception that OCaml raises, in a function with that name.
    #[cold]
    pub fn raise(self, function: &str) -> Raise {
        match self {
            NoElement::Kind(e) => e.into(),
            NoElement::Rank => Raise::invalid(format!("{function}: wrong number of indices")),
            NoElement::Bounds => Raise::bounds(),
        }
    }
}

/// A big array: a view of memory that other arrays may view, too.
#[derive(Clone, Copy)]
pub struct Numbers<'h> {
    words: *const Words,
    heap: PhantomData<&'h Heap>,
}

impl<'h> Numbers<'h> {
    /// The big array that a value is.
    ///
    /// # Errors
    /// When it is something else.
    #[inline]
    pub fn of(v: Val<'h>) -> Result<Numbers<'h>, WrongType> {
        if v.custom_ops().is_ok_and(are_arrays) {
            // SAFETY: tested; nothing moves during 'h.
            return Ok(unsafe { Numbers::at(v.raw()) });
        }
        Err(WrongType { expected: "a big array" })
    }

    /// # Safety
    /// `v` is a big array, which does not move during 'h.
    #[inline(always)]
    unsafe fn at(v: Value) -> Numbers<'h> {
        Numbers { words: v.as_ptr().wrapping_add(1).cast(), heap: PhantomData }
    }

    #[inline(always)]
    fn words(self) -> &'h Words {
        // SAFETY: those of a block (type invariant).
        unsafe { &*self.words }
    }

    /// The address of the first element.
    #[inline(always)]
    fn data(self) -> *mut u8 {
        self.words().data
    }

    /// The kind of the elements.
    #[inline(always)]
    pub fn kind(self) -> Kind {
        // SAFETY: those of a block.
        unsafe { Words::kind(self.words) }
    }

    /// The order of the elements in memory.
    #[inline(always)]
    pub fn layout(self) -> Layout {
        if self.words().flags & flag::FORTRAN == 0 { Layout::C } else { Layout::Fortran }
    }

    /// The flags that say of what kind and layout the array is: what programs can see.
    pub fn flags(self) -> usize {
        self.words().flags & (flag::KIND_MASK | flag::FORTRAN)
    }

    /// The size of each dimension.
    #[inline(always)]
    pub fn dims(self) -> &'h [usize] {
        // SAFETY: those of a block.
        unsafe { Words::dims(self.words) }
    }

    /// The total number of elements.
    pub fn elements(self) -> usize {
        product(self.dims())
    }

    fn byte_len(self) -> usize {
        // SAFETY: those of a block.
        unsafe { Words::byte_len(self.words) }
    }

    /// The bytes of the elements.
    pub fn bytes(self) -> &'h [u8] {
        // SAFETY: those of a block. Whoever writes to them has the machine to itself.
        unsafe { bytes_at(self.data(), self.byte_len()) }
    }

    /// Whether the memory is that of a mapped file, which others may change at any time.
    pub fn is_mapped(self) -> bool {
        self.words().flags & flag::MANAGED_MASK == flag::MAPPED
    }

    /// Whether this array begins behind another one.
    pub fn lies_behind(self, other: Numbers<'_>) -> bool {
        self.data().addr() > other.data().addr()
    }

    /// The number of elements before the one at these indices.
    ///
    /// # Errors
    /// When there is no such element.
    #[inline(always)]
    pub fn offset(self, indices: &[i64]) -> Result<usize, NoElement> {
        let rank = indices.len();
        if rank != self.words().rank {
            return Err(NoElement::Rank);
        }
        let (dims, layout) = (self.dims(), self.layout());
        let mut offset = 0;
        for n in 0..rank {
            let (n, i) = match layout {
                Layout::C => (n, indices[n] as usize),
                Layout::Fortran => (rank - 1 - n, (indices[rank - 1 - n] as usize).wrapping_sub(1)),
            };
            let dim = dims[n];
            if i >= dim {
                return Err(NoElement::Bounds);
            }
            offset = offset * dim + i;
        }
        Ok(offset)
    }

    /// The element at these indices.
    ///
    /// # Errors
    /// When there is no such element.
    #[inline(always)]
    pub fn get(self, indices: &[i64]) -> Result<Element, NoElement> {
        let offset = self.offset(indices)?;
        // SAFETY: the offset is that of an element. Whoever writes to it has the machine to itself.
        Ok(unsafe { self.load(offset) })
    }

    /// The element at these indices ← a value.
    ///
    /// # Safety
    /// No slice of the memory is in use.
    #[inline(always)]
    unsafe fn set_from(self, indices: &[i64], from: impl Source) -> Result<(), NoElement> {
        let offset = self.offset(indices)?;
        // SAFETY: the offset is that of an element; by contract.
        Ok(unsafe { self.store(offset, from) }?)
    }

    /// # Safety
    /// `offset` is less than the number of elements, and nothing writes to it meanwhile.
    #[inline(always)]
    unsafe fn load(self, offset: usize) -> Element {
        macro_rules! number {
            ($type:ty, $offset:expr) => {
                // SAFETY: an element by contract; memory need not be aligned.
                <$type>::from_le_bytes(unsafe {
                    *self.data().cast::<[u8; size_of::<$type>()]>().add($offset)
                })
            };
        }
        match self.kind() {
            Kind::Float32 => Element::Float(number!(f32, offset).into()),
            Kind::Float16 => Element::Float(of_half(number!(u16, offset)).into()),
            Kind::Float64 => Element::Float(number!(f64, offset)),
            Kind::Sint8 => Element::Int(number!(i8, offset).into()),
            Kind::Uint8 | Kind::Char => Element::Int(number!(u8, offset).into()),
            Kind::Sint16 => Element::Int(number!(i16, offset).into()),
            Kind::Uint16 => Element::Int(number!(u16, offset).into()),
            Kind::Int32 => Element::Boxed(&INT32, number!(i32, offset).into()),
            Kind::Int64 => Element::Boxed(&INT64, number!(i64, offset)),
            Kind::CamlInt => Element::Int(number!(i64, offset)),
            Kind::NativeInt => Element::Boxed(&NATIVEINT, number!(i64, offset)),
            Kind::Complex32 => {
                Element::Complex(number!(f32, 2 * offset).into(), number!(f32, 2 * offset + 1).into())
            }
            Kind::Complex64 => Element::Complex(number!(f64, 2 * offset), number!(f64, 2 * offset + 1)),
        }
    }

    /// # Safety
    /// `offset` is less than the number of elements, and no slice of the memory is in use.
    #[inline(always)]
    unsafe fn store(self, offset: usize, from: impl Source) -> Result<(), WrongType> {
        macro_rules! number {
            ($offset:expr, $number:expr) => {{
                let bytes = $number.to_le_bytes();
                // SAFETY: an element by contract; memory need not be aligned.
                unsafe { place(self.data(), &bytes).add($offset).write(bytes) }
            }};
        }
        match self.kind() {
            Kind::Float32 => number!(offset, (from.float()? as f32)),
            Kind::Float16 => number!(offset, (to_half(from.float()? as f32))),
            Kind::Float64 => number!(offset, from.float()?),
            Kind::Sint8 | Kind::Uint8 | Kind::Char => number!(offset, (from.int()? as u8)),
            Kind::Sint16 | Kind::Uint16 => number!(offset, (from.int()? as u16)),
            Kind::Int32 => number!(offset, (from.boxed(&INT32)? as u32)),
            Kind::Int64 => number!(offset, from.boxed(&INT64)?),
            Kind::CamlInt => number!(offset, from.int()?),
            Kind::NativeInt => number!(offset, from.boxed(&NATIVEINT)?),
            Kind::Complex32 => {
                let (re, im) = from.complex()?;
                number!(2 * offset, (re as f32));
                number!(2 * offset + 1, (im as f32));
            }
            Kind::Complex64 => {
                let (re, im) = from.complex()?;
                number!(2 * offset, re);
                number!(2 * offset + 1, im);
            }
        }
        Ok(())
    }
}

/// The same address, as that of arrays of this size.
#[inline(always)]
fn place<const N: usize>(start: *mut u8, _: &[u8; N]) -> *mut [u8; N] {
    start.cast()
}

// ---- for primitives --------------------------------------------------------------------------------

impl Machine {
    /// The big array in a slot.
    ///
    /// # Errors
    /// When the slot holds anything else.
    #[inline]
    pub fn numbers(&self, s: Slot) -> Result<Numbers<'_>, WrongType> {
        Numbers::of(self.val(s))
    }

    /// The bytes of the elements of the big array in a slot, for writing.
    ///
    /// # Errors
    /// When the slot holds anything else.
    pub fn elements_mut(&mut self, s: Slot) -> Result<&mut [u8], WrongType> {
        let b = self.numbers(s)?;
        // SAFETY: those of a block; whatever else reads or writes them needs the machine.
        Ok(unsafe { bytes_at_mut(b.data(), b.byte_len()) })
    }

    /// The element of the big array in a slot at these indices ← the value in another slot.
    ///
    /// # Errors
    /// When there is no such array or element, or the value is not of the array's kind.
    pub fn set_element(&mut self, s: Slot, indices: &[i64], v: Slot) -> Result<(), NoElement> {
        // SAFETY: whatever else reads or writes elements needs the machine.
        unsafe { self.numbers(s)?.set_from(indices, self.val(v)) }
    }

    /// The first elements of the big array in a slot, in the order of memory, at most `count` ← the value in another
    /// slot.
    ///
    /// # Errors
    /// When there is no such array, or the value is not of the array's kind.
    pub fn fill_elements(&mut self, s: Slot, count: usize, v: Slot) -> Result<(), WrongType> {
        let b = self.numbers(s)?;
        let (count, size) = (count.min(b.elements()), b.kind().size());
        if count == 0 {
            return Ok(());
        }
        // SAFETY: there is a first element; whatever else reads or writes elements needs the machine.
        unsafe { b.store(0, self.val(v)) }?;
        let bytes = &mut self.elements_mut(s)?[..count * size];
        let mut filled = size;
        while filled < bytes.len() {
            let more = filled.min(bytes.len() - filled);
            bytes.copy_within(..more, filled);
            filled += more;
        }
        Ok(())
    }

    /// Copies a part of the bytes of the elements of one big array to those of another, which may view the same memory.
    /// If it is copied in several parts, and the other array begins behind the first one ([`Numbers::lies_behind`]), the
    /// last parts must be copied first.
    ///
    /// # Errors
    /// When the slots hold anything else, or one of the arrays is smaller.
    pub fn copy_elements(&mut self, from: Slot, to: Slot, part: Range<usize>) -> Result<(), Raise> {
        let (from, to) = (self.numbers(from)?, self.numbers(to)?);
        if part.start > part.end || part.end > from.byte_len().min(to.byte_len()) {
            return Err(Raise::bounds());
        }
        if !part.is_empty() {
            // SAFETY: both parts exist, perhaps in the same memory; whatever else reads or writes them needs the machine.
            unsafe { from.data().add(part.start).copy_to(to.data().add(part.start), part.len()) }
        }
        Ok(())
    }

    /// The value of an element.
    ///
    /// # Errors
    /// When memory is exhausted.
    #[inline]
    pub fn new_element(&mut self, e: Element) -> Res<'_> {
        match e {
            Element::Int(n) => Ok(Val::from_int(n)),
            Element::Float(x) => self.new_float(x),
            Element::Boxed(kind, n) => self.new_boxed(kind, n as u64),
            Element::Complex(re, im) => {
                let both = self.push(|m| m.new_float_array(2))?;
                self.set_float_field(both, 0, re)?;
                self.set_float_field(both, 1, im)?;
                Ok(self.val(both))
            }
        }
    }
}

// ---- for instructions ------------------------------------------------------------------------------

/// The big array that a value is, according to the code.
#[inline(always)]
fn claimed<'a, T: Trust>(v: Value) -> Option<Numbers<'a>> {
    // SAFETY: trusted, or tested; no collection happens while instructions use it.
    unsafe {
        if T::CHECKED && !(v.is_block() && v.tag() == tag::CUSTOM && are_arrays(v.custom_ops())) {
            return None;
        }
        Some(Numbers::at(v))
    }
}

/// The element of a big array. `None` if the primitive must be called.
#[inline(always)]
pub(crate) fn element<T: Trust>(v: Value, indices: &[i64]) -> Option<Element> {
    claimed::<T>(v)?.get(indices).ok()
}

/// The element of a big array ← a value. `None` if the primitive must be called.
#[inline(always)]
pub(crate) fn set_element<T: Trust>(v: Value, indices: &[i64], from: impl Source) -> Option<()> {
    // SAFETY: an instruction runs, so no slice of the elements is in use.
    unsafe { claimed::<T>(v)?.set_from(indices, from).ok() }
}

#[cfg(test)]
mod tests;
