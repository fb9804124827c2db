//! Integers: plain ones, `int32`, `int64`, `nativeint` (OCaml's `ints.c`).

use spelter_interp::{Machine, PIECE_BYTES, Raise, Res, Slot, Val, fallible, prims};

use crate::values::directive::Directive;
use crate::values::padded::{Part, is_long, new_text};

/// -1, 0 or 1.
fn order<T: PartialOrd>(a: T, b: T) -> Val<'static> {
    Val::from_int(i64::from(a > b) - i64::from(a < b))
}

// ---- reading ---------------------------------------------------------------------------------------

/// Reads an integer of `bits` bits in OCaml's syntax: sign, base prefix, digits with underscores.
///
/// Decimals are signed; with a prefix (including `0u`) integers may use all bits, and wrap.
fn parse(text: &[u8], bits: u32, mut go_on: impl FnMut() -> Result<(), Raise>) -> Result<Option<i64>, Raise> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (base, signed, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (16u32, false, rest),
        [b'0', b'o' | b'O', rest @ ..] => (8, false, rest),
        [b'0', b'b' | b'B', rest @ ..] => (2, false, rest),
        [b'0', b'u' | b'U', rest @ ..] => (10, false, rest),
        _ => (10, true, text),
    };
    let digit = |c: u8| char::from(c).to_digit(base).map(u64::from);
    let Some((first, rest)) = digits.split_first() else { return Ok(None) };
    let Some(mut n) = digit(*first) else { return Ok(None) };
    for piece in rest.chunks(PIECE_BYTES) {
        go_on()?;
        for c in piece.iter().filter(|c| **c != b'_') {
            let next = n.checked_mul(u64::from(base)).zip(digit(*c)).and_then(|(n, d)| n.checked_add(d));
            let Some(next) = next else { return Ok(None) };
            n = next;
        }
    }
    let fits = match (signed, negative) {
        (true, false) => n < 1 << (bits - 1),
        (true, true) => n <= 1 << (bits - 1),
        (false, _) => bits == 64 || n < 1 << bits,
    };
    let n = n as i64;
    Ok(fits.then_some(if negative { n.wrapping_neg() } else { n }))
}

/// Reads the integer in a slot.
fn read(m: &Machine, s: Slot, bits: u32) -> Result<Option<i64>, Raise> {
    parse(m.bytes(s)?, bits, || m.check_interrupt())
}

fn int_of_string(m: &mut Machine, [s]: [Slot; 1]) -> Res<'_> {
    match read(m, s, 63)? {
        Some(n) => Ok(Val::from_int(n)),
        None => Err(Raise::failure("int_of_string")),
    }
}

fn int32_of_string(m: &mut Machine, [s]: [Slot; 1]) -> Res<'_> {
    match read(m, s, 32)? {
        Some(n) => m.new_int32(n as i32),
        None => Err(Raise::failure("Int32.of_string")),
    }
}

fn int64_of_string(m: &mut Machine, [s]: [Slot; 1]) -> Res<'_> {
    match read(m, s, 64)? {
        Some(n) => m.new_int64(n),
        None => Err(Raise::failure("Int64.of_string")),
    }
}

fn nativeint_of_string(m: &mut Machine, [s]: [Slot; 1]) -> Res<'_> {
    match read(m, s, 64)? {
        Some(n) => m.new_nativeint(n),
        None => Err(Raise::failure("Nativeint.of_string")),
    }
}

// ---- writing ---------------------------------------------------------------------------------------

/// The number to print: signed for `%d` and `%i`, its bits for `%u`, `%x`, `%X`, `%o`.
#[derive(Clone, Copy)]
struct Number {
    signed: i64,
    unsigned: u64,
}

/// Checks a format's length, which depends on the number of size letters that C's version inserts.
fn check_length(format: &[u8], inserted: usize) -> Result<(), Raise> {
    if format.len() + inserted + 1 >= 32 {
        return Err(Raise::invalid("format_int: format too long"));
    }
    Ok(())
}

/// Room for the digits of any number in any base from 8 on, and a sign.
type Digits = [u8; 24];

/// The digits of a number, written to the end of `room`.
#[inline(always)]
fn digits<'a>(mut n: u64, base: u64, alphabet: &[u8; 16], room: &'a mut Digits) -> &'a [u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = alphabet[(n % base) as usize];
        n /= base;
        if n == 0 {
            return &room[at..];
        }
    }
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// `n` as C's `printf` would print it.
fn print<'a>(d: &Directive<'_>, n: Number, room: &'a mut Digits) -> Result<[Part<'a>; 5], Raise> {
    let (negative, digits) = match d.conversion {
        b'd' | b'i' => (n.signed < 0, digits(n.signed.unsigned_abs(), 10, LOWER, room)),
        b'u' => (false, digits(n.unsigned, 10, LOWER, room)),
        b'x' => (false, digits(n.unsigned, 16, LOWER, room)),
        b'X' => (false, digits(n.unsigned, 16, UPPER, room)),
        b'o' => (false, digits(n.unsigned, 8, LOWER, room)),
        _ => return Err(Raise::invalid("format_int: not a conversion for integers")),
    };
    let zero = *digits == *b"0";
    // A precision of 0 prints 0 as nothing.
    let digits = if zero && d.precision == Some(0) { b"" } else { digits };
    let sign: &'static [u8] = match d.conversion {
        b'd' | b'i' if negative => b"-",
        b'd' | b'i' if d.has(b'+') => b"+",
        b'd' | b'i' if d.has(b' ') => b" ",
        b'x' if d.has(b'#') && !zero => b"0x",
        b'X' if d.has(b'#') && !zero => b"0X",
        _ => b"",
    };
    let width = d.width.unwrap_or(0) as usize;
    let mut zeros = (d.precision.unwrap_or(0) as usize).saturating_sub(digits.len());
    if d.conversion == b'o' && d.has(b'#') && zeros == 0 && !digits.starts_with(b"0") {
        zeros = 1;
    }
    let mut blanks = width.saturating_sub(sign.len() + zeros + digits.len());
    if d.has(b'0') && !d.has(b'-') && d.precision.is_none() {
        zeros += std::mem::take(&mut blanks);
    }
    let left = if d.has(b'-') { 0 } else { blanks };
    let right = blanks - left;
    Ok([
        Part::Many(b' ', left),
        Part::Text(sign),
        Part::Many(b'0', zeros),
        Part::Text(digits),
        Part::Many(b' ', right),
    ])
}

fn format(format: &[u8], inserted: usize, n: Number) -> Result<Text, Raise> {
    check_length(format, inserted)?;
    let d = Directive::parse(format, "format_int")?;
    let mut room = [0; _];
    let parts = print(&d, n, &mut room)?;
    if is_long(parts.iter().map(|part| part.len()).sum()) {
        return Ok(Text::Long(fallible::to_vec(format)?));
    }
    d.around(|out| {
        for part in parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Many(byte, count) => out.resize(out.len() + count, byte),
            }
        }
        Ok(())
    })
    .map(Text::Short)
}

/// A formatted number.
enum Text {
    Short(Vec<u8>),
    /// Not formatted yet, since the result of this format would be long.
    Long(Vec<u8>),
}

fn new_long<'m>(m: &'m mut Machine, format: &[u8], n: Number) -> Res<'m> {
    let d = Directive::parse(format, "format_int")?;
    let mut room = [0; _];
    let [left, sign, zeros, digits, right] = print(&d, n, &mut room)?;
    let [before, after] = d.literals();
    new_text(m, &[Part::Text(&before), left, sign, zeros, digits, right, Part::Text(&after)])
}

/// A string of `n` in the format `f`.
fn new_formatted(m: &mut Machine, f: Slot, inserted: usize, n: Number) -> Res<'_> {
    if m.bytes(f)? == b"%d" {
        let mut room = [0; _];
        let len = digits(n.signed.unsigned_abs(), 10, LOWER, &mut room).len();
        let mut at = room.len() - len;
        if n.signed < 0 {
            at -= 1;
            room[at] = b'-';
        }
        return m.new_string(&room[at..]);
    }
    match format(m.bytes(f)?, inserted, n)? {
        Text::Short(text) => m.new_string(&text),
        Text::Long(format) => new_long(m, &format, n),
    }
}

fn format_int(m: &mut Machine, [f, n]: [Slot; 2]) -> Res<'_> {
    let n = m.int(n)?;
    // An int has 63 bits.
    new_formatted(m, f, 1, Number { signed: n, unsigned: n as u64 & (u64::MAX >> 1) })
}

fn int32_format(m: &mut Machine, [f, n]: [Slot; 2]) -> Res<'_> {
    let n = m.int32(n)?;
    new_formatted(m, f, 0, Number { signed: i64::from(n), unsigned: u64::from(n as u32) })
}

fn int64_format(m: &mut Machine, [f, n]: [Slot; 2]) -> Res<'_> {
    let n = m.int64(n)?;
    new_formatted(m, f, 1, Number { signed: n, unsigned: n as u64 })
}

fn nativeint_format(m: &mut Machine, [f, n]: [Slot; 2]) -> Res<'_> {
    let n = m.nativeint(n)?;
    new_formatted(m, f, 1, Number { signed: n, unsigned: n as u64 })
}

// ---- arithmetic ------------------------------------------------------------------------------------

fn int_compare(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
    Ok(order(m.int(a)?, m.int(b)?))
}

fn bswap16(m: &mut Machine, [a]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(i64::from((m.int(a)? as u16).swap_bytes())))
}

/// The operations that the three boxed kinds have in common. Shifts take the distance modulo the width, as the
/// processor does; everything else wraps.
macro_rules! boxed_arithmetic {
    ($kind:ident, $read:ident, $new:ident, $int:ty, $uint:ty) => {
        mod $kind {
            use super::*;

            macro_rules! binary {
                ($name:ident, $a:ident, $b:ident, $result:expr) => {
                    pub(super) fn $name(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
                        let ($a, $b) = (m.$read(a)?, m.$read(b)?);
                        m.$new($result)
                    }
                };
            }
            macro_rules! shift {
                ($name:ident, $a:ident, $n:ident, $result:expr) => {
                    pub(super) fn $name(m: &mut Machine, [a, n]: [Slot; 2]) -> Res<'_> {
                        let ($a, $n) = (m.$read(a)?, m.int(n)? as u32);
                        m.$new($result)
                    }
                };
            }

            binary!(add, a, b, a.wrapping_add(b));
            binary!(sub, a, b, a.wrapping_sub(b));
            binary!(mul, a, b, a.wrapping_mul(b));
            binary!(div, a, b, if b == 0 { return Err(Raise::DivisionByZero) } else { a.wrapping_div(b) });
            binary!(rem, a, b, if b == 0 { return Err(Raise::DivisionByZero) } else { a.wrapping_rem(b) });
            binary!(and, a, b, a & b);
            binary!(or, a, b, a | b);
            binary!(xor, a, b, a ^ b);
            shift!(shift_left, a, n, a.wrapping_shl(n));
            shift!(shift_right, a, n, a.wrapping_shr(n));
            shift!(shift_right_unsigned, a, n, (a as $uint).wrapping_shr(n) as $int);

            pub(super) fn neg(m: &mut Machine, [a]: [Slot; 1]) -> Res<'_> {
                let a = m.$read(a)?;
                m.$new(a.wrapping_neg())
            }

            pub(super) fn bswap(m: &mut Machine, [a]: [Slot; 1]) -> Res<'_> {
                let a = m.$read(a)?;
                m.$new(a.swap_bytes())
            }

            pub(super) fn compare(m: &mut Machine, [a, b]: [Slot; 2]) -> Res<'_> {
                Ok(order(m.$read(a)?, m.$read(b)?))
            }

            pub(super) fn of_int(m: &mut Machine, [a]: [Slot; 1]) -> Res<'_> {
                let a = m.int(a)?;
                m.$new(a as $int)
            }

            pub(super) fn to_int(m: &mut Machine, [a]: [Slot; 1]) -> Res<'_> {
                Ok(Val::from_int(i64::from(m.$read(a)?)))
            }

            pub(super) fn to_float(m: &mut Machine, [a]: [Slot; 1]) -> Res<'_> {
                let a = m.$read(a)?;
                m.new_float(a as f64)
            }
        }
    };
}

boxed_arithmetic!(int32, int32, new_int32, i32, u32);
boxed_arithmetic!(int64, int64, new_int64, i64, u64);
boxed_arithmetic!(nativeint, nativeint, new_nativeint, i64, u64);

// ---- conversions -----------------------------------------------------------------------------------

/// Truncates a double to an integer as the processor does: values that do not fit, and NaN, become the smallest
/// integer.
pub(crate) fn truncate(x: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&x) { x as i64 } else { i64::MIN }
}

fn int32_of_float(m: &mut Machine, [x]: [Slot; 1]) -> Res<'_> {
    let x = truncate(m.float(x)?);
    m.new_int32(i32::try_from(x).unwrap_or(i32::MIN))
}

fn int64_of_float(m: &mut Machine, [x]: [Slot; 1]) -> Res<'_> {
    let x = m.float(x)?;
    m.new_int64(truncate(x))
}

fn nativeint_of_float(m: &mut Machine, [x]: [Slot; 1]) -> Res<'_> {
    let x = m.float(x)?;
    m.new_nativeint(truncate(x))
}

fn int32_bits_of_float(m: &mut Machine, [x]: [Slot; 1]) -> Res<'_> {
    let x = m.float(x)?;
    m.new_int32((x as f32).to_bits() as i32)
}

fn int32_float_of_bits(m: &mut Machine, [n]: [Slot; 1]) -> Res<'_> {
    let n = m.int32(n)?;
    m.new_float(f64::from(f32::from_bits(n as u32)))
}

fn int64_bits_of_float(m: &mut Machine, [x]: [Slot; 1]) -> Res<'_> {
    let x = m.float(x)?;
    m.new_int64(x.to_bits() as i64)
}

fn int64_float_of_bits(m: &mut Machine, [n]: [Slot; 1]) -> Res<'_> {
    let n = m.int64(n)?;
    m.new_float(f64::from_bits(n as u64))
}

fn int64_of_int32(m: &mut Machine, [n]: [Slot; 1]) -> Res<'_> {
    let n = m.int32(n)?;
    m.new_int64(i64::from(n))
}

fn int64_to_int32(m: &mut Machine, [n]: [Slot; 1]) -> Res<'_> {
    let n = m.int64(n)?;
    m.new_int32(n as i32)
}

fn int64_of_nativeint(m: &mut Machine, [n]: [Slot; 1]) -> Res<'_> {
    let n = m.nativeint(n)?;
    m.new_int64(n)
}

fn int64_to_nativeint(m: &mut Machine, [n]: [Slot; 1]) -> Res<'_> {
    let n = m.int64(n)?;
    m.new_nativeint(n)
}

fn nativeint_of_int32(m: &mut Machine, [n]: [Slot; 1]) -> Res<'_> {
    let n = m.int32(n)?;
    m.new_nativeint(i64::from(n))
}

fn nativeint_to_int32(m: &mut Machine, [n]: [Slot; 1]) -> Res<'_> {
    let n = m.nativeint(n)?;
    m.new_int32(n as i32)
}

// In OCaml's runtime the `_native` entries take and return bare machine words, so bytecode cannot call them; here they
// are the boxed operations.
prims! {
    "caml_bswap16" P1 bswap16,
    "caml_format_int" P2 format_int,
    "caml_int_compare" P2 int_compare,
    "caml_int_of_string" P1 int_of_string,

    "caml_int32_add" P2 int32::add,
    "caml_int32_and" P2 int32::and,
    "caml_int32_bits_of_float" P1 int32_bits_of_float,
    "caml_int32_bswap" P1 int32::bswap,
    "caml_int32_compare" P2 int32::compare,
    "caml_int32_div" P2 int32::div,
    "caml_int32_float_of_bits" P1 int32_float_of_bits,
    "caml_int32_format" P2 int32_format,
    "caml_int32_mod" P2 int32::rem,
    "caml_int32_mul" P2 int32::mul,
    "caml_int32_neg" P1 int32::neg,
    "caml_int32_of_float" P1 int32_of_float,
    "caml_int32_of_int" P1 int32::of_int,
    "caml_int32_of_string" P1 int32_of_string,
    "caml_int32_or" P2 int32::or,
    "caml_int32_shift_left" P2 int32::shift_left,
    "caml_int32_shift_right" P2 int32::shift_right,
    "caml_int32_shift_right_unsigned" P2 int32::shift_right_unsigned,
    "caml_int32_sub" P2 int32::sub,
    "caml_int32_to_float" P1 int32::to_float,
    "caml_int32_to_int" P1 int32::to_int,
    "caml_int32_xor" P2 int32::xor,

    "caml_int64_add" P2 int64::add,
    "caml_int64_add_native" P2 int64::add => before(V5_2),
    "caml_int64_and" P2 int64::and,
    "caml_int64_and_native" P2 int64::and => before(V5_2),
    "caml_int64_bits_of_float" P1 int64_bits_of_float,
    "caml_int64_bswap" P1 int64::bswap,
    "caml_int64_compare" P2 int64::compare,
    "caml_int64_div" P2 int64::div,
    "caml_int64_div_native" P2 int64::div => before(V5_2),
    "caml_int64_float_of_bits" P1 int64_float_of_bits,
    "caml_int64_format" P2 int64_format,
    "caml_int64_mod" P2 int64::rem,
    "caml_int64_mod_native" P2 int64::rem => before(V5_2),
    "caml_int64_mul" P2 int64::mul,
    "caml_int64_mul_native" P2 int64::mul => before(V5_2),
    "caml_int64_neg" P1 int64::neg,
    "caml_int64_neg_native" P1 int64::neg => before(V5_2),
    "caml_int64_of_float" P1 int64_of_float,
    "caml_int64_of_int" P1 int64::of_int,
    "caml_int64_of_int32" P1 int64_of_int32,
    "caml_int64_of_nativeint" P1 int64_of_nativeint,
    "caml_int64_of_string" P1 int64_of_string,
    "caml_int64_or" P2 int64::or,
    "caml_int64_or_native" P2 int64::or => before(V5_2),
    "caml_int64_shift_left" P2 int64::shift_left,
    "caml_int64_shift_right" P2 int64::shift_right,
    "caml_int64_shift_right_unsigned" P2 int64::shift_right_unsigned,
    "caml_int64_sub" P2 int64::sub,
    "caml_int64_to_float" P1 int64::to_float,
    "caml_int64_to_int" P1 int64::to_int,
    "caml_int64_to_int32" P1 int64_to_int32,
    "caml_int64_to_nativeint" P1 int64_to_nativeint,
    "caml_int64_xor" P2 int64::xor,
    "caml_int64_xor_native" P2 int64::xor => before(V5_2),
    "caml_int64_sub_native" P2 int64::sub => before(V5_2),

    "caml_nativeint_add" P2 nativeint::add,
    "caml_nativeint_and" P2 nativeint::and,
    "caml_nativeint_bswap" P1 nativeint::bswap,
    "caml_nativeint_compare" P2 nativeint::compare,
    "caml_nativeint_div" P2 nativeint::div,
    "caml_nativeint_format" P2 nativeint_format,
    "caml_nativeint_mod" P2 nativeint::rem,
    "caml_nativeint_mul" P2 nativeint::mul,
    "caml_nativeint_neg" P1 nativeint::neg,
    "caml_nativeint_of_float" P1 nativeint_of_float,
    "caml_nativeint_of_int" P1 nativeint::of_int,
    "caml_nativeint_of_int32" P1 nativeint_of_int32,
    "caml_nativeint_of_string" P1 nativeint_of_string,
    "caml_nativeint_or" P2 nativeint::or,
    "caml_nativeint_shift_left" P2 nativeint::shift_left,
    "caml_nativeint_shift_right" P2 nativeint::shift_right,
    "caml_nativeint_shift_right_unsigned" P2 nativeint::shift_right_unsigned,
    "caml_nativeint_sub" P2 nativeint::sub,
    "caml_nativeint_to_float" P1 nativeint::to_float,
    "caml_nativeint_to_int" P1 nativeint::to_int,
    "caml_nativeint_to_int32" P1 nativeint_to_int32,
    "caml_nativeint_xor" P2 nativeint::xor,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(f: &str, n: i64) -> String {
        let n = Number { signed: n, unsigned: n as u64 & (u64::MAX >> 1) };
        let Text::Short(text) = format(f.as_bytes(), 1, n).unwrap() else { panic!("{f}") };
        String::from_utf8(text).unwrap()
    }

    /// Answers of ocamlrun 4.13.1's `caml_format_int`.
    #[test]
    fn formats_as_ocaml_does() {
        for (f, n, expected) in [
            ("%d", -42, "-42"),
            ("%u", -1, "9223372036854775807"),
            ("%x", -42, "7fffffffffffffd6"),
            ("%o", -1, "777777777777777777777"),
            ("%5d", -1, "   -1"),
            ("%-5d", 42, "42   "),
            ("%05d", -1, "-0001"),
            ("%+d", 0, "+0"),
            ("% d", 42, " 42"),
            ("%#x", 0, "0"),
            ("%#x", 42, "0x2a"),
            ("%#X", 42, "0X2A"),
            ("%#o", 0, "0"),
            ("%#o", 42, "052"),
            ("%.3d", -1, "-001"),
            ("%8.3d", -42, "    -042"),
            ("%-8.3d", 42, "042     "),
            ("%08.3d", 42, "     042"),
            ("%.0d", 0, ""),
            ("%.0x", 0, ""),
            ("%#.0o", 0, "0"),
            ("%#8x", 1, "     0x1"),
            ("%#08x", 42, "0x00002a"),
            ("%-#8x", 42, "0x2a    "),
            ("% 5d", 42, "   42"),
            ("%+05d", 42, "+0042"),
            ("%#.5o", 42, "00052"),
            ("%ld", -1, "-1"),
            ("%nd", 7, "7"),
            ("%Ld", 7, "7"),
            ("%'d", 4611686018427387903, "4611686018427387903"),
            ("% +d", 1, "+1"),
            ("%-05d", 1, "1    "),
            ("a%%b%3d", 42, "a%b 42"),
        ] {
            assert_eq!(show(f, n), expected, "{f} {n}");
        }
        let long = "%1234567890123456789012345678d";
        assert_eq!(check_length(long.as_bytes(), 1), Err(Raise::invalid("format_int: format too long")));
    }

    #[test]
    fn long_texts_are_made_as_short_ones() {
        let mut m = Machine::new(spelter_interp::Settings::default());
        for f in ["%50d", "%-50d", "%050d", "%.40d", "%60.40d", "a%%%-60.40db", "%#40x", "%#040x"] {
            let n = Number { signed: -77, unsigned: 77 };
            let text = m.push(|m| new_long(m, f.as_bytes(), n)).unwrap();
            let Text::Short(expected) = format(f.as_bytes(), 1, n).unwrap() else { panic!("{f}") };
            assert_eq!(m.bytes(text).unwrap(), expected, "{f}");
        }
    }

    /// Answers of ocamlrun 4.13.1's `int_of_string`, `Int32.of_string` and `Int64.of_string`.
    #[test]
    fn parses_as_ocaml_does() {
        for (text, int, int32, int64) in [
            ("0", Some(0), Some(0), Some(0)),
            ("-0", Some(0), Some(0), Some(0)),
            ("+1", Some(1), Some(1), Some(1)),
            ("1_000", Some(1000), Some(1000), Some(1000)),
            ("_1", None, None, None),
            ("1_", Some(1), Some(1), Some(1)),
            ("", None, None, None),
            ("-", None, None, None),
            ("0x", None, None, None),
            ("0o17", Some(15), Some(15), Some(15)),
            ("0b101", Some(5), Some(5), Some(5)),
            ("0U5", Some(5), Some(5), Some(5)),
            ("4611686018427387904", None, None, Some(4611686018427387904)),
            ("-4611686018427387904", Some(-4611686018427387904), None, Some(-4611686018427387904)),
            ("0x7fffffffffffffff", Some(i64::MAX), None, Some(i64::MAX)),
            ("0x8000000000000000", None, None, Some(i64::MIN)),
            ("0xffffffffffffffff", None, None, Some(-1)),
            ("0x10000000000000000", None, None, None),
            ("-0xff", Some(-255), Some(-255), Some(-255)),
            ("0u18446744073709551616", None, None, None),
            ("2147483648", Some(2147483648), None, Some(2147483648)),
            ("-2147483648", Some(-2147483648), Some(-2147483648), Some(-2147483648)),
            ("0xffffffff", Some(4294967295), Some(4294967295), Some(4294967295)),
            ("9223372036854775808", None, None, None),
            ("-9223372036854775808", None, None, Some(i64::MIN)),
            ("12a", None, None, None),
            ("0b2", None, None, None),
            (" 1", None, None, None),
            ("1\0", None, None, None),
            ("-0u1", Some(-1), Some(-1), Some(-1)),
        ] {
            let read = |bits| parse(text.as_bytes(), bits, || Ok(())).unwrap();
            assert_eq!((read(63), read(32), read(64)), (int, int32, int64), "{text:?}");
        }
    }

    #[test]
    fn truncates_doubles_as_the_processor_does() {
        for (x, n) in [(1.5, 1), (-1.5, -1), (f64::NAN, i64::MIN), (1e19, i64::MIN), (-1e19, i64::MIN)] {
            assert_eq!(truncate(x), n);
        }
    }
}
