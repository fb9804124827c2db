//! Big arrays: their memory outside the heap, their kind and shape, and the mapping of indices to elements. Everything
//! else about big arrays is in the primitives.
//!
//! This file contains unsafe code: elements are accessed by address, by instructions (`handlers/elements.rs`) and by
//! primitives. All arrays that view the same memory share it; a slice of it is a borrow, as from a `RefCell`.

use std::any::Any;
use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;

use spelter_heap::raw::{CustomOps, Value, tag};
use spelter_heap::{Charge, Val, WrongType};

use crate::Machine;
use crate::exec::regs::{Trust, zero_words};
use crate::prim::custom::{INT32, INT64, NATIVEINT, boxed_int};
use crate::prim::{Raise, Res};
use crate::threads::interrupt::drop_elsewhere;

/// The maximum number of dimensions of an array.
pub const MAX_DIMS: usize = 16;

/// The kind of the elements: the constructors of `Bigarray.kind`, in its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "named as OCaml names them")]
pub enum Kind {
    Float32,
    Float64,
    Sint8,
    Uint8,
    Sint16,
    Uint16,
    Int32,
    Int64,
    CamlInt,
    NativeInt,
    Complex32,
    Complex64,
    Char,
    Float16,
}

impl Kind {
    /// All kinds, by their numbers.
    pub const ALL: [Kind; 14] = [
        Kind::Float32,
        Kind::Float64,
        Kind::Sint8,
        Kind::Uint8,
        Kind::Sint16,
        Kind::Uint16,
        Kind::Int32,
        Kind::Int64,
        Kind::CamlInt,
        Kind::NativeInt,
        Kind::Complex32,
        Kind::Complex64,
        Kind::Char,
        Kind::Float16,
    ];

    /// An element's size in bytes.
    pub fn size(self) -> usize {
        match self {
            Kind::Sint8 | Kind::Uint8 | Kind::Char => 1,
            Kind::Sint16 | Kind::Uint16 | Kind::Float16 => 2,
            Kind::Float32 | Kind::Int32 => 4,
            Kind::Float64 | Kind::Int64 | Kind::CamlInt | Kind::NativeInt | Kind::Complex32 => 8,
            Kind::Complex64 => 16,
        }
    }
}

/// The bits of a float of half precision in the exponent, and all but the sign.
const HALF_INFINITY: u16 = 0x7C00;
const HALF_SIGN: u16 = 0x8000;

/// The value of a float of half precision (IEEE binary16).
pub fn of_half(half: u16) -> f32 {
    let sign = u32::from(half & HALF_SIGN) << 16;
    let rest = half & !HALF_SIGN;
    let magnitude = match rest {
        // The significand has 13 more bits, and the exponent a bias that is larger by 112.
        HALF_INFINITY.. => u32::from(rest) << 13 | 0x7F80_0000,
        0x400.. => (u32::from(rest) << 13) + (112 << 23),
        // Multiples of the smallest number, 2⁻²⁴.
        _ => (f32::from(rest) * 2f32.powi(-24)).to_bits(),
    };
    f32::from_bits(sign | magnitude)
}

/// The nearest float of half precision; of two, the even one.
pub fn to_half(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16) as u16 & HALF_SIGN;
    let x = x.abs();
    let magnitude = match x {
        _ if x.is_nan() => HALF_INFINITY | 0x200,
        // What rounds to 2¹⁶ or more.
        65520.0.. => HALF_INFINITY,
        // Below 2⁻¹⁴: adding 0.5 leaves as many bits as there are.
        ..6.103_515_625e-5 => ((x + 0.5).to_bits() - 0.5f32.to_bits()) as u16,
        _ => {
            let bits = x.to_bits() - (112 << 23);
            // Round half to even.
            ((bits + 0xFFF + (bits >> 13 & 1)) >> 13) as u16
        }
    };
    sign | magnitude
}

/// The order of elements in memory, and the lowest index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// The last index varies fastest; indices start at 0.
    C,
    /// The first index varies fastest; indices start at 1.
    Fortran,
}

impl Layout {
    /// Which of `n` dimensions varies slowest.
    pub fn slowest(self, n: usize) -> usize {
        match self {
            Layout::C => 0,
            Layout::Fortran => n.saturating_sub(1),
        }
    }
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
    /// The memory is borrowed.
    Borrowed,
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
            NoElement::Borrowed => Raise::failure(format!("{function}: the elements are in use")),
        }
    }
}

/// The memory of elements.
struct Memory {
    start: *mut u8,
    len: usize,
    /// Counts the borrows of the memory as a slice.
    lent: RefCell<()>,
    /// From `Box::into_raw`.
    owner: *mut dyn AsMut<[u8]>,
}

impl Memory {
    fn new(owner: Box<dyn AsMut<[u8]>>) -> Memory {
        let owner = Box::into_raw(owner);
        // SAFETY: the owner is not shared. The slice that it returns stays borrowed until the owner is dropped, because
        // `as_mut` is not called again.
        let bytes = unsafe { (*owner).as_mut() };
        Memory { start: bytes.as_mut_ptr(), len: bytes.len(), lent: RefCell::new(()), owner }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and no array views the memory any more.
        drop(unsafe { Box::from_raw(self.owner) });
    }
}

/// Memory that belongs to an array and has been charged for. In a machine whose calls may be interrupted, another
/// thread returns large memory to the system.
struct Owned {
    content: Content,
    elsewhere: bool,
    _charge: Charge,
}

enum Content {
    /// A number of bytes, initially zero.
    Words(Box<[u64]>, usize),
    Bytes(Vec<u8>),
}

impl AsMut<[u8]> for Owned {
    fn as_mut(&mut self) -> &mut [u8] {
        match &mut self.content {
            // SAFETY: the words have at least that many bytes.
            Content::Words(words, len) => unsafe {
                std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), *len)
            },
            Content::Bytes(bytes) => bytes,
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.elsewhere {
            let bytes = self.as_mut().len();
            drop_elsewhere(bytes, std::mem::replace(&mut self.content, Content::Bytes(Vec::new())));
        }
    }
}

/// A big array: a view of memory that other arrays may view, too.
pub struct Numbers {
    /// The first element. `memory` contains `elements()` elements from there on.
    start: *mut u8,
    kind: Kind,
    layout: Layout,
    size: usize,
    rank: usize,
    dims: [usize; MAX_DIMS],
    memory: Rc<Memory>,
}

/// The number of elements, unless it overflows.
pub fn count(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
}

impl Numbers {
    /// An array on these bytes. `None` if there are too many dimensions, or not enough bytes.
    pub fn new(
        kind: Kind,
        layout: Layout,
        dims: &[usize],
        bytes: impl AsMut<[u8]> + 'static,
    ) -> Option<Numbers> {
        Numbers::at(Rc::new(Memory::new(Box::new(bytes))), 0, kind, layout, dims)
    }

    /// A new array, all zero.
    ///
    /// # Errors
    /// When there is not enough memory, or the heap's limit would be exceeded.
    pub fn zeroes(m: &mut Machine, kind: Kind, layout: Layout, dims: &[usize]) -> Result<Numbers, Raise> {
        let len = count(dims).and_then(|n| n.checked_mul(kind.size())).ok_or(Raise::OutOfMemory)?;
        let charge = m.charge(len)?;
        let content = Content::Words(zero_words(len.div_ceil(8))?, len);
        let owned = Owned { content, elsewhere: m.may_be_interrupted(), _charge: charge };
        Numbers::new(kind, layout, dims, owned).ok_or(Raise::OutOfMemory)
    }

    /// A new array on bytes that have been charged for. `None` if the dimensions need more.
    pub fn of_bytes(
        m: &Machine,
        kind: Kind,
        layout: Layout,
        dims: &[usize],
        bytes: Vec<u8>,
        charge: Charge,
    ) -> Option<Numbers> {
        let owned =
            Owned { content: Content::Bytes(bytes), elsewhere: m.may_be_interrupted(), _charge: charge };
        Numbers::new(kind, layout, dims, owned)
    }

    /// Wraps it for a custom block to own. Only this crate does this, so that instructions can recognise such blocks by
    /// their table of functions.
    #[inline(never)]
    pub fn boxed(self) -> Box<dyn Any> {
        Box::new(self)
    }

    /// Another view of the same memory, which begins `skipped` elements after this one does. `None` if it would extend
    /// beyond the memory.
    pub fn view(&self, layout: Layout, dims: &[usize], skipped: usize) -> Option<Numbers> {
        let start =
            skipped.checked_mul(self.size)?.checked_add(self.start.addr() - self.memory.start.addr())?;
        Numbers::at(Rc::clone(&self.memory), start, self.kind, layout, dims)
    }

    fn at(memory: Rc<Memory>, start: usize, kind: Kind, layout: Layout, dims: &[usize]) -> Option<Numbers> {
        let size = kind.size();
        let end = count(dims)?.checked_mul(size)?.checked_add(start)?;
        let mut all = [0; MAX_DIMS];
        all.get_mut(..dims.len())?.copy_from_slice(dims);
        // SAFETY: the end is tested here.
        let start = (end <= memory.len).then(|| unsafe { memory.start.add(start) })?;
        Some(Numbers { start, kind, layout, size, rank: dims.len(), dims: all, memory })
    }

    /// The kind of the elements.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// The order of the elements in memory.
    pub fn layout(&self) -> Layout {
        self.layout
    }
    /// The size of each dimension.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }
    /// The total number of elements.
    pub fn elements(&self) -> usize {
        // This did not overflow when the array was made.
        self.dims().iter().product()
    }
    /// The number of bytes that no other array views.
    pub fn bytes_of_its_own(&self) -> usize {
        if Rc::strong_count(&self.memory) == 1 { self.memory.len } else { 0 }
    }

    fn byte_len(&self) -> usize {
        self.elements() * self.size
    }

    /// The bytes of the view.
    ///
    /// # Panics
    /// When they are borrowed for writing.
    pub fn bytes(&self) -> Ref<'_, [u8]> {
        // SAFETY: within the memory, and the borrow excludes writes.
        Ref::map(self.memory.lent.borrow(), |_| unsafe {
            std::slice::from_raw_parts(self.start, self.byte_len())
        })
    }

    /// The bytes of the view, for writing.
    ///
    /// # Panics
    /// When the memory is borrowed.
    pub fn bytes_mut(&self) -> RefMut<'_, [u8]> {
        // SAFETY: within the memory, and the borrow excludes all other access.
        RefMut::map(self.memory.lent.borrow_mut(), |_| unsafe {
            std::slice::from_raw_parts_mut(self.start, self.byte_len())
        })
    }

    /// Copies all elements of an array of the same kind and shape, which may view the same memory.
    ///
    /// # Panics
    /// When the numbers of bytes differ, or the memory is borrowed.
    pub fn copy_from(&self, from: &Numbers) {
        let len = self.byte_len();
        assert_eq!(from.byte_len(), len, "the arrays have different sizes in bytes");
        let _to = self.memory.lent.borrow_mut();
        let _from = (!Rc::ptr_eq(&self.memory, &from.memory)).then(|| from.memory.lent.borrow());
        // SAFETY: both are within their memories, which may be the same one, and which are not borrowed.
        unsafe { from.start.copy_to(self.start, len) }
    }

    /// Like [`Numbers::copy_from`], for a part of the bytes. If both view the same memory, and this array begins behind
    /// the other one ([`Numbers::lies_behind`]), the last parts must be copied first.
    ///
    /// # Panics
    /// When the numbers of bytes differ, or the memory is borrowed.
    pub fn copy_part(&self, from: &Numbers, part: std::ops::Range<usize>) {
        assert!(from.byte_len() == self.byte_len() && part.start <= part.end && part.end <= self.byte_len());
        let _to = self.memory.lent.borrow_mut();
        let _from = (!Rc::ptr_eq(&self.memory, &from.memory)).then(|| from.memory.lent.borrow());
        // SAFETY: both are within their memories, which may be the same one, and which are not borrowed.
        unsafe { from.start.add(part.start).copy_to(self.start.add(part.start), part.len()) }
    }

    /// Whether this array begins behind another one.
    pub fn lies_behind(&self, other: &Numbers) -> bool {
        self.start.addr() > other.start.addr()
    }

    /// The number of elements before the one at these indices.
    ///
    /// # Errors
    /// When there is no such element.
    #[inline(always)]
    pub fn offset(&self, indices: &[i64]) -> Result<usize, NoElement> {
        if indices.len() != self.rank {
            return Err(NoElement::Rank);
        }
        let mut offset = 0;
        for n in 0..indices.len() {
            let (n, i) = match self.layout {
                Layout::C => (n, indices[n] as usize),
                Layout::Fortran => (self.rank - 1 - n, (indices[self.rank - 1 - n] as usize).wrapping_sub(1)),
            };
            let dim = self.dims[n];
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
    /// When there is no such element, or the memory is borrowed.
    #[inline(always)]
    pub fn get(&self, indices: &[i64]) -> Result<Element, NoElement> {
        let offset = self.offset(indices)?;
        if self.memory.lent.try_borrow().is_err() {
            return Err(NoElement::Borrowed);
        }
        // SAFETY: the offset is that of an element; the memory is not borrowed for writing.
        Ok(unsafe { self.load(offset) })
    }

    /// The element at these indices ← a value.
    ///
    /// # Errors
    /// When there is no such element, the value is not of the array's kind, or the memory is borrowed.
    pub fn set(&self, indices: &[i64], v: Val<'_>) -> Result<(), NoElement> {
        self.set_from(indices, v)
    }

    #[inline(always)]
    pub(crate) fn set_from(&self, indices: &[i64], from: impl Source) -> Result<(), NoElement> {
        let offset = self.offset(indices)?;
        if self.memory.lent.try_borrow_mut().is_err() {
            return Err(NoElement::Borrowed);
        }
        // SAFETY: the offset is that of an element; the memory is not borrowed.
        Ok(unsafe { self.store(offset, from) }?)
    }

    /// All elements ← a value.
    ///
    /// # Errors
    /// When the value is not of the array's kind.
    ///
    /// # Panics
    /// When the memory is borrowed.
    pub fn fill(&self, v: Val<'_>) -> Result<(), WrongType> {
        if self.elements() == 0 {
            return Ok(());
        }
        let lent = self.memory.lent.borrow_mut();
        // SAFETY: there is a first element; the memory is not borrowed.
        unsafe { self.store(0, v) }?;
        drop(lent);
        let mut bytes = self.bytes_mut();
        let mut filled = self.size;
        while filled < bytes.len() {
            let more = filled.min(bytes.len() - filled);
            bytes.copy_within(..more, filled);
            filled += more;
        }
        Ok(())
    }

    /// # Safety
    /// `offset` is less than the number of elements, and the memory is not borrowed for writing.
    #[inline(always)]
    unsafe fn load(&self, offset: usize) -> Element {
        macro_rules! number {
            ($type:ty, $offset:expr) => {
                // SAFETY: an element by contract; memory need not be aligned.
                <$type>::from_le_bytes(unsafe { *self.start.cast::<[u8; size_of::<$type>()]>().add($offset) })
            };
        }
        match self.kind {
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
    /// `offset` is less than the number of elements, and the memory is not borrowed.
    #[inline(always)]
    unsafe fn store(&self, offset: usize, from: impl Source) -> Result<(), WrongType> {
        macro_rules! number {
            ($offset:expr, $number:expr) => {{
                let bytes = $number.to_le_bytes();
                // SAFETY: an element by contract; memory need not be aligned.
                unsafe { place(self.start, &bytes).add($offset).write(bytes) }
            }};
        }
        match self.kind {
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

impl Machine {
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

/// Applies `f` to the big array that a block owns. In checked code, the quick form may not recognise it, and leaves it
/// to the full form.
#[inline(always)]
pub(crate) fn in_numbers<T: Trust, R>(
    v: Value,
    f: impl FnOnce(&Numbers) -> Result<R, NoElement>,
) -> Option<R> {
    if !T::CHECKED {
        // SAFETY: trusted; no collection happens meanwhile.
        return f(unsafe { v.external_of_type() }).ok();
    }
    if !T::QUICK {
        return f(tested(v)?).ok();
    }
    // SAFETY: tested; no collection happens meanwhile.
    let numbers = unsafe { (v.is_block() && v.tag() == tag::CUSTOM).then(|| v.external_by_table()) };
    f(numbers??).ok()
}

/// The big array that any value owns. Not inlined into handlers: its variables on the native stack would prevent a
/// sibling call.
#[inline(never)]
fn tested<'a>(v: Value) -> Option<&'a Numbers> {
    // SAFETY: tested; no collection happens meanwhile.
    unsafe { if v.is_block() && v.tag() == tag::CUSTOM { v.external() } else { None } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(dims: &[usize]) -> Numbers {
        let bytes: Vec<u8> = (0..count(dims).unwrap() as i64).flat_map(i64::to_le_bytes).collect();
        Numbers::new(Kind::CamlInt, Layout::C, dims, bytes).unwrap()
    }

    fn get(b: &Numbers, indices: &[i64]) -> Result<i64, NoElement> {
        b.get(indices).map(|e| match e {
            Element::Int(n) => n,
            _ => panic!("an integer"),
        })
    }

    #[test]
    fn shapes_fit_their_memory() {
        let new = |dims: &[usize]| Numbers::new(Kind::Int32, Layout::C, dims, vec![0; 24]);
        for dims in [&[6][..], &[], &[2, 3], &[0], &[usize::MAX, 0], &[1; MAX_DIMS]] {
            assert!(new(dims).is_some(), "{dims:?}");
        }
        for dims in [&[7][..], &[4, 2], &[usize::MAX], &[1 << 62], &[1 << 32, 1 << 32], &[1; MAX_DIMS + 1]] {
            assert!(new(dims).is_none(), "{dims:?}");
        }
        let b = ints(&[10]);
        assert_eq!(get(&b.view(Layout::C, &[3], 7).unwrap(), &[2]), Ok(9));
        assert!(b.view(Layout::C, &[3], 8).is_none());
        assert!(b.view(Layout::C, &[1], usize::MAX / 8).is_none());
        assert!(b.view(Layout::C, &[2], 7).unwrap().view(Layout::C, &[2], 2).is_none());
    }

    #[test]
    fn indices_lead_to_elements_or_nowhere() {
        let c = ints(&[2, 3]);
        assert_eq!(get(&c, &[1, 2]), Ok(5));
        let fortran = c.view(Layout::Fortran, &[3, 2], 0).unwrap();
        assert_eq!(get(&fortran, &[3, 2]), Ok(5));
        assert_eq!(get(&fortran, &[1, 2]), Ok(3));
        for (b, indices) in
            [(&c, [2, 0]), (&c, [0, 3]), (&c, [-1, 0]), (&fortran, [0, 1]), (&fortran, [4, 1])]
        {
            assert_eq!(get(b, &indices), Err(NoElement::Bounds));
        }
        assert_eq!(get(&fortran, &[i64::MIN, 1]), Err(NoElement::Bounds));
        assert_eq!(get(&c, &[1]), Err(NoElement::Rank));
    }

    #[test]
    fn borrowed_memory_is_left_alone() {
        let b = ints(&[4]);
        let view = b.view(Layout::C, &[2], 2).unwrap();
        let reading = view.bytes();
        assert_eq!(get(&b, &[0]), Ok(0));
        assert_eq!(b.set(&[0], Val::from_int(1)), Err(NoElement::Borrowed));
        drop(reading);
        let writing = view.bytes_mut();
        assert_eq!(get(&b, &[0]), Err(NoElement::Borrowed));
        drop(writing);
        assert_eq!(b.set(&[0], Val::from_int(-1)), Ok(()));
        assert_eq!(get(&b, &[0]), Ok(-1));
    }

    #[test]
    fn copies_may_overlap() {
        let b = ints(&[5]);
        b.view(Layout::C, &[4], 1).unwrap().copy_from(&b.view(Layout::C, &[4], 0).unwrap());
        let all: Vec<_> = (0..5).map(|i| get(&b, &[i]).unwrap()).collect();
        assert_eq!(all, [0, 0, 1, 2, 3]);
        b.fill(Val::from_int(7)).unwrap();
        assert!((0..5).all(|i| get(&b, &[i]) == Ok(7)));
    }
}
