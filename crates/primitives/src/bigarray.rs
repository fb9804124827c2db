//! Big arrays (OCaml's `bigarray.c`): numbers outside the heap, in up to 16 dimensions, which several arrays may
//! share.

use std::any::Any;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use memmap2::MmapMut;

use spelter_interp::boxed::{Behaviour, Compared, take};
use spelter_interp::{CustomOps, Machine, Raise, Res, Slot, Val, prims};

use crate::UNIT;
use crate::hash::{mix_bytes, mix_double, mix_float, mix_int64, mix_native};

/// The most dimensions an array may have.
pub(crate) const MAX_DIMS: usize = 16;

/// What an element is: the constructors of `Bigarray.kind`, in its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
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
}

impl Kind {
    const ALL: [Kind; 13] = [
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
    ];

    /// An element's size in bytes.
    pub(crate) fn size(self) -> usize {
        match self {
            Kind::Sint8 | Kind::Uint8 | Kind::Char => 1,
            Kind::Sint16 | Kind::Uint16 => 2,
            Kind::Float32 | Kind::Int32 => 4,
            Kind::Float64 | Kind::Int64 | Kind::CamlInt | Kind::NativeInt | Kind::Complex32 => 8,
            Kind::Complex64 => 16,
        }
    }

    /// The size of the numbers that elements are made of.
    fn unit(self) -> usize {
        match self {
            Kind::Complex32 => 4,
            Kind::Complex64 => 8,
            _ => self.size(),
        }
    }
}

/// Which index moves fastest, and where indices begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// The last one; at 0.
    C,
    /// The first one; at 1.
    Fortran,
}

impl Layout {
    /// Which of `n` dimensions moves slowest.
    pub(crate) fn slowest(self, n: usize) -> usize {
        match self {
            Layout::C => 0,
            Layout::Fortran => n.saturating_sub(1),
        }
    }
}

/// Where an array's bytes are.
pub(crate) enum Bytes {
    /// In memory of its own.
    Own(Vec<u8>),
    /// In a file.
    Mapped(MmapMut),
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Own(bytes) => bytes,
            Bytes::Mapped(bytes) => bytes,
        }
    }
}

impl DerefMut for Bytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Bytes::Own(bytes) => bytes,
            Bytes::Mapped(bytes) => bytes,
        }
    }
}

/// The layout's bit in files and comparisons, beside the kind's number.
const FORTRAN_FLAG: u32 = 0x100;
const KIND_MASK: u32 = 0xFF;

/// A big array: a view of bytes that others may view too.
struct Bigarray {
    kind: Kind,
    layout: Layout,
    dims: Box<[usize]>,
    bytes: Rc<RefCell<Bytes>>,
    /// Where the view begins.
    start: usize,
}

/// Bytes that the system hands out zeroed, when they are touched.
fn zeroed(size: usize) -> Result<Vec<u8>, Raise> {
    // `vec!` would abort where there is not so much: try, give it back, take it.
    Vec::<u8>::new().try_reserve_exact(size).map_err(|_| Raise::OutOfMemory)?;
    Ok(vec![0; size])
}

/// How many elements there are, unless that overflows.
fn count(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
}

/// One element, as OCaml sees it.
enum Element {
    Int(i64),
    Float(f64),
    Int32(i32),
    Int64(i64),
    NativeInt(i64),
    Complex(f64, f64),
}

/// The `N` bytes at `at`.
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Raise> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or_else(Raise::bounds)
}

/// All numbers in these bytes.
fn numbers<const N: usize, T>(bytes: &[u8], f: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    bytes.as_chunks::<N>().0.iter().map(move |chunk| f(*chunk))
}

impl Bigarray {
    fn new(kind: Kind, layout: Layout, dims: &[usize]) -> Result<Self, Raise> {
        let size = count(dims).and_then(|n| n.checked_mul(kind.size())).ok_or(Raise::OutOfMemory)?;
        let bytes = Rc::new(RefCell::new(Bytes::Own(zeroed(size)?)));
        Ok(Bigarray { kind, layout, dims: dims.into(), bytes, start: 0 })
    }

    /// Another view of the same bytes, from `skipped` elements after this one's beginning.
    fn view(&self, layout: Layout, dims: &[usize], skipped: usize) -> Self {
        let start = self.start + skipped * self.kind.size();
        Bigarray { kind: self.kind, layout, dims: dims.into(), bytes: Rc::clone(&self.bytes), start }
    }

    fn elements(&self) -> usize {
        // It fitted when the array was made.
        self.dims.iter().product()
    }

    /// The bytes viewed.
    fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.elements() * self.kind.size()
    }

    fn flags(&self) -> u32 {
        self.kind as u32 | if self.layout == Layout::Fortran { FORTRAN_FLAG } else { 0 }
    }

    /// How many elements come before the one at these indices, of which there are as many as dimensions.
    #[inline]
    fn offset(&self, indices: &[i64]) -> Result<usize, Raise> {
        let step = |offset: usize, dim: usize, i: i64| {
            if (i as usize) < dim { Ok(offset * dim + i as usize) } else { Err(Raise::bounds()) }
        };
        if let ([dim], [i]) = (&*self.dims, indices) {
            return step(0, *dim, if self.layout == Layout::C { *i } else { i.wrapping_sub(1) });
        }
        let mut pairs = self.dims.iter().zip(indices);
        match self.layout {
            Layout::C => pairs.try_fold(0, |offset, (dim, i)| step(offset, *dim, *i)),
            Layout::Fortran => pairs.try_rfold(0, |offset, (dim, i)| step(offset, *dim, i.wrapping_sub(1))),
        }
    }

    #[inline]
    fn get(&self, indices: &[i64]) -> Result<Element, Raise> {
        if indices.len() != self.dims.len() {
            return Err(Raise::invalid("Bigarray.get: wrong number of indices"));
        }
        let at = self.start + self.offset(indices)? * self.kind.size();
        let bytes = self.bytes.borrow();
        let f32_at = |at| Ok::<_, Raise>(f64::from(f32::from_le_bytes(chunk(&bytes, at)?)));
        Ok(match self.kind {
            Kind::Float32 => Element::Float(f32_at(at)?),
            Kind::Float64 => Element::Float(f64::from_le_bytes(chunk(&bytes, at)?)),
            Kind::Sint8 => Element::Int(i8::from_le_bytes(chunk(&bytes, at)?).into()),
            Kind::Uint8 | Kind::Char => Element::Int(u8::from_le_bytes(chunk(&bytes, at)?).into()),
            Kind::Sint16 => Element::Int(i16::from_le_bytes(chunk(&bytes, at)?).into()),
            Kind::Uint16 => Element::Int(u16::from_le_bytes(chunk(&bytes, at)?).into()),
            Kind::Int32 => Element::Int32(i32::from_le_bytes(chunk(&bytes, at)?)),
            Kind::Int64 => Element::Int64(i64::from_le_bytes(chunk(&bytes, at)?)),
            Kind::CamlInt => Element::Int(i64::from_le_bytes(chunk(&bytes, at)?)),
            Kind::NativeInt => Element::NativeInt(i64::from_le_bytes(chunk(&bytes, at)?)),
            Kind::Complex32 => Element::Complex(f32_at(at)?, f32_at(at + 4)?),
            Kind::Complex64 => Element::Complex(
                f64::from_le_bytes(chunk(&bytes, at)?),
                f64::from_le_bytes(chunk(&bytes, at + 8)?),
            ),
        })
    }

    /// An element's bytes; how many of them count is the kind's size.
    #[inline]
    fn encode(&self, v: Val<'_>) -> Result<[u8; 16], Raise> {
        fn pad<const N: usize>(bytes: [u8; N]) -> [u8; 16] {
            let mut padded = [0; 16];
            padded[..N].copy_from_slice(&bytes);
            padded
        }
        Ok(match self.kind {
            Kind::Float32 => pad((v.float()? as f32).to_le_bytes()),
            Kind::Float64 => pad(v.float()?.to_le_bytes()),
            Kind::Int32 => pad(spelter_interp::boxed::int32(v)?.to_le_bytes()),
            Kind::Int64 => pad(spelter_interp::boxed::int64(v)?.to_le_bytes()),
            Kind::NativeInt => pad(spelter_interp::boxed::nativeint(v)?.to_le_bytes()),
            Kind::Complex32 | Kind::Complex64 => {
                let (re, im) = (v.float_field(0)?, v.float_field(1)?);
                let mut both = [0; 16];
                if self.kind == Kind::Complex32 {
                    both[..4].copy_from_slice(&(re as f32).to_le_bytes());
                    both[4..8].copy_from_slice(&(im as f32).to_le_bytes());
                } else {
                    both[..8].copy_from_slice(&re.to_le_bytes());
                    both[8..].copy_from_slice(&im.to_le_bytes());
                }
                both
            }
            Kind::Sint8 | Kind::Uint8 | Kind::Char | Kind::Sint16 | Kind::Uint16 | Kind::CamlInt => {
                pad(v.int()?.to_le_bytes())
            }
        })
    }

    #[inline]
    fn set(&self, indices: &[i64], v: Val<'_>) -> Result<(), Raise> {
        if indices.len() != self.dims.len() {
            return Err(Raise::invalid("Bigarray.set: wrong number of indices"));
        }
        let size = self.kind.size();
        let at = self.start + self.offset(indices)? * size;
        let new = self.encode(v)?;
        let mut bytes = self.bytes.borrow_mut();
        let place = bytes.get_mut(at..at + size).ok_or_else(Raise::bounds)?;
        // Of sizes known to the compiler, copying is one instruction.
        match size {
            8 => place.copy_from_slice(&new[..8]),
            4 => place.copy_from_slice(&new[..4]),
            1 => place.copy_from_slice(&new[..1]),
            _ => place.copy_from_slice(&new[..size]),
        }
        Ok(())
    }
}

// ---- as a custom kind ------------------------------------------------------------------------------

/// The kind of block that owns a [`Bigarray`].
pub(crate) static BIGARRAY: CustomOps =
    CustomOps { name: "_bigarr02", finalize: None, behaviour: &BEHAVIOUR };

/// The kind of those that lie in a file: others but for the name that marshalling writes, and cannot read.
static MAPPED: CustomOps = CustomOps { name: "_bigarray", finalize: None, behaviour: &BEHAVIOUR };

static BEHAVIOUR: Behaviour = Behaviour {
    compare: Some(|a, b| match (a.external(), b.external()) {
        (Ok(a), Ok(b)) => compare(a, b),
        _ => Ordering::Equal.into(),
    }),
    compare_ext: None,
    hash: Some(|v| v.external().map_or(0, |b| hash(b).into())),
    serialize: Some(|v, out| v.external().map_or((0, 0), |b| serialize(b, out))),
    deserialize: Some(|m, from| {
        let b = deserialize(from)?;
        new(m, b)
    }),
    fixed_length: None,
};

/// A block for a new array.
fn new(m: &mut Machine, b: Bigarray) -> Res<'_> {
    // What is shared counts once, with the array that brought it.
    let size = if Rc::strong_count(&b.bytes) == 1 { b.bytes.borrow().len() } else { 0 };
    let b: Box<dyn Any> = Box::new(b);
    m.new_external(&BIGARRAY, b, size)
}

/// An array that lies in a file, whose bytes these are: as many as its dimensions say.
pub(crate) fn new_mapped<'m>(
    m: &'m mut Machine,
    kind: Kind,
    layout: Layout,
    dims: &[usize],
    bytes: Bytes,
) -> Res<'m> {
    let bytes = Rc::new(RefCell::new(bytes));
    let b: Box<dyn Any> = Box::new(Bigarray { kind, layout, dims: dims.into(), bytes, start: 0 });
    m.new_external(&MAPPED, b, 0)
}

/// Kinds, layouts and numbers of dimensions are ordered backwards, for history's sake; then dimensions and elements.
fn compare(a: &Bigarray, b: &Bigarray) -> Compared {
    let shape =
        b.flags().cmp(&a.flags()).then(b.dims.len().cmp(&a.dims.len())).then_with(|| a.dims.cmp(&b.dims));
    if shape.is_ne() {
        return shape.into();
    }
    let (a_bytes, b_bytes) = (a.bytes.borrow(), b.bytes.borrow());
    let (x, y) = (&a_bytes[a.range()], &b_bytes[b.range()]);
    macro_rules! integers {
        ($type:ty) => {
            numbers(x, <$type>::from_le_bytes).cmp(numbers(y, <$type>::from_le_bytes)).into()
        };
    }
    macro_rules! floats {
        ($type:ty) => {{
            let mut unordered = false;
            for (x, y) in numbers(x, <$type>::from_le_bytes).zip(numbers(y, <$type>::from_le_bytes)) {
                let order = x.partial_cmp(&y).unwrap_or_else(|| {
                    unordered = true;
                    y.is_nan().cmp(&x.is_nan())
                });
                if order.is_ne() {
                    return Compared { order, unordered };
                }
            }
            Compared { order: Ordering::Equal, unordered }
        }};
    }
    match a.kind {
        Kind::Float32 | Kind::Complex32 => floats!(f32),
        Kind::Float64 | Kind::Complex64 => floats!(f64),
        Kind::Uint8 | Kind::Char => integers!(u8),
        Kind::Sint8 => integers!(i8),
        Kind::Sint16 => integers!(i16),
        Kind::Uint16 => integers!(u16),
        Kind::Int32 => integers!(i32),
        Kind::Int64 | Kind::CamlInt | Kind::NativeInt => integers!(i64),
    }
}

/// The hash of the first 256 bytes.
fn hash(b: &Bigarray) -> u32 {
    let bytes = b.bytes.borrow();
    let bytes = &bytes[b.range()];
    let bytes = &bytes[..bytes.len().min(256)];
    match b.kind {
        Kind::Sint8 | Kind::Uint8 | Kind::Char | Kind::Sint16 | Kind::Uint16 | Kind::Int32 => {
            mix_bytes(0, bytes)
        }
        Kind::Int64 => numbers(bytes, i64::from_le_bytes).fold(0, mix_int64),
        Kind::Float32 | Kind::Complex32 => numbers(bytes, f32::from_le_bytes).fold(0, mix_float),
        Kind::Float64 | Kind::Complex64 => numbers(bytes, f64::from_le_bytes).fold(0, mix_double),
        Kind::CamlInt | Kind::NativeInt => {
            // Up to 64 of them, unlike the others of their size.
            let all = b.bytes.borrow();
            numbers(&all[b.range()], i64::from_le_bytes).take(64).fold(0, mix_native)
        }
    }
}

/// Appends numbers of `unit` bytes with their bytes turned round.
fn put_reversed(bytes: &[u8], unit: usize, out: &mut Vec<u8>) {
    out.reserve(bytes.len());
    for number in bytes.chunks_exact(unit) {
        out.extend(number.iter().rev());
    }
}

/// Writes the shape, then the elements, big end first; those of `int` arrays in 32 bits if all fit.
fn serialize(b: &Bigarray, out: &mut Vec<u8>) -> (u32, u64) {
    let n = b.dims.len();
    out.extend_from_slice(&(n as u32).to_be_bytes());
    out.extend_from_slice(&b.flags().to_be_bytes());
    for dim in &b.dims {
        match u16::try_from(*dim) {
            Ok(short) if short != 0xFFFF => out.extend_from_slice(&short.to_be_bytes()),
            _ => {
                out.extend_from_slice(&[0xFF, 0xFF]);
                out.extend_from_slice(&(*dim as u64).to_be_bytes());
            }
        }
    }
    let bytes = b.bytes.borrow();
    let bytes = &bytes[b.range()];
    let short = match b.kind {
        Kind::CamlInt => {
            Some(numbers(bytes, i64::from_le_bytes).all(|i| (-0x4000_0000..=0x3FFF_FFFF).contains(&i)))
        }
        // OCaml's lower limit for these is +2³¹ by a slip (a negated unsigned literal): none is ever short.
        Kind::NativeInt => Some(bytes.is_empty()),
        _ => None,
    };
    match short {
        Some(true) => {
            out.push(0);
            out.extend(numbers(bytes, i64::from_le_bytes).flat_map(|i| (i as i32).to_be_bytes()));
        }
        Some(false) => {
            out.push(1);
            put_reversed(bytes, 8, out);
        }
        None => put_reversed(bytes, b.kind.unit(), out),
    }
    ((4 + n as u32) * 4, (4 + n as u64) * 8)
}

/// Reads what [`serialize`] wrote.
fn deserialize(from: &mut &[u8]) -> Result<Bigarray, Raise> {
    let fail = |what| Err(Raise::failure(what));
    let n = u32::from_be_bytes(take(from)?) as usize;
    if n > MAX_DIMS {
        return fail("input_value: wrong number of bigarray dimensions");
    }
    let flags = u32::from_be_bytes(take(from)?);
    let mut dims = [0; MAX_DIMS];
    for dim in &mut dims[..n] {
        *dim = match u16::from_be_bytes(take(from)?) {
            0xFFFF => u64::from_be_bytes(take(from)?) as usize,
            short => short.into(),
        };
    }
    let dims = &dims[..n];
    let Some(elements) = count(dims) else { return fail("input_value: size overflow for bigarray") };
    let Some(kind) = Kind::ALL.get((flags & KIND_MASK) as usize).copied() else {
        return fail("input_value: bad bigarray kind");
    };
    let layout = if flags & FORTRAN_FLAG != 0 { Layout::Fortran } else { Layout::C };
    let Some(size) = elements.checked_mul(kind.size()) else {
        return fail("input_value: size overflow for bigarray");
    };
    let wide =
        matches!(kind, Kind::CamlInt | Kind::NativeInt).then(|| take::<1>(from)).transpose()? != Some([0]);
    let stored = if wide { size } else { size / 2 };
    let Some((stored, rest)) = from.split_at_checked(stored) else {
        return fail("input_value: truncated object");
    };
    *from = rest;
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(size).is_err() {
        return fail("input_value: out of memory for bigarray");
    }
    if wide {
        put_reversed(stored, kind.unit(), &mut bytes);
    } else {
        bytes.extend(numbers(stored, i32::from_be_bytes).flat_map(|i| i64::from(i).to_le_bytes()));
    }
    Ok(Bigarray {
        kind,
        layout,
        dims: dims.into(),
        bytes: Rc::new(RefCell::new(Bytes::Own(bytes))),
        start: 0,
    })
}

// ---- primitives ------------------------------------------------------------------------------------

#[inline]
fn array(m: &Machine, b: Slot) -> Result<&Bigarray, Raise> {
    Ok(m.val(b).external()?)
}

/// The integers in a block, at most 16 of them.
struct Ints {
    all: [i64; MAX_DIMS],
    len: usize,
}

impl Ints {
    /// `None`: more than 16.
    fn read(v: Val<'_>) -> Result<Option<Self>, Raise> {
        let len = v.wosize()?;
        let mut all = [0; MAX_DIMS];
        let Some(used) = all.get_mut(..len) else { return Ok(None) };
        for (i, n) in used.iter_mut().enumerate() {
            *n = v.field(i)?.int()?;
        }
        Ok(Some(Ints { all, len }))
    }

    fn as_slice(&self) -> &[i64] {
        &self.all[..self.len]
    }

    /// As dimensions.
    fn dims(&self) -> Option<Vec<usize>> {
        self.as_slice().iter().map(|d| usize::try_from(*d).ok()).collect()
    }
}

/// The kind that a constructor of `Bigarray.kind` says.
pub(crate) fn kind_of(m: &Machine, s: Slot) -> Result<Kind, Raise> {
    Kind::ALL.get(m.index(s)?).copied().ok_or_else(|| Raise::invalid("Bigarray.create: bad kind"))
}

/// The layout that a constructor of `Bigarray.layout` says.
pub(crate) fn layout_of(m: &Machine, s: Slot) -> Result<Layout, Raise> {
    Ok(if m.int(s)? == 0 { Layout::C } else { Layout::Fortran })
}

fn create(m: &mut Machine, [kind, layout, dims]: [Slot; 3]) -> Res<'_> {
    let (kind, layout) = (kind_of(m, kind)?, layout_of(m, layout)?);
    let dims = Ints::read(m.val(dims))?
        .ok_or_else(|| Raise::invalid("Bigarray.create: bad number of dimensions"))?
        .dims()
        .ok_or_else(|| Raise::invalid("Bigarray.create: negative dimension"))?;
    new(m, Bigarray::new(kind, layout, &dims)?)
}

fn get(m: &mut Machine, b: Slot, indices: &[i64]) -> Result<Element, Raise> {
    array(m, b)?.get(indices)
}

fn box_element(m: &mut Machine, e: Element) -> Res<'_> {
    match e {
        Element::Int(n) => Ok(Val::from_int(n)),
        Element::Float(x) => m.new_float(x),
        Element::Int32(n) => m.new_int32(n),
        Element::Int64(n) => m.new_int64(n),
        Element::NativeInt(n) => m.new_nativeint(n),
        Element::Complex(re, im) => {
            let both = m.push(|m| m.new_float_array(2))?;
            m.set_float_field(both, 0, re)?;
            m.set_float_field(both, 1, im)?;
            Ok(m.val(both))
        }
    }
}

/// An element, boxed. The kinds that programs loop over are looked at first.
#[inline(always)]
fn get_boxed<'m>(m: &'m mut Machine, b: Slot, indices: &[i64]) -> Res<'m> {
    let array = array(m, b)?;
    if matches!(array.kind, Kind::Float64 | Kind::CamlInt) && indices.len() == array.dims.len() {
        let at = array.start + array.offset(indices)? * 8;
        let word: [u8; 8] = chunk(&array.bytes.borrow(), at)?;
        return match array.kind {
            Kind::Float64 => m.new_float(f64::from_le_bytes(word)),
            _ => Ok(Val::from_int(i64::from_le_bytes(word))),
        };
    }
    let e = array.get(indices)?;
    box_element(m, e)
}

/// An element ← a value; likewise.
#[inline(always)]
fn set_boxed<'m>(m: &'m mut Machine, b: Slot, indices: &[i64], v: Slot) -> Res<'m> {
    let (array, v) = (array(m, b)?, m.val(v));
    if matches!(array.kind, Kind::Float64 | Kind::CamlInt) && indices.len() == array.dims.len() {
        let at = array.start + array.offset(indices)? * 8;
        let word = match array.kind {
            Kind::Float64 => v.float()?.to_le_bytes(),
            _ => v.int()?.to_le_bytes(),
        };
        let mut bytes = array.bytes.borrow_mut();
        bytes.get_mut(at..at + 8).ok_or_else(Raise::bounds)?.copy_from_slice(&word);
        return Ok(UNIT);
    }
    array.set(indices, v)?;
    Ok(UNIT)
}

fn get_1(m: &mut Machine, [b, i]: [Slot; 2]) -> Res<'_> {
    let i = m.int(i)?;
    get_boxed(m, b, &[i])
}

fn get_2(m: &mut Machine, [b, i, j]: [Slot; 3]) -> Res<'_> {
    let (i, j) = (m.int(i)?, m.int(j)?);
    get_boxed(m, b, &[i, j])
}

fn get_3(m: &mut Machine, [b, i, j, k]: [Slot; 4]) -> Res<'_> {
    let e = get(m, b, &[m.int(i)?, m.int(j)?, m.int(k)?])?;
    box_element(m, e)
}

fn get_generic(m: &mut Machine, [b, indices]: [Slot; 2]) -> Res<'_> {
    let indices =
        Ints::read(m.val(indices))?.ok_or_else(|| Raise::invalid("Bigarray.get: wrong number of indices"))?;
    let e = get(m, b, indices.as_slice())?;
    box_element(m, e)
}

fn set_1(m: &mut Machine, [b, i, v]: [Slot; 3]) -> Res<'_> {
    let i = m.int(i)?;
    set_boxed(m, b, &[i], v)
}

fn set_2(m: &mut Machine, [b, i, j, v]: [Slot; 4]) -> Res<'_> {
    let (i, j) = (m.int(i)?, m.int(j)?);
    set_boxed(m, b, &[i, j], v)
}

fn set_3(m: &mut Machine, [b, i, j, k, v]: [Slot; 5]) -> Res<'_> {
    array(m, b)?.set(&[m.int(i)?, m.int(j)?, m.int(k)?], m.val(v))?;
    Ok(UNIT)
}

fn set_generic(m: &mut Machine, [b, indices, v]: [Slot; 3]) -> Res<'_> {
    let indices =
        Ints::read(m.val(indices))?.ok_or_else(|| Raise::invalid("Bigarray.set: wrong number of indices"))?;
    array(m, b)?.set(indices.as_slice(), m.val(v))?;
    Ok(UNIT)
}

/// `N` bytes at an index into the first dimension, whatever the layout.
fn bytes_at<const N: usize>(m: &Machine, b: Slot, i: Slot) -> Result<[u8; N], Raise> {
    let (b, i) = (array(m, b)?, m.index(i)?);
    chunk(b.bytes.borrow().get(b.range()).ok_or_else(Raise::bounds)?, i)
}

fn put_bytes(m: &Machine, b: Slot, i: Slot, new: &[u8]) -> Result<(), Raise> {
    let (b, i) = (array(m, b)?, m.index(i)?);
    let mut bytes = b.bytes.borrow_mut();
    let view = bytes.get_mut(b.range()).ok_or_else(Raise::bounds)?;
    let place = view.get_mut(i..).and_then(|rest| rest.get_mut(..new.len())).ok_or_else(Raise::bounds)?;
    place.copy_from_slice(new);
    Ok(())
}

fn uint8_get16(m: &mut Machine, [b, i]: [Slot; 2]) -> Res<'_> {
    Ok(Val::from_int(u16::from_le_bytes(bytes_at(m, b, i)?).into()))
}

fn uint8_get32(m: &mut Machine, [b, i]: [Slot; 2]) -> Res<'_> {
    let n = i32::from_le_bytes(bytes_at(m, b, i)?);
    m.new_int32(n)
}

fn uint8_get64(m: &mut Machine, [b, i]: [Slot; 2]) -> Res<'_> {
    let n = i64::from_le_bytes(bytes_at(m, b, i)?);
    m.new_int64(n)
}

fn uint8_set16(m: &mut Machine, [b, i, n]: [Slot; 3]) -> Res<'_> {
    put_bytes(m, b, i, &(m.int(n)? as u16).to_le_bytes())?;
    Ok(UNIT)
}

fn uint8_set32(m: &mut Machine, [b, i, n]: [Slot; 3]) -> Res<'_> {
    put_bytes(m, b, i, &m.int32(n)?.to_le_bytes())?;
    Ok(UNIT)
}

fn uint8_set64(m: &mut Machine, [b, i, n]: [Slot; 3]) -> Res<'_> {
    put_bytes(m, b, i, &m.int64(n)?.to_le_bytes())?;
    Ok(UNIT)
}

// ---- shapes ----------------------------------------------------------------------------------------

fn num_dims(m: &mut Machine, [b]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(array(m, b)?.dims.len() as i64))
}

fn nth_dim(m: &Machine, b: Slot, n: usize) -> Result<Val<'_>, Raise> {
    let dim = array(m, b)?.dims.get(n).ok_or_else(|| Raise::invalid("Bigarray.dim"))?;
    Ok(Val::from_int(*dim as i64))
}

fn dim(m: &mut Machine, [b, n]: [Slot; 2]) -> Res<'_> {
    nth_dim(m, b, m.index(n)?)
}

fn dim_1(m: &mut Machine, [b]: [Slot; 1]) -> Res<'_> {
    nth_dim(m, b, 0)
}

fn dim_2(m: &mut Machine, [b]: [Slot; 1]) -> Res<'_> {
    nth_dim(m, b, 1)
}

fn dim_3(m: &mut Machine, [b]: [Slot; 1]) -> Res<'_> {
    nth_dim(m, b, 2)
}

fn kind(m: &mut Machine, [b]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(array(m, b)?.kind as i64))
}

fn layout(m: &mut Machine, [b]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(array(m, b)?.layout as i64))
}

/// The sub-array with the first indices fixed (the last ones, in Fortran's layout).
fn slice(m: &mut Machine, [b, indices]: [Slot; 2]) -> Res<'_> {
    let a = array(m, b)?;
    let fixed = Ints::read(m.val(indices))?.filter(|fixed| fixed.len <= a.dims.len());
    let fixed = fixed.ok_or_else(|| Raise::invalid("Bigarray.slice: too many indices"))?;
    let free = a.dims.len() - fixed.len;
    let mut all = [0; MAX_DIMS];
    let dims = match a.layout {
        Layout::C => {
            all[..fixed.len].copy_from_slice(fixed.as_slice());
            &a.dims[fixed.len..]
        }
        Layout::Fortran => {
            all[..free].fill(1);
            all[free..free + fixed.len].copy_from_slice(fixed.as_slice());
            &a.dims[..free]
        }
    };
    let skipped = a.offset(&all[..a.dims.len()])?;
    let view = a.view(a.layout, dims, skipped);
    new(m, view)
}

fn change_layout(m: &mut Machine, [b, layout]: [Slot; 2]) -> Res<'_> {
    let (a, layout) = (array(m, b)?, layout_of(m, layout)?);
    if layout == a.layout {
        return Ok(m.val(b));
    }
    let dims: Vec<usize> = a.dims.iter().rev().copied().collect();
    let view = a.view(layout, &dims, 0);
    new(m, view)
}

/// The part with indices `at..at + len` in the dimension that moves slowest.
fn sub(m: &mut Machine, [b, at, len]: [Slot; 3]) -> Res<'_> {
    let bad = || Raise::invalid("Bigarray.sub: bad sub-array");
    let (a, mut at, len) = (array(m, b)?, m.int(at)?, m.index(len)?);
    let mut dims = a.dims.to_vec();
    let (changed, rest) = match a.layout {
        Layout::C => dims.split_first_mut(),
        Layout::Fortran => {
            at -= 1;
            dims.split_last_mut()
        }
    }
    .ok_or_else(bad)?;
    let at = usize::try_from(at).map_err(|_| bad())?;
    if at.checked_add(len).is_none_or(|end| end > *changed) {
        return Err(bad());
    }
    *changed = len;
    let skipped = at * rest.iter().product::<usize>();
    let view = a.view(a.layout, &dims, skipped);
    new(m, view)
}

fn reshape(m: &mut Machine, [b, dims]: [Slot; 2]) -> Res<'_> {
    let a = array(m, b)?;
    let dims = Ints::read(m.val(dims))?
        .ok_or_else(|| Raise::invalid("Bigarray.reshape: bad number of dimensions"))?
        .dims()
        .ok_or_else(|| Raise::invalid("Bigarray.reshape: negative dimension"))?;
    if count(&dims) != Some(a.elements()) {
        return Err(Raise::invalid("Bigarray.reshape: size mismatch"));
    }
    let view = a.view(a.layout, &dims, 0);
    new(m, view)
}

// ---- whole arrays ----------------------------------------------------------------------------------

fn blit(m: &mut Machine, [src, dst]: [Slot; 2]) -> Res<'_> {
    let (src, dst) = (array(m, src)?, array(m, dst)?);
    let (from, to) = (src.range(), dst.range());
    if src.dims != dst.dims || from.len() != to.len() {
        return Err(Raise::invalid("Bigarray.blit: dimension mismatch"));
    }
    if Rc::ptr_eq(&src.bytes, &dst.bytes) {
        dst.bytes.borrow_mut().copy_within(from, to.start);
    } else {
        dst.bytes.borrow_mut()[to].copy_from_slice(&src.bytes.borrow()[from]);
    }
    Ok(UNIT)
}

fn fill(m: &mut Machine, [b, v]: [Slot; 2]) -> Res<'_> {
    let b = array(m, b)?;
    let (size, element) = (b.kind.size(), b.encode(m.val(v))?);
    let mut bytes = b.bytes.borrow_mut();
    let bytes = &mut bytes[b.range()];
    if element[..size].iter().all(|byte| *byte == element[0]) {
        bytes.fill(element[0]);
    } else {
        for place in bytes.chunks_exact_mut(size) {
            place.copy_from_slice(&element[..size]);
        }
    }
    Ok(UNIT)
}

prims! {
    "caml_ba_blit" P2 blit,
    "caml_ba_change_layout" P2 change_layout,
    "caml_ba_create" P3 create,
    "caml_ba_dim" P2 dim,
    "caml_ba_dim_1" P1 dim_1,
    "caml_ba_dim_2" P1 dim_2,
    "caml_ba_dim_3" P1 dim_3,
    "caml_ba_fill" P2 fill,
    "caml_ba_get_1" P2 get_1,
    "caml_ba_get_2" P3 get_2,
    "caml_ba_get_3" P4 get_3,
    "caml_ba_get_generic" P2 get_generic,
    "caml_ba_kind" P1 kind,
    "caml_ba_layout" P1 layout,
    "caml_ba_num_dims" P1 num_dims,
    "caml_ba_reshape" P2 reshape,
    "caml_ba_set_1" P3 set_1,
    "caml_ba_set_2" P4 set_2,
    "caml_ba_set_3" P5 set_3,
    "caml_ba_set_generic" P3 set_generic,
    "caml_ba_slice" P2 slice,
    "caml_ba_sub" P3 sub,
    "caml_ba_uint8_get16" P2 uint8_get16,
    "caml_ba_uint8_get32" P2 uint8_get32,
    "caml_ba_uint8_get64" P2 uint8_get64,
    "caml_ba_uint8_set16" P3 uint8_set16,
    "caml_ba_uint8_set32" P3 uint8_set32,
    "caml_ba_uint8_set64" P3 uint8_set64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(kind: Kind, layout: Layout, dims: &[usize], elements: &[i64]) -> Bigarray {
        let b = Bigarray::new(kind, layout, dims).unwrap();
        for (i, n) in elements.iter().enumerate() {
            let size = kind.size();
            b.bytes.borrow_mut()[i * size..][..size].copy_from_slice(&n.to_le_bytes()[..size]);
        }
        b
    }

    #[test]
    fn marshals_and_reads_back() {
        for (kind, elements) in [
            (Kind::CamlInt, [1, -2, 3, 4]),
            (Kind::CamlInt, [1, -2, 3, 1 << 40]),
            (Kind::NativeInt, [1, -2, 3, 1 << 31]),
            (Kind::Uint16, [1, 2, 3, 0xFFFF]),
            (Kind::Int32, [1, -2, 3, 4]),
        ] {
            let b = ints(kind, Layout::Fortran, &[2, 2], &elements);
            let mut out = Vec::new();
            assert_eq!(serialize(&b, &mut out), (24, 48));
            let mut from = &out[..];
            let back = deserialize(&mut from).unwrap();
            assert!(from.is_empty());
            assert_eq!(compare(&b, &back), Ordering::Equal.into());
            assert_eq!((back.layout, &back.dims[..]), (Layout::Fortran, &[2, 2][..]));
            assert!(deserialize(&mut &out[..out.len() - 1]).is_err());
        }
    }

    #[test]
    fn huge_sizes_are_refused() {
        assert!(matches!(Bigarray::new(Kind::Char, Layout::C, &[1 << 40, 1 << 40]), Err(Raise::OutOfMemory)));
        assert!(matches!(Bigarray::new(Kind::Char, Layout::C, &[1 << 62]), Err(Raise::OutOfMemory)));
        let mut claim = vec![0, 0, 0, 1, 0, 0, 0, 12, 0xFF, 0xFF];
        claim.extend_from_slice(&(1u64 << 40).to_be_bytes());
        assert_eq!(deserialize(&mut &claim[..]).err(), Some(Raise::failure("input_value: truncated object")));
    }

    #[test]
    fn layouts_count_differently() {
        let c = ints(Kind::Char, Layout::C, &[2, 3], &[]);
        assert_eq!(c.offset(&[1, 2]), Ok(5));
        assert_eq!(c.offset(&[0, 3]), Err(Raise::bounds()));
        let f = c.view(Layout::Fortran, &[3, 2], 0);
        assert_eq!(f.offset(&[3, 1]), Ok(2));
        assert_eq!(f.offset(&[0, 1]), Err(Raise::bounds()));
    }

    #[test]
    fn nan_is_unordered_but_has_a_place() {
        let float = |x: f64| {
            let b = Bigarray::new(Kind::Float64, Layout::C, &[1]).unwrap();
            b.bytes.borrow_mut().copy_from_slice(&x.to_le_bytes());
            b
        };
        let found = compare(&float(f64::NAN), &float(1.0));
        assert_eq!(found, Compared { order: Ordering::Less, unordered: true });
        let found = compare(&float(f64::NAN), &float(f64::NAN));
        assert_eq!(found, Compared { order: Ordering::Equal, unordered: true });
    }
}
