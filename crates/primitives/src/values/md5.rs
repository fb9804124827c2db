//! `Digest` (OCaml's `md5.c`).

use md5::{Digest, Md5};
use spelter_interp::{Machine, PIECE_BYTES, Raise, Res, Slot, prims};

/// Bytes fed in pieces, as from a channel.
#[derive(Default)]
pub(crate) struct Context(Md5);

impl Context {
    /// Takes more bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all of them.
    pub(crate) fn finish(self) -> [u8; 16] {
        self.0.finalize().into()
    }
}

fn md5_string(m: &mut Machine, [s, at, len]: [Slot; 3]) -> Res<'_> {
    let (at, len) = (m.index(at)?, m.index(len)?);
    let end = at.checked_add(len).ok_or_else(Raise::bounds)?;
    let mut context = Context::default();
    m.bytes(s)?.get(at..end).ok_or_else(Raise::bounds)?;
    m.in_pieces(len, PIECE_BYTES / 4, |m, part| {
        context.update(&m.bytes(s)?.get(at..end).ok_or_else(Raise::bounds)?[part]);
        Ok(())
    })?;
    m.new_string(&context.finish())
}

prims! {
    "caml_md5_bytes" P3 md5_string => since(V5_3),
    "caml_md5_string" P3 md5_string,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_pieces_like_the_whole() {
        let mut context = Context::default();
        context.update(b"ab");
        context.update(b"c");
        let hex: String = context.finish().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "900150983cd24fb0d6963f7d28e17f72");
    }
}
