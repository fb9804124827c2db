//! Memory-mapped files.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use memmap2::{MmapMut, MmapOptions};

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
