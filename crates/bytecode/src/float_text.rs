//! Floats as OCaml source text: underscores, decimal, hexadecimal.

/// The value of a float literal in OCaml's syntax, correctly rounded (to nearest, ties to even).
///
/// `None` when the text is not such a literal. A sign may precede it (the compiler folds `-1.5`), and `nan`, `inf`
/// and `infinity` are accepted, as by `float_of_string`.
///
/// ```
/// use spelter_bytecode::float_of_source_text;
/// assert_eq!(float_of_source_text("1_000.5"), Some(1000.5));
/// assert_eq!(float_of_source_text("-0x1.8p1"), Some(-3.0));
/// assert_eq!(float_of_source_text("one"), None);
/// ```
pub fn float_of_source_text(text: &str) -> Option<f64> {
    let text: String = text.chars().filter(|&c| c != '_').collect();
    let (negative, magnitude) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, &text[..]),
    };
    let value = match magnitude.strip_prefix("0x").or_else(|| magnitude.strip_prefix("0X")) {
        Some(hex) => hex_float(hex)?,
        // Rust's parser rounds correctly, but also accepts names and signs that are not OCaml literals.
        None if magnitude.starts_with(|c: char| c.is_ascii_digit() || c == '.') => magnitude.parse().ok()?,
        None => match magnitude {
            "nan" => f64::NAN,
            "inf" | "infinity" => f64::INFINITY,
            _ => return None,
        },
    };
    Some(if negative { -value } else { value })
}

/// Digits, optionally with a point among them, and optionally `p` with a decimal exponent.
fn hex_float(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.find(['p', 'P']) {
        Some(p) => (&text[..p], decimal_exponent(&text[p + 1..])?),
        None => (text, 0),
    };
    // At most the leading 64 bits, with a sticky lowest bit, and the power of two to scale them by.
    let mut mantissa = 0_u64;
    let mut scale = exponent;
    let mut point = false;
    let mut any = false;
    for c in digits.chars() {
        if c == '.' {
            if std::mem::replace(&mut point, true) {
                return None;
            }
            continue;
        }
        let digit = c.to_digit(16)?;
        any = true;
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            scale -= if point { 4 } else { 0 };
        } else {
            mantissa |= u64::from(digit != 0);
            scale += if point { 0 } else { 4 };
        }
    }
    any.then(|| scaled(mantissa, scale))
}

/// A decimal integer, clamped to what can matter.
fn decimal_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    const LIMIT: i64 = 1 << 40; // more than 4 × the length of any text that fits in memory and in a file
    let value = digits.bytes().fold(0, |value: i64, digit| (value * 10 + i64::from(digit - b'0')).min(LIMIT));
    Some(if negative { -value } else { value })
}

/// `mantissa × 2^scale`, rounded once.
fn scaled(mantissa: u64, scale: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let shift = mantissa.leading_zeros();
    let mantissa = mantissa << shift;
    // The value is 1.… × 2^exponent.
    let exponent = scale - i64::from(shift) + 63;
    if exponent > 1023 {
        return f64::INFINITY;
    }
    // 53 bits are kept of a normal number, fewer of a subnormal one.
    let kept = if exponent >= -1022 { 53 } else { 53 - (-1022 - exponent) };
    if kept < 0 {
        return 0.0;
    }
    let dropped = 64 - kept as u32;
    let (quotient, rest) = match dropped {
        64 => (0, mantissa),
        _ => (mantissa >> dropped, mantissa << (64 - dropped)),
    };
    const HALF: u64 = 1 << 63;
    let up = rest > HALF || (rest == HALF && quotient & 1 == 1);
    // Adding the bits, the implicit one included, carries into the exponent as it should.
    let biased = if exponent >= -1022 { (exponent + 1022) as u64 } else { 0 };
    f64::from_bits((biased << 52) + quotient + u64::from(up))
}
