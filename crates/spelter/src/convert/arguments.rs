//! Tuples, as values and as arguments.

use spelter_interp::Raise;

use super::{FromOcaml, OcamlType, ToOcaml, TypeOf, expect_fields, field};
use crate::context::{Context, Local};
use crate::wrong_type::WrongType;

/// Arguments of a function: a tuple with one element for each argument.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of arguments",
    label = "this is not a tuple of 1 to 8 arguments",
    note = "a single argument needs a comma: `(x,)`; OCaml's `()` is the argument `((),)`",
    note = "each argument must implement `spelter::ToOcaml`"
)]
pub trait Args {
    /// Creates the OCaml values and applies the function to them.
    ///
    /// # Errors
    /// As for [`ToOcaml::to_ocaml`] and [`Context::call`].
    fn apply<'c>(&self, cx: &mut Context<'c>, f: Local<'c>) -> Result<Local<'c>, Raise>;

    /// Creates the OCaml values.
    ///
    /// # Errors
    /// As for [`ToOcaml::to_ocaml`].
    fn values<'c>(&self, cx: &mut Context<'c>) -> Result<Vec<Local<'c>>, Raise>;

    /// The OCaml types of the arguments.
    fn types() -> Vec<TypeOf>;
}

macro_rules! tuples {
    ($($n:literal $expected:literal ($($t:ident $i:tt),*);)*) => { $(
        impl<$($t: ToOcaml),*> ToOcaml for ($($t,)*) {
            fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
                let fields = [$(self.$i.to_ocaml(cx)?),*];
                cx.block(0, &fields)
            }

            fn ocaml_type() -> OcamlType {
                OcamlType::Tuple(vec![$($t::ocaml_type),*])
            }
        }

        impl<$($t: FromOcaml),*> FromOcaml for ($($t,)*) {
            fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
                expect_fields(cx, v, $n, $expected)?;
                Ok(($(field::<$t>(cx, v, $i)?,)*))
            }

            fn ocaml_type() -> OcamlType {
                OcamlType::Tuple(vec![$($t::ocaml_type),*])
            }
        }

        impl<$($t: ToOcaml),*> Args for ($($t,)*) {
            fn apply<'c>(&self, cx: &mut Context<'c>, f: Local<'c>) -> Result<Local<'c>, Raise> {
                let args = [$(self.$i.to_ocaml(cx)?),*];
                cx.call(f, &args)
            }

            fn values<'c>(&self, cx: &mut Context<'c>) -> Result<Vec<Local<'c>>, Raise> {
                Ok(vec![$(self.$i.to_ocaml(cx)?),*])
            }

            fn types() -> Vec<TypeOf> {
                vec![$($t::ocaml_type),*]
            }
        }
    )* };
}
tuples! {
    1 "a tuple of one" (A 0);
    2 "a pair" (A 0, B 1);
    3 "a triple" (A 0, B 1, C 2);
    4 "a tuple of 4" (A 0, B 1, C 2, D 3);
    5 "a tuple of 5" (A 0, B 1, C 2, D 3, E 4);
    6 "a tuple of 6" (A 0, B 1, C 2, D 3, E 4, F 5);
    7 "a tuple of 7" (A 0, B 1, C 2, D 3, E 4, F 5, G 6);
    8 "a tuple of 8" (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
}
