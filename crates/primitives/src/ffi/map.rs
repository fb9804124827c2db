//! The door to files in memory.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use memmap2::{MmapMut, MmapOptions};

/// Maps `len` bytes of a file, which are not none, from a position on; what is written there goes to the file if it is shared.
pub(crate) fn map(fd: impl AsFd, from: u64, len: usize, shared: bool) -> io::Result<MmapMut> {
    let fd = fd.as_fd().as_raw_fd();
    let mut options = MmapOptions::new();
    options.offset(from).len(len);
    // SAFETY: an open descriptor. Other processes, and other maps of this one, may change what is there: the bytes are only
    // read and written as numbers of which any bits are right, and never taken to stay the same. Where the file
    // becomes shorter, the system ends the process (SIGBUS), as it ends any.
    unsafe { if shared { options.map_mut(fd) } else { options.map_copy(fd) } }
}
