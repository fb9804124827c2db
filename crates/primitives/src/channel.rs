//! A buffered channel: 64 KiB between a program and a descriptor, with OCaml's exact habits of when to
//! read, when to write and what positions say in between.
//!
//! ```text
//! output:  buff[..curr] waits to be written;  offset = the file's position at buff[0]
//! input:   buff[curr..max] waits to be read;  offset = the file's position at buff[max]
//! closed:  curr = max = the buffer's end, so that the next use meets the missing descriptor
//! ```
//!
//! No function here raises or calls back: an interrupted system call comes back as
//! [`Stop::Interrupted`], and it is the caller who lets signal handlers run and tries again. What a function needs of the
//! descriptor's table it is given: the descriptor, if there is one.

use nix::errno::Errno;
use nix::unistd::{self, Whence};

use crate::fds::Fd;

/// A channel's descriptor, or why there is none.
pub(crate) type Found = Result<Fd, Errno>;

/// The size of a channel's buffer, in bytes.
pub(crate) const BUFFER_SIZE: usize = 65536;

/// Why an operation did not go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// A signal came first; try again.
    Interrupted,
    /// Nothing left to read.
    EndOfFile,
    /// The system call's error.
    Errno(Errno),
}

impl From<Errno> for Stop {
    fn from(e: Errno) -> Self {
        if e == Errno::EINTR { Stop::Interrupted } else { Stop::Errno(e) }
    }
}

/// Which way a channel goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    In,
    Out,
    Closed,
}

/// A channel. See the module for what its positions mean.
pub(crate) struct Channel {
    /// The descriptor's number, -1 once closed.
    fd: i32,
    way: Way,
    offset: i64,
    curr: usize,
    max: usize,
    buff: Box<[u8; BUFFER_SIZE]>,
    /// The file's name, for the warning about a channel that was never closed.
    pub(crate) name: Option<Vec<u8>>,
    /// How many blocks of the heap stand for this channel.
    pub(crate) handles: usize,
}

impl Channel {
    fn new(fd: i32, open: Found, way: Way) -> Self {
        let offset = open.and_then(|d| unistd::lseek(d, 0, Whence::SeekCur)).unwrap_or(-1);
        let buff = vec![0; BUFFER_SIZE].into_boxed_slice().try_into().expect("of that size");
        Channel { fd, way, offset, curr: 0, max: 0, buff, name: None, handles: 0 }
    }

    /// A channel that reads from a descriptor.
    pub(crate) fn input(fd: i32, open: Found) -> Self {
        Channel::new(fd, open, Way::In)
    }

    /// A channel that writes to a descriptor.
    pub(crate) fn output(fd: i32, open: Found) -> Self {
        Channel::new(fd, open, Way::Out)
    }

    /// The descriptor's number, -1 once closed.
    pub(crate) fn fd(&self) -> i32 {
        self.fd
    }

    /// Whether it is open for writing.
    pub(crate) fn is_output(&self) -> bool {
        self.way == Way::Out
    }

    /// Whether it is open for writing and some of what was written still waits here.
    pub(crate) fn is_unflushed(&self) -> bool {
        self.is_output() && self.curr > 0
    }

    /// Closes the channel: what waits to be written is lost. Gives the descriptor's number, which is to be closed; -1
    /// the second time.
    pub(crate) fn close(&mut self) -> i32 {
        self.curr = BUFFER_SIZE;
        self.max = BUFFER_SIZE;
        self.way = Way::Closed;
        std::mem::replace(&mut self.fd, -1)
    }

    /// The file's size.
    pub(crate) fn size(&self, fd: Found) -> Result<i64, Stop> {
        let fd = fd?;
        let end = unistd::lseek(&fd, 0, Whence::SeekEnd)?;
        unistd::lseek(fd, self.offset, Whence::SeekSet)?;
        Ok(end)
    }

    // ---- output ----------------------------------------------------------------------------------

    /// Tries once to write what waits, which makes room for a byte at least. Whether all is written.
    pub(crate) fn flush_partial(&mut self, fd: Found) -> Result<bool, Stop> {
        if self.curr > 0 {
            let fd = fd?;
            let written = match unistd::write(&fd, &self.buff[..self.curr]) {
                // A pipe takes short writes whole or not at all: see whether it has room for one byte.
                Err(Errno::EAGAIN) if self.curr > 1 => unistd::write(fd, &self.buff[..1])?,
                r => r?,
            };
            self.offset += written as i64;
            self.buff.copy_within(written..self.curr, 0);
            self.curr -= written;
        }
        Ok(self.curr == 0)
    }

    /// Buffers a byte if there is room.
    #[inline]
    pub(crate) fn put_byte(&mut self, byte: u8) -> bool {
        match self.buff.get_mut(self.curr) {
            Some(b) => {
                *b = byte;
                self.curr += 1;
                true
            }
            None => false,
        }
    }

    /// Buffers as much as there is room for. When that fills the buffer, a [`Channel::flush_partial`] is due.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Put {
        let free = BUFFER_SIZE - self.curr;
        if bytes.len() < free {
            self.buff[self.curr..][..bytes.len()].copy_from_slice(bytes);
            self.curr += bytes.len();
            Put::All
        } else {
            self.buff[self.curr..].copy_from_slice(&bytes[..free]);
            self.curr = BUFFER_SIZE;
            Put::Full(free)
        }
    }

    /// Where the next byte will be written.
    pub(crate) fn pos_out(&self) -> i64 {
        self.offset + self.curr as i64
    }

    /// Moves to `dest`, once all is flushed.
    pub(crate) fn seek_out(&mut self, fd: Found, dest: i64) -> Result<(), Stop> {
        self.lseek(fd, dest)
    }

    fn lseek(&mut self, fd: Found, dest: i64) -> Result<(), Stop> {
        match unistd::lseek(fd?, dest, Whence::SeekSet) {
            // C's lseek says -1 when it fails, and OCaml only looks whether it says `dest`.
            Err(_) if dest == -1 => {}
            outcome => drop(outcome?),
        }
        self.offset = dest;
        Ok(())
    }

    // ---- input -----------------------------------------------------------------------------------

    /// What is buffered and not yet read.
    #[inline]
    pub(crate) fn available(&self) -> &[u8] {
        &self.buff[self.curr..self.max]
    }

    /// Marks `n` of the available bytes as read.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.max - self.curr);
        self.curr += n;
    }

    /// The next byte, if one is buffered.
    #[inline]
    pub(crate) fn next_byte(&mut self) -> Option<u8> {
        if self.curr == self.max {
            return None;
        }
        let byte = self.buff[self.curr];
        self.curr += 1;
        Some(byte)
    }

    /// Reads once into the buffer, which must have been consumed. How many bytes came; 0 at the end of the file.
    pub(crate) fn refill(&mut self, fd: Found) -> Result<usize, Stop> {
        let n = unistd::read(fd?, &mut self.buff[..])?;
        self.refilled(n);
        Ok(n)
    }

    /// As [`Channel::refill`], where the end of the file is an error.
    pub(crate) fn refill_some(&mut self, fd: Found) -> Result<(), Stop> {
        // At the end of a file, OCaml leaves the buffer as it was.
        let n = unistd::read(fd?, &mut self.buff[..])?;
        if n == 0 {
            return Err(Stop::EndOfFile);
        }
        self.refilled(n);
        Ok(())
    }

    fn refilled(&mut self, n: usize) {
        self.offset += n as i64;
        self.curr = 0;
        self.max = n;
    }

    /// Where the next byte will be read.
    pub(crate) fn pos_in(&self) -> i64 {
        self.offset - (self.max - self.curr) as i64
    }

    /// Moves to `dest`: within the buffer if it is there.
    pub(crate) fn seek_in(&mut self, fd: Found, dest: i64) -> Result<(), Stop> {
        if (self.offset - self.max as i64..=self.offset).contains(&dest) {
            self.curr = self.max - (self.offset - dest) as usize;
        } else {
            self.lseek(fd, dest)?;
            self.curr = 0;
            self.max = 0;
        }
        Ok(())
    }

    /// Buffers until a line is complete. Its length with the newline; negative, the number of bytes buffered, when
    /// the file ends or the buffer is full before a newline comes.
    pub(crate) fn scan_line(&mut self, fd: Found) -> Result<i64, Stop> {
        let mut scanned = 0;
        loop {
            if let Some(i) = find_newline(&self.available()[scanned..]) {
                return Ok((scanned + i + 1) as i64);
            }
            scanned = self.max - self.curr;
            if self.curr > 0 {
                self.buff.copy_within(self.curr..self.max, 0);
                self.curr = 0;
                self.max = scanned;
            }
            if self.max == BUFFER_SIZE {
                return Ok(-(scanned as i64));
            }
            let n = unistd::read(fd.as_ref().map_err(|e| *e)?, &mut self.buff[scanned..])?;
            if n == 0 {
                return Ok(-(scanned as i64));
            }
            self.offset += n as i64;
            self.max += n;
        }
    }
}

/// What [`Channel::put`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    /// All fits.
    All,
    /// This many bytes filled the buffer.
    Full(usize),
}

/// The position of the first newline, looking at eight bytes at a time.
fn find_newline(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, _) = bytes.as_chunks::<8>();
    let at = words.iter().position(|w| {
        let x = u64::from_le_bytes(*w) ^ (ONES * b'\n' as u64);
        x.wrapping_sub(ONES) & !x & (ONES << 7) != 0
    });
    let from = 8 * at.unwrap_or(words.len());
    Some(from + bytes[from..].iter().position(|b| *b == b'\n')?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fds::Fds;

    fn pipe(fds: &mut Fds) -> (i32, i32) {
        let (r, w) = std::io::pipe().unwrap();
        (fds.insert(r.into()), fds.insert(w.into()))
    }

    #[test]
    fn newline_found_wherever_it_is() {
        for len in 0..40 {
            assert_eq!(find_newline(&vec![b'x'; len]), None);
            for at in 0..len {
                let mut line = vec![b'\x8a'; len];
                line[at] = b'\n';
                assert_eq!(find_newline(&line), Some(at), "{len} {at}");
            }
        }
    }

    #[test]
    fn lines_through_a_pipe() {
        let mut fds = Fds::default();
        let (r, w) = pipe(&mut fds);
        let mut out = Channel::output(w, fds.get(w));
        assert_eq!(out.put(b"one\ntwo\nthr"), Put::All);
        assert!(out.is_unflushed());
        assert!(out.flush_partial(fds.get(w)).unwrap());
        fds.close(out.close()).unwrap();
        assert!(!out.is_output() && out.close() == -1);
        assert_eq!(out.put(b"x"), Put::Full(0));
        assert_eq!(out.flush_partial(fds.get(-1)), Err(Stop::Errno(Errno::EBADF)));
        let mut input = Channel::input(r, fds.get(r));
        assert_eq!(input.scan_line(fds.get(r)), Ok(4));
        input.consume(4);
        assert_eq!(input.scan_line(fds.get(r)), Ok(4));
        input.consume(4);
        assert_eq!(input.scan_line(fds.get(r)), Ok(-3));
        assert_eq!(input.available(), b"thr");
        input.consume(3);
        assert_eq!(input.scan_line(fds.get(r)), Ok(0));
        assert_eq!(input.refill_some(fds.get(r)), Err(Stop::EndOfFile));
        assert_eq!(input.size(fds.get(r)), Err(Stop::Errno(Errno::ESPIPE)));
    }

    #[test]
    fn positions() {
        let mut fds = Fds::default();
        let path = std::env::temp_dir().join(format!("spelter-channel-{}", std::process::id()));
        let file =
            std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let fd = fds.insert(file.into());
        let mut out = Channel::output(fd, fds.get(fd));
        out.put(b"0123456789");
        assert_eq!((out.pos_out(), out.size(fds.get(fd))), (10, Ok(0)));
        assert!(out.flush_partial(fds.get(fd)).unwrap());
        assert_eq!((out.pos_out(), out.size(fds.get(fd))), (10, Ok(10)));
        out.seek_out(fds.get(fd), 5).unwrap();
        let mut input = Channel::input(fd, fds.get(fd));
        assert_eq!(input.refill(fds.get(fd)), Ok(5));
        assert_eq!((input.next_byte(), input.pos_in()), (Some(b'5'), 6));
        input.seek_in(fds.get(fd), 9).unwrap();
        assert_eq!((input.available(), input.offset), (&b"9"[..], 10));
        input.seek_in(fds.get(fd), 0).unwrap();
        assert_eq!((input.available(), input.offset), (&b""[..], 0));
    }
}
