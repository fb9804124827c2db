//! Pages from the system. They are mapped, not allocated, so that empty pages can be returned at once, and do not
//! fragment the process's allocator, nor it them.

use std::alloc::Layout;

/// The words of a page.
pub(crate) const PAGE_WORDS: usize = 4096;

/// The number of pages mapped together: the system call costs as much as the first use of a few pages.
pub(crate) const BATCH: usize = 8;

#[cfg(unix)]
mod memory {
    use std::ptr;

    /// Maps `bytes` bytes; null if that fails.
    pub(super) fn map(bytes: usize) -> *mut u8 {
        let (access, how) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping does not affect existing ones.
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
        // Pages are released one by one, so they are allocated one by one.
        if bytes > page_layout().size() {
            return std::ptr::null_mut();
        }
        // SAFETY: the layout is not empty.
        unsafe { std::alloc::alloc(page_layout()) }
    }

    /// # Safety
    /// The bytes were mapped, and nothing refers to them.
    pub(super) unsafe fn unmap(base: *mut u8, _: usize) -> bool {
        // SAFETY: allocated by `map` with this layout.
        unsafe { std::alloc::dealloc(base, page_layout()) }
        true
    }
}

pub(crate) fn page_layout() -> Layout {
    Layout::array::<u64>(PAGE_WORDS).expect("the layout of a page is valid")
}

const PAGE_BYTES: usize = 8 * PAGE_WORDS;

/// Maps pages and adds them to a list: a batch if there is memory for one, else one page, or none.
pub(crate) fn map_pages(onto: &mut Vec<*mut u64>) {
    let _ = map_some(onto, BATCH) || map_some(onto, 1);
}

/// Maps `count` pages and adds them to a list, or none.
pub(crate) fn map_some(onto: &mut Vec<*mut u64>, count: usize) -> bool {
    if onto.try_reserve(count).is_err() {
        return false;
    }
    let base = memory::map(count * PAGE_BYTES).cast::<u64>();
    if !base.is_null() {
        // The page at the lowest address is used first.
        onto.extend((0..count).rev().map(|i| base.wrapping_add(i * PAGE_WORDS)));
    }
    !base.is_null()
}

/// Returns a page to the system. False if the system refuses.
///
/// # Safety
/// It came from [`map_pages`], and nothing refers to it.
pub(crate) unsafe fn unmap_page(base: *mut u64) -> bool {
    // SAFETY: by contract.
    unsafe { memory::unmap(base.cast(), PAGE_BYTES) }
}

/// Returns pages to the system, those next to each other together: the system call costs more than the pages.
///
/// # Safety
/// As for [`unmap_page`].
pub(crate) unsafe fn unmap_pages(pages: &mut [*mut u64]) {
    if !cfg!(unix) {
        // They were allocated one by one.
        for page in pages {
            // SAFETY: by contract.
            unsafe { unmap_page(*page) };
        }
        return;
    }
    pages.sort_unstable();
    let (mut rest, mut count) = (&*pages, 0);
    while let Some(first) = rest.first() {
        while rest.get(count).is_some_and(|page| *page == first.wrapping_add(count * PAGE_WORDS)) {
            count += 1;
        }
        // SAFETY: by contract; the pages are all that lies between the first and the last.
        unsafe { memory::unmap(first.cast(), count * PAGE_BYTES) };
        (rest, count) = (&rest[count..], 0);
    }
}

/// Drops the content of the whole system pages within these words, which remain allocated: their memory goes back to
/// the system. False if that is not possible.
///
/// # Safety
/// The words are allocated, and their content is no longer needed.
pub(crate) unsafe fn drop_content(base: *mut u64, words: usize) -> bool {
    #[cfg(target_os = "linux")]
    {
        // The largest page size in use.
        const SYSTEM_PAGE: usize = 64 << 10;
        let (start, end) = (base as usize, base as usize + 8 * words);
        let (from, to) = (start.next_multiple_of(SYSTEM_PAGE), end / SYSTEM_PAGE * SYSTEM_PAGE);
        // SAFETY: by contract; private memory reads as zeros afterwards.
        from < to
            && unsafe {
                libc::madvise(base.wrapping_byte_add(from - start).cast(), to - from, libc::MADV_DONTNEED)
                    == 0
            }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (base, words);
        false
    }
}

/// Makes the process's allocator return free memory to the system, also from between live allocations, if it can.
pub(crate) fn trim_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it changes nothing that a program can see.
    unsafe {
        libc::malloc_trim(0);
    }
}
