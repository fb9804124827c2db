//! `printf` formats that OCaml programs pass to `caml_format_int` and `caml_format_float`: one directive, mostly alone.
//! It is parsed and checked, since C would trust it.

use spelter_interp::Raise;

/// One directive and the text around it.
#[derive(Debug, PartialEq)]
pub(crate) struct Directive<'a> {
    /// Text before the directive, with `%%` still in it.
    prefix: &'a [u8],
    /// The flags given, out of `-+ #0'`.
    pub(crate) flags: &'a [u8],
    /// The minimum number of characters.
    pub(crate) width: Option<u32>,
    /// The number after the point; a point alone means 0.
    pub(crate) precision: Option<u32>,
    /// The conversion letter.
    pub(crate) conversion: u8,
    /// Text after the directive, with `%%` still in it.
    suffix: &'a [u8],
}

impl<'a> Directive<'a> {
    /// Parses a format. As in C it ends at its first NUL; the size letters `l`, `n`, `L`, `h` are ignored.
    ///
    /// # Errors
    /// `Invalid_argument` unless the format has exactly one directive.
    pub(crate) fn parse(format: &'a [u8], caller: &'static str) -> Result<Self, Raise> {
        Self::take_apart(format)
            .ok_or_else(|| Raise::invalid(format!("{caller}: format has not exactly one directive")))
    }

    fn take_apart(format: &'a [u8]) -> Option<Self> {
        let format = format.split(|c| *c == 0).next()?;
        let at = percent(format, 0)?;
        let mut i = at + 1;
        let flags_at = i;
        while i < format.len() && b"-+ #0'".contains(&format[i]) {
            i += 1;
        }
        let flags = &format[flags_at..i];
        let width = number(format, &mut i)?;
        let mut precision = None;
        if format.get(i) == Some(&b'.') {
            i += 1;
            precision = Some(number(format, &mut i)?.unwrap_or(0));
        }
        while i < format.len() && b"lnLh".contains(&format[i]) {
            i += 1;
        }
        let conversion = *format.get(i)?;
        let suffix = &format[i + 1..];
        percent(suffix, 0).is_none().then_some(())?;
        Some(Directive { prefix: &format[..at], flags, width, precision, conversion, suffix })
    }

    /// Whether a flag was given.
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags.contains(&flag)
    }

    /// The text before the directive, and the text after it.
    pub(crate) fn literals(&self) -> [Vec<u8>; 2] {
        [self.prefix, self.suffix].map(|text| {
            let mut out = Vec::new();
            literal(text, &mut out);
            out
        })
    }

    /// The text before the directive, what `f` appends, and the text after the directive.
    pub(crate) fn around<E>(&self, f: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Vec<u8>, E> {
        let mut out = Vec::with_capacity(32);
        literal(self.prefix, &mut out);
        f(&mut out)?;
        literal(self.suffix, &mut out);
        Ok(out)
    }
}

/// The position of the first `%` that is not doubled.
fn percent(text: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = from + text[from..].iter().position(|c| *c == b'%')?;
        if text.get(at + 1) != Some(&b'%') {
            return Some(at);
        }
        from = at + 2;
    }
}

/// A number, if there is one: `Some(None)` if not; `None` if it does not fit C's `int`.
fn number(text: &[u8], i: &mut usize) -> Option<Option<u32>> {
    let start = *i;
    let mut n: u32 = 0;
    while let Some(d) = text.get(*i).filter(|c| c.is_ascii_digit()) {
        n = n.checked_mul(10)?.checked_add(u32::from(d - b'0')).filter(|n| *n <= i32::MAX as u32)?;
        *i += 1;
    }
    Some((*i > start).then_some(n))
}

/// Appends text, `%%` as `%`.
fn literal(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = text.iter().position(|c| *c == b'%') {
        out.extend_from_slice(&text[..=at]);
        text = text.get(at + 2..).unwrap_or_default();
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_apart() {
        let d = Directive::take_apart(b"a%%b%-+08.3ld%%\0%d").unwrap();
        assert_eq!((d.flags, d.width, d.precision, d.conversion), (&b"-+0"[..], Some(8), Some(3), b'd'));
        let text = d.around(|out| {
            out.push(b'7');
            Ok::<_, ()>(())
        });
        assert_eq!(text.unwrap(), b"a%b7%");
    }

    #[test]
    fn refuses_formats_that_c_would_trust() {
        for bad in ["", "d", "%", "%%", "%d%d", "%5", "%99999999999d", "%.9999999999f"] {
            assert_eq!(Directive::take_apart(bad.as_bytes()), None, "{bad}");
        }
        // A star is not accepted: the width would be taken from an argument that does not exist.
        assert_eq!(Directive::take_apart(b"%*d").map(|d| d.conversion), Some(b'*'));
    }
}
