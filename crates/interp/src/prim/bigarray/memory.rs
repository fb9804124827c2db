//! Memory of elements, outside the heap, and who frees it.
//!
//! C's rules hold, since C's libraries make and destroy arrays: the flags of an array say whether its elements are
//! OCaml's (`malloc`), those of a mapped file, or somebody else's. Arrays that view the same memory of the first two
//! sorts have a *proxy*, which counts them. What C does not know is in [`Kept`], which these arrays share, too.
//!
//! This file contains unsafe code: it allocates and frees, and finalises blocks.

use std::any::Any;
use std::ptr;
use std::rc::Rc;

use spelter_heap::Charge;
use spelter_heap::raw::Value;

use super::{Proxy, Words, flag, is_whole};
use crate::Machine;
use crate::prim::Raise;
use crate::threads::interrupt::drop_elsewhere;

/// What keeps memory, and what it costs.
pub(super) struct Kept {
    /// Counts the memory towards the heap's limit.
    charge: Option<Charge>,
    /// Another thread returns large memory to the system, since calls of the machine may be interrupted.
    elsewhere: bool,
    /// The Rust value whose memory it is.
    owner: Option<Owner>,
    /// It is that of a mapped file.
    mapped: bool,
}

/// From `Box::into_raw`: a box would have to be the only one that leads to the memory.
struct Owner(*mut dyn AsMut<[u8]>);

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and no array views the memory any more.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// Memory from `malloc`. Another thread may free it.
struct Allocated(*mut u8);

// SAFETY: nothing else refers to it.
unsafe impl Send for Allocated {}

impl Drop for Allocated {
    fn drop(&mut self) {
        // SAFETY: from `calloc` or C's `malloc`.
        unsafe { libc::free(self.0.cast()) }
    }
}

/// Memory that no array views yet.
pub struct Memory {
    pub(super) data: *mut u8,
    pub(super) len: usize,
    /// Of the flags of the array, those that say whose memory it is.
    pub(super) managed: usize,
    pub(super) kept: Option<Rc<Kept>>,
}

/// What memory takes besides its bytes: what keeps it, and what the allocator adds to both.
pub(super) const OVERHEAD: usize = 64 + size_of::<Kept>();

impl Memory {
    /// This many bytes, all zero.
    ///
    /// # Errors
    /// When there is not enough memory, or the heap's limit would be exceeded.
    pub fn zeroed(m: &mut Machine, len: usize) -> Result<Memory, Raise> {
        let charge = Some(m.charge(len.saturating_add(OVERHEAD))?);
        // As C does, something is allocated even for no bytes.
        // SAFETY: any size will do.
        let data = unsafe { libc::calloc(len.max(1), 1) }.cast::<u8>();
        if data.is_null() {
            return Err(Raise::OutOfMemory);
        }
        let kept = Kept {
            charge,
            elsewhere: m.may_be_interrupted() && !m.heap.account().is_limited(),
            owner: None,
            mapped: false,
        };
        Ok(Memory { data, len, managed: flag::MANAGED, kept: Some(Rc::new(kept)) })
    }

    /// Memory of a Rust value, which is dropped when no array views it any more.
    pub fn owned_by(owner: impl AsMut<[u8]> + 'static) -> Memory {
        Memory::kept_by(owner, flag::EXTERNAL)
    }

    /// The same; its bytes count towards the heap's limit.
    ///
    /// # Errors
    /// When the heap's limit would be exceeded.
    pub fn charged(m: &mut Machine, owner: impl AsMut<[u8]> + 'static) -> Result<Memory, Raise> {
        let mut memory = Memory::owned_by(owner);
        let charge = Some(m.charge(memory.len)?);
        if let Some(kept) = memory.kept.as_mut().and_then(Rc::get_mut) {
            kept.charge = charge;
        }
        Ok(memory)
    }

    /// The same, of a mapped file.
    pub fn mapped(owner: impl AsMut<[u8]> + 'static) -> Memory {
        Memory::kept_by(owner, flag::MAPPED)
    }

    fn kept_by(owner: impl AsMut<[u8]> + 'static, managed: usize) -> Memory {
        let owner: *mut dyn AsMut<[u8]> = Box::into_raw(Box::new(owner));
        // SAFETY: the owner is not shared. The slice that it returns stays borrowed until the owner is dropped, because
        // `as_mut` is not called again.
        let bytes = unsafe { (*owner).as_mut() };
        let len = bytes.len();
        // As C has it for an empty file.
        let data = if len == 0 { ptr::null_mut() } else { bytes.as_mut_ptr() };
        let mapped = managed == flag::MAPPED;
        let kept = Kept { charge: None, elsewhere: false, owner: Some(Owner(owner)), mapped };
        Memory { data, len, managed, kept: Some(Rc::new(kept)) }
    }

    /// Memory that C has given to an array whose flags are `flags`.
    ///
    /// # Safety
    /// There are as many bytes as the array has, for as long as it exists; and `malloc` has returned them if the flags
    /// say that OCaml frees them.
    pub unsafe fn of_c(data: *mut u8, len: usize, flags: usize) -> Memory {
        Memory { data, len, managed: flags & flag::MANAGED_MASK, kept: None }
    }

    /// The number of bytes.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where it begins, for somebody who frees it if it came from [`Memory::zeroed`]. It no longer counts towards the
    /// heap's limit.
    pub fn into_c(mut self) -> *mut u8 {
        self.managed = flag::EXTERNAL;
        self.data
    }

    /// The bytes.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: they exist, and no array views them.
        unsafe { bytes_at_mut(self.data, self.len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.managed == flag::MANAGED {
            free(self.data, self.kept.as_deref());
        }
    }
}

/// Frees memory from `malloc`.
fn free(data: *mut u8, kept: Option<&Kept>) {
    let elsewhere = kept.filter(|kept| kept.elsewhere).and_then(|kept| kept.charge.as_ref());
    drop_elsewhere(elsewhere.map_or(0, Charge::bytes), Allocated(data));
}

/// # Safety
/// `data` is the address of as many bytes, or null if C has freed them; nothing writes to them during `'a`.
pub(super) unsafe fn bytes_at<'a>(data: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: by contract.
    if data.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(data, len) } }
}

/// # Safety
/// As for [`bytes_at`], and nothing else accesses them.
pub(super) unsafe fn bytes_at_mut<'a>(data: *mut u8, len: usize) -> &'a mut [u8] {
    // SAFETY: by contract.
    if data.is_null() { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(data, len) } }
}

// ---- sharing and freeing ---------------------------------------------------------------------------

/// A proxy for an array that has none, if arrays that share its memory need one. Null otherwise.
///
/// # Errors
/// When there is no memory.
///
/// # Safety
/// `array` is that of a block.
pub(super) unsafe fn new_proxy(array: *const Words) -> Result<*mut Proxy, Raise> {
    // SAFETY: by contract; what `malloc` returns is filled.
    unsafe {
        let managed = (*array).flags & flag::MANAGED_MASK;
        if managed == flag::EXTERNAL || !(*array).proxy.is_null() {
            return Ok(ptr::null_mut());
        }
        let proxy = libc::malloc(size_of::<Proxy>()).cast::<Proxy>();
        if proxy.is_null() {
            return Err(Raise::OutOfMemory);
        }
        let size = if managed == flag::MAPPED { Words::byte_len(array) } else { 0 };
        proxy.write(Proxy { count: 1, data: (*array).data, size });
        Ok(proxy)
    }
}

/// Frees a proxy that no array has.
///
/// # Safety
/// It is from [`new_proxy`], or null.
pub(super) unsafe fn drop_proxy(proxy: *mut Proxy) {
    // SAFETY: by contract.
    unsafe { libc::free(proxy.cast()) }
}

/// Lets `view` share the memory of `array`, which gets `proxy` if that is not null.
///
/// # Safety
/// They are those of blocks, and `proxy` is from [`new_proxy`] for the array.
pub(super) unsafe fn share(array: *mut Words, view: *mut Words, proxy: *mut Proxy) {
    // SAFETY: by contract.
    unsafe {
        if !proxy.is_null() {
            (*array).proxy = proxy;
        }
        let managed = (*array).flags & flag::MANAGED_MASK != flag::EXTERNAL;
        if let Some(proxy) = (*array).proxy.as_mut().filter(|_| managed) {
            proxy.count += 1;
            (*view).proxy = proxy;
        }
    }
}

/// Finalises an array: its words, and what it shares as the last one. Returns what must be dropped later. Does nothing
/// for an array that has been finalised.
pub(super) fn retire(payload: &mut [u64]) -> Option<Box<dyn Any>> {
    let (last, words) = payload.split_last_mut()?;
    // SAFETY: the payload of an array, as it was made. Each array has a share of its own in what is kept.
    unsafe {
        let kept = std::mem::take(last) as *const Kept;
        let kept = (!kept.is_null()).then(|| Rc::from_raw(kept));
        let managed = release(words.as_mut_ptr().cast(), kept.as_deref());
        let kept = kept?;
        let mapped = kept.mapped;
        let owner = Rc::into_inner(kept)?.owner?;
        if mapped && managed == flag::EXTERNAL {
            // C has unmapped the file.
            std::mem::forget(owner);
            return None;
        }
        Some(Box::new(owner))
    }
}

/// Finalises an array now, as C's `caml_ba_finalize` does: of the program, or of a C library's own kind.
///
/// # Safety
/// `v` is a big array, whose elements are not used any more.
pub unsafe fn finalise(v: Value) {
    // SAFETY: by contract.
    unsafe {
        let payload = v.custom_payload();
        match is_whole(v.custom_ops()) {
            true => drop(retire(payload)),
            false => drop(release(payload.as_mut_ptr().cast(), None)),
        }
    }
}

/// Frees the memory of an array if it is OCaml's and no other array shares it. The array has none afterwards. Returns
/// whose it was: the bits of the flags.
///
/// # Safety
/// `array` is that of a block; C may have changed it as OCaml's rules allow.
unsafe fn release(array: *mut Words, kept: Option<&Kept>) -> usize {
    // SAFETY: by contract.
    unsafe {
        let managed = (*array).flags & flag::MANAGED_MASK;
        let (data, is_last) = leave_proxy(array);
        (*array).flags &= !flag::MANAGED_MASK;
        (*array).data = ptr::null_mut();
        if managed == flag::MANAGED && is_last {
            free(data, kept);
        }
        managed
    }
}

/// Where the memory of an array begins, and whether no other array shares it; if others do, they no longer count this
/// one.
///
/// # Safety
/// As for [`release`].
unsafe fn leave_proxy(array: *mut Words) -> (*mut u8, bool) {
    // SAFETY: by contract.
    unsafe {
        let proxy = std::mem::replace(&mut (*array).proxy, ptr::null_mut());
        if proxy.is_null() || (*array).flags & flag::MANAGED_MASK == flag::EXTERNAL {
            return ((*array).data, true);
        }
        (*proxy).count -= 1;
        let (data, is_last) = ((*proxy).data, (*proxy).count == 0);
        if is_last {
            libc::free(proxy.cast());
        }
        (data, is_last)
    }
}
