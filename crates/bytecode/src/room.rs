//! Fallible allocation for data read from files. These functions return [`ErrorKind::OutOfMemory`](crate::ErrorKind)
//! when memory is exhausted, where the standard library's own functions would end the process.

use std::collections::{HashMap, TryReserveError};
use std::hash::Hash;
use std::sync::Arc;

use crate::error::{Error, Result};

impl From<TryReserveError> for Error {
    #[cold]
    fn from(_: TryReserveError) -> Error {
        Error::out_of_memory()
    }
}

/// Appends an element.
#[inline]
pub(crate) fn push<T>(v: &mut Vec<T>, element: T) -> Result<()> {
    if v.len() == v.capacity() {
        v.try_reserve(1)?;
    }
    v.push(element);
    Ok(())
}

/// Appends elements.
#[inline]
pub(crate) fn extend<T: Copy>(v: &mut Vec<T>, elements: &[T]) -> Result<()> {
    v.try_reserve(elements.len())?;
    v.extend_from_slice(elements);
    Ok(())
}

/// An empty vector with room for `n` elements.
pub(crate) fn with_capacity<T>(n: usize) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(n)?;
    Ok(v)
}

/// `n` copies of an element.
pub(crate) fn filled<T: Copy>(element: T, n: usize) -> Result<Vec<T>> {
    let mut v = with_capacity(n)?;
    v.resize(n, element);
    Ok(v)
}

/// A copy of a slice.
pub(crate) fn to_vec<T: Copy>(elements: &[T]) -> Result<Vec<T>> {
    let mut v = with_capacity(elements.len())?;
    v.extend_from_slice(elements);
    Ok(v)
}

/// A copy of a text.
pub(crate) fn to_string(text: &str) -> Result<String> {
    let mut s = String::new();
    s.try_reserve_exact(text.len())?;
    s.push_str(text);
    Ok(s)
}

/// Bytes as text, with invalid UTF-8 replaced.
pub(crate) fn lossy(bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.try_reserve(chunk.valid().len() + char::REPLACEMENT_CHARACTER.len_utf8())?;
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Ok(text)
}

/// Checks that there is memory for `n` elements before an infallible allocation, by allocating and freeing it.
pub(crate) fn afford<T>(n: usize) -> Result<()> {
    with_capacity::<T>(n).map(drop)
}

/// A shared text, with invalid UTF-8 replaced.
pub(crate) fn shared(bytes: &[u8]) -> Result<Arc<str>> {
    let text = lossy(bytes)?;
    // The reference counts are stored with the text.
    afford::<u8>(text.len() + 64)?;
    Ok(text.into())
}

/// Collects the items of an iterator, or returns its first error.
pub(crate) fn collect<T>(elements: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
    let elements = elements.into_iter();
    let mut v = with_capacity(elements.size_hint().0)?;
    for element in elements {
        push(&mut v, element?)?;
    }
    Ok(v)
}

/// Inserts an entry into a table.
pub(crate) fn insert<K: Eq + Hash, V>(map: &mut HashMap<K, V>, key: K, value: V) -> Result<()> {
    map.try_reserve(1)?;
    map.insert(key, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_there_is_no_memory_for() {
        let none = |e: Error| matches!(e.kind(), ErrorKind::OutOfMemory) && e.is_out_of_memory();
        assert!(with_capacity::<u64>(1 << 60).is_err_and(none) && filled(0u64, usize::MAX).is_err_and(none));
        let mut v = vec![1u8];
        assert_eq!((push(&mut v, 2), extend(&mut v, &[3])), (Ok(()), Ok(())));
        assert_eq!((to_vec(&v), collect([Ok(1), Ok(2)])), (Ok(vec![1, 2, 3]), Ok(vec![1, 2])));
        assert_eq!((to_string("a"), lossy(b"a\xFFb")), (Ok("a".to_owned()), Ok("a\u{FFFD}b".to_owned())));
    }
}
