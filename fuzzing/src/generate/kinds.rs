//! The generator's guesses about values, by which it chooses meaningful operands. The machine does not depend on
//! them, and some choices deliberately contradict them.

/// The probable kind of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Any,
    Int,
    Str,
    Bytes,
    Float,
    Floats,
    Block,
    List,
    Closure,
    Int32,
    Int64,
    Nat,
    Big,
    Weak,
    Ephemeron,
    Object,
    Exn,
    Lazy,
    /// A format for numbers.
    Format,
    /// The text of a number.
    Digits,
    /// Marshalled data.
    Message,
    /// The argument of `caml_reify_bytecode`.
    Code,
    /// `Marshal.extern_flags list`
    Flags,
    /// Dimensions of a big array.
    Dims,
    /// The name of a registered value.
    Name,
    /// A continuation.
    Cont,
    /// A stack on which effects are handled.
    Fiber,
    /// An index, a size or a tag that often fits.
    Small,
    /// A start position in bytes: usually 0.
    Offset,
}

impl Kind {
    /// By its letter in the table of primitives.
    pub(crate) fn of_letter(letter: u8) -> Kind {
        match letter {
            b'i' => Kind::Int,
            b'j' => Kind::Small,
            b's' => Kind::Str,
            b'b' => Kind::Bytes,
            b'f' => Kind::Float,
            b'F' => Kind::Floats,
            b'a' => Kind::Block,
            b'l' => Kind::List,
            b'c' => Kind::Closure,
            b'3' => Kind::Int32,
            b'6' => Kind::Int64,
            b'n' => Kind::Nat,
            b'B' => Kind::Big,
            b'w' => Kind::Weak,
            b'e' => Kind::Ephemeron,
            b'o' => Kind::Object,
            b'x' => Kind::Exn,
            b'z' => Kind::Lazy,
            b'm' => Kind::Format,
            b'd' => Kind::Digits,
            b'p' => Kind::Message,
            b'C' => Kind::Code,
            b'L' => Kind::Flags,
            b'D' => Kind::Dims,
            b'N' => Kind::Name,
            b'k' => Kind::Offset,
            b'K' => Kind::Cont,
            b'S' => Kind::Fiber,
            _ => Kind::Any,
        }
    }

    /// Whether a value of `self` can be used where `wanted` is expected.
    pub(crate) fn fits(self, wanted: Kind) -> bool {
        self == wanted
            || match wanted {
                Kind::Any => true,
                Kind::Int | Kind::Small => matches!(self, Kind::Int | Kind::Small),
                Kind::Str => {
                    matches!(self, Kind::Bytes | Kind::Digits | Kind::Format | Kind::Message | Kind::Name)
                }
                Kind::Bytes => self == Kind::Str,
                Kind::Block => {
                    const BLOCKS: [Kind; 6] =
                        [Kind::List, Kind::Object, Kind::Exn, Kind::Lazy, Kind::Floats, Kind::Cont];
                    BLOCKS.contains(&self)
                }
                _ => false,
            }
    }
}
