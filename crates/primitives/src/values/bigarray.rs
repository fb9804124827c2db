//! Big arrays (OCaml's `bigarray.c`): OCaml's operations on [`Numbers`].

use std::cmp::Ordering;

pub(crate) use spelter_interp::prim::bigarray::{Kind, Layout, MAX_DIMS};
use spelter_interp::prim::bigarray::{Memory, NoElement, Numbers, count, flag, of_half, operations};
use spelter_interp::prim::custom::{self, Behaviour, Compared, take};
use spelter_interp::{CustomOps, Machine, PIECE_BYTES, Raise, Res, Slot, Val, prims};

use crate::UNIT;
use crate::values::hash::{mix_bytes, mix_double, mix_float, mix_half, mix_int64, mix_native};

/// The size of the numbers that an element consists of.
fn unit(kind: Kind) -> usize {
    match kind {
        Kind::Complex32 => 4,
        Kind::Complex64 => 8,
        _ => kind.size(),
    }
}

/// The `N` bytes at `at`.
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Raise> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or_else(Raise::bounds)
}

/// All numbers in these bytes.
fn numbers<const N: usize, T>(bytes: &[u8], f: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    bytes.as_chunks::<N>().0.iter().map(move |chunk| f(*chunk))
}

/// The bytes of a big array's elements; 0 for any other value.
pub(crate) fn size_outside(v: Val<'_>) -> usize {
    Numbers::of(v).map_or(0, |b| b.bytes().len())
}

// ---- as a custom kind ------------------------------------------------------------------------------

/// The kind of block that big arrays are.
pub(crate) static BIGARRAY: CustomOps = operations(c"_bigarr02", &BEHAVIOUR);

/// The kind of arrays mapped from a file. It differs only in the name, which marshalling writes but cannot read.
static MAPPED: CustomOps = operations(c"_bigarray", &BEHAVIOUR);

/// What generic primitives do with big arrays.
pub static BEHAVIOUR: Behaviour = Behaviour {
    compare: Some(|m, a, b| match (Numbers::of(a), Numbers::of(b)) {
        (Ok(a), Ok(b)) => compare(m, a, b),
        _ => Ok(Ordering::Equal.into()),
    }),
    compare_ext: None,
    hash: Some(|_, v| Ok(Numbers::of(v).map_or(0, |b| hash(b).into()))),
    serialize: Some(|m, v, out| Numbers::of(v).map_or(Ok((0, 0)), |b| serialize(m, b, out))),
    deserialize: Some(|m, ops, from, recorded| {
        let read = deserialize(m, from, recorded)?;
        m.new_numbers(ops, read.kind, read.layout, &read.dims, read.memory)
    }),
    size: Some(|v| Numbers::of(v).map_or(0, |b| block_size(b.dims().len()))),
    fixed_length: None,
};

/// An array mapped from a file. `bytes` has the size that its dimensions determine.
pub(crate) fn new_mapped<'m>(
    m: &'m mut Machine,
    kind: Kind,
    layout: Layout,
    dims: &[usize],
    bytes: impl AsMut<[u8]> + 'static,
) -> Res<'m> {
    m.new_numbers(&MAPPED, kind, layout, dims, Memory::mapped(bytes))
}

/// First by kind, layout and number of dimensions, in reverse order for historical reasons; then by dimensions and
/// elements.
fn compare(m: &Machine, a: Numbers<'_>, b: Numbers<'_>) -> Result<Compared, Box<Raise>> {
    let shape = b
        .flags()
        .cmp(&a.flags())
        .then(b.dims().len().cmp(&a.dims().len()))
        .then_with(|| a.dims().cmp(b.dims()));
    if shape.is_ne() {
        return Ok(shape.into());
    }
    let (kind, x, y) = (a.kind(), a.bytes(), b.bytes());
    // Smaller arrays count as one step.
    if x.len() < 1 << 12 {
        return Ok(compare_elements(kind, x, y));
    }
    let mut unordered = false;
    for (x, y) in x.chunks(PIECE_BYTES).zip(y.chunks(PIECE_BYTES)) {
        m.check_interrupt()?;
        let compared = compare_elements(kind, x, y);
        unordered |= compared.unordered;
        if compared.order.is_ne() {
            return Ok(Compared { unordered, ..compared });
        }
    }
    Ok(Compared { order: Ordering::Equal, unordered })
}

/// Compares as many elements of this kind.
fn compare_elements(kind: Kind, x: &[u8], y: &[u8]) -> Compared {
    macro_rules! integers {
        ($type:ty) => {
            numbers(x, <$type>::from_le_bytes).cmp(numbers(y, <$type>::from_le_bytes)).into()
        };
    }
    macro_rules! floats {
        ($type:ty $(, $value:ident)?) => {{
            let mut unordered = false;
            for (x, y) in numbers(x, <$type>::from_le_bytes).zip(numbers(y, <$type>::from_le_bytes)) {
                $(let (x, y) = ($value(x), $value(y));)?
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
    match kind {
        Kind::Float32 | Kind::Complex32 => floats!(f32),
        Kind::Float64 | Kind::Complex64 => floats!(f64),
        Kind::Float16 => floats!(u16, of_half),
        Kind::Uint8 | Kind::Char => integers!(u8),
        Kind::Sint8 => integers!(i8),
        Kind::Sint16 => integers!(i16),
        Kind::Uint16 => integers!(u16),
        Kind::Int32 => integers!(i32),
        Kind::Int64 | Kind::CamlInt | Kind::NativeInt => integers!(i64),
    }
}

/// The hash of the first 256 bytes.
fn hash(b: Numbers<'_>) -> u32 {
    let all = b.bytes();
    let bytes = &all[..all.len().min(256)];
    match b.kind() {
        Kind::Sint8 | Kind::Uint8 | Kind::Char | Kind::Sint16 | Kind::Uint16 | Kind::Int32 => {
            mix_bytes(0, bytes)
        }
        Kind::Int64 => numbers(bytes, i64::from_le_bytes).fold(0, mix_int64),
        Kind::Float32 | Kind::Complex32 => numbers(bytes, f32::from_le_bytes).fold(0, mix_float),
        Kind::Float64 | Kind::Complex64 => numbers(bytes, f64::from_le_bytes).fold(0, mix_double),
        Kind::Float16 => numbers(bytes, u16::from_le_bytes).fold(0, mix_half),
        Kind::CamlInt | Kind::NativeInt => {
            // Only up to 64 of them, unlike other kinds of this size.
            numbers(all, i64::from_le_bytes).take(64).fold(0, mix_native)
        }
    }
}

/// Appends numbers of `unit` bytes with their bytes reversed.
fn put_reversed(bytes: &[u8], unit: usize, out: &mut Vec<u8>) {
    out.reserve(bytes.len());
    if unit == 1 {
        return out.extend_from_slice(bytes);
    }
    for number in bytes.chunks_exact(unit) {
        out.extend(number.iter().rev());
    }
}

/// The number of bytes that are reversed between two checks for an interrupt.
const REVERSED: usize = PIECE_BYTES / 8;

/// Writes the shape, then the elements, big-endian; elements of `int` arrays in 32 bits if all fit. Checks for an
/// interrupt between pieces.
fn serialize(m: &Machine, b: Numbers<'_>, out: &mut Vec<u8>) -> Result<(u32, u64), Raise> {
    let n = b.dims().len();
    out.extend_from_slice(&(n as u32).to_be_bytes());
    out.extend_from_slice(&(b.flags() as u32).to_be_bytes());
    for dim in b.dims() {
        match u16::try_from(*dim) {
            Ok(short) if short != 0xFFFF => out.extend_from_slice(&short.to_be_bytes()),
            _ => {
                out.extend_from_slice(&[0xFF, 0xFF]);
                out.extend_from_slice(&(*dim as u64).to_be_bytes());
            }
        }
    }
    let bytes = b.bytes();
    let fits = |i: i64| (-0x4000_0000..=0x3FFF_FFFF).contains(&i);
    let short = match b.kind() {
        Kind::CamlInt => {
            let mut all = true;
            for piece in bytes.chunks(REVERSED) {
                m.check_interrupt()?;
                all = all && numbers(piece, i64::from_le_bytes).all(fits);
            }
            Some(all)
        }
        // By a mistake in OCaml (a negated unsigned literal), the lower limit for these is +2³¹: they are never short.
        Kind::NativeInt => Some(bytes.is_empty()),
        _ => None,
    };
    out.extend(short.map(|short| u8::from(!short)));
    for piece in bytes.chunks(REVERSED) {
        m.check_interrupt()?;
        match short {
            Some(true) => {
                out.extend(numbers(piece, i64::from_le_bytes).flat_map(|i| (i as i32).to_be_bytes()))
            }
            Some(false) => put_reversed(piece, 8, out),
            None => put_reversed(piece, unit(b.kind()), out),
        }
    }
    Ok(((4 + n as u32) * 4, (4 + n as u64) * 8))
}

/// The size of OCaml's own block for a big array of `n` dimensions.
fn block_size(n: usize) -> u64 {
    (4 + n as u64) * 8
}

/// The size in bytes for which there is certainly no memory.
const NO_MEMORY: usize = 1 << 46;

/// A big array as it is read from a marshalled message.
pub struct Read {
    kind: Kind,
    layout: Layout,
    /// The size of each dimension.
    pub dims: Vec<usize>,
    /// The elements.
    pub memory: Memory,
}

impl Read {
    /// The flags of an array of this kind and layout.
    pub fn flags(&self) -> usize {
        self.kind as usize | if self.layout == Layout::Fortran { flag::FORTRAN } else { 0 }
    }
}

/// Reads a big array from the start of these bytes. Its block has as many bytes as `recorded` says, in versions that
/// test this.
///
/// # Errors
/// When the message is malformed, or memory is exhausted.
pub fn deserialize(m: &mut Machine, from: &mut &[u8], recorded: u64) -> Result<Read, Raise> {
    let fail = |what| Err(Raise::failure(what));
    let n = u32::from_be_bytes(take(from)?) as usize;
    if n > MAX_DIMS {
        return fail("input_value: wrong number of bigarray dimensions");
    }
    if m.behaviour().marshal_validates && block_size(n) > recorded.saturating_add(7) & !7 {
        return fail("input_value: bigarray buffer overflow");
    }
    let flags = u32::from_be_bytes(take(from)?) as usize;
    let mut dims = vec![0; n];
    for dim in &mut dims {
        *dim = match u16::from_be_bytes(take(from)?) {
            0xFFFF => u64::from_be_bytes(take(from)?) as usize,
            short => short.into(),
        };
    }
    let Some(elements) = count(&dims) else { return fail("input_value: size overflow for bigarray") };
    let Some(kind) = kind_numbered(m, flags & flag::KIND_MASK) else {
        return fail("input_value: bad bigarray kind");
    };
    let layout = if flags & flag::FORTRAN != 0 { Layout::Fortran } else { Layout::C };
    let Some(size) = elements.checked_mul(kind.size()) else {
        return fail("input_value: size overflow for bigarray");
    };
    if size >= NO_MEMORY {
        return fail("input_value: out of memory for bigarray");
    }
    let wide =
        matches!(kind, Kind::CamlInt | Kind::NativeInt).then(|| take::<1>(from)).transpose()? != Some([0]);
    let stored = if wide { size } else { size / 2 };
    let Some((stored, rest)) = from.split_at_checked(stored) else {
        return Err(custom::cut());
    };
    *from = rest;
    let mut memory = match Memory::zeroed(m, size) {
        Err(Raise::OutOfMemory) => return fail("input_value: out of memory for bigarray"),
        memory => memory?,
    };
    let read = if wide { REVERSED } else { 2 * REVERSED };
    for (piece, into) in stored.chunks(REVERSED).zip(memory.as_mut_slice().chunks_mut(read)) {
        m.check_interrupt()?;
        if wide {
            read_reversed(piece, unit(kind), into);
        } else {
            for (into, i) in into.as_chunks_mut::<8>().0.iter_mut().zip(numbers(piece, i32::from_be_bytes)) {
                *into = i64::from(i).to_le_bytes();
            }
        }
    }
    Ok(Read { kind, layout, dims, memory })
}

/// Reads numbers of `unit` bytes with their bytes reversed.
fn read_reversed(from: &[u8], unit: usize, into: &mut [u8]) {
    fn read<const N: usize>(from: &[u8], into: &mut [u8]) {
        for (from, into) in from.as_chunks::<N>().0.iter().zip(into.as_chunks_mut::<N>().0) {
            *into = *from;
            into.reverse();
        }
    }
    match unit {
        2 => read::<2>(from, into),
        4 => read::<4>(from, into),
        8 => read::<8>(from, into),
        _ => into.copy_from_slice(from),
    }
}

// ---- primitives ------------------------------------------------------------------------------------

#[inline]
pub(crate) fn array(m: &Machine, b: Slot) -> Result<Numbers<'_>, Raise> {
    Ok(m.numbers(b)?)
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

/// The kind with this number, if the version has it.
fn kind_numbered(m: &Machine, number: usize) -> Option<Kind> {
    Kind::ALL.get(..m.behaviour().bigarray_kinds)?.get(number).copied()
}

/// The kind for a constructor of `Bigarray.kind`.
pub(crate) fn kind_of(m: &Machine, s: Slot) -> Result<Kind, Raise> {
    kind_numbered(m, m.index(s)?).ok_or_else(|| Raise::invalid("Bigarray.create: bad kind"))
}

/// The layout for a constructor of `Bigarray.layout`.
pub(crate) fn layout_of(m: &Machine, s: Slot) -> Result<Layout, Raise> {
    Ok(if m.int(s)? == 0 { Layout::C } else { Layout::Fortran })
}

fn create(m: &mut Machine, [kind, layout, dims]: [Slot; 3]) -> Res<'_> {
    let (kind, layout) = (kind_of(m, kind)?, layout_of(m, layout)?);
    let dims = Ints::read(m.val(dims))?
        .ok_or_else(|| Raise::invalid("Bigarray.create: bad number of dimensions"))?
        .dims()
        .ok_or_else(|| Raise::invalid("Bigarray.create: negative dimension"))?;
    let ops = m.kind_of_numbers()?;
    let size = count(&dims).and_then(|n| n.checked_mul(kind.size())).ok_or(Raise::OutOfMemory)?;
    let memory = Memory::zeroed(m, size)?;
    m.new_numbers(ops, kind, layout, &dims, memory)
}

fn get<'m>(m: &'m mut Machine, b: Slot, indices: &[i64]) -> Res<'m> {
    let e = array(m, b)?.get(indices).map_err(|e| e.raise("Bigarray.get"))?;
    m.new_element(e)
}

fn set<'m>(m: &'m mut Machine, b: Slot, indices: &[i64], v: Slot) -> Res<'m> {
    m.set_element(b, indices, v).map_err(|e| e.raise("Bigarray.set"))?;
    Ok(UNIT)
}

fn get_1(m: &mut Machine, [b, i]: [Slot; 2]) -> Res<'_> {
    let i = m.int(i)?;
    get(m, b, &[i])
}

fn get_2(m: &mut Machine, [b, i, j]: [Slot; 3]) -> Res<'_> {
    let (i, j) = (m.int(i)?, m.int(j)?);
    get(m, b, &[i, j])
}

fn get_3(m: &mut Machine, [b, i, j, k]: [Slot; 4]) -> Res<'_> {
    let (i, j, k) = (m.int(i)?, m.int(j)?, m.int(k)?);
    get(m, b, &[i, j, k])
}

fn get_generic(m: &mut Machine, [b, indices]: [Slot; 2]) -> Res<'_> {
    let indices = Ints::read(m.val(indices))?.ok_or_else(|| NoElement::Rank.raise("Bigarray.get"))?;
    get(m, b, indices.as_slice())
}

fn set_1(m: &mut Machine, [b, i, v]: [Slot; 3]) -> Res<'_> {
    let i = m.int(i)?;
    set(m, b, &[i], v)
}

fn set_2(m: &mut Machine, [b, i, j, v]: [Slot; 4]) -> Res<'_> {
    let (i, j) = (m.int(i)?, m.int(j)?);
    set(m, b, &[i, j], v)
}

fn set_3(m: &mut Machine, [b, i, j, k, v]: [Slot; 5]) -> Res<'_> {
    let (i, j, k) = (m.int(i)?, m.int(j)?, m.int(k)?);
    set(m, b, &[i, j, k], v)
}

fn set_generic(m: &mut Machine, [b, indices, v]: [Slot; 3]) -> Res<'_> {
    let indices = Ints::read(m.val(indices))?.ok_or_else(|| NoElement::Rank.raise("Bigarray.set"))?;
    set(m, b, indices.as_slice(), v)
}

/// `N` bytes at an index into the first dimension, whatever the layout.
fn bytes_at<const N: usize>(m: &Machine, b: Slot, i: Slot) -> Result<[u8; N], Raise> {
    let (b, i) = (array(m, b)?, m.index(i)?);
    chunk(b.bytes(), i)
}

fn put_bytes(m: &mut Machine, b: Slot, i: Slot, new: &[u8]) -> Result<(), Raise> {
    let i = m.index(i)?;
    let bytes = m.elements_mut(b)?;
    let place = bytes.get_mut(i..).and_then(|rest| rest.get_mut(..new.len())).ok_or_else(Raise::bounds)?;
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
    let n = m.int(n)? as u16;
    put_bytes(m, b, i, &n.to_le_bytes())?;
    Ok(UNIT)
}

fn uint8_set32(m: &mut Machine, [b, i, n]: [Slot; 3]) -> Res<'_> {
    let n = m.int32(n)?;
    put_bytes(m, b, i, &n.to_le_bytes())?;
    Ok(UNIT)
}

fn uint8_set64(m: &mut Machine, [b, i, n]: [Slot; 3]) -> Res<'_> {
    let n = m.int64(n)?;
    put_bytes(m, b, i, &n.to_le_bytes())?;
    Ok(UNIT)
}

// ---- shapes ----------------------------------------------------------------------------------------

fn num_dims(m: &mut Machine, [b]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(array(m, b)?.dims().len() as i64))
}

fn nth_dim(m: &Machine, b: Slot, n: usize) -> Result<Val<'_>, Raise> {
    let dim = array(m, b)?.dims().get(n).ok_or_else(|| Raise::invalid("Bigarray.dim"))?;
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
    Ok(Val::from_int(array(m, b)?.kind() as i64))
}

fn layout(m: &mut Machine, [b]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(array(m, b)?.layout() as i64))
}

/// The sub-array with the first indices fixed (the last ones, in Fortran's layout).
fn slice(m: &mut Machine, [b, indices]: [Slot; 2]) -> Res<'_> {
    let a = array(m, b)?;
    let fixed = Ints::read(m.val(indices))?.filter(|fixed| fixed.len <= a.dims().len());
    let fixed = fixed.ok_or_else(|| Raise::invalid("Bigarray.slice: too many indices"))?;
    let free = a.dims().len() - fixed.len;
    let mut all = [0; MAX_DIMS];
    let dims = match a.layout() {
        Layout::C => {
            all[..fixed.len].copy_from_slice(fixed.as_slice());
            &a.dims()[fixed.len..]
        }
        Layout::Fortran => {
            all[..free].fill(1);
            all[free..free + fixed.len].copy_from_slice(fixed.as_slice());
            &a.dims()[..free]
        }
    };
    let skipped = a.offset(&all[..a.dims().len()]).map_err(|e| e.raise("Bigarray.slice"))?;
    let (layout, dims) = (a.layout(), dims.to_vec());
    m.new_view(b, layout, &dims, skipped)
}

fn change_layout(m: &mut Machine, [b, layout]: [Slot; 2]) -> Res<'_> {
    let (a, layout) = (array(m, b)?, layout_of(m, layout)?);
    if layout == a.layout() {
        return Ok(m.val(b));
    }
    let dims: Vec<usize> = a.dims().iter().rev().copied().collect();
    m.new_view(b, layout, &dims, 0)
}

/// The part with indices `at..at + len` in the dimension that moves slowest.
fn sub(m: &mut Machine, [b, at, len]: [Slot; 3]) -> Res<'_> {
    let bad = || Raise::invalid("Bigarray.sub: bad sub-array");
    let (a, mut at, len) = (array(m, b)?, m.int(at)?, m.index(len)?);
    let mut dims = a.dims().to_vec();
    let (changed, rest) = match a.layout() {
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
    // Some of these may multiply to more than fits where another dimension is zero; then nothing is skipped.
    let skipped = rest.iter().fold(at, |skipped, dim| skipped.wrapping_mul(*dim));
    let layout = a.layout();
    m.new_view(b, layout, &dims, skipped)
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
    let layout = a.layout();
    m.new_view(b, layout, &dims, 0)
}

// ---- whole arrays ----------------------------------------------------------------------------------

fn blit(m: &mut Machine, [from, to]: [Slot; 2]) -> Res<'_> {
    let (src, dst) = (array(m, from)?, array(m, to)?);
    if src.dims() != dst.dims() || src.bytes().len() != dst.bytes().len() {
        return Err(Raise::invalid("Bigarray.blit: dimension mismatch"));
    }
    let len = dst.bytes().len();
    let backwards = dst.lies_behind(src);
    m.in_pieces(len, PIECE_BYTES, |m, part| {
        let part = if backwards { len - part.end..len - part.start } else { part };
        m.copy_elements(from, to, part)
    })?;
    Ok(UNIT)
}

fn fill(m: &mut Machine, [b, v]: [Slot; 2]) -> Res<'_> {
    let a = array(m, b)?;
    let (len, piece) = (a.bytes().len(), PIECE_BYTES / a.kind().size());
    // The first piece, from which all others are copied.
    m.fill_elements(b, piece, v)?;
    if len > PIECE_BYTES {
        m.in_pieces(len, PIECE_BYTES, |m, part| {
            let to = part.start;
            m.elements_mut(b)?.copy_within(..part.len(), to);
            Ok(())
        })?;
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
    use spelter_interp::Settings;

    use super::*;

    fn machine() -> Machine {
        let mut m = Machine::new(Settings::default());
        crate::install(&mut m);
        m
    }

    fn new(m: &mut Machine, kind: Kind, layout: Layout, dims: &[usize], bytes: Vec<u8>) -> Slot {
        m.push(|m| m.new_numbers(&BIGARRAY, kind, layout, dims, Memory::owned_by(bytes))).unwrap()
    }

    fn ints(m: &mut Machine, kind: Kind, layout: Layout, dims: &[usize], elements: &[i64]) -> Slot {
        let bytes = elements.iter().flat_map(|n| n.to_le_bytes()[..kind.size()].to_vec()).collect();
        new(m, kind, layout, dims, bytes)
    }

    #[test]
    fn marshals_and_reads_back() {
        let m = &mut machine();
        for (kind, elements) in [
            (Kind::CamlInt, [1, -2, 3, 4]),
            (Kind::CamlInt, [1, -2, 3, 1 << 40]),
            (Kind::NativeInt, [1, -2, 3, 1 << 31]),
            (Kind::Uint16, [1, 2, 3, 0xFFFF]),
            (Kind::Int32, [1, -2, 3, 4]),
            (Kind::Char, [1, 2, 3, 4]),
        ] {
            let b = ints(m, kind, Layout::Fortran, &[2, 2], &elements);
            let mut out = Vec::new();
            assert_eq!(serialize(m, m.numbers(b).unwrap(), &mut out), Ok((24, 48)));
            let mut from = &out[..];
            let read = deserialize(m, &mut from, 48).unwrap();
            assert!(from.is_empty());
            let back = m.push(|m| m.new_numbers(&BIGARRAY, read.kind, read.layout, &read.dims, read.memory));
            let (b, back) = (m.numbers(b).unwrap(), m.numbers(back.unwrap()).unwrap());
            assert_eq!(compare(m, b, back), Ok(Ordering::Equal.into()));
            assert_eq!((back.layout(), back.dims()), (Layout::Fortran, &[2usize, 2][..]));
            assert!(matches!(deserialize(m, &mut &out[..out.len() - 1], 48), Err(Raise::Failure(_))));
        }
    }

    #[test]
    fn large_arrays_are_read_in_pieces() {
        let m = &mut machine();
        for (kind, step) in [(Kind::CamlInt, 1), (Kind::CamlInt, 1 << 20), (Kind::Int64, 3), (Kind::Char, 1)]
        {
            let elements: Vec<i64> = (0..100_000).map(|i| i * step - 50_000).collect();
            let b = ints(m, kind, Layout::C, &[elements.len()], &elements);
            let mut out = Vec::new();
            serialize(m, m.numbers(b).unwrap(), &mut out).unwrap();
            let mut read = deserialize(m, &mut &out[..], 48).unwrap();
            assert!(read.memory.as_mut_slice() == m.numbers(b).unwrap().bytes(), "{kind:?}");
        }
    }

    #[test]
    fn huge_sizes_are_refused() {
        let m = &mut machine();
        let mut claim = vec![0, 0, 0, 1, 0, 0, 0, 12, 0xFF, 0xFF];
        claim.extend_from_slice(&(1u64 << 40).to_be_bytes());
        assert_eq!(deserialize(m, &mut &claim[..], 40).err(), Some(custom::cut()));
        for dims in [&[1i64 << 40, 1 << 40][..], &[1 << 61]] {
            let (kind, layout) = (m.push_int(1), m.push_int(0));
            let dims: Vec<Slot> = dims.iter().map(|dim| m.push_int(*dim)).collect();
            let dims = m.push(|m| m.new_block(0, &dims)).unwrap();
            assert!(matches!(create(m, [kind, layout, dims]), Err(Raise::OutOfMemory)));
        }
    }

    #[test]
    fn layouts_count_differently() {
        let m = &mut machine();
        let s = ints(m, Kind::Char, Layout::C, &[2, 3], &[0; 6]);
        let c = m.numbers(s).unwrap();
        assert_eq!(c.offset(&[1, 2]), Ok(5));
        assert_eq!(c.offset(&[0, 3]), Err(NoElement::Bounds));
        let fortran = m.push(|m| m.new_view(s, Layout::Fortran, &[3, 2], 0)).unwrap();
        let f = m.numbers(fortran).unwrap();
        assert_eq!(f.offset(&[3, 1]), Ok(2));
        assert_eq!(f.offset(&[0, 1]), Err(NoElement::Bounds));
    }

    #[test]
    fn nan_is_unordered_but_has_a_place() {
        let m = &mut machine();
        let [nan, one] =
            [f64::NAN, 1.0].map(|x| new(m, Kind::Float64, Layout::C, &[1], x.to_le_bytes().to_vec()));
        let [nan, one] = [nan, one].map(|s| m.numbers(s).unwrap());
        assert_eq!(compare(m, nan, one), Ok(Compared { order: Ordering::Less, unordered: true }));
        assert_eq!(compare(m, nan, nan), Ok(Compared { order: Ordering::Equal, unordered: true }));
    }
}
