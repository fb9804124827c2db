//! The memory that the C library keeps for later, in the arenas of all threads, those that have ended included.
#![allow(unsafe_code, reason = "calls of the C library")]

use std::fmt;

use nix::libc;

/// What the C library's allocator has from the system.
#[derive(Clone, Copy)]
pub(crate) struct Malloc {
    /// The bytes of what is allocated.
    pub(crate) used: usize,
    /// The bytes of what was freed and is kept.
    pub(crate) free: usize,
}

impl fmt::Display for Malloc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes allocated, {} free", self.used, self.free)
    }
}

/// What is allocated now, in all arenas.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn now() -> Malloc {
    // SAFETY: it only fills the figures in.
    let info = unsafe { libc::mallinfo2() };
    Malloc { used: info.uordblks + info.hblkhd, free: info.fordblks }
}

/// Returns to the system what is free, in all arenas.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn trim() {
    // SAFETY: it only touches free memory.
    unsafe { libc::malloc_trim(0) };
}

/// Unknown: all that the process has in memory counts.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn now() -> Malloc {
    Malloc { used: 0, free: 0 }
}

/// Not known how.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn trim() {}
