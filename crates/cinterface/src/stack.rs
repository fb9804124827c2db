//! The native stack of the running thread.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

thread_local! {
    /// The thread's stack, once it has been found out: the lowest address and the one behind the highest.
    static BOUNDS: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

/// The addresses of the stack; none if the system does not tell.
pub(crate) fn bounds() -> Range<usize> {
    let (low, high) = BOUNDS.get().unwrap_or_else(|| {
        let found = ask().unwrap_or_default();
        BOUNDS.set(Some(found));
        found
    });
    low..high
}

/// The lowest address of the stack, or the highest of all if the system does not tell.
pub(crate) fn end() -> usize {
    match bounds() {
        stack if stack.is_empty() => usize::MAX,
        stack => stack.start,
    }
}

fn ask() -> Option<(usize, usize)> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut low, mut bytes) = (ptr::null_mut(), 0);
    // SAFETY: the system fills in the attributes of this thread, which are destroyed after they have been read.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let known = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut bytes) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        known.then_some((low.addr(), low.addr() + bytes))
    }
}
