//! Texts with long runs of one byte, whose length the program chooses: built in the heap, in pieces.

use spelter_interp::{Machine, PIECE_BYTES, Raise, Res};

/// A part of a text.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    /// These bytes.
    Text(&'a [u8]),
    /// A byte, repeated this many times.
    Many(u8, usize),
}

impl Part<'_> {
    pub(crate) fn len(self) -> usize {
        match self {
            Part::Text(text) => text.len(),
            Part::Many(_, n) => n,
        }
    }

    fn put(self, into: &mut [u8]) {
        match self {
            Part::Text(text) => into.copy_from_slice(text),
            Part::Many(byte, _) => into.fill(byte),
        }
    }

    fn part(self, range: std::ops::Range<usize>) -> Self {
        match self {
            Part::Text(text) => Part::Text(&text[range]),
            Part::Many(byte, _) => Part::Many(byte, range.len()),
        }
    }
}

/// Whether a text should be built here.
pub(crate) fn is_long(len: usize) -> bool {
    len > PIECE_BYTES
}

/// The string of these parts.
pub(crate) fn new_text<'m>(m: &'m mut Machine, parts: &[Part<'_>]) -> Res<'m> {
    let len = parts.iter().try_fold(0usize, |len, part| len.checked_add(part.len()));
    let text = m.push(|m| m.new_bytes(len.ok_or(Raise::OutOfMemory)?))?;
    let mut at = 0;
    for part in parts {
        m.in_pieces(part.len(), PIECE_BYTES, |m, range| {
            let into = m.bytes_mut(text)?.get_mut(at..).and_then(|rest| rest.get_mut(range.clone()));
            part.part(range).put(into.ok_or_else(Raise::bounds)?);
            Ok(())
        })?;
        at += part.len();
    }
    Ok(m.val(text))
}
