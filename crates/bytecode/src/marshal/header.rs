//! The header of marshalled data: the length of the data, and the memory that it will need.

use super::codes::{MAGIC_BIG, MAGIC_COMPRESSED, MAGIC_SMALL};
use crate::error::{Error, ErrorKind, Result};

/// The header of a marshalled value. None of its numbers has been checked against the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The size of the header itself in bytes: 20 (small), 32 (big), or 10 to 55 (compressed).
    pub header_len: usize,
    /// The size of the data after the header, in bytes, as stored.
    pub data_len: u64,
    /// The size of the data once decompressed; `None` if it is not compressed.
    pub decompressed_len: Option<u64>,
    /// How many objects back references can refer to; 0 when written without sharing.
    pub objects: u64,
    /// The memory needed on 32-bit machines, in words; not recorded in big headers.
    pub words32: Option<u32>,
    /// The memory needed on 64-bit machines, in words, block headers included.
    pub words64: u64,
}

impl Header {
    /// The size of the small header, and how many bytes suffice to tell the kind and the data length of any.
    pub const SMALL_LEN: usize = 20;
    /// The size of the big header.
    pub const BIG_LEN: usize = 32;
    /// The greatest size of a header, that of compressed data.
    pub const MAX_LEN: usize = 55;

    /// Reads the header at the start of `bytes`, which need not contain the data.
    ///
    /// # Errors
    ///
    /// When the magic number is not that of marshalled data, or the header is truncated or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Header> {
        let truncated = |len: usize| {
            let needed = (len - bytes.len()) as u64;
            Error::at(bytes.len(), ErrorKind::Truncated { needed })
        };
        let u32_at = |at: usize| {
            let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
            field.map(|field| u32::from_be_bytes(*field))
        };
        let u64_at = |at: usize| {
            let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
            field.map(|field| u64::from_be_bytes(*field))
        };
        match u32_at(0) {
            Some(MAGIC_SMALL) => {
                let field = |at| u32_at(at).ok_or_else(|| truncated(Header::SMALL_LEN));
                Ok(Header {
                    header_len: Header::SMALL_LEN,
                    data_len: field(4)?.into(),
                    decompressed_len: None,
                    objects: field(8)?.into(),
                    words32: Some(field(12)?),
                    words64: field(16)?.into(),
                })
            }
            Some(MAGIC_BIG) => {
                let field = |at| u64_at(at).ok_or_else(|| truncated(Header::BIG_LEN));
                Ok(Header {
                    header_len: Header::BIG_LEN,
                    data_len: field(8)?,
                    decompressed_len: None,
                    objects: field(16)?,
                    words32: None,
                    words64: field(24)?,
                })
            }
            Some(MAGIC_COMPRESSED) => {
                let header_len =
                    usize::from(*bytes.get(4).ok_or_else(|| truncated(Header::SMALL_LEN))? & 0x3F);
                let header = bytes.get(..header_len).ok_or_else(|| truncated(header_len))?;
                Header::compressed(header)
            }
            Some(_) => {
                let found = bytes[..4].iter().map(|byte| format!("{byte:02x}")).collect();
                Err(Error::at(0, ErrorKind::NotThisKind { expected: "a marshalled value", found }))
            }
            None => Err(truncated(Header::SMALL_LEN)),
        }
    }

    /// A header of variable size: five numbers of 7 bits a byte after its own size.
    fn compressed(header: &[u8]) -> Result<Header> {
        let mut rest = header.get(5..).unwrap_or_default().iter();
        let mut field = || {
            let mut n = 0_u64;
            for byte in rest.by_ref() {
                if n >> 57 != 0 {
                    return Err(Error::malformed(5, "a size in the header of compressed data is too large"));
                }
                n = n << 7 | u64::from(byte & 0x7F);
                if byte & 0x80 == 0 {
                    return Ok(n);
                }
            }
            Err(Error::malformed(4, "the header of compressed data is too short"))
        };
        let (data_len, decompressed_len, objects) = (field()?, field()?, field()?);
        let (words32, words64) = (field()?, field()?);
        Ok(Header {
            header_len: header.len(),
            data_len,
            decompressed_len: Some(decompressed_len),
            objects,
            words32: u32::try_from(words32).ok(),
            words64,
        })
    }

    /// Whether a number in the header of compressed data, which [`parse`](Header::parse) refuses, is too large. OCaml
    /// finds that before it misses any bytes. It does not look at the size for 32-bit machines.
    pub fn is_too_large(header: &[u8]) -> bool {
        let mut rest = header.get(5..).unwrap_or_default().iter();
        for number in 0..5 {
            let mut n = 0_u64;
            loop {
                let Some(byte) = rest.next() else { return false };
                if n >> 57 != 0 && number != 3 {
                    return true;
                }
                n = n << 7 | u64::from(byte & 0x7F);
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        false
    }

    /// The size of the data that represents the value, once decompressed.
    pub fn plain_len(&self) -> u64 {
        self.decompressed_len.unwrap_or(self.data_len)
    }

    /// The size of header and data together, in bytes, as stored.
    pub fn total_len(&self) -> u64 {
        self.data_len.saturating_add(self.header_len as u64)
    }
}

/// A header as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderBytes {
    bytes: [u8; Header::BIG_LEN],
    len: usize,
}

impl HeaderBytes {
    /// Small if every number fits, otherwise big.
    pub(super) fn new(data_len: u64, objects: u64, words32: u64, words64: u64) -> HeaderBytes {
        let mut bytes = [0; Header::BIG_LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        let small = (u32::try_from(data_len), u32::try_from(words32), u32::try_from(words64));
        let len = if let (Ok(data_len), Ok(words32), Ok(words64)) = small {
            put(0, &MAGIC_SMALL.to_be_bytes());
            put(4, &data_len.to_be_bytes());
            // Every object takes words, so their number fits where the words do.
            put(8, &(objects as u32).to_be_bytes());
            put(12, &words32.to_be_bytes());
            put(16, &words64.to_be_bytes());
            Header::SMALL_LEN
        } else {
            put(0, &MAGIC_BIG.to_be_bytes());
            put(8, &data_len.to_be_bytes());
            put(16, &objects.to_be_bytes());
            put(24, &words64.to_be_bytes());
            Header::BIG_LEN
        };
        HeaderBytes { bytes, len }
    }
}

impl AsRef<[u8]> for HeaderBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
