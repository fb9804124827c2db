//! Reads a file of events while another process writes it.
//!
//! The file is read, not mapped: whatever happens to it, reading fails at worst.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::runtime::runtime_events::layout::{
    EventHeader, HEADER_WORDS, MOST_EVENT_WORDS, NAME_BYTES, POSITION_WORDS, WORD,
};

/// The maximum number of domains (`Max_domains_max`).
const MOST_DOMAINS: u64 = 4096;
/// Words that are read at once, at least one event.
const WORDS_AT_ONCE: usize = 8192;
const _: () = assert!(WORDS_AT_ONCE > MOST_EVENT_WORDS);

/// The file's content is not that of a file of events.
#[derive(Debug)]
pub(crate) struct Corrupt;

impl From<io::Error> for Corrupt {
    fn from(_: io::Error) -> Self {
        Corrupt
    }
}

/// What the next words of a ring are.
pub(crate) enum Next {
    /// There is nothing new.
    Nothing,
    /// So many words have been overwritten before they were read.
    Lost(u64),
    /// An event, whose words are in the reader's buffer.
    Event(EventHeader),
}

/// Words of a ring, as they were when all of them were complete and none overwritten.
#[derive(Default)]
struct Chunk {
    domain: usize,
    /// The position of the first one.
    from: u64,
    words: Vec<u64>,
}

/// A file of events, and how far it has been read.
pub(crate) struct Events {
    file: Arc<File>,
    /// Where the positions of the first ring, its data, and names begin.
    headers_at: u64,
    data_at: u64,
    names_at: u64,
    header_bytes: u64,
    ring_bytes: u64,
    ring_words: u64,
    /// The position in each ring from which on events have not been read.
    positions: Vec<u64>,
    /// The domain whose ring is read next.
    pub(crate) next_domain: usize,
    chunk: Chunk,
    /// The words of the last event, with header and time.
    pub(crate) event: Vec<u64>,
}

fn read_words(file: &File, at: u64, words: &mut [u64]) -> io::Result<()> {
    let mut bytes = [0; 4096];
    let mut at = at;
    for part in words.chunks_mut(bytes.len() / WORD) {
        let bytes = &mut bytes[..part.len() * WORD];
        file.read_exact_at(bytes, at)?;
        for (word, bytes) in part.iter_mut().zip(bytes.as_chunks::<WORD>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        at = at.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
    }
    Ok(())
}

impl Events {
    /// Reads the file's header. `None` if it has none.
    pub(crate) fn open(file: File) -> Option<Result<Events, Corrupt>> {
        let mut header = [0; HEADER_WORDS];
        read_words(&file, 0, &mut header).ok()?;
        let [_, domains, header_bytes, ring_bytes, ring_words, headers_at, data_at, names_at] = header;
        if domains > MOST_DOMAINS {
            return Some(Err(Corrupt));
        }
        Some(Ok(Events {
            file: Arc::new(file),
            headers_at,
            data_at,
            names_at,
            header_bytes,
            ring_bytes,
            ring_words,
            positions: vec![0; domains as usize],
            next_domain: 0,
            chunk: Chunk::default(),
            event: Vec::new(),
        }))
    }

    /// The descriptor's number, and its user.
    pub(crate) fn descriptor(&self) -> (i32, &Arc<File>) {
        (self.file.as_raw_fd(), &self.file)
    }

    pub(crate) fn domains(&self) -> usize {
        self.positions.len()
    }

    /// Checks what the header says about sizes.
    pub(crate) fn check(&self) -> Result<(), Corrupt> {
        let fits = self.ring_words.checked_mul(WORD as u64) == Some(self.ring_bytes);
        let has_positions = self.header_bytes >= (POSITION_WORDS * WORD) as u64;
        if self.ring_words > 0 && fits && has_positions { Ok(()) } else { Err(Corrupt) }
    }

    /// The address of something in the file.
    fn at(from: u64, index: u64, size: u64, offset: u64) -> Result<u64, Corrupt> {
        let start = index.checked_mul(size).and_then(|start| start.checked_add(from)?.checked_add(offset));
        start.ok_or(Corrupt)
    }

    /// The head and the tail of a domain's ring.
    fn head_and_tail(&self, domain: usize) -> Result<[u64; 2], Corrupt> {
        let mut positions = [0; 2];
        let at = Events::at(self.headers_at, domain as u64, self.header_bytes, 0)?;
        read_words(&self.file, at, &mut positions)?;
        Ok(positions)
    }

    /// What comes next in a domain's ring. The second part tells whether it was the last one when it was read.
    pub(crate) fn next(&mut self, domain: usize) -> Result<(Next, u64), Corrupt> {
        let [head, tail] = self.head_and_tail(domain)?;
        let position = self.positions[domain];
        if head > position {
            return Ok((Next::Lost(head - position), tail));
        }
        if position >= tail {
            return Ok((Next::Nothing, tail));
        }
        let mut fresh = false;
        loop {
            let chunk = &self.chunk;
            let read = position.wrapping_sub(chunk.from) as usize;
            if chunk.domain == domain
                && position >= chunk.from
                && let Some(rest) = chunk.words.get(read..)
                && let Some(first) = rest.first()
            {
                let header = EventHeader::of_word(*first);
                if header.words == 0 || header.words < 2 && !header.is_padding() {
                    return Err(Corrupt);
                }
                if let Some(words) = rest.get(..header.words) {
                    self.event.clear();
                    self.event.extend_from_slice(words);
                    return Ok((Next::Event(header), tail));
                }
            }
            if fresh {
                return Err(Corrupt);
            }
            let lost = self.read_chunk(domain, position, tail)?;
            if lost > 0 {
                return Ok((Next::Lost(lost), tail));
            }
            fresh = true;
        }
    }

    /// Reads the words from a position on, up to the tail or the end of the ring. Returns how many of them have been
    /// overwritten meanwhile.
    fn read_chunk(&mut self, domain: usize, position: u64, tail: u64) -> Result<u64, Corrupt> {
        let start = position & (self.ring_words - 1);
        let len = (tail - position).min(self.ring_words - start).min(WORDS_AT_ONCE as u64) as usize;
        self.chunk = Chunk { domain, from: position, words: std::mem::take(&mut self.chunk.words) };
        self.chunk.words.clear();
        self.chunk.words.resize(len, 0);
        let at = Events::at(self.data_at, domain as u64, self.ring_bytes, start * WORD as u64)?;
        read_words(&self.file, at, &mut self.chunk.words)?;
        fence(Ordering::SeqCst);
        let [head, _] = self.head_and_tail(domain)?;
        let lost = head.saturating_sub(position);
        if lost > 0 {
            self.chunk.words.clear();
        }
        Ok(lost)
    }

    /// Moves on in a domain's ring. Returns the new position.
    pub(crate) fn advance(&mut self, domain: usize, words: u64) -> u64 {
        self.positions[domain] = self.positions[domain].saturating_add(words);
        self.positions[domain]
    }

    /// The name of an event that the program has defined.
    pub(crate) fn name(&self, id: u64) -> Result<Vec<u8>, Corrupt> {
        let mut name = [0; NAME_BYTES];
        self.file.read_exact_at(&mut name, Events::at(self.names_at, id, NAME_BYTES as u64, 0)?)?;
        let len = name.iter().position(|c| *c == 0).unwrap_or(NAME_BYTES);
        Ok(name[..len].to_vec())
    }
}
