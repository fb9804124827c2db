//! What host functions take.

use std::ops::Range;

use spelter_interp::Raise;

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
/// | [`&Host<T>`](crate::Host) | a Rust value that the host gave to the guest |
/// | [`Elements<T>`](crate::Elements), [`ElementsMut<T>`](crate::ElementsMut) | a big array, without a copy |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an argument of a host function",
    label = "no OCaml value becomes this",
    note = "an argument implements `spelter::FromOcaml`, which can be derived, or is `&str`, a slice `&[T]` of such values, \
            `&Host<T>` or `Elements<T>`",
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
    fn lend<'a, 'c>(held: &'a mut Self::Held<'c>, lending: Lending) -> Self::Arg<'a>;

    /// Whether it views memory of the guest.
    #[doc(hidden)]
    const IS_VIEW: bool = false;

    /// The memory of the guest that it views, and whether it may write there.
    #[doc(hidden)]
    fn memory(_: &Self::Held<'_>) -> Option<(Range<usize>, bool)> {
        None
    }
}

/// An argument of host functions that take the context: all but views of a guest's memory, which code that the function
/// calls could change.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an argument of a host function that takes the context",
    label = "code that the function calls could change what this borrows",
    note = "take a `Value`, and borrow the elements with `Context::elements`"
)]
pub trait ContextArgument: Argument {}

/// Proof that a host function is about to be called: only the machine lends arguments.
#[derive(Clone, Copy, Debug)]
pub struct Lending(pub(super) ());

/// Refuses views of the same memory of which one may write.
pub(super) fn check_views(views: &[Option<(Range<usize>, bool)>]) -> Result<(), Raise> {
    for (i, a) in views.iter().enumerate() {
        for (j, b) in views[..i].iter().enumerate() {
            let (Some((a, a_writes)), Some((b, b_writes))) = (a, b) else { continue };
            if (*a_writes || *b_writes) && a.start < b.end && b.start < a.end {
                let (first, second) = (j + 1, i + 1);
                return Err(Raise::invalid(format!(
                    "arguments {first} and {second} share memory, which one changes"
                )));
            }
        }
    }
    Ok(())
}

impl<T: FromOcaml> Argument for T {
    type Arg<'a> = T;
    type Held<'c> = Option<T>;

    #[inline]
    fn hold<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Option<T>, WrongType> {
        T::from_ocaml(cx, v).map(Some)
    }

    #[inline]
    fn lend(held: &mut Option<T>, _: Lending) -> T {
        held.take().expect("an argument is lent once")
    }
}

impl Argument for &str {
    type Arg<'a> = &'a str;
    type Held<'c> = String;

    fn hold<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<String, WrongType> {
        String::from_ocaml(cx, v)
    }

    fn lend(held: &mut String, _: Lending) -> &str {
        held
    }
}

impl<T: FromOcaml + 'static> Argument for &[T] {
    type Arg<'a> = &'a [T];
    type Held<'c> = Vec<T>;

    fn hold<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Vec<T>, WrongType> {
        Vec::from_ocaml(cx, v)
    }

    fn lend(held: &mut Vec<T>, _: Lending) -> &[T] {
        held
    }
}

impl<T: FromOcaml> ContextArgument for T {}
impl ContextArgument for &str {}
impl<T: FromOcaml + 'static> ContextArgument for &[T] {}
