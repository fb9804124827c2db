//! Decompression of marshalled data (zstd): the only module that knows the decoder.

use std::io::Read;

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::header::Header;
use crate::error::{Error, ErrorKind, Result};
use crate::room;

/// How many bytes are decompressed at a time.
const PIECE: usize = 1 << 18;

/// The decoder keeps as many bytes of what it has decompressed, for references; OCaml's writer asks for 2 MiB.
const LARGEST_WINDOW: u64 = 8 << 20;

/// Decompresses the data of a marshalled value, piece by piece.
///
/// It never allocates much more than what it has decompressed, and refuses at once what announces more than a limit.
pub struct Decompressor<'a> {
    decoder: FrameDecoder,
    input: &'a [u8],
    /// The length that the header announces.
    len: usize,
    out: Vec<u8>,
}

impl<'a> Decompressor<'a> {
    /// The greatest size to which [`decode`](super::decode) decompresses that many bytes: a compiler's debug data shrinks
    /// to a third at most times, never to a hundredth.
    pub fn limit(compressed: u64) -> u64 {
        compressed.saturating_mul(100).saturating_add(1 << 16)
    }

    /// Starts to decompress the data after a header. It must not announce more than `limit` bytes.
    ///
    /// # Errors
    ///
    /// When it does, or when the data does not begin as compressed data does.
    pub fn new(header: &Header, data: &'a [u8], limit: u64) -> Result<Decompressor<'a>> {
        let announced = header.plain_len();
        // No block of at least 4 bytes stands for more than 128 KiB.
        let possible = (data.len() as u64 / 4 + 1) << 17;
        if announced > possible {
            return Err(refused("it announces more than it can hold"));
        }
        let len = usize::try_from(announced).ok().filter(|_| announced <= limit);
        let len = len.ok_or_else(|| refused("it announces more than may be decompressed"))?;
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(LARGEST_WINDOW);
        // What the decoder keeps is allocated without a way to report failure.
        room::afford::<u8>(LARGEST_WINDOW.min(announced) as usize + 4 * PIECE)?;
        let mut input = data;
        decoder.init(&mut input).map_err(|_| refused("it is damaged"))?;
        Ok(Decompressor { decoder, input, len, out: Vec::new() })
    }

    /// The data after a header, as stored.
    ///
    /// # Errors
    ///
    /// When there are fewer bytes than the header announces.
    pub fn stored(header: &Header, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let after = bytes.get(header.header_len..).unwrap_or_default();
        let len = usize::try_from(header.data_len).unwrap_or(usize::MAX);
        after.get(..len).ok_or_else(|| {
            let needed = header.data_len - after.len() as u64;
            Error::at(bytes.len(), ErrorKind::Truncated { needed })
        })
    }

    /// For a value of a file, which must not be larger than [`limit`](Self::limit).
    pub(super) fn of_file(header: &Header, data: &'a [u8]) -> Result<Decompressor<'a>> {
        Decompressor::new(header, data, Decompressor::limit(data.len() as u64))
    }

    /// Decompresses some more; false when that was all.
    ///
    /// # Errors
    ///
    /// When the data is damaged, is not as long as its header announces, or there is no memory.
    pub fn go_on(&mut self) -> Result<bool> {
        let damaged = || refused("it is damaged");
        if !self.decoder.is_finished() {
            let some = BlockDecodingStrategy::UptoBytes(PIECE);
            self.decoder.decode_blocks(&mut self.input, some).map_err(|_| damaged())?;
        }
        let ready = self.decoder.can_collect();
        if ready > self.len - self.out.len() {
            return Err(refused("it is longer than its header announces"));
        }
        let at = self.out.len();
        self.out.try_reserve(ready)?;
        self.out.resize(at + ready, 0);
        self.decoder.read_exact(&mut self.out[at..]).map_err(|_| damaged())?;
        if !self.decoder.is_finished() {
            return Ok(true);
        }
        match self.out.len() == self.len && self.input.is_empty() {
            true => Ok(false),
            false => Err(refused("it is not as long as its header announces")),
        }
    }

    /// What has been decompressed: the data for [`decode_data`](super::decode_data), once
    /// [`go_on`](Self::go_on) has returned false.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Decompresses everything.
    ///
    /// # Errors
    ///
    /// As for [`go_on`](Self::go_on).
    pub fn all(mut self) -> Result<Vec<u8>> {
        while self.go_on()? {}
        Ok(self.finish())
    }
}

impl std::fmt::Debug for Decompressor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor")
            .field("len", &self.len)
            .field("done", &self.out.len())
            .finish_non_exhaustive()
    }
}

#[cold]
fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::Compressed(why))
}
