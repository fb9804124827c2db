//! Pages from the system. They are mapped, not allocated: what is empty goes back at once, and the small
//! allocations of whoever else uses the process's allocator do not settle between them, nor they between those.

use std::alloc::Layout;

/// The words of a page.
pub(crate) const PAGE_WORDS: usize = 4096;

/// Pages that are mapped together: the system call costs as much as a few pages' first use.
pub(crate) const BATCH: usize = 8;

#[cfg(unix)]
mod memory {
    use std::ptr;

    /// Memory for so many bytes, or null.
    pub(super) fn map(bytes: usize) -> *mut u8 {
        let (access, how) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping disturbs none.
        let base = unsafe { libc::mmap(ptr::null_mut(), bytes, access, how, -1, 0) };
        if base == libc::MAP_FAILED { ptr::null_mut() } else { base.cast() }
    }

    /// # Safety
    /// The bytes were mapped, and nothing refers to them.
    pub(super) unsafe fn unmap(base: *mut u8, bytes: usize) -> bool {
        // SAFETY: by contract.
        unsafe { libc::munmap(base.cast(), bytes) == 0 }
    }
}

#[cfg(not(unix))]
mod memory {
    use super::page_layout;

    pub(super) fn map(bytes: usize) -> *mut u8 {
        // Given back page by page, so allocated page by page.
        if bytes > page_layout().size() {
            return std::ptr::null_mut();
        }
        // SAFETY: the layout is not empty.
        unsafe { std::alloc::alloc(page_layout()) }
    }

    /// # Safety
    /// As for the other.
    pub(super) unsafe fn unmap(base: *mut u8, _: usize) -> bool {
        // SAFETY: allocated by `map` with this layout.
        unsafe { std::alloc::dealloc(base, page_layout()) }
        true
    }
}

pub(crate) fn page_layout() -> Layout {
    Layout::array::<u64>(PAGE_WORDS).expect("a small constant")
}

const PAGE_BYTES: usize = 8 * PAGE_WORDS;

/// Maps pages, and puts them on a list: a batch if there is memory for one, else one, or none.
pub(crate) fn map_pages(onto: &mut Vec<*mut u64>) {
    let _ = map_some(onto, BATCH) || map_some(onto, 1);
}

/// Maps so many pages, and puts them on a list; or none.
pub(crate) fn map_some(onto: &mut Vec<*mut u64>, count: usize) -> bool {
    if onto.try_reserve(count).is_err() {
        return false;
    }
    let base = memory::map(count * PAGE_BYTES).cast::<u64>();
    if !base.is_null() {
        // The one at the lowest address is used first.
        onto.extend((0..count).rev().map(|i| base.wrapping_add(i * PAGE_WORDS)));
    }
    !base.is_null()
}

/// Gives a page back. False if the system does not take it.
///
/// # Safety
/// It came from [`map_pages`], and nothing refers to it.
pub(crate) unsafe fn unmap_page(base: *mut u64) -> bool {
    // SAFETY: by contract.
    unsafe { memory::unmap(base.cast(), PAGE_BYTES) }
}

/// Has the process's allocator give back the free memory in its middle, where it can: what died was mixed with what
/// lives on.
pub(crate) fn trim_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it changes nothing that a program can see.
    unsafe {
        libc::malloc_trim(0);
    }
}
