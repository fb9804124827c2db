//! Finite floats in decimal, as C's `printf` writes them: `%f`, `%e` and `%g` without flags. Both this and the C library
//! round the exact value, half to even, but the C library takes several times as long.

use std::io::Write;

/// The maximum width and precision handled here; larger ones are left to the C library.
pub(crate) const MOST: u32 = 99;

/// Appends `x` as the conversion (`f`, `F`, `e` or `g`) prints it, padded on the left with blanks to `width`.
///
/// # Panics
/// When the precision is above [`MOST`].
pub(crate) fn print(conversion: u8, width: usize, precision: usize, x: f64, out: &mut Vec<u8>) {
    let start = out.len();
    match conversion {
        b'e' => exponential(precision, false, x, out),
        b'g' => exponential(precision.max(1) - 1, true, x, out),
        _ => write!(out, "{x:.precision$}").expect("writing to a vector cannot fail"),
    }
    let blanks = width.saturating_sub(out.len() - start);
    out.resize(out.len() + blanks, b' ');
    out[start..].rotate_right(blanks);
}

/// Appends a float of `precision` digits after the first. In the general form it ends with the last nonzero digit, and
/// has an exponent only if `%g` requires one.
fn exponential(precision: usize, general: bool, x: f64, out: &mut Vec<u8>) {
    let mut room = [0; MOST as usize + 16];
    let mut free = &mut room[..];
    write!(free, "{x:.precision$e}").expect("the buffer fits the maximum precision");
    let free = free.len();
    let text = &room[..room.len() - free];
    let text = match text.strip_prefix(b"-") {
        Some(text) => {
            out.push(b'-');
            text
        }
        None => text,
    };
    let at = text.iter().rposition(|c| *c == b'e').unwrap_or(text.len());
    let exponent = std::str::from_utf8(&text[at + 1..]).ok().and_then(|e| e.parse().ok()).unwrap_or(0i32);
    let (first, mut rest) = (text[0], text[..at].get(2..).unwrap_or_default());
    if general {
        while let [shorter @ .., b'0'] = rest {
            rest = shorter;
        }
        match usize::try_from(exponent) {
            Ok(e) if e <= precision => {
                let whole = e.min(rest.len());
                out.push(first);
                out.extend_from_slice(&rest[..whole]);
                out.resize(out.len() + e - whole, b'0');
                return fraction(&rest[whole..], out);
            }
            Err(_) if exponent >= -4 => {
                out.extend_from_slice(&b"0.000"[..1 + exponent.unsigned_abs() as usize]);
                out.push(first);
                return out.extend_from_slice(rest);
            }
            _ => {}
        }
    }
    out.push(first);
    fraction(rest, out);
    write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
        .expect("writing to a vector cannot fail");
}

/// Appends a point and the digits after it, if there are any.
fn fraction(digits: &[u8], out: &mut Vec<u8>) {
    if !digits.is_empty() {
        out.push(b'.');
        out.extend_from_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::floats::{DoubleDirective, format_double};

    /// Exact halves, powers of ten and their neighbours, and random bits.
    fn floats() -> impl Iterator<Item = f64> {
        let halves = (0..2000u32).map(|n| f64::from(n) / 16.0);
        let powers = (-20..25).map(|e| 10f64.powi(e)).flat_map(|x| [x, x.next_down(), x * 9.999995]);
        let near =
            (0..5000u32).flat_map(|n| [f64::from(n) / 1000.0, -f64::from(n).sqrt(), f64::from(n) * 0.7]);
        let mut bits = 1u64;
        let random = (0..20_000).map(move |_| {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            f64::from_bits(bits)
        });
        let all = halves.chain(powers).chain(near).chain(random);
        all.chain([0.0, -0.0, f64::MAX, f64::MIN_POSITIVE, 5e-324]).filter(|x| x.is_finite())
    }

    #[test]
    fn prints_as_c_does() {
        for x in floats() {
            for conversion in *b"fFeg" {
                for (width, precision) in [(0, 6), (9, 0), (3, 1), (12, 3), (0, 12), (0, 17), (1, 40)] {
                    let directive =
                        DoubleDirective::new(b"", Some(width), Some(precision), conversion).unwrap();
                    let (mut c, mut own) = (Vec::new(), Vec::new());
                    assert!(format_double(&directive, x, &mut c));
                    print(conversion, width as usize, precision as usize, x, &mut own);
                    assert_eq!(own, c, "%{width}.{precision}{} of {x:e}", char::from(conversion));
                }
            }
        }
    }

    #[test]
    fn the_greatest_precision_fits() {
        for x in [f64::MAX, -5e-324, 0.1] {
            for conversion in *b"feg" {
                let mut out = Vec::new();
                print(conversion, MOST as usize, MOST as usize, x, &mut out);
                assert!(out.len() >= MOST as usize);
            }
        }
    }
}
