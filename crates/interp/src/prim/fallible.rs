//! Allocation outside the heap, of sizes that a program can choose. These functions report a lack of memory, where the
//! standard library would end the process. What they report is raised as `Out_of_memory`.
//!
//! While a call of the host runs in a machine whose memory is limited, what they allocate counts towards the limit until
//! the next safe point.

use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spelter_heap::{Account, OutOfMemory};

/// Who lends what is allocated, and how it asks for a safe point.
pub(crate) type Lender = Option<(Arc<Account>, Arc<AtomicBool>)>;

thread_local! {
    static LENDER: RefCell<Lender> = const { RefCell::new(None) };
    /// Whether there is one: finding out there takes longer.
    static LENDS: Cell<bool> = const { Cell::new(false) };
}

/// Makes this the lender of the thread, and returns the one before.
#[inline]
pub(crate) fn replace_lender(lender: Lender) -> Lender {
    if lender.is_none() && !LENDS.get() { None } else { exchange_lender(lender) }
}

#[inline(never)]
fn exchange_lender(lender: Lender) -> Lender {
    LENDS.set(lender.is_some());
    LENDER.replace(lender)
}

/// Counts what is about to be allocated, if it is limited. Returns false if there may not be so much.
fn lend(bytes: usize) -> bool {
    LENDER.with_borrow(|lender| {
        let Some((account, action)) = lender else { return true };
        let lent = account.lend(bytes);
        if lent == Some(true) {
            action.store(true, Ordering::Release);
        }
        lent.is_some()
    })
}

/// Counts memory that is about to be allocated by other means than the functions here.
///
/// # Errors
/// When the machine's limit does not allow so much.
#[inline]
pub fn borrow(bytes: usize) -> Result<(), OutOfMemory> {
    if lend(bytes) { Ok(()) } else { refused(bytes) }
}

#[cold]
fn refused<T>(bytes: usize) -> Result<T, OutOfMemory> {
    LENDER.with_borrow(|lender| {
        if let Some((account, action)) = lender
            && !account.allows(bytes)
        {
            account.deny();
            action.store(true, Ordering::Release);
        }
    });
    none(bytes)
}

#[cold]
fn none<T>(bytes: usize) -> Result<T, OutOfMemory> {
    Err(OutOfMemory { words: bytes.div_ceil(8) })
}

/// The memory that small allocations may use together between two calls of [`afford`].
const HEADROOM: usize = 64 << 10;

/// Tests whether there is memory for something of this size, and for small things with it, that infallible code is
/// about to allocate: allocates that much and frees it. Only for cases that cannot be handled otherwise;
/// docs/security.md lists them.
///
/// # Errors
/// When there is not enough memory.
#[inline]
pub fn afford(bytes: usize) -> Result<(), OutOfMemory> {
    let bytes = bytes.saturating_add(HEADROOM);
    let allowed =
        LENDER.with_borrow(|lender| lender.as_ref().is_none_or(|(account, _)| account.allows(bytes)));
    if !allowed {
        return refused(bytes);
    }
    let mut v = Vec::<u8>::new();
    if v.try_reserve_exact(bytes).is_ok() { Ok(()) } else { none(bytes) }
}

/// Reserves room for `more` elements, and for a few beyond these.
///
/// # Errors
/// When there is not enough memory.
#[inline]
pub fn reserve<T>(v: &mut Vec<T>, more: usize) -> Result<(), OutOfMemory> {
    if v.capacity() - v.len() >= more {
        return Ok(());
    }
    // Vectors that grow step by step double in size; if there is no memory for that, a smaller step may succeed.
    let steps = [more.max(v.len()), more.max(v.len() / 8), more];
    let len = v.len();
    let bytes = |step: usize| step.saturating_add(len).saturating_mul(size_of::<T>());
    for step in steps {
        if lend(bytes(step)) && v.try_reserve_exact(step).is_ok() {
            return Ok(());
        }
    }
    refused(bytes(more))
}

/// Appends an element.
///
/// # Errors
/// When there is not enough memory.
#[inline]
pub fn push<T>(v: &mut Vec<T>, element: T) -> Result<(), OutOfMemory> {
    reserve(v, 1)?;
    v.push(element);
    Ok(())
}

/// Appends elements.
///
/// # Errors
/// When there is not enough memory.
#[inline]
pub fn extend<T: Copy>(v: &mut Vec<T>, elements: &[T]) -> Result<(), OutOfMemory> {
    reserve(v, elements.len())?;
    v.extend_from_slice(elements);
    Ok(())
}

/// An empty vector with room for `n` elements.
///
/// # Errors
/// When there is not enough memory.
pub fn with_capacity<T>(n: usize) -> Result<Vec<T>, OutOfMemory> {
    let bytes = n.saturating_mul(size_of::<T>());
    borrow(bytes)?;
    let mut v = Vec::new();
    if v.try_reserve_exact(n).is_ok() { Ok(v) } else { none(bytes) }
}

/// `n` copies of an element.
///
/// # Errors
/// When there is not enough memory.
pub fn filled<T: Copy>(element: T, n: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut v = with_capacity(n)?;
    v.resize(n, element);
    Ok(v)
}

/// A copy of a slice.
///
/// # Errors
/// When there is not enough memory.
pub fn to_vec<T: Copy>(elements: &[T]) -> Result<Vec<T>, OutOfMemory> {
    let mut v = with_capacity(elements.len())?;
    v.extend_from_slice(elements);
    Ok(v)
}

/// All items of an iterator.
///
/// # Errors
/// When there is not enough memory.
pub fn collect<T>(elements: impl IntoIterator<Item = T>) -> Result<Vec<T>, OutOfMemory> {
    let elements = elements.into_iter();
    let mut v = with_capacity(elements.size_hint().0)?;
    for element in elements {
        push(&mut v, element)?;
    }
    Ok(v)
}

/// A copy of a string.
///
/// # Errors
/// When there is not enough memory.
pub fn to_string(text: &str) -> Result<String, OutOfMemory> {
    borrow(text.len())?;
    let mut s = String::new();
    match s.try_reserve_exact(text.len()) {
        Ok(()) => s.push_str(text),
        Err(_) => return none(text.len()),
    }
    Ok(s)
}

/// Some bytes as text, with invalid UTF-8 replaced.
///
/// # Errors
/// When there is not enough memory.
pub fn lossy(bytes: &[u8]) -> Result<String, OutOfMemory> {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        let more = chunk.valid().len() + char::REPLACEMENT_CHARACTER.len_utf8();
        if text.capacity() - text.len() < more {
            borrow(text.len() + more.max(text.len()))?;
        }
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

/// Uninitialised words. The system allocates memory for them only when they are written.
///
/// # Errors
/// When there is not enough memory.
pub(crate) fn uninit<T: Copy>(n: usize) -> Result<Box<[MaybeUninit<T>]>, OutOfMemory> {
    // What is allocated here stays, and is counted otherwise.
    let mut v: Vec<MaybeUninit<T>> = Vec::new();
    if v.try_reserve_exact(n).is_err() {
        return none(n.saturating_mul(size_of::<T>()));
    }
    v.resize_with(n, MaybeUninit::uninit);
    Ok(v.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_allocations_are_reported() {
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
