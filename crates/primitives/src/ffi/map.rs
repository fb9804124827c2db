//! Memory-mapped files.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::slice;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapMut, MmapOptions, MmapRaw};

/// Maps `len` bytes of a file, at least one, from a position on. If the mapping is shared, writes go to the file.
pub(crate) fn map(fd: impl AsFd, from: u64, len: usize, shared: bool) -> io::Result<MmapMut> {
    let fd = fd.as_fd().as_raw_fd();
    let mut options = MmapOptions::new();
    options.offset(from).len(len);
    // SAFETY: an open descriptor. Other processes, and other maps of this one, may change what is there: the bytes are
    // only read and written as numbers for which all bit patterns are valid, and never assumed to stay the same. If the
    // file becomes shorter, the system ends the process (SIGBUS), as with every mapping.
    unsafe { if shared { options.map_mut(fd) } else { options.map_copy(fd) } }
}

/// A file, or its beginning, as numbers that other processes may read and write at the same time.
pub(crate) struct SharedWords(MmapRaw);

impl SharedWords {
    /// Maps `len` words, at least one, of a file that is at least as long.
    pub(crate) fn map(fd: impl AsFd, len: usize) -> io::Result<SharedWords> {
        let bytes = len.checked_mul(size_of::<AtomicU64>()).ok_or(io::ErrorKind::OutOfMemory)?;
        MmapOptions::new().len(bytes).map_raw(fd.as_fd().as_raw_fd()).map(SharedWords)
    }

    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the map begins at a page and exists as long as `self`. Nothing else in this process refers to it, and all
        // bit patterns are numbers. If the file becomes shorter, the system ends the process, as with every mapping.
        unsafe { slice::from_raw_parts(self.0.as_mut_ptr().cast(), self.0.len() / size_of::<AtomicU64>()) }
    }
}
