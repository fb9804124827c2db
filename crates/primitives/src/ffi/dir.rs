//! C's directory streams: neither std nor nix can continue reading one where it stopped, or rewind it.

use std::ffi::CStr;
use std::os::fd::RawFd;
use std::ptr::NonNull;

use nix::errno::Errno;

/// An open directory.
pub(crate) struct DirStream(NonNull<libc::DIR>);

// SAFETY: a stream is not tied to a thread; C only requires that no two threads use it at a time, which `&mut` ensures.
unsafe impl Send for DirStream {}

impl DirStream {
    pub(crate) fn open(path: &CStr) -> Result<Self, Errno> {
        // SAFETY: a C string.
        NonNull::new(unsafe { libc::opendir(path.as_ptr()) }).map(DirStream).ok_or_else(Errno::last)
    }

    /// The number of its descriptor, which nothing else may use.
    pub(crate) fn number(&self) -> RawFd {
        // SAFETY: an open stream.
        unsafe { libc::dirfd(self.0.as_ptr()) }
    }

    /// The next name; `None` at the end, or after an error.
    pub(crate) fn read(&mut self) -> Option<Vec<u8>> {
        // SAFETY: an open stream that nothing else uses now. The entry and its name, a C string, are valid until the
        // next call.
        unsafe {
            let entry = libc::readdir(self.0.as_ptr()).as_ref()?;
            Some(CStr::from_ptr(entry.d_name.as_ptr()).to_bytes().to_vec())
        }
    }

    /// Returns to the beginning.
    pub(crate) fn rewind(&mut self) {
        // SAFETY: an open stream that nothing else uses now.
        unsafe { libc::rewinddir(self.0.as_ptr()) }
    }
}

impl Drop for DirStream {
    fn drop(&mut self) {
        // SAFETY: an open stream, used for the last time.
        unsafe { libc::closedir(self.0.as_ptr()) };
    }
}
