//! A buffered channel: 64 KiB between a program and a descriptor, with OCaml's exact behaviour of when to read, when to
//! write and what positions report in between.
//!
//! ```text
//! output:  buff waits to be written;          offset = the file's position at buff[0]
//! input:   buff[curr..max] waits to be read;  offset = the file's position at buff[max]
//! closed:  as if the buffer were full, or consumed, so that the next use meets the missing descriptor; before OCaml 5.2
//!          it seems to have its whole buffer still, later an empty one, in which an output channel has used one byte
//! ```
//!
//! A closed channel can still be repositioned within the buffer that it appears to have: `buff` may then be shorter
//! than `max`, and bytes beyond it cannot be read. Positions wrap, as they may be near the maximum.
//!
//! Nothing here makes system calls: `channels` makes them, while other threads may run, and reports their results to
//! this type.

use spelter_interp::{ClosedChannel, OutOfMemory, fallible};

/// The size of a channel's buffer, in bytes.
pub(crate) const BUFFER_SIZE: usize = 65536;

/// The direction of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    In,
    Out,
    /// Every operation ends with a flush.
    OutUnbuffered,
    Closed,
}

/// The buffer of a channel. The module's documentation explains its positions.
pub(crate) struct Channel {
    way: Way,
    offset: i64,
    curr: usize,
    max: usize,
    unbuffered: bool,
    /// Never longer than [`BUFFER_SIZE`]; memory that no byte has needed yet is not touched.
    buff: Vec<u8>,
    /// The file's name, for the warning about a channel that was never closed.
    pub(crate) name: Option<Vec<u8>>,
}

impl Channel {
    fn new(offset: i64, way: Way) -> Self {
        Channel { way, offset, curr: 0, max: 0, unbuffered: false, buff: Vec::new(), name: None }
    }

    /// A channel that reads from a descriptor whose position is `offset`, -1 if it has none.
    pub(crate) fn input(offset: i64) -> Self {
        Channel::new(offset, Way::In)
    }

    /// A channel that writes to a descriptor whose position is `offset`, -1 if it has none.
    pub(crate) fn output(offset: i64) -> Self {
        Channel::new(offset, Way::Out)
    }

    /// Reserves the memory that its buffer may need: before bytes are put there, but not when the channel is made, because
    /// most never get any.
    pub(crate) fn reserve(&mut self) -> Result<(), OutOfMemory> {
        let more = BUFFER_SIZE.saturating_sub(self.buff.len());
        fallible::reserve(&mut self.buff, more)
    }

    /// Whether it is open for writing.
    pub(crate) fn is_output(&self) -> bool {
        matches!(self.way, Way::Out | Way::OutUnbuffered)
    }

    /// Whether operations leave their bytes in the buffer.
    pub(crate) fn is_buffered(&self) -> bool {
        !self.unbuffered
    }

    /// Sets whether operations leave their bytes in the buffer.
    pub(crate) fn set_buffered(&mut self, buffered: bool) {
        self.unbuffered = !buffered;
        if self.is_output() {
            self.way = if buffered { Way::Out } else { Way::OutUnbuffered };
        }
    }

    /// Whether it is open for writing and has unflushed bytes.
    pub(crate) fn is_unflushed(&self) -> bool {
        self.is_output() && !self.buff.is_empty()
    }

    /// Closes the channel; unflushed bytes are lost.
    pub(crate) fn close(&mut self, leaves: ClosedChannel) {
        if leaves == ClosedChannel::HasNone {
            self.buff = Vec::new();
            if self.way != Way::Closed {
                self.max = usize::from(self.is_output());
                self.curr = self.max;
            }
            self.way = Way::Closed;
            return;
        }
        // A buffer that one read filled can be read again, as OCaml keeps it; from others OCaml would return stale
        // bytes.
        if self.way != Way::In || self.max < BUFFER_SIZE {
            self.buff = Vec::new();
        }
        self.curr = BUFFER_SIZE;
        self.max = BUFFER_SIZE;
        if leaves == ClosedChannel::KeepsBufferAtStart {
            self.offset = 0;
        }
        self.way = Way::Closed;
    }

    /// The assumed position of the descriptor.
    pub(crate) fn offset(&self) -> i64 {
        self.offset
    }

    // ---- output ----------------------------------------------------------------------------------

    /// Takes out the unflushed bytes, which must be passed back to [`Channel::written`]. `None` if there are none; a
    /// closed channel never returns `None`.
    pub(crate) fn take_waiting(&mut self) -> Option<Vec<u8>> {
        (!self.buff.is_empty() || self.way == Way::Closed).then(|| std::mem::take(&mut self.buff))
    }

    /// Records that the first `n` of these bytes have been written. Returns whether all have been.
    pub(crate) fn written(&mut self, waited: Vec<u8>, n: usize) -> bool {
        self.buff = waited;
        self.buff.drain(..n);
        self.offset = self.offset.wrapping_add(n as i64);
        self.buff.is_empty() && self.way != Way::Closed
    }

    /// Drops the unflushed bytes.
    pub(crate) fn discard(&mut self) {
        self.buff.clear();
    }

    fn room(&self) -> usize {
        if self.way == Way::Closed { 0 } else { BUFFER_SIZE.saturating_sub(self.buff.len()) }
    }

    /// Buffers a byte, and returns whether there was room.
    #[inline]
    pub(crate) fn put_byte(&mut self, byte: u8) -> bool {
        let room = self.room() > 0;
        if room {
            self.buff.push(byte);
        }
        room
    }

    /// Buffers a byte if that is all there is to do, and returns whether it is.
    #[inline]
    pub(crate) fn put_byte_only(&mut self, byte: u8) -> bool {
        let only = self.way == Way::Out && self.buff.len() < BUFFER_SIZE.min(self.buff.capacity());
        if only {
            self.buff.push(byte);
        }
        only
    }

    /// Buffers as many bytes as there is room for. When that fills the buffer, some of it must be flushed.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Put {
        let room = self.room();
        if bytes.len() < room {
            self.buff.extend_from_slice(bytes);
            if self.unbuffered { Put::AllUnbuffered } else { Put::All }
        } else {
            self.buff.extend_from_slice(&bytes[..room]);
            Put::Full(room)
        }
    }

    /// The position at which the next byte will be written.
    pub(crate) fn pos_out(&self) -> i64 {
        let waiting = if self.way == Way::Closed { self.max } else { self.buff.len() };
        self.offset.wrapping_add(waiting as i64)
    }

    /// Records that the descriptor has been moved to `dest`, after all was written.
    pub(crate) fn moved_out(&mut self, dest: i64) {
        self.offset = dest;
    }

    // ---- input -----------------------------------------------------------------------------------

    /// The bytes that are buffered and not yet read.
    #[inline]
    pub(crate) fn available(&self) -> &[u8] {
        // A channel that was closed before it was used has no bytes, whatever its positions say.
        self.buff.get(self.curr..self.max).unwrap_or_default()
    }

    /// Marks `n` of the available bytes as read.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.available().len());
        self.curr += n;
    }

    /// The next byte, if one is buffered.
    #[inline]
    pub(crate) fn next_byte(&mut self) -> Option<u8> {
        let byte = *self.available().first()?;
        self.curr += 1;
        Some(byte)
    }

    /// Replaces the buffer, which has been consumed, by `bytes`, whose first `n` bytes have been read. `bytes` gets the
    /// old buffer.
    pub(crate) fn refill(&mut self, bytes: &mut Vec<u8>, n: usize) {
        std::mem::swap(&mut self.buff, bytes);
        self.offset = self.offset.wrapping_add(n as i64);
        self.curr = 0;
        self.max = n;
    }

    /// The position from which the next byte will be read.
    pub(crate) fn pos_in(&self) -> i64 {
        self.offset.wrapping_sub((self.max - self.curr) as i64)
    }

    /// Moves to `dest` if it lies within the buffer, and returns whether it does.
    pub(crate) fn seek_within(&mut self, dest: i64) -> bool {
        let back = i128::from(self.offset) - i128::from(dest);
        let within = (0..=self.max as i128).contains(&back);
        if within {
            self.curr = self.max - back as usize;
        }
        within
    }

    /// Records that the descriptor has been moved to `dest`, and empties the buffer.
    pub(crate) fn moved_in(&mut self, dest: i64) {
        self.offset = dest;
        self.curr = 0;
        self.max = 0;
    }

    /// Looks for a line, the first `scanned` bytes of which have been searched before; returns its length with the
    /// newline.
    pub(crate) fn find_line(&self, scanned: usize) -> Option<usize> {
        Some(scanned + find_newline(self.available().get(scanned..)?)? + 1)
    }

    /// Makes room after the available bytes; returns how many bytes fit.
    pub(crate) fn make_room(&mut self) -> usize {
        if self.curr > 0 {
            if self.curr < self.max && self.max <= self.buff.len() {
                self.buff.copy_within(self.curr..self.max, 0);
            }
            self.max -= self.curr;
            self.curr = 0;
        }
        BUFFER_SIZE - self.max
    }

    /// Appends bytes that have been read, for which there is room.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.offset = self.offset.wrapping_add(bytes.len() as i64);
        // It is shorter only if the channel was closed, or written to, in the meantime.
        self.buff.resize(self.max, 0);
        self.buff.extend_from_slice(bytes);
        self.max += bytes.len();
    }
}

/// What [`Channel::put`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    /// All fits.
    All,
    /// All fits, and must be flushed now.
    AllUnbuffered,
    /// This many bytes filled the buffer.
    Full(usize),
}

/// The position of the first newline; searches eight bytes at a time.
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

    #[test]
    fn newlines_at_every_distance() {
        for n in 0..40 {
            let mut line = vec![b'x'; n];
            assert_eq!(find_newline(&line), None);
            line.push(b'\n');
            line.extend_from_slice(b"more\n");
            assert_eq!(find_newline(&line), Some(n));
        }
    }

    #[test]
    fn lines_in_pieces() {
        let mut input = Channel::input(0);
        assert_eq!((input.find_line(0), input.make_room()), (None, BUFFER_SIZE));
        input.append(b"one\ntw");
        assert_eq!(input.find_line(0), Some(4));
        input.consume(4);
        assert_eq!(input.find_line(0), None);
        assert_eq!(input.make_room(), BUFFER_SIZE - 2);
        input.append(b"o\n");
        assert_eq!((input.find_line(2), input.pos_in()), (Some(4), 4));
    }

    #[test]
    fn positions() {
        let mut out = Channel::output(0);
        assert_eq!(out.put(b"0123456789"), Put::All);
        assert!(out.is_unflushed());
        let waiting = out.take_waiting().unwrap();
        assert_eq!(waiting, b"0123456789");
        assert_eq!((out.written(waiting, 4), out.pos_out()), (false, 10));
        let waiting = out.take_waiting().unwrap();
        assert_eq!(waiting, b"456789");
        assert_eq!((out.written(waiting, 6), out.pos_out()), (true, 10));
        assert_eq!(out.take_waiting(), None);
        out.moved_out(5);
        assert_eq!(out.pos_out(), 5);
        out.close(ClosedChannel::KeepsBuffer);
        assert!(!out.is_output() && !out.put_byte(0));
        assert_eq!(out.put(b"x"), Put::Full(0));
        assert_eq!(out.take_waiting(), Some(Vec::new()));

        let mut input = Channel::input(5);
        let mut read = vec![0; BUFFER_SIZE];
        read[..5].copy_from_slice(b"56789");
        input.refill(&mut read, 5);
        assert_eq!((input.next_byte(), input.pos_in()), (Some(b'5'), 6));
        assert!(input.seek_within(9) && !input.seek_within(4));
        assert_eq!((input.available(), input.offset()), (&b"9"[..], 10));
        input.moved_in(0);
        assert_eq!((input.available(), input.offset()), (&b""[..], 0));
        input.close(ClosedChannel::KeepsBuffer);
        assert_eq!(input.next_byte(), None);
        input.seek_within(0);
        assert!(input.available().len() <= BUFFER_SIZE);
    }

    #[test]
    fn a_closed_channel_that_is_moved_has_nothing_to_read() {
        let mut input = Channel::input(0);
        input.close(ClosedChannel::KeepsBuffer);
        assert!(input.seek_within(0) && input.seek_within(-5));
        assert_eq!((input.available(), input.pos_in(), input.find_line(0)), (&b""[..], -5, None));
        assert_eq!((input.make_room(), input.pos_in(), input.find_line(5)), (BUFFER_SIZE - 5, -5, None));
        input.append(b"\n");
        assert_eq!(input.find_line(5), Some(6));
    }

    #[test]
    fn a_full_buffer_can_be_read_after_closing() {
        let mut input = Channel::input(0);
        input.refill(&mut vec![7; BUFFER_SIZE], BUFFER_SIZE);
        input.close(ClosedChannel::KeepsBuffer);
        assert!(input.seek_within(1));
        assert_eq!(input.next_byte(), Some(7));
    }

    #[test]
    fn a_closed_channel_without_a_buffer() {
        let mut out = Channel::output(7);
        assert_eq!(out.put(b"abc"), Put::All);
        for _ in 0..2 {
            out.close(ClosedChannel::HasNone);
            assert_eq!((out.pos_out(), out.put_byte_only(0), out.put(b"x")), (8, false, Put::Full(0)));
        }
        let mut input = Channel::input(7);
        input.append(b"abc");
        input.close(ClosedChannel::HasNone);
        assert_eq!((input.pos_in(), input.next_byte()), (10, None));
        assert!(input.seek_within(10) && !input.seek_within(9));
        input.close(ClosedChannel::KeepsBufferAtStart);
        assert_eq!((input.pos_in(), input.seek_within(-1)), (0, true));
    }

    #[test]
    fn an_unbuffered_channel_takes_no_byte_by_itself() {
        let mut out = Channel::output(0);
        assert!(!out.put_byte_only(1), "there is no buffer yet");
        out.reserve().unwrap();
        assert!(out.put_byte_only(1));
        out.set_buffered(false);
        assert!(out.is_output() && !out.is_buffered() && !out.put_byte_only(2) && out.put_byte(2));
        out.set_buffered(true);
        assert!(out.put_byte_only(3));
        assert_eq!(out.take_waiting().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn positions_near_the_largest_wrap() {
        let mut input = Channel::input(i64::MAX);
        input.append(b"abc");
        assert_eq!(input.pos_in(), i64::MAX);
        assert!(!input.seek_within(i64::MAX) && !input.seek_within(0));
        let mut out = Channel::output(i64::MAX);
        assert_eq!(out.put(b"x"), Put::All);
        assert_eq!(out.pos_out(), i64::MIN);
    }
}
