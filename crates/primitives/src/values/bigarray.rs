//! Big arrays (OCaml's `bigarray.c`): OCaml's operations on [`Numbers`] outside the heap.

use std::cmp::Ordering;

pub(crate) use spelter_interp::prim::bigarray::{Kind, Layout, MAX_DIMS};
use spelter_interp::prim::bigarray::{NoElement, Numbers, count, of_half};
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

/// The layout's bit in files and comparisons, next to the kind's number.
const FORTRAN_FLAG: u32 = 0x100;
const KIND_MASK: u32 = 0xFF;

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
    v.external::<Numbers>().map_or(0, |b| b.bytes().len())
}

fn flags(b: &Numbers) -> u32 {
    b.kind() as u32 | if b.layout() == Layout::Fortran { FORTRAN_FLAG } else { 0 }
}

// ---- as a custom kind ------------------------------------------------------------------------------

/// The kind of block that owns [`Numbers`].
pub(crate) static BIGARRAY: CustomOps = CustomOps::new(c"_bigarr02", &BEHAVIOUR).owning().counting();

/// The kind of arrays mapped from a file. It differs only in the name, which marshalling writes but cannot read.
static MAPPED: CustomOps = CustomOps::new(c"_bigarray", &BEHAVIOUR).owning().counting();

static BEHAVIOUR: Behaviour = Behaviour {
    compare: Some(|m, a, b| match (a.external(), b.external()) {
        (Ok(a), Ok(b)) => compare_in_pieces(m, a, b),
        _ => Ok(Ordering::Equal.into()),
    }),
    compare_ext: None,
    hash: Some(|_, v| Ok(v.external().map_or(0, |b| hash(b).into()))),
    serialize: Some(|m, v, out| v.external().map_or(Ok((0, 0)), |b| serialize(m, b, out))),
    deserialize: Some(|m, _, from, recorded| {
        let b = deserialize(m, from, recorded)?;
        new(m, b)
    }),
    size: Some(|v| v.external().map_or(0, |b: &Numbers| block_size(b.dims().len()))),
    fixed_length: None,
};

/// A block for a new array.
fn new(m: &mut Machine, b: Numbers) -> Res<'_> {
    // Shared memory counts once, for the array that allocated it.
    let size = b.bytes_of_its_own();
    m.new_external(&BIGARRAY, b.boxed(), size)
}

/// An array mapped from a file. `bytes` has the size that its dimensions determine.
pub(crate) fn new_mapped<'m>(
    m: &'m mut Machine,
    kind: Kind,
    layout: Layout,
    dims: &[usize],
    bytes: impl AsMut<[u8]> + 'static,
) -> Res<'m> {
    let b = Numbers::new(kind, layout, dims, bytes).ok_or_else(Raise::bounds)?;
    m.new_external(&MAPPED, b.boxed(), 0)
}

/// First by kind, layout and number of dimensions, in reverse order for historical reasons; then by dimensions and
/// elements.
fn compare(a: &Numbers, b: &Numbers) -> Compared {
    let shape = flags(b)
        .cmp(&flags(a))
        .then(b.dims().len().cmp(&a.dims().len()))
        .then_with(|| a.dims().cmp(b.dims()));
    if shape.is_ne() {
        return shape.into();
    }
    let (x, y) = (&*a.bytes(), &*b.bytes());
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
    match a.kind() {
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

/// The same, with checks for an interrupt in large arrays.
fn compare_in_pieces(m: &Machine, a: &Numbers, b: &Numbers) -> Result<Compared, Box<Raise>> {
    // Smaller arrays count as one step.
    if a.bytes().len() < 1 << 12 || flags(a) != flags(b) || a.dims() != b.dims() {
        return Ok(compare(a, b));
    }
    let (elements, piece) = (a.elements(), PIECE_BYTES / a.kind().size());
    let mut unordered = false;
    for from in (0..elements).step_by(piece) {
        m.check_interrupt()?;
        let dims = [piece.min(elements - from)];
        let part = |of: &Numbers| of.view(Layout::C, &dims, from).ok_or_else(Raise::bounds);
        let compared = compare(&part(a)?, &part(b)?);
        unordered |= compared.unordered;
        if compared.order.is_ne() {
            return Ok(Compared { unordered, ..compared });
        }
    }
    Ok(Compared { order: Ordering::Equal, unordered })
}

/// The hash of the first 256 bytes.
fn hash(b: &Numbers) -> u32 {
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
            numbers(&all, i64::from_le_bytes).take(64).fold(0, mix_native)
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
fn serialize(m: &Machine, b: &Numbers, out: &mut Vec<u8>) -> Result<(u32, u64), Raise> {
    let n = b.dims().len();
    out.extend_from_slice(&(n as u32).to_be_bytes());
    out.extend_from_slice(&flags(b).to_be_bytes());
    for dim in b.dims() {
        match u16::try_from(*dim) {
            Ok(short) if short != 0xFFFF => out.extend_from_slice(&short.to_be_bytes()),
            _ => {
                out.extend_from_slice(&[0xFF, 0xFF]);
                out.extend_from_slice(&(*dim as u64).to_be_bytes());
            }
        }
    }
    let bytes = &*b.bytes();
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

/// Reads what [`serialize`] wrote.
fn deserialize(m: &mut Machine, from: &mut &[u8], recorded: u64) -> Result<Numbers, Raise> {
    let fail = |what| Err(Raise::failure(what));
    let n = u32::from_be_bytes(take(from)?) as usize;
    if n > MAX_DIMS {
        return fail("input_value: wrong number of bigarray dimensions");
    }
    if m.behaviour().marshal_validates && block_size(n) > recorded.saturating_add(7) & !7 {
        return fail("input_value: bigarray buffer overflow");
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
    let Some(kind) = kind_numbered(m, (flags & KIND_MASK) as usize) else {
        return fail("input_value: bad bigarray kind");
    };
    let layout = if flags & FORTRAN_FLAG != 0 { Layout::Fortran } else { Layout::C };
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
    let mut bytes = Vec::new();
    let charge = m.charge(size).and_then(|charge| Ok(bytes.try_reserve_exact(size).map(|()| charge)?));
    let charge = match charge {
        Err(Raise::OutOfMemory) => return fail("input_value: out of memory for bigarray"),
        charge => charge?,
    };
    for piece in stored.chunks(REVERSED) {
        if let Err(raise) = m.check_interrupt() {
            m.give_back(bytes.len(), bytes);
            return Err(raise);
        }
        if wide {
            put_reversed(piece, unit(kind), &mut bytes);
        } else {
            bytes.extend(numbers(piece, i32::from_be_bytes).flat_map(|i| i64::from(i).to_le_bytes()));
        }
    }
    Numbers::of_bytes(m, kind, layout, dims, bytes, charge)
        .ok_or_else(|| Raise::failure("input_value: size overflow for bigarray"))
}

// ---- primitives ------------------------------------------------------------------------------------

#[inline]
pub(crate) fn array(m: &Machine, b: Slot) -> Result<&Numbers, Raise> {
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
    let b = Numbers::zeroes(m, kind, layout, &dims)?;
    new(m, b)
}

fn get<'m>(m: &'m mut Machine, b: Slot, indices: &[i64]) -> Res<'m> {
    let e = array(m, b)?.get(indices).map_err(|e| e.raise("Bigarray.get"))?;
    m.new_element(e)
}

fn set<'m>(m: &'m mut Machine, b: Slot, indices: &[i64], v: Slot) -> Res<'m> {
    array(m, b)?.set(indices, m.val(v)).map_err(|e| e.raise("Bigarray.set"))?;
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
    chunk(&b.bytes(), i)
}

fn put_bytes(m: &Machine, b: Slot, i: Slot, new: &[u8]) -> Result<(), Raise> {
    let (b, i) = (array(m, b)?, m.index(i)?);
    let mut bytes = b.bytes_mut();
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
    let view = a.view(a.layout(), dims, skipped).ok_or_else(Raise::bounds)?;
    new(m, view)
}

fn change_layout(m: &mut Machine, [b, layout]: [Slot; 2]) -> Res<'_> {
    let (a, layout) = (array(m, b)?, layout_of(m, layout)?);
    if layout == a.layout() {
        return Ok(m.val(b));
    }
    let dims: Vec<usize> = a.dims().iter().rev().copied().collect();
    let view = a.view(layout, &dims, 0).ok_or_else(Raise::bounds)?;
    new(m, view)
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
    let skipped = at * rest.iter().product::<usize>();
    let view = a.view(a.layout(), &dims, skipped).ok_or_else(bad)?;
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
    let view = a.view(a.layout(), &dims, 0).ok_or_else(Raise::bounds)?;
    new(m, view)
}

// ---- whole arrays ----------------------------------------------------------------------------------

fn blit(m: &mut Machine, [from, to]: [Slot; 2]) -> Res<'_> {
    let (src, dst) = (array(m, from)?, array(m, to)?);
    if src.dims() != dst.dims() || src.bytes().len() != dst.bytes().len() {
        return Err(Raise::invalid("Bigarray.blit: dimension mismatch"));
    }
    let len = dst.bytes().len();
    if len <= PIECE_BYTES {
        dst.copy_from(src);
    } else {
        let backwards = dst.lies_behind(src);
        m.in_pieces(len, PIECE_BYTES, |m, part| {
            let part = if backwards { len - part.end..len - part.start } else { part };
            let (src, dst) = (array(m, from)?, array(m, to)?);
            dst.copy_part(src, part);
            Ok(())
        })?;
    }
    Ok(UNIT)
}

fn fill(m: &mut Machine, [b, v]: [Slot; 2]) -> Res<'_> {
    let a = array(m, b)?;
    let len = a.bytes().len();
    if len <= PIECE_BYTES {
        a.fill(m.val(v))?;
        return Ok(UNIT);
    }
    // The first piece, from which all others are copied.
    let first = a.view(Layout::C, &[PIECE_BYTES / a.kind().size()], 0).ok_or_else(Raise::bounds)?;
    first.fill(m.val(v))?;
    m.in_pieces(len, PIECE_BYTES, |m, part| {
        let to = part.start;
        array(m, b)?.bytes_mut().copy_within(..part.len(), to);
        Ok(())
    })?;
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

    fn ints(kind: Kind, layout: Layout, dims: &[usize], elements: &[i64]) -> Numbers {
        let bytes: Vec<u8> = elements.iter().flat_map(|n| n.to_le_bytes()[..kind.size()].to_vec()).collect();
        Numbers::new(kind, layout, dims, bytes).unwrap()
    }

    #[test]
    fn marshals_and_reads_back() {
        let mut m = Machine::new(Settings::default());
        for (kind, elements) in [
            (Kind::CamlInt, [1, -2, 3, 4]),
            (Kind::CamlInt, [1, -2, 3, 1 << 40]),
            (Kind::NativeInt, [1, -2, 3, 1 << 31]),
            (Kind::Uint16, [1, 2, 3, 0xFFFF]),
            (Kind::Int32, [1, -2, 3, 4]),
        ] {
            let b = ints(kind, Layout::Fortran, &[2, 2], &elements);
            let mut out = Vec::new();
            assert_eq!(serialize(&m, &b, &mut out), Ok((24, 48)));
            let mut from = &out[..];
            let back = deserialize(&mut m, &mut from, 48).unwrap();
            assert!(from.is_empty());
            assert_eq!(compare(&b, &back), Ordering::Equal.into());
            assert_eq!((back.layout(), back.dims()), (Layout::Fortran, &[2usize, 2][..]));
            assert!(matches!(deserialize(&mut m, &mut &out[..out.len() - 1], 48), Err(Raise::Failure(_))));
        }
    }

    #[test]
    fn huge_sizes_are_refused() {
        let mut m = Machine::new(Settings::default());
        for dims in [&[1 << 40, 1 << 40][..], &[1 << 62]] {
            assert!(matches!(Numbers::zeroes(&mut m, Kind::Char, Layout::C, dims), Err(Raise::OutOfMemory)));
        }
        let mut claim = vec![0, 0, 0, 1, 0, 0, 0, 12, 0xFF, 0xFF];
        claim.extend_from_slice(&(1u64 << 40).to_be_bytes());
        assert_eq!(deserialize(&mut m, &mut &claim[..], 40).err(), Some(custom::cut()));
    }

    #[test]
    fn layouts_count_differently() {
        let c = ints(Kind::Char, Layout::C, &[2, 3], &[0; 6]);
        assert_eq!(c.offset(&[1, 2]), Ok(5));
        assert_eq!(c.offset(&[0, 3]), Err(NoElement::Bounds));
        let f = c.view(Layout::Fortran, &[3, 2], 0).unwrap();
        assert_eq!(f.offset(&[3, 1]), Ok(2));
        assert_eq!(f.offset(&[0, 1]), Err(NoElement::Bounds));
    }

    #[test]
    fn nan_is_unordered_but_has_a_place() {
        let float = |x: f64| Numbers::new(Kind::Float64, Layout::C, &[1], x.to_le_bytes().to_vec()).unwrap();
        let found = compare(&float(f64::NAN), &float(1.0));
        assert_eq!(found, Compared { order: Ordering::Less, unordered: true });
        let found = compare(&float(f64::NAN), &float(f64::NAN));
        assert_eq!(found, Compared { order: Ordering::Equal, unordered: true });
    }
}
