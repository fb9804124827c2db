//! Constants: the initial values of a program's globals, and a unit's literals.

use spelter_bytecode::marshal::{Custom, GraphBuilder, Item, NodeId};
use spelter_bytecode::obj::{Constant, LiteralId, Literals};

use super::kinds::Kind;
use crate::source::Source;

/// A constant.
#[derive(Clone, Debug)]
pub(crate) enum Const {
    Int(i64),
    Str(Vec<u8>),
    Float(f64),
    Int32(i32),
    Int64(i64),
    Nat(i64),
    Block(u8, Vec<Const>),
    Floats(Vec<f64>),
    /// Marshalled data with closures of the code, generated from this seed when the code is complete.
    Message(u32),
    /// Code for `caml_reify_bytecode`, by its number.
    Code(usize),
}

/// Boundary values of integers.
pub(crate) const INTS: [i64; 30] = [
    0,
    1,
    2,
    3,
    -1,
    4,
    5,
    7,
    8,
    16,
    31,
    32,
    63,
    64,
    100,
    127,
    128,
    246,
    247,
    252,
    255,
    256,
    1000,
    65535,
    i32::MAX as i64,
    i32::MIN as i64,
    (1 << 62) - 1,
    -(1 << 62),
    1 << 54,
    1 << 40,
];

const STRINGS: [&[u8]; 12] = [
    b"",
    b"a",
    b"abcdefg",
    b"abcdefgh",
    b"abc\0def",
    b"a string of some length, more than one cache line of it in any case, and then some",
    b"U0",
    b"U1",
    b"Stdlib",
    b"\xff\xfe\x80",
    b"dllunix",
    b"caml_equal",
];

const DIGITS: [&[u8]; 18] = [
    b"12",
    b"-0x7f",
    b"0u123",
    b"1e308",
    b"1e-400",
    b"nan",
    b"-inf",
    b"0x1.8p3",
    b"0b101",
    b"0o17",
    b"4611686018427387904",
    b"9223372036854775808",
    b"0xffffffffffffffff",
    b"_",
    b"1__2",
    b"-",
    b"0x",
    b"1e99999999999999999999",
];

const FORMATS: [&[u8]; 18] = [
    b"%d",
    b"%i",
    b"%u",
    b"%x",
    b"%Lx",
    b"%ld",
    b"%nd",
    b"%.12g",
    b"%h",
    b"%F",
    b"%s",
    b"%",
    b"%-+ #08d",
    b"%200d",
    b"%.300f",
    b"%*d",
    b"%c",
    b"%%",
];

const FLOATS: [f64; 12] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MIN_POSITIVE,
    5e-324,
    f64::MAX,
    4_611_686_018_427_387_904.0,
    1e10,
];

/// A number that is a boundary value half of the time.
pub(crate) fn int(source: &mut Source<'_>) -> i64 {
    match source.below(4) {
        0 | 1 => source.below(6) as i64,
        2 => source.of(&INTS),
        _ => i64::from(source.word() as i32),
    }
}

fn ints(source: &mut Source<'_>, most: usize) -> Vec<Const> {
    let n = source.below(most + 1);
    (0..n).map(|_| Const::Int(int(source))).collect()
}

/// A list.
fn list(items: Vec<Const>) -> Const {
    items.into_iter().rev().fold(Const::Int(0), |tail, head| Const::Block(0, vec![head, tail]))
}

impl Const {
    /// A constant of that kind, if there are any.
    pub(crate) fn of_kind(kind: Kind, source: &mut Source<'_>) -> Const {
        match kind {
            Kind::Int | Kind::Small | Kind::Offset => Const::Int(int(source)),
            Kind::Str | Kind::Bytes if source.one_in(12) => Const::Str(source.bytes(300)),
            Kind::Str | Kind::Bytes => Const::Str(source.of(&STRINGS).to_vec()),
            Kind::Float => Const::Float(source.of(&FLOATS)),
            Kind::Floats => {
                let n = 1 + source.below(5);
                Const::Floats((0..n).map(|_| source.of(&FLOATS)).collect())
            }
            Kind::Int32 => Const::Int32(int(source) as i32),
            Kind::Int64 => Const::Int64(int(source)),
            Kind::Nat => Const::Nat(int(source)),
            Kind::Format => Const::Str(source.of(&FORMATS).to_vec()),
            Kind::Digits => Const::Str(source.of(&DIGITS).to_vec()),
            Kind::Message => Const::Message(source.word()),
            Kind::Name => Const::Str(
                [
                    b"a".as_slice(),
                    b"b",
                    b"Printexc.handle_uncaught_exception",
                    b"Debugger.function_placeholder",
                ][source.below(4)]
                .to_vec(),
            ),
            Kind::Flags => {
                let n = source.below(3);
                list((0..n).map(|_| Const::Int(2 - source.below(3) as i64)).collect())
            }
            Kind::Dims => {
                let dims = if source.one_in(8) {
                    ints(source, 20)
                } else {
                    vec![Const::Int(1 + source.below(9) as i64)]
                };
                Const::Block(0, dims)
            }
            Kind::List => {
                let items = ints(source, 4);
                list(items)
            }
            Kind::Object => Const::Block(248, vec![Const::Int(0), Const::Int(source.below(9) as i64)]),
            _ => {
                let tag = source.of(&[0, 0, 0, 1, 2, 246, 246, 248, 250]);
                let n = 1 + source.below(4);
                // Since 5.4 the reader of data tests that objects have a class and a number.
                let n = if tag == 248 { n.max(2) } else { n };
                let kinds = [Kind::Int, Kind::Int, Kind::Str, Kind::Float, Kind::Int64, Kind::List];
                let fields = (0..n).map(|_| {
                    let kind = source.of(&kinds);
                    Const::of_kind(kind, source)
                });
                Const::Block(tag, fields.collect())
            }
        }
    }

    /// Whether it is a block that the collector may free.
    pub(crate) fn is_forward(&self) -> bool {
        matches!(self, Const::Block(250, _))
    }

    /// As marshalled data; messages and code have become strings and blocks before.
    pub(crate) fn add_to_graph(&self, graph: &mut GraphBuilder) -> Item<NodeId> {
        match self {
            Const::Int(n) => Item::Int(clamp(*n)),
            Const::Str(bytes) => graph.add_string(bytes),
            Const::Float(x) => graph.add_double(*x),
            Const::Int32(n) => graph.add_custom(Custom::Int32(*n)),
            Const::Int64(n) => graph.add_custom(Custom::Int64(*n)),
            Const::Nat(n) => graph.add_custom(Custom::Nativeint(*n)),
            Const::Block(tag, fields) => {
                let fields: Vec<_> = fields.iter().map(|field| field.add_to_graph(graph)).collect();
                graph.add_block(*tag, &fields)
            }
            Const::Floats(values) => graph.add_double_array(values),
            Const::Message(_) | Const::Code(_) => Item::Int(0),
        }
    }

    /// As a literal of a unit.
    pub(crate) fn add_to_literals(&self, literals: &mut Literals) -> LiteralId {
        let text = |x: &f64| format!("{x:e}");
        let constant = match self {
            Const::Int(n) => Constant::Int(clamp(*n)),
            Const::Str(bytes) => Constant::String(bytes.clone()),
            Const::Float(x) if x.is_finite() => Constant::Float { text: text(x), value: *x },
            Const::Float(_) | Const::Message(_) | Const::Code(_) => Constant::Int(0),
            Const::Int32(n) => Constant::Int32(*n),
            Const::Int64(n) => Constant::Int64(*n),
            Const::Nat(n) => Constant::Nativeint(*n),
            Const::Block(tag, fields) => {
                let fields = fields.iter().map(|field| field.add_to_literals(literals)).collect();
                Constant::Block { tag: *tag, fields }
            }
            Const::Floats(values) => {
                let values: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
                Constant::FloatArray { texts: values.iter().map(text).collect(), values }
            }
        };
        literals.add(constant)
    }
}

/// As OCaml's integers wrap.
fn clamp(n: i64) -> i64 {
    n << 1 >> 1
}
