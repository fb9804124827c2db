//! Float literals, correctly rounded.

use spelter_bytecode::float_of_source_text;

fn bits(text: &str) -> u64 {
    float_of_source_text(text).unwrap_or_else(|| panic!("{text} is a float literal")).to_bits()
}

#[test]
fn decimal_and_hexadecimal_literals() {
    for (text, value) in [
        ("1.", 1.0),
        ("1_000.5", 1000.5),
        ("-1.5", -1.5),
        ("1e3", 1000.0),
        ("1_0E-1_0", 1e-9),
        ("0x1.8p1", 3.0),
        ("0X1P+4", 16.0),
        ("-0x_1.8_p1", -3.0),
        ("0x1", 1.0),
        ("0x.8", 0.5),
        ("0x0p99999999999999999999", 0.0),
        ("0x1p99999999999999999999", f64::INFINITY),
        ("0x1p-99999999999999999999", 0.0),
        ("0x1.fffffffffffffp1023", f64::MAX),
        ("1e999", f64::INFINITY),
    ] {
        assert_eq!(bits(text), value.to_bits(), "{text}");
    }
    assert_eq!(bits("-0."), (-0.0_f64).to_bits());
    assert_eq!(bits("-0x0p0"), (-0.0_f64).to_bits());
}

#[test]
fn hexadecimal_literals_round_to_nearest_even_once() {
    for (text, expected) in [
        // Halfway cases round to the even neighbour, unless a later bit is set.
        ("0x1.00000000000008p0", 1.0_f64.to_bits()),
        ("0x1.00000000000018p0", 1.0_f64.to_bits() + 2),
        ("0x1.000000000000080000000000000000000001p0", 1.0_f64.to_bits() + 1),
        ("0x1.fffffffffffff8p0", 2.0_f64.to_bits()),
        ("0x1.fffffffffffff8p1023", f64::INFINITY.to_bits()),
        ("0x1.fffffffffffff7p1023", f64::MAX.to_bits()),
        // Subnormal numbers have fewer bits.
        ("0x1p-1074", 1),
        ("0x1p-1075", 0),
        ("0x1.8p-1075", 1),
        ("0x1.8p-1074", 2),
        ("0x1p-1076", 0),
        ("0x0.fffffffffffff8p-1022", f64::MIN_POSITIVE.to_bits()),
        ("0x1p-1022", f64::MIN_POSITIVE.to_bits()),
    ] {
        assert_eq!(bits(text), expected, "{text}");
    }
}

#[test]
fn other_texts_are_refused() {
    for text in
        ["", "-", "one", "0x", "0x.", "0xp1", "0x1p", "0x1p+", "0x1.8.1", "1.5.5", "--1.", "1e", "0x1pz"]
    {
        assert_eq!(float_of_source_text(text), None, "{text:?}");
    }
}
