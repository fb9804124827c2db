//! The shadow stack: the values that the handles of open scopes stand for.
//!
//! ```text
//! base                         settled              top             limit
//!  │ outermost scope │ inner scope … │ innermost scope │ free         │
//!  └── no young blocks ──────────────┴─ perhaps young ─┘
//! ```
//!
//! A slot is written once, when its handle is made (those of variables may be written again). So what a minor collection
//! has seen stays old, and the next one begins there: its time does not grow with the depth of a recursion.

use crate::account::Account;
use crate::value::Value;
use std::alloc::{Layout, alloc, dealloc, realloc};
use std::cell::Cell;
use std::ptr;
use std::sync::Arc;

/// The bytes of a slot.
const SLOT: usize = size_of::<Value>();

/// The bytes of the first stack: it grows when a scope needs more, and a heap without scopes has none.
const FIRST: usize = 1 << 10;

/// A stack of more bytes than this is freed when its last scope ends.
const KEPT: usize = 1 << 20;

/// Values, pushed one by one and popped together. All positions are distances from the base, in bytes.
pub(crate) struct Shadow {
    base: Cell<*mut Value>,
    top: Cell<usize>,
    limit: Cell<usize>,
    settled: Cell<usize>,
    /// What counts towards the heap's limit.
    account: Arc<Account>,
}

impl Shadow {
    pub(crate) fn new(account: Arc<Account>) -> Shadow {
        let zero = || Cell::new(0);
        Shadow { base: Cell::new(ptr::null_mut()), top: zero(), limit: zero(), settled: zero(), account }
    }

    /// Pushes a value, and returns its position, which is a multiple of [`SLOT`].
    ///
    /// # Panics
    /// If there is no memory for a larger stack.
    #[inline(always)]
    pub(crate) fn push(&self, v: Value) -> usize {
        let at = self.top.get();
        if at == self.limit.get() {
            self.grow();
        }
        // SAFETY: below the limit, so within the allocation.
        unsafe { *self.base.get().byte_add(at) = v };
        self.top.set(at + SLOT);
        at
    }

    /// The value at a position.
    ///
    /// # Safety
    /// It was returned by `push`, and has not been popped.
    #[inline(always)]
    pub(crate) unsafe fn get(&self, at: usize) -> Value {
        debug_assert!(at < self.top.get(), "a handle outlived its scope");
        // SAFETY: below the top, by contract.
        unsafe { *self.base.get().byte_add(at) }
    }

    /// Changes the value at a position.
    ///
    /// # Safety
    /// As for [`Shadow::get`].
    #[inline(always)]
    pub(crate) unsafe fn set(&self, at: usize, v: Value) {
        debug_assert!(at < self.top.get(), "a variable outlived its scope");
        // SAFETY: below the top, by contract.
        unsafe { *self.base.get().byte_add(at) = v };
        self.settled.set(self.settled.get().min(at));
    }

    /// The position of the next slot.
    #[inline(always)]
    pub(crate) fn top(&self) -> usize {
        self.top.get()
    }

    /// Pops everything from a position on.
    #[inline(always)]
    pub(crate) fn cut(&self, at: usize) {
        debug_assert!(at <= self.top.get(), "scopes end in the reverse order of their beginnings");
        self.top.set(at);
        self.settled.set(self.settled.get().min(at));
    }

    /// Frees a stack that has become large, if it is empty.
    #[inline]
    pub(crate) fn trim(&self) {
        if self.top.get() == 0 && self.limit.get() > KEPT {
            self.free();
        }
    }

    /// All slots, for the collector: it may use them until something is pushed.
    pub(crate) fn all(&self) -> *mut [Value] {
        self.from(0)
    }

    /// The slots that may hold young blocks. They are settled from now on: the caller promotes them.
    pub(crate) fn take_unsettled(&self) -> *mut [Value] {
        self.from(self.settled.replace(self.top.get()))
    }

    fn from(&self, at: usize) -> *mut [Value] {
        let base = if self.limit.get() == 0 { ptr::dangling_mut() } else { self.base.get() };
        ptr::slice_from_raw_parts_mut(base.wrapping_byte_add(at), (self.top.get() - at) / SLOT)
    }

    #[cold]
    #[inline(never)]
    fn grow(&self) {
        let old = self.limit.get();
        let new = (2 * old).max(FIRST);
        // SAFETY: not empty; the old stack was allocated with that layout.
        let base = unsafe {
            match old {
                0 => alloc(layout(new)),
                _ => realloc(self.base.get().cast(), layout(old), new),
            }
        };
        assert!(!base.is_null(), "out of memory: no room for {} handles", new / SLOT);
        self.base.set(base.cast());
        self.limit.set(new);
        self.account.charge(new - old);
    }

    fn free(&self) {
        let bytes = self.limit.replace(0);
        if bytes > 0 {
            // SAFETY: allocated with this layout, and not used any more.
            unsafe { dealloc(self.base.get().cast(), layout(bytes)) }
            self.account.discharge(bytes);
        }
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::array::<Value>(bytes / SLOT).expect("a stack of handles fits into the address space")
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.free();
    }
}
