//! The kinds of elements, and their order in memory.

/// The kind of the elements: the constructors of `Bigarray.kind`, in its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "named as OCaml names them")]
pub enum Kind {
    Float32,
    Float64,
    Sint8,
    Uint8,
    Sint16,
    Uint16,
    Int32,
    Int64,
    CamlInt,
    NativeInt,
    Complex32,
    Complex64,
    Char,
    Float16,
}

impl Kind {
    /// All kinds, by their numbers.
    pub const ALL: [Kind; 14] = [
        Kind::Float32,
        Kind::Float64,
        Kind::Sint8,
        Kind::Uint8,
        Kind::Sint16,
        Kind::Uint16,
        Kind::Int32,
        Kind::Int64,
        Kind::CamlInt,
        Kind::NativeInt,
        Kind::Complex32,
        Kind::Complex64,
        Kind::Char,
        Kind::Float16,
    ];

    /// An element's size in bytes.
    pub const fn size(self) -> usize {
        match self {
            Kind::Sint8 | Kind::Uint8 | Kind::Char => 1,
            Kind::Sint16 | Kind::Uint16 | Kind::Float16 => 2,
            Kind::Float32 | Kind::Int32 => 4,
            Kind::Float64 | Kind::Int64 | Kind::CamlInt | Kind::NativeInt | Kind::Complex32 => 8,
            Kind::Complex64 => 16,
        }
    }
}

/// The bits of a float of half precision in the exponent, and all but the sign.
const HALF_INFINITY: u16 = 0x7C00;
const HALF_SIGN: u16 = 0x8000;

/// The value of a float of half precision (IEEE binary16).
pub fn of_half(half: u16) -> f32 {
    let sign = u32::from(half & HALF_SIGN) << 16;
    let rest = half & !HALF_SIGN;
    let magnitude = match rest {
        // The significand has 13 more bits, and the exponent a bias that is larger by 112.
        HALF_INFINITY.. => u32::from(rest) << 13 | 0x7F80_0000,
        0x400.. => (u32::from(rest) << 13) + (112 << 23),
        // Multiples of the smallest number, 2⁻²⁴.
        _ => (f32::from(rest) * 2f32.powi(-24)).to_bits(),
    };
    f32::from_bits(sign | magnitude)
}

/// The nearest float of half precision; of two, the even one.
pub fn to_half(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16) as u16 & HALF_SIGN;
    let x = x.abs();
    let magnitude = match x {
        _ if x.is_nan() => HALF_INFINITY | 0x200,
        // What rounds to 2¹⁶ or more.
        65520.0.. => HALF_INFINITY,
        // Below 2⁻¹⁴: adding 0.5 leaves as many bits as there are.
        ..6.103_515_625e-5 => ((x + 0.5).to_bits() - 0.5f32.to_bits()) as u16,
        _ => {
            let bits = x.to_bits() - (112 << 23);
            // Round half to even.
            ((bits + 0xFFF + (bits >> 13 & 1)) >> 13) as u16
        }
    };
    sign | magnitude
}

/// The order of elements in memory, and the lowest index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// The last index varies fastest; indices start at 0.
    C,
    /// The first index varies fastest; indices start at 1.
    Fortran,
}

impl Layout {
    /// Which of `n` dimensions varies slowest.
    pub fn slowest(self, n: usize) -> usize {
        match self {
            Layout::C => 0,
            Layout::Fortran => n.saturating_sub(1),
        }
    }
}
