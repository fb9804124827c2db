//! The C library's float functions, whose results must match to the last digit: `printf` and `strtod` of floats, and
//! the mathematical functions.

use std::ffi::{CStr, c_char, c_int};

/// The C library's mathematical functions, under their own names.
pub(crate) mod math {
    use std::ffi::c_int;

    // SAFETY: the declarations are those of <math.h>; all of these are defined for all arguments and have no
    // effect but on errno and the floating-point flags.
    unsafe extern "C" {
        pub(crate) safe fn acos(x: f64) -> f64;
        pub(crate) safe fn acosh(x: f64) -> f64;
        pub(crate) safe fn asin(x: f64) -> f64;
        pub(crate) safe fn asinh(x: f64) -> f64;
        pub(crate) safe fn atan(x: f64) -> f64;
        pub(crate) safe fn atan2(y: f64, x: f64) -> f64;
        pub(crate) safe fn atanh(x: f64) -> f64;
        // Rust's runtime has a `cbrt` that the linker would prefer, and that rounds differently.
        #[cfg_attr(all(target_os = "linux", target_env = "gnu"), link_name = "cbrtf64")]
        pub(crate) safe fn cbrt(x: f64) -> f64;
        pub(crate) safe fn cos(x: f64) -> f64;
        pub(crate) safe fn cosh(x: f64) -> f64;
        pub(crate) safe fn erf(x: f64) -> f64;
        pub(crate) safe fn erfc(x: f64) -> f64;
        pub(crate) safe fn exp(x: f64) -> f64;
        pub(crate) safe fn exp2(x: f64) -> f64;
        pub(crate) safe fn expm1(x: f64) -> f64;
        pub(crate) safe fn fma(x: f64, y: f64, z: f64) -> f64;
        pub(crate) safe fn fmod(x: f64, y: f64) -> f64;
        pub(crate) safe fn hypot(x: f64, y: f64) -> f64;
        pub(crate) safe fn ldexp(x: f64, exp: c_int) -> f64;
        pub(crate) safe fn log(x: f64) -> f64;
        pub(crate) safe fn log10(x: f64) -> f64;
        pub(crate) safe fn log1p(x: f64) -> f64;
        pub(crate) safe fn log2(x: f64) -> f64;
        pub(crate) safe fn nextafter(x: f64, y: f64) -> f64;
        pub(crate) safe fn pow(x: f64, y: f64) -> f64;
        pub(crate) safe fn sin(x: f64) -> f64;
        pub(crate) safe fn sinh(x: f64) -> f64;
        pub(crate) safe fn tan(x: f64) -> f64;
        pub(crate) safe fn tanh(x: f64) -> f64;
        fn frexp(x: f64, exp: *mut c_int) -> f64;
        #[link_name = "modf"]
        fn c_modf(x: f64, whole: *mut f64) -> f64;
    }

    /// The mantissa in [0.5, 1) and the exponent.
    pub(crate) fn split_exponent(x: f64) -> (f64, i32) {
        let mut exp = 0;
        // SAFETY: the pointer is to a local variable of the required type.
        let mantissa = unsafe { frexp(x, &mut exp) };
        (mantissa, exp)
    }

    /// The fractional part and the integral part.
    pub(crate) fn modf(x: f64) -> (f64, f64) {
        let mut whole = 0.0;
        // SAFETY: the pointer is to a local variable of the required type.
        let frac = unsafe { c_modf(x, &mut whole) };
        (frac, whole)
    }
}

/// Runs `f` under the locale `C`, whatever the host has set: numbers have decimal points and no thousands separators.
fn in_c_locale<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: the name is a C string; a base of null asks for a new locale object. (For this request the C library
    // returns a constant, so nothing is allocated.) `uselocale` affects this thread only, takes that object or null for
    // "no change", and returns the locale to restore before the object is freed.
    unsafe {
        let c = libc::newlocale(libc::LC_ALL_MASK, c"C".as_ptr(), std::ptr::null_mut());
        let saved = libc::uselocale(c);
        let result = f();
        libc::uselocale(saved);
        if !c.is_null() {
            libc::freelocale(c);
        }
        result
    }
}

/// A checked `printf` directive for a double: what [`format_double`] accepts, by construction.
pub(crate) struct DoubleDirective(Vec<u8>);

impl DoubleDirective {
    /// `%`, the flags among `-+ #0'`, width, `.precision`, and the conversion, one of `eEfFgGaA`. `None` for any other.
    pub(crate) fn new(
        flags: &[u8],
        width: Option<u32>,
        precision: Option<u32>,
        conversion: u8,
    ) -> Option<Self> {
        if !flags.iter().all(|c| b"-+ #0'".contains(c)) || !b"eEfFgGaA".contains(&conversion) {
            return None;
        }
        let mut text = vec![b'%'];
        text.extend_from_slice(flags);
        if let Some(w) = width {
            text.extend_from_slice(w.to_string().as_bytes());
        }
        if let Some(p) = precision {
            text.push(b'.');
            text.extend_from_slice(p.to_string().as_bytes());
        }
        text.extend_from_slice(&[conversion, 0]);
        Some(DoubleDirective(text))
    }
}

/// Appends what C's `printf` would print. Returns false when it cannot (the text would be longer than 2³¹ bytes, or
/// there is not enough memory).
pub(crate) fn format_double(d: &DoubleDirective, x: f64, out: &mut Vec<u8>) -> bool {
    let format = d.0.as_ptr().cast::<c_char>();
    let mut small = [0u8; 128];
    in_c_locale(|| {
        // SAFETY: the format ends with a NUL and has exactly one directive, which takes a double; at most the
        // buffer's size is written.
        let n = unsafe { libc::snprintf(small.as_mut_ptr().cast(), small.len(), format, x) };
        let Ok(n) = usize::try_from(n) else { return false };
        if n < small.len() {
            out.extend_from_slice(&small[..n]);
            return true;
        }
        let start = out.len();
        if out.try_reserve_exact(n + 1).is_err() {
            return false;
        }
        out.resize(start + n + 1, 0);
        // SAFETY: the same format; there are `n + 1` bytes from `start` on.
        unsafe { libc::snprintf(out[start..].as_mut_ptr().cast(), n + 1, format, x) };
        out.truncate(start + n);
        true
    })
}

/// C's `strtod`: the number, and how many bytes of the text it took.
pub(crate) fn parse_double(text: &CStr) -> (f64, usize) {
    in_c_locale(|| {
        let start = text.as_ptr();
        let mut end: *mut c_char = std::ptr::null_mut();
        // SAFETY: a C string, and a local variable to hold a pointer into it.
        let x = unsafe { libc::strtod(start, &mut end) };
        (x, end as usize - start as usize)
    })
}

const _: () = assert!(size_of::<c_int>() == 4);

#[cfg(test)]
mod tests {
    use super::*;

    fn print(flags: &str, width: Option<u32>, precision: Option<u32>, conversion: u8, x: f64) -> String {
        let d = DoubleDirective::new(flags.as_bytes(), width, precision, conversion).unwrap();
        let mut out = Vec::new();
        assert!(format_double(&d, x, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn prints_as_c_does() {
        assert_eq!(print("", None, Some(12), b'g', 0.1), "0.1");
        assert_eq!(print("", None, Some(0), b'f', 2.5), "2");
        assert_eq!(print("+0", Some(10), Some(2), b'e', 12345.678), "+01.23e+04");
        assert_eq!(print("", None, Some(200), b'f', 1.0).len(), 202);
        assert_eq!(print("", None, None, b'f', f64::NEG_INFINITY), "-inf");
    }

    #[test]
    fn refuses_directives_that_take_no_double() {
        assert!(DoubleDirective::new(b"", None, None, b's').is_none());
        assert!(DoubleDirective::new(b"*", None, None, b'f').is_none());
    }

    #[test]
    fn parses_as_c_does() {
        assert_eq!(parse_double(c"1.5e3x"), (1500.0, 5));
        assert_eq!(parse_double(c"x"), (0.0, 0));
        assert_eq!(math::split_exponent(8.0), (0.5, 4));
        assert_eq!(math::modf(-1.25), (-0.25, -1.0));
    }
}
