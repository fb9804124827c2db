//! Conversions of the types that implement serde's traits, for those that do not derive this crate's.
//!
//! The representation is that of the derive macros. What serde does not say of a type is which constructors of an enum
//! have arguments, on which their numbers depend in OCaml: `probe` finds out.

mod make;
mod probe;
mod read;

use std::fmt;

use ::serde::Serialize;
use ::serde::de::DeserializeOwned;
use spelter_interp::Raise;

use crate::context::{Context, Local};
use crate::convert::{FromOcaml, ToOcaml};
use crate::wrong_type::WrongType;

/// A value that is converted as serde's traits describe it (feature `serde`).
///
/// | serde | OCaml |
/// |---|---|
/// | struct with named fields | record with the same fields, in their order; flat if all are floats |
/// | tuple, tuple struct | tuple; a newtype is the same as its field |
/// | enum | variant with the same constructors, in their order |
/// | integers, floats, `bool`, `char`, strings, bytes | `int`, `float`, `bool`, `char`, `string`, `bytes` |
/// | `Option`, sequence, map, `()` | `option`, `list`, list of pairs, `unit` |
///
/// These are the values that `#[derive(ToOcaml, FromOcaml)]` makes and reads for the same declaration, with these
/// exceptions, which serde does not tell from others: `[T; N]` is a tuple, `Vec<u8>` a list of integers, and a generic
/// struct is flat where its fields turn out to be floats. Attributes that change what serde sees (`flatten`, `untagged`,
/// `alias`, `skip_serializing_if`) have no counterpart.
///
/// Numbers of constructors depend on which of them have arguments; a trial deserialization finds out, once for each type.
/// It cannot for types that accept few values (a string that must be a date): conversions of enums that stand after such a
/// value fail, and say so.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use spelter::{Serde, Vm};
///
/// // type order = { what : string; cents : int option; state : state }
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// struct Order { what: String, cents: Option<i64>, state: State }
///
/// // type state = New | Sent of int | Returned of { why : string }
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// enum State { New, Sent(i64), Returned { why: String } }
///
/// let order = || Order { what: "tin".to_owned(), cents: Some(250), state: State::Returned { why: "zinc".to_owned() } };
/// let mut vm = Vm::builder().build();
/// let Serde(back) = vm.with(|cx| {
///     let value = cx.make(&Serde(order()))?;
///     Ok(cx.read::<Serde<Order>>(value)?)
/// })?;
/// assert_eq!(back, order());
/// # Ok::<(), spelter::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Serde<T>(pub T);

impl<T: Serialize + DeserializeOwned + 'static> ToOcaml for Serde<T> {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        let layouts = probe::layouts::<T>();
        match make::make(cx, &layouts, &self.0) {
            Ok(made) => Ok(made.value),
            Err(Refusal::Raise(raise)) => Err(raise),
            Err(Refusal::Wrong(wrong)) => Err(wrong.into()),
            Err(Refusal::Custom(text)) => Err(Raise::failure(text)),
        }
    }
}

impl<T: DeserializeOwned + 'static> FromOcaml for Serde<T> {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        let layouts = probe::layouts::<T>();
        let read = cx.scope([v], |cx, [v]| read::read(cx, &layouts, v));
        match read {
            Ok(value) => Ok(Serde(value)),
            Err(Refusal::Wrong(wrong)) => Err(wrong),
            Err(Refusal::Custom(text)) => Err(cx.wrong(v, format!("what its type accepts ({text})"))),
            Err(Refusal::Raise(raise)) => {
                Err(cx.wrong(v, format!("a value for which there is memory ({raise})")))
            }
        }
    }
}

/// Why a conversion ends.
#[derive(Debug)]
enum Refusal {
    Raise(Raise),
    Wrong(WrongType),
    /// What the type itself says.
    Custom(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Raise(raise) => raise.fmt(f),
            Refusal::Wrong(wrong) => wrong.fmt(f),
            Refusal::Custom(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Refusal {}

impl ::serde::ser::Error for Refusal {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Refusal::Custom(text.to_string())
    }
}

impl ::serde::de::Error for Refusal {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Refusal::Custom(text.to_string())
    }
}

impl From<Raise> for Refusal {
    fn from(raise: Raise) -> Self {
        Refusal::Raise(raise)
    }
}

impl From<WrongType> for Refusal {
    fn from(wrong: WrongType) -> Self {
        Refusal::Wrong(wrong)
    }
}

impl Refusal {
    /// What a value of this type is not: nested too deeply.
    fn too_deep() -> Self {
        Refusal::Custom("it is nested too deeply".to_owned())
    }
}
