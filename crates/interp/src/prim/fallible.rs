//! Memory outside the heap, of sizes that a program can choose: each of these says when there is none, where what the
//! standard library does by itself ends the process. What is asked for here raises `Out_of_memory`.

use std::mem::MaybeUninit;

use spelter_heap::OutOfMemory;

#[cold]
fn none<T>(bytes: usize) -> Result<T, OutOfMemory> {
    Err(OutOfMemory { words: bytes.div_ceil(8) })
}

/// What small things may take together until somebody asks again.
const HEADROOM: usize = 64 << 10;

/// Finds out whether there is memory for something of this size, and small things beside it, that is about to be made by
/// code that cannot fail: asks for as much, and gives it back. For what has no other way; docs/security.md lists it.
///
/// # Errors
/// When there is not.
#[inline]
pub fn afford(bytes: usize) -> Result<(), OutOfMemory> {
    with_capacity::<u8>(bytes.saturating_add(HEADROOM)).map(drop)
}

/// Makes room for `more` elements, and some.
///
/// # Errors
/// When there is no memory for them.
#[inline]
pub fn reserve<T>(v: &mut Vec<T>, more: usize) -> Result<(), OutOfMemory> {
    if v.capacity() - v.len() >= more {
        return Ok(());
    }
    // What grows by and by grows by doubling; if the double is too much, less may not be.
    let some = more.max(v.len() / 8);
    if v.try_reserve(more).is_ok() || v.try_reserve_exact(some).is_ok() || v.try_reserve_exact(more).is_ok() {
        return Ok(());
    }
    none(more.saturating_mul(size_of::<T>()))
}

/// Appends an element.
///
/// # Errors
/// When there is no memory for it.
#[inline]
pub fn push<T>(v: &mut Vec<T>, element: T) -> Result<(), OutOfMemory> {
    reserve(v, 1)?;
    v.push(element);
    Ok(())
}

/// Appends elements.
///
/// # Errors
/// When there is no memory for them.
#[inline]
pub fn extend<T: Copy>(v: &mut Vec<T>, elements: &[T]) -> Result<(), OutOfMemory> {
    reserve(v, elements.len())?;
    v.extend_from_slice(elements);
    Ok(())
}

/// An empty vector with room for `n` elements.
///
/// # Errors
/// When there is no memory for them.
pub fn with_capacity<T>(n: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut v = Vec::new();
    match v.try_reserve_exact(n) {
        Ok(()) => Ok(v),
        Err(_) => none(n.saturating_mul(size_of::<T>())),
    }
}

/// `n` copies of an element.
///
/// # Errors
/// When there is no memory for them.
pub fn filled<T: Copy>(element: T, n: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut v = with_capacity(n)?;
    v.resize(n, element);
    Ok(v)
}

/// A copy of what a slice holds.
///
/// # Errors
/// When there is no memory for it.
pub fn to_vec<T: Copy>(elements: &[T]) -> Result<Vec<T>, OutOfMemory> {
    let mut v = with_capacity(elements.len())?;
    v.extend_from_slice(elements);
    Ok(v)
}

/// All that an iterator gives.
///
/// # Errors
/// When there is no memory for it.
pub fn collect<T>(elements: impl IntoIterator<Item = T>) -> Result<Vec<T>, OutOfMemory> {
    let elements = elements.into_iter();
    let mut v = with_capacity(elements.size_hint().0)?;
    for element in elements {
        push(&mut v, element)?;
    }
    Ok(v)
}

/// A copy of a text.
///
/// # Errors
/// When there is no memory for it.
pub fn to_string(text: &str) -> Result<String, OutOfMemory> {
    let mut s = String::new();
    match s.try_reserve_exact(text.len()) {
        Ok(()) => s.push_str(text),
        Err(_) => return none(text.len()),
    }
    Ok(s)
}

/// Some bytes as text, with what is not UTF-8 replaced.
///
/// # Errors
/// When there is no memory for it.
pub fn lossy(bytes: &[u8]) -> Result<String, OutOfMemory> {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        let more = chunk.valid().len() + char::REPLACEMENT_CHARACTER.len_utf8();
        if text.try_reserve(more).is_err() {
            return none(more);
        }
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Ok(text)
}

/// Words that nobody has written yet; what is not touched takes no memory from the system.
///
/// # Errors
/// When there is no memory for them.
pub(crate) fn uninit<T: Copy>(n: usize) -> Result<Box<[MaybeUninit<T>]>, OutOfMemory> {
    let mut v: Vec<MaybeUninit<T>> = with_capacity(n)?;
    v.resize_with(n, MaybeUninit::uninit);
    Ok(v.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_memory_for() {
        let mut v = vec![1u64];
        assert!(reserve(&mut v, 1 << 60).is_err() && reserve(&mut v, usize::MAX).is_err());
        assert_eq!((push(&mut v, 2), extend(&mut v, &[3])), (Ok(()), Ok(())));
        assert_eq!(v, [1, 2, 3]);
        assert!(with_capacity::<u64>(usize::MAX).is_err() && filled(0u8, 1 << 62).is_err());
        assert!(uninit::<u64>(1 << 58).is_err());
        assert_eq!(collect(0..3), Ok(vec![0, 1, 2]));
        assert_eq!(to_vec(b"ab"), Ok(vec![b'a', b'b']));
        assert_eq!(to_string("ab"), Ok("ab".to_owned()));
        assert_eq!(lossy(b"a\xFFb"), Ok("a\u{FFFD}b".to_owned()));
    }
}
