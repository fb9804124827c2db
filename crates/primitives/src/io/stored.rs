//! Files in memory that can be written: their bytes, which several descriptors may share, and what they may take.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

/// How many bytes may still be stored.
pub(crate) struct Room(AtomicUsize);

impl Room {
    pub(crate) fn new(bytes: usize) -> Arc<Room> {
        Arc::new(Room(AtomicUsize::new(bytes)))
    }

    /// Takes some of it.
    ///
    /// # Errors
    /// `ENOSPC` when there is less.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), Errno> {
        let less = |left: usize| left.checked_sub(bytes);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Ok(()),
            Err(_) => Err(Errno::ENOSPC),
        }
    }

    pub(crate) fn give(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The bytes of a file.
pub(crate) struct Stored {
    bytes: Mutex<Vec<u8>>,
    room: Arc<Room>,
}

impl Stored {
    pub(crate) fn empty(room: &Arc<Room>) -> Stored {
        Stored { bytes: Mutex::default(), room: Arc::clone(room) }
    }

    /// A file with these bytes.
    ///
    /// # Errors
    /// `ENOSPC` when there is no room for them.
    pub(crate) fn new(bytes: Vec<u8>, room: &Arc<Room>) -> Result<Stored, Errno> {
        room.take(bytes.len())?;
        Ok(Stored { bytes: Mutex::new(bytes), room: Arc::clone(room) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clear(&self) {
        let mut bytes = self.lock();
        self.room.give(bytes.len());
        *bytes = Vec::new();
    }

    /// Changes the number of bytes; those that are added are zero.
    pub(crate) fn set_size(&self, len: usize) -> Result<(), Errno> {
        let mut bytes = self.lock();
        match len.checked_sub(bytes.len()) {
            Some(more) => self.grow(&mut bytes, more)?,
            None => {
                self.room.give(bytes.len() - len);
                bytes.truncate(len);
                bytes.shrink_to_fit();
            }
        }
        Ok(())
    }

    fn grow(&self, bytes: &mut Vec<u8>, more: usize) -> Result<(), Errno> {
        self.room.take(more)?;
        if bytes.try_reserve(more).is_err() {
            self.room.give(more);
            return Err(Errno::ENOMEM);
        }
        bytes.resize(bytes.len() + more, 0);
        Ok(())
    }

    /// Writes at a position; what is between the end and it becomes zero.
    fn write(&self, at: usize, from: &[u8]) -> Result<usize, Errno> {
        let mut bytes = self.lock();
        let end = at.checked_add(from.len()).ok_or(Errno::EFBIG)?;
        if let Some(more) = end.checked_sub(bytes.len()) {
            self.grow(&mut bytes, more)?;
        }
        bytes[at..end].copy_from_slice(from);
        Ok(end)
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Such a file, open.
pub(crate) struct Open {
    pub(crate) file: Arc<Stored>,
    /// Where the next byte is read or written.
    pub(crate) at: usize,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    /// Whether each write is at the end.
    pub(crate) appends: bool,
}

impl Open {
    pub(crate) fn size(&self) -> usize {
        self.file.lock().len()
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        if !self.reads {
            return Err(Errno::EBADF);
        }
        let bytes = self.file.lock();
        let rest = bytes.get(self.at..).unwrap_or_default();
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        Ok(n)
    }

    pub(crate) fn write(&mut self, from: &[u8]) -> Result<usize, Errno> {
        if !self.writes {
            return Err(Errno::EBADF);
        }
        if from.is_empty() {
            return Ok(0);
        }
        let at = if self.appends { self.size() } else { self.at };
        self.at = self.file.write(at, from)?;
        Ok(from.len())
    }
}

/// An error of the system as Rust's libraries report it.
pub(crate) fn error(e: Errno) -> io::Error {
    io::Error::from_raw_os_error(e as i32)
}
