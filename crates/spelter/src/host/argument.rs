//! What host functions take.

use crate::context::{Context, Local};
use crate::convert::FromOcaml;
use crate::wrong_type::WrongType;

/// A type of arguments of host functions.
///
/// Every [`FromOcaml`] type is one. The others are lent to the function, which need not own them:
///
/// | argument | OCaml |
/// |---|---|
/// | `&str`, `&[u8]`, other `&[T]` | as `String`, `Vec<u8>`, `Vec<T>`: a copy, which lives as long as the call |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an argument of a host function",
    label = "no OCaml value becomes this",
    note = "an argument implements `spelter::FromOcaml`, which can be derived, or is `&str` or a slice `&[T]` of such values",
    note = "`spelter::Value` takes values of any type"
)]
pub trait Argument {
    /// This type, with the lifetime of the call.
    type Arg<'a>;

    /// What the call keeps to lend it.
    #[doc(hidden)]
    type Held<'c>;

    /// Reads the OCaml value.
    #[doc(hidden)]
    fn hold<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self::Held<'c>, WrongType>;

    /// The argument; called once.
    #[doc(hidden)]
    fn lend<'a, 'c>(held: &'a mut Self::Held<'c>) -> Self::Arg<'a>;
}

impl<T: FromOcaml> Argument for T {
    type Arg<'a> = T;
    type Held<'c> = Option<T>;

    #[inline]
    fn hold<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Option<T>, WrongType> {
        T::from_ocaml(cx, v).map(Some)
    }

    #[inline]
    fn lend<'a>(held: &'a mut Option<T>) -> T {
        held.take().expect("an argument is lent once")
    }
}

impl Argument for &str {
    type Arg<'a> = &'a str;
    type Held<'c> = String;

    fn hold<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<String, WrongType> {
        String::from_ocaml(cx, v)
    }

    fn lend<'a>(held: &'a mut String) -> &'a str {
        held
    }
}

impl<T: FromOcaml + 'static> Argument for &[T] {
    type Arg<'a> = &'a [T];
    type Held<'c> = Vec<T>;

    fn hold<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Vec<T>, WrongType> {
        Vec::from_ocaml(cx, v)
    }

    fn lend<'a>(held: &'a mut Vec<T>) -> &'a [T] {
        held
    }
}
