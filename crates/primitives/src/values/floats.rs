//! Floats (OCaml's `floats.c`): arithmetic, the mathematical functions, reading and writing.

use std::ffi::CString;

use spelter_interp::{Machine, PIECE_BYTES, Raise, Res, Slot, Val, fallible, prims};

use crate::boolean;
use crate::ffi;
use crate::ffi::floats::{DoubleDirective, math};
use crate::io::wait;
use crate::values::decimal;
use crate::values::directive::Directive;
use crate::values::ints::truncate;
use crate::values::padded::{Part, is_long, new_text};

// ---- writing ---------------------------------------------------------------------------------------

/// The text that C's `printf` prints for a float.
fn format(format: &[u8], x: f64) -> Result<Vec<u8>, Raise> {
    let d = Directive::parse(format, "format_float")?;
    let (width, precision) = (d.width.unwrap_or(0), d.precision.unwrap_or(6));
    let plain = d.flags.is_empty() && matches!(d.conversion, b'f' | b'F' | b'e' | b'g');
    if plain && width.max(precision) <= decimal::MOST && x.is_finite() {
        return d.around(|out| {
            decimal::print(d.conversion, width as usize, precision as usize, x, out);
            Ok(())
        });
    }
    let c = DoubleDirective::new(d.flags, d.width, d.precision, d.conversion).ok_or_else(no_conversion)?;
    d.around(|out| if ffi::floats::format_double(&c, x, out) { Ok(()) } else { Err(Raise::OutOfMemory) })
}

#[cold]
fn no_conversion() -> Raise {
    Raise::invalid("format_float: not a conversion for floats")
}

/// More flags than any directive needs.
const MANY_FLAGS: usize = 64;

/// More digits than any float has after its point, in any base: only zeros follow.
const ALL_DIGITS: u32 = 1100;

/// As [`format()`], for a directive that requests very many characters: C prints the significant ones, and the padding is
/// inserted here.
fn new_long<'m>(m: &'m mut Machine, format: &[u8], x: f64) -> Res<'m> {
    let d = Directive::parse(format, "format_float")?;
    let flags: Vec<u8> = d.flags.iter().copied().filter(|flag| !b"-0".contains(flag)).collect();
    let digits = d.precision.map(|precision| precision.min(ALL_DIGITS));
    let c = DoubleDirective::new(&flags, None, digits, d.conversion).ok_or_else(no_conversion)?;
    let mut text = Vec::new();
    if !ffi::floats::format_double(&c, x, &mut text) {
        return Err(Raise::OutOfMemory);
    }
    let has_zeros = x.is_finite() && (!b"gG".contains(&d.conversion) || d.has(b'#'));
    let zeros = if has_zeros { (d.precision.unwrap_or(0) - digits.unwrap_or(0)) as usize } else { 0 };
    let is_hex = b"aA".contains(&d.conversion);
    let exponent = text.iter().position(|c| if is_hex { b"pP" } else { b"eE" }.contains(c));
    let (number, exponent) = text.split_at(exponent.filter(|_| x.is_finite()).unwrap_or(text.len()));
    // Zeros on the left go after the sign and the base prefix.
    let signs = usize::from(number.first().is_some_and(|c| b"+- ".contains(c))) + if is_hex { 2 } else { 0 };
    let (signs, number) = number.split_at(if x.is_finite() { signs } else { 0 });
    let blanks = (d.width.unwrap_or(0) as usize).saturating_sub(text.len() + zeros);
    let [mut left, mut fill, mut right] = [0; 3];
    match (d.has(b'-'), d.has(b'0') && x.is_finite()) {
        (true, _) => right = blanks,
        (false, true) => fill = blanks,
        (false, false) => left = blanks,
    }
    if text.len() + zeros + blanks > i32::MAX as usize {
        return Err(Raise::OutOfMemory);
    }
    let [before, after] = d.literals();
    let parts = [
        Part::Text(&before),
        Part::Many(b' ', left),
        Part::Text(signs),
        Part::Many(b'0', fill),
        Part::Text(number),
        Part::Many(b'0', zeros),
        Part::Text(exponent),
        Part::Many(b' ', right),
        Part::Text(&after),
    ];
    new_text(m, &parts)
}

fn format_float(m: &mut Machine, [f, x]: [Slot; 2]) -> Res<'_> {
    let x = m.float(x)?;
    let d = Directive::parse(m.bytes(f)?, "format_float")?;
    if d.flags.len() > MANY_FLAGS {
        // The flags are copied for C.
        fallible::afford(d.flags.len().saturating_mul(4))?;
    }
    if is_long(d.width.max(d.precision).unwrap_or(0) as usize) {
        let format = fallible::to_vec(m.bytes(f)?)?;
        return new_long(m, &format, x);
    }
    let text = format(m.bytes(f)?, x)?;
    m.new_string(&text)
}

/// A float as `%h` writes it: `0x1.8p+1`. A negative precision requests all digits. Returns the text, the number of
/// zeros that must be inserted, and their position in the text.
fn hexstring(x: f64, precision: i64, style: u8) -> (Vec<u8>, usize, usize) {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let mut out = Vec::new();
    match style {
        _ if x.is_sign_negative() => out.push(b'-'),
        b'+' | b' ' => out.push(style),
        _ => {}
    }
    if !x.is_finite() {
        out.extend_from_slice(if x.is_nan() { b"nan" } else { b"infinity" });
        return (out, 0, 0);
    }
    out.extend_from_slice(b"0x");
    let mut mantissa = bits & FRACTION;
    let exponent = match (bits >> 52 & 0x7FF) as i32 {
        0 if mantissa == 0 => 0,
        0 => -1022,
        biased => {
            mantissa |= 1 << 52;
            biased - 1023
        }
    };
    if (0..13).contains(&precision) {
        let unit = 1u64 << (52 - precision * 4);
        let rest = mantissa & (unit - 1);
        mantissa &= !(unit - 1);
        // To nearest, ties to even. (A precision of 0 has its tie at the half of 2⁵².)
        if rest > unit >> 1 || (rest == unit >> 1 && mantissa & unit != 0) {
            mantissa += unit;
        }
    }
    let mut next_digit = || {
        let d = b"0123456789abcdef"[(mantissa >> 52) as usize & 15];
        mantissa = mantissa << 4 & ((1 << 56) - 1);
        (d, mantissa != 0)
    };
    let (first, mut more) = next_digit();
    out.push(first);
    let mut zeros = 0;
    match usize::try_from(precision) {
        Ok(digits) => {
            if digits > 0 {
                // The mantissa has thirteen digits.
                let own = digits.min(13);
                zeros = digits - own;
                out.push(b'.');
                out.extend((0..own).map(|_| next_digit().0));
            }
        }
        Err(_) if more => {
            out.push(b'.');
            while more {
                let (d, after) = next_digit();
                out.push(d);
                more = after;
            }
        }
        Err(_) => {}
    }
    let at = out.len();
    out.extend_from_slice(format!("p{exponent:+}").as_bytes());
    (out, zeros, at)
}

fn hexstring_of_float(m: &mut Machine, [x, precision, style]: [Slot; 3]) -> Res<'_> {
    let (text, zeros, at) = hexstring(m.float(x)?, m.int(precision)?, m.int(style)? as u8);
    if zeros == 0 {
        return m.new_string(&text);
    }
    let (number, exponent) = text.split_at(at);
    new_text(m, &[Part::Text(number), Part::Many(b'0', zeros), Part::Text(exponent)])
}

// ---- reading ---------------------------------------------------------------------------------------

/// Reads a float as OCaml does: underscores are ignored, hexadecimal is read here, everything else by C's `strtod`.
pub(crate) fn parse(text: &[u8]) -> Option<f64> {
    let text: Vec<u8> = text.iter().copied().filter(|c| *c != b'_').collect();
    let (sign, unsigned) = match &text[..] {
        [] => return None,
        [b'-', rest @ ..] => (-1.0, rest),
        [b'+', rest @ ..] => (1.0, rest),
        all => (1.0, all),
    };
    if let [b'0', b'x' | b'X', digits @ ..] = unsigned {
        return Some(sign * parse_hex(digits)?);
    }
    let text = CString::new(text).ok()?;
    let (x, taken) = ffi::floats::parse_double(&text);
    (taken == text.as_bytes().len()).then_some(x)
}

/// Reads the part after `0x`: digits with at most one point, then optionally `p` and a decimal exponent.
///
/// The mantissa keeps 60 significant bits; digits after those only make it odd, which lets the conversion to 53 bits
/// round correctly.
fn parse_hex(text: &[u8]) -> Option<f64> {
    let (digits, exponent) = match text.iter().position(|c| matches!(c, b'p' | b'P')) {
        Some(at) => (&text[..at], Some(parse_exponent(&text[at + 1..])?)),
        None => (text, None),
    };
    let mut mantissa: i64 = 0;
    let mut significant = 0;
    let mut dropped_bits: i64 = 0;
    let mut bits: i64 = 0;
    let mut point_at = None;
    for c in digits {
        if *c == b'.' {
            if point_at.replace(bits).is_some() {
                return None;
            }
            continue;
        }
        let d = i64::from(char::from(*c).to_digit(16)?);
        bits += 4;
        if d == 0 && mantissa == 0 {
            continue;
        }
        if significant < 60 {
            mantissa = mantissa << 4 | d;
            significant += 4;
        } else {
            mantissa |= i64::from(d != 0);
            dropped_bits += 4;
        }
    }
    let exponent = exponent.unwrap_or(0);
    if exponent <= i64::from(i32::MIN) {
        return Some(0.0);
    }
    if exponent >= i64::from(i32::MAX) {
        return Some(if mantissa == 0 { 0.0 } else { f64::INFINITY });
    }
    if bits == 0 {
        return None;
    }
    let adjust = dropped_bits + point_at.map_or(0, |at| at - bits);
    let exponent = (exponent + adjust).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
    Some(math::ldexp(mantissa as f64, exponent))
}

/// Reads an exponent as C's `strtol` does: blanks, a sign, digits, saturating.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let blank = |c: &u8| matches!(c, b' ' | b'\t'..=b'\r');
    let text = &text[text.iter().position(|c| !blank(c))?..];
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(sign * digits.iter().fold(0i64, |n, c| n.saturating_mul(10).saturating_add(i64::from(c - b'0'))))
}

fn float_of_string(m: &mut Machine, [s]: [Slot; 1]) -> Res<'_> {
    // Two copies: one without underscores, one for C.
    fallible::afford(m.bytes(s)?.len().saturating_mul(2))?;
    let parsed = if is_long(m.bytes(s)?.len()) && m.may_be_interrupted() {
        parse_long(m, s)?
    } else {
        parse(m.bytes(s)?)
    };
    match parsed {
        Some(x) => m.new_float(x),
        None => Err(Raise::failure("float_of_string")),
    }
}

/// As [`parse`], for long texts, which C reads in one call: after an interrupt the call is left to finish alone.
fn parse_long(m: &mut Machine, s: Slot) -> Result<Option<f64>, Raise> {
    let bytes = m.bytes(s)?;
    let mut text = fallible::with_capacity(bytes.len())?;
    for piece in bytes.chunks(PIECE_BYTES) {
        if let Err(raise) = m.check_interrupt() {
            m.give_back(text.len(), text);
            return Err(raise);
        }
        text.extend_from_slice(piece);
    }
    wait::elsewhere(m, move || parse(&text))
}

// ---- functions of one and two floats ---------------------------------------------------------------

macro_rules! unary {
    ($($name:ident = |$x:ident| $result:expr;)*) => {$(
        fn $name(m: &mut Machine, [x]: [Slot; 1]) -> Res<'_> {
            let $x = m.float(x)?;
            m.new_float($result)
        }
    )*};
}

macro_rules! binary {
    ($($name:ident = |$x:ident, $y:ident| $result:expr;)*) => {$(
        fn $name(m: &mut Machine, [x, y]: [Slot; 2]) -> Res<'_> {
            let ($x, $y) = (m.float(x)?, m.float(y)?);
            m.new_float($result)
        }
    )*};
}

macro_rules! comparison {
    ($($name:ident = $op:tt;)*) => {$(
        fn $name(m: &mut Machine, [x, y]: [Slot; 2]) -> Res<'_> {
            Ok(boolean(m.float(x)? $op m.float(y)?))
        }
    )*};
}

unary! {
    abs = |x| x.abs();
    acos = |x| math::acos(x);
    acosh = |x| math::acosh(x);
    asin = |x| math::asin(x);
    asinh = |x| math::asinh(x);
    atan = |x| math::atan(x);
    atanh = |x| math::atanh(x);
    cbrt = |x| math::cbrt(x);
    ceil = |x| x.ceil();
    cos = |x| math::cos(x);
    cosh = |x| math::cosh(x);
    erf = |x| math::erf(x);
    erfc = |x| math::erfc(x);
    exp = |x| math::exp(x);
    exp2 = |x| math::exp2(x);
    expm1 = |x| math::expm1(x);
    floor = |x| x.floor();
    log = |x| math::log(x);
    log10 = |x| math::log10(x);
    log1p = |x| math::log1p(x);
    log2 = |x| math::log2(x);
    neg = |x| -x;
    round = |x| x.round();
    sin = |x| math::sin(x);
    sinh = |x| math::sinh(x);
    sqrt = |x| x.sqrt();
    tan = |x| math::tan(x);
    tanh = |x| math::tanh(x);
    trunc = |x| x.trunc();
}

binary! {
    add = |x, y| x + y;
    atan2 = |x, y| math::atan2(x, y);
    copysign = |x, y| x.copysign(y);
    div = |x, y| x / y;
    fmod = |x, y| math::fmod(x, y);
    hypot = |x, y| math::hypot(x, y);
    mul = |x, y| x * y;
    nextafter = |x, y| math::nextafter(x, y);
    power = |x, y| math::pow(x, y);
    sub = |x, y| x - y;
}

comparison! {
    eq = ==;
    neq = !=;
    lt = <;
    le = <=;
    gt = >;
    ge = >=;
}

fn fma(m: &mut Machine, [x, y, z]: [Slot; 3]) -> Res<'_> {
    let (x, y, z) = (m.float(x)?, m.float(y)?, m.float(z)?);
    m.new_float(math::fma(x, y, z))
}

fn frexp(m: &mut Machine, [x]: [Slot; 1]) -> Res<'_> {
    let (mantissa, exponent) = math::split_exponent(m.float(x)?);
    let mantissa = m.push(|m| m.new_float(mantissa))?;
    let exponent = m.push_int(i64::from(exponent));
    m.new_block(0, &[mantissa, exponent])
}

fn ldexp(m: &mut Machine, [x, n]: [Slot; 2]) -> Res<'_> {
    let (x, n) = (m.float(x)?, m.int(n)?);
    m.new_float(math::ldexp(x, n as i32))
}

fn modf(m: &mut Machine, [x]: [Slot; 1]) -> Res<'_> {
    let (fraction, whole) = math::modf(m.float(x)?);
    let fraction = m.push(|m| m.new_float(fraction))?;
    let whole = m.push(|m| m.new_float(whole))?;
    m.new_block(0, &[fraction, whole])
}

fn signbit(m: &mut Machine, [x]: [Slot; 1]) -> Res<'_> {
    Ok(boolean(m.float(x)?.is_sign_negative()))
}

fn int_of_float(m: &mut Machine, [x]: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(truncate(m.float(x)?)))
}

fn float_of_int(m: &mut Machine, [n]: [Slot; 1]) -> Res<'_> {
    let n = m.int(n)?;
    m.new_float(n as f64)
}

/// The total order: NaN equals itself and is below all others.
pub(crate) fn total_order(x: f64, y: f64) -> i64 {
    i64::from(x > y) - i64::from(x < y) + i64::from(!x.is_nan()) - i64::from(!y.is_nan())
}

fn compare(m: &mut Machine, [x, y]: [Slot; 2]) -> Res<'_> {
    Ok(Val::from_int(total_order(m.float(x)?, m.float(y)?)))
}

/// The index of the constructor of `Float.fpclass`.
fn classify(m: &mut Machine, [x]: [Slot; 1]) -> Res<'_> {
    use std::num::FpCategory::*;
    Ok(Val::from_int(match m.float(x)?.classify() {
        Normal => 0,
        Subnormal => 1,
        Zero => 2,
        Infinite => 3,
        Nan => 4,
    }))
}

// `caml_signbit` takes a bare double in OCaml's runtime, so that bytecode cannot call it there.
prims! {
    "caml_abs_float" P1 abs,
    "caml_acos_float" P1 acos,
    "caml_acosh_float" P1 acosh,
    "caml_add_float" P2 add,
    "caml_asin_float" P1 asin,
    "caml_asinh_float" P1 asinh,
    "caml_atan2_float" P2 atan2,
    "caml_atan_float" P1 atan,
    "caml_atanh_float" P1 atanh,
    "caml_cbrt_float" P1 cbrt,
    "caml_ceil_float" P1 ceil,
    "caml_classify_float" P1 classify,
    "caml_copysign_float" P2 copysign,
    "caml_cos_float" P1 cos,
    "caml_cosh_float" P1 cosh,
    "caml_div_float" P2 div,
    "caml_eq_float" P2 eq,
    "caml_erf_float" P1 erf,
    "caml_erfc_float" P1 erfc,
    "caml_exp2_float" P1 exp2,
    "caml_exp_float" P1 exp,
    "caml_expm1_float" P1 expm1,
    "caml_float_compare" P2 compare,
    "caml_float_of_int" P1 float_of_int,
    "caml_float_of_string" P1 float_of_string,
    "caml_floor_float" P1 floor,
    "caml_fma_float" P3 fma,
    "caml_fmod_float" P2 fmod,
    "caml_format_float" P2 format_float,
    "caml_frexp_float" P1 frexp,
    "caml_ge_float" P2 ge,
    "caml_gt_float" P2 gt,
    "caml_hexstring_of_float" P3 hexstring_of_float,
    "caml_hypot_float" P2 hypot,
    "caml_int_of_float" P1 int_of_float,
    "caml_ldexp_float" P2 ldexp,
    "caml_le_float" P2 le,
    "caml_log10_float" P1 log10,
    "caml_log1p_float" P1 log1p,
    "caml_log2_float" P1 log2,
    "caml_log_float" P1 log,
    "caml_lt_float" P2 lt,
    "caml_modf_float" P1 modf,
    "caml_mul_float" P2 mul,
    "caml_neg_float" P1 neg,
    "caml_neq_float" P2 neq,
    "caml_nextafter_float" P2 nextafter,
    "caml_power_float" P2 power,
    "caml_round_float" P1 round,
    "caml_signbit" P1 signbit,
    "caml_signbit_float" P1 signbit,
    "caml_sin_float" P1 sin,
    "caml_sinh_float" P1 sinh,
    "caml_sqrt_float" P1 sqrt,
    "caml_sub_float" P2 sub,
    "caml_tan_float" P1 tan,
    "caml_tanh_float" P1 tanh,
    "caml_trunc_float" P1 trunc,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(x: f64) -> String {
        String::from_utf8(hexstring(x, -1, b'-').0).unwrap()
    }

    /// Answers of ocamlrun 4.13.1, written with `%h`.
    #[test]
    fn parses_as_ocaml_does() {
        for (text, expected) in [
            ("1", "0x1p+0"),
            (" 1.5", "0x1.8p+0"),
            ("1.5 ", "-"),
            ("", "-"),
            ("_", "-"),
            ("1_0", "0x1.4p+3"),
            ("_1", "0x1p+0"),
            ("0x1p 3", "0x1p+3"),
            ("0x1p", "-"),
            ("0x1p+", "-"),
            ("0x.8", "0x1p-1"),
            ("0x", "-"),
            ("0x.", "-"),
            ("-0x1p1", "-0x1p+1"),
            ("+0x1", "0x1p+0"),
            ("nan", "nan"),
            ("-inf", "-infinity"),
            ("nan(12)", "nan"),
            ("1e400", "infinity"),
            ("1e-400", "0x0p+0"),
            ("0x1p99999999999999999999", "infinity"),
            ("0x1p-99999999999999999999", "0x0p+0"),
            ("0x0p99999999999999999999", "0x0p+0"),
            ("0x123456789abcdef01234567", "0x1.23456789abcdfp+88"),
            ("0x1.fffffffffffff8", "0x1p+1"),
            ("0x1.fffffffffffff7ffffffff", "0x1.fffffffffffffp+0"),
            ("1\0", "-"),
            ("0x1\0", "-"),
            ("1e", "-"),
            ("+-1", "-"),
            ("0x-1", "-"),
            ("1.", "0x1p+0"),
            (".5", "0x1p-1"),
            (".", "-"),
            ("0X1P3", "0x1p+3"),
            ("0x1..2", "-"),
            ("0xg", "-"),
        ] {
            assert_eq!(parse(text.as_bytes()).map_or("-".into(), hex), expected, "{text:?}");
        }
    }

    /// Answers of ocamlrun 4.13.1's `Printf.sprintf "%.<n>h"`, `"%+h"`, `"% h"`.
    #[test]
    fn writes_hexadecimal_as_ocaml_does() {
        let show = |x, precision, style| {
            let (mut text, zeros, at) = hexstring(x, precision, style);
            text.splice(at..at, std::iter::repeat_n(b'0', zeros));
            String::from_utf8(text).unwrap()
        };
        assert_eq!(show(1.5, 0, b'-'), "0x2p+0");
        assert_eq!(show(0.1, 3, b'-'), "0x1.99ap-4");
        assert_eq!(show(1.0, 20, b'+'), "+0x1.00000000000000000000p+0");
        assert_eq!(show(5e-324, -1, b' '), " 0x0.0000000000001p-1022");
        assert_eq!(show(-0.0, -1, b'+'), "-0x0p+0");
    }

    #[test]
    fn formats_text_around_the_number() {
        assert_eq!(format(b"%.2f%%", 99.5).unwrap(), b"99.50%");
        assert_eq!(format(b"%.12g", 1e22).unwrap(), b"1e+22");
        assert_eq!(format(b"%s", 1.0), Err(no_conversion()));
        assert!(matches!(format(b"%f %f", 1.0), Err(Raise::Invalid(_))));
    }

    #[test]
    fn long_texts_are_those_of_c() {
        let mut m = Machine::new(spelter_interp::Settings::default());
        let floats = [1.5, -0.0, 1e300, 5e-324, -123_456.789, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        for conversion in *b"fFeEgGaA" {
            for flags in ["", "-", "0", "+", " ", "#", "#0", "-+#", "+0"] {
                for (width, precision) in [(2000, ""), (2000, ".3"), (5, ".1500"), (3000, ".1500")] {
                    let directive = format!("<%{flags}{width}{precision}{}>", char::from(conversion));
                    for x in floats {
                        let expected = format(directive.as_bytes(), x).unwrap();
                        let mark = m.mark();
                        let text = m.push(|m| new_long(m, directive.as_bytes(), x)).unwrap();
                        assert!(m.bytes(text).unwrap() == expected, "{directive} of {x}");
                        m.release(mark);
                    }
                }
            }
        }
    }

    #[test]
    fn orders_nan_below_all_else() {
        assert_eq!(total_order(f64::NAN, f64::NAN), 0);
        assert_eq!(total_order(f64::NAN, f64::NEG_INFINITY), -1);
        assert_eq!(total_order(1.0, f64::NAN), 1);
        assert_eq!(total_order(-0.0, 0.0), 0);
    }
}
