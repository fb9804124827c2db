//! Strings and byte sequences (OCaml's `str.c`). Both have the same representation; only the types prevent programs
//! from writing to strings.

use std::cmp::Ordering;

use spelter_interp::{MAX_WOSIZE, Machine, PIECE_BYTES, Raise, ReadRes, Res, Slot, Val, prims};

use crate::UNIT;
use crate::boolean;

/// The maximum length of a string, in bytes.
const MAX_LENGTH: usize = MAX_WOSIZE * 8 - 1;

fn length(m: &mut Machine, [s]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(m.bytes(s)?.len() as i64))
}

fn create_bytes(m: &mut Machine, [len]: [Slot; 1]) -> Res<'_> {
    match m.index(len)? {
        len if len > MAX_LENGTH => Err(Raise::invalid("Bytes.create")),
        len => m.new_bytes(len),
    }
}

fn create_string(m: &mut Machine, [len]: [Slot; 1]) -> Res<'_> {
    match m.index(len)? {
        len if len > MAX_LENGTH => Err(Raise::invalid("String.create")),
        len => m.new_bytes(len),
    }
}

fn same(m: &mut Machine, [s]: [Slot; 1]) -> Res<'_> {
    Ok(m.val(s))
}

// ---- reading and writing within --------------------------------------------------------------------

/// The `N` bytes at `at`.
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Raise> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or_else(Raise::bounds)
}

/// The `N` bytes at `at`, to write.
fn chunk_mut<const N: usize>(bytes: &mut [u8], at: usize) -> Result<&mut [u8; N], Raise> {
    bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut).ok_or_else(Raise::bounds)
}

fn get(m: &mut Machine, [s, i]: [Slot; 2]) -> Res<'_> {
    let byte = m.bytes(s)?.get(m.index(i)?).ok_or_else(Raise::bounds)?;
    Ok(Val::from_int(i64::from(*byte)))
}

fn set(m: &mut Machine, [s, i, byte]: [Slot; 3]) -> Res<'_> {
    let (i, byte) = (m.index(i)?, m.int(byte)? as u8);
    *m.bytes_mut(s)?.get_mut(i).ok_or_else(Raise::bounds)? = byte;
    Ok(UNIT)
}

fn get16(m: &mut Machine, [s, i]: [Slot; 2]) -> Res<'_> {
    let n = u16::from_le_bytes(chunk(m.bytes(s)?, m.index(i)?)?);
    Ok(Val::from_int(i64::from(n)))
}

fn get32(m: &mut Machine, [s, i]: [Slot; 2]) -> Res<'_> {
    let n = i32::from_le_bytes(chunk(m.bytes(s)?, m.index(i)?)?);
    m.new_int32(n)
}

fn get64(m: &mut Machine, [s, i]: [Slot; 2]) -> Res<'_> {
    let n = i64::from_le_bytes(chunk(m.bytes(s)?, m.index(i)?)?);
    m.new_int64(n)
}

fn set16(m: &mut Machine, [s, i, n]: [Slot; 3]) -> Res<'_> {
    let (i, n) = (m.index(i)?, m.int(n)?);
    *chunk_mut(m.bytes_mut(s)?, i)? = (n as u16).to_le_bytes();
    Ok(UNIT)
}

fn set32(m: &mut Machine, [s, i, n]: [Slot; 3]) -> Res<'_> {
    let (i, n) = (m.index(i)?, m.int32(n)?);
    *chunk_mut(m.bytes_mut(s)?, i)? = n.to_le_bytes();
    Ok(UNIT)
}

fn set64(m: &mut Machine, [s, i, n]: [Slot; 3]) -> Res<'_> {
    let (i, n) = (m.index(i)?, m.int64(n)?);
    *chunk_mut(m.bytes_mut(s)?, i)? = n.to_le_bytes();
    Ok(UNIT)
}

fn blit(m: &mut Machine, [src, src_at, dst, dst_at, len]: [Slot; 5]) -> Res<'_> {
    let (src_at, dst_at, len) = (m.index(src_at)?, m.index(dst_at)?, m.index(len)?);
    m.blit_bytes(src, src_at, dst, dst_at, len)?;
    Ok(UNIT)
}

fn fill(m: &mut Machine, [s, at, len, byte]: [Slot; 4]) -> Res<'_> {
    let (at, len, byte) = (m.index(at)?, m.index(len)?, m.int(byte)? as u8);
    let end = at.checked_add(len).ok_or_else(Raise::bounds)?;
    m.bytes(s)?.get(at..end).ok_or_else(Raise::bounds)?;
    m.in_pieces(len, PIECE_BYTES, |m, part| {
        m.bytes_mut(s)?.get_mut(at..end).ok_or_else(Raise::bounds)?[part].fill(byte);
        Ok(())
    })?;
    Ok(UNIT)
}

// ---- comparing -------------------------------------------------------------------------------------

fn are_equal(m: &Machine, a: Val<'_>, b: Val<'_>) -> Result<bool, Box<Raise>> {
    let (x, y) = (a.bytes()?, b.bytes()?);
    Ok(x.len() == y.len()
        && (std::ptr::eq(x, y) || if is_long(x) { order(m, a, b)?.is_eq() } else { x == y }))
}

/// Comparisons of strings shorter than this need no check for interrupts in between.
const COUNTED: usize = 1 << 12;

fn is_long(bytes: &[u8]) -> bool {
    bytes.len() > PIECE_BYTES
}

/// Compares bytes as unsigned numbers; a prefix comes before longer strings.
fn order(m: &Machine, a: Val<'_>, b: Val<'_>) -> Result<Ordering, Box<Raise>> {
    order_bytes(m, a.bytes()?, b.bytes()?)
}

/// The same for bytes.
#[inline]
pub(crate) fn order_bytes(m: &Machine, a: &[u8], b: &[u8]) -> Result<Ordering, Box<Raise>> {
    if a.len().min(b.len()) >= COUNTED { order_long(m, a, b) } else { Ok(a.cmp(b)) }
}

#[cold]
fn order_long(m: &Machine, a: &[u8], b: &[u8]) -> Result<Ordering, Box<Raise>> {
    for (x, y) in a.chunks(PIECE_BYTES).zip(b.chunks(PIECE_BYTES)) {
        m.check_interrupt()?;
        match x.cmp(y) {
            Ordering::Equal => {}
            order => return Ok(order),
        }
    }
    Ok(a.len().cmp(&b.len()))
}

fn equal<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(boolean(are_equal(m, a, b)?))
}

fn notequal<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(boolean(!are_equal(m, a, b)?))
}

fn compare<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(Val::from_int(order(m, a, b)? as i64))
}

fn lessthan<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(boolean(order(m, a, b)?.is_lt()))
}

fn lessequal<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(boolean(order(m, a, b)?.is_le()))
}

fn greaterthan<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(boolean(order(m, a, b)?.is_gt()))
}

fn greaterequal<'m>(m: &'m Machine, a: Val<'m>, b: Val<'m>) -> ReadRes<'m> {
    Ok(boolean(order(m, a, b)?.is_ge()))
}

prims! {
    "caml_blit_bytes" P5 blit,
    "caml_blit_string" P5 blit,
    "caml_bytes_compare" V2 compare,
    "caml_bytes_equal" V2 equal,
    "caml_bytes_get" P2 get,
    "caml_bytes_get16" P2 get16,
    "caml_bytes_get32" P2 get32,
    "caml_bytes_get64" P2 get64,
    "caml_bytes_greaterequal" V2 greaterequal,
    "caml_bytes_greaterthan" V2 greaterthan,
    "caml_bytes_lessequal" V2 lessequal,
    "caml_bytes_lessthan" V2 lessthan,
    "caml_bytes_notequal" V2 notequal,
    "caml_bytes_of_string" P1 same,
    "caml_bytes_set" P3 set,
    "caml_bytes_set16" P3 set16,
    "caml_bytes_set32" P3 set32,
    "caml_bytes_set64" P3 set64,
    "caml_create_bytes" P1 create_bytes,
    "caml_create_string" P1 create_string,
    "caml_fill_bytes" P4 fill,
    "caml_fill_string" P4 fill,
    "caml_ml_bytes_length" P1 length,
    "caml_ml_string_length" P1 length,
    "caml_string_compare" V2 compare,
    "caml_string_equal" V2 equal,
    "caml_string_get" P2 get,
    "caml_string_get16" P2 get16,
    "caml_string_get32" P2 get32,
    "caml_string_get64" P2 get64,
    "caml_string_greaterequal" V2 greaterequal,
    "caml_string_greaterthan" V2 greaterthan,
    "caml_string_lessequal" V2 lessequal,
    "caml_string_lessthan" V2 lessthan,
    "caml_string_notequal" V2 notequal,
    "caml_string_of_bytes" P1 same,
    "caml_string_set" P3 set,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_end_within_the_string() {
        let mut bytes = *b"abcdefgh";
        assert_eq!(chunk::<4>(&bytes, 4), Ok(*b"efgh"));
        for at in [5, 8, 9, usize::MAX] {
            assert_eq!(chunk::<4>(&bytes, at), Err(Raise::bounds()));
            assert_eq!(chunk_mut::<4>(&mut bytes, at).err(), Some(Raise::bounds()));
        }
    }
}
