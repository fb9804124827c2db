//! Integers of every width. OCaml's `int` has 63 bits: what does not fit is an error in both directions.

use spelter_interp::Raise;

use super::{FromOcaml, OcamlType, ToOcaml, predefined};
use crate::context::{Context, Local};
use crate::wrong_type::WrongType;

/// The range of OCaml's `int`.
const RANGE: std::ops::RangeInclusive<i64> = -(1 << 62)..=(1 << 62) - 1;

#[cold]
fn too_large(n: impl std::fmt::Display) -> Raise {
    Raise::invalid(format!("the integer {n} does not fit OCaml's int, which has 63 bits; int64 takes 64"))
}

#[cold]
fn out_of_range<'c>(cx: &Context<'c>, v: Local<'c>, type_name: &str) -> WrongType {
    cx.wrong(v, format!("an integer that fits {type_name}"))
}

/// The conversions of an integer type: those of the items between the braces replace the defaults.
macro_rules! integers {
    ($($int:ty { $($to:item)* } { $($from:item)* })*) => { $(
        impl ToOcaml for $int {
            fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
                match i64::try_from(*self) {
                    Ok(n) if RANGE.contains(&n) => Ok(cx.int(n)),
                    _ => Err(too_large(self)),
                }
            }

            predefined!("int");
            $($to)*
        }

        impl FromOcaml for $int {
            fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
                let n = cx.get(v).int().map_err(|_| cx.wrong(v, "an integer"))?;
                Self::try_from(n).map_err(|_| out_of_range(cx, v, stringify!($int)))
            }

            predefined!("int");
            $($from)*
        }
    )* };
}

integers! {
    i8 {} {}
    i16 {} {}
    i32 {} {}
    i64 {} {}
    isize {} {}
    u8 {
        fn slice_to_ocaml<'c>(items: &[Self], cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
            cx.string(items)
        }

        fn slice_type() -> OcamlType {
            OcamlType::Predefined("bytes", Vec::new())
        }
    } {
        fn vec_from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Vec<Self>, WrongType> {
            super::text::bytes(cx, v).map(<[u8]>::to_vec)
        }

        fn vec_type() -> OcamlType {
            OcamlType::Predefined("bytes", Vec::new())
        }
    }
    u16 {} {}
    u32 {} {}
    u64 {} {}
    usize {} {}
}
