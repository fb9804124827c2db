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

    /// The OCaml types of the arguments.
    fn types() -> Vec<TypeOf>;
}

/// A Rust function that OCaml code can call as a primitive: a closure over OCaml-convertible arguments.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that OCaml code can call",
    label = "this is not such a function",
    note = "it takes up to 8 arguments, each with its type written (`|n: i64|`) and implementing `spelter::FromOcaml`",
    note = "its result implements `spelter::ToOcaml`, or is a `Result` of such a value and an error that has a text",
    note = "`primitive_in_context` takes functions that work with OCaml values themselves"
)]
pub trait HostFunction<A> {
    /// The number of arguments.
    const ARITY: usize;

    /// Converts the arguments and calls the function. `args` must have `ARITY` elements.
    ///
    /// # Errors
    /// `Invalid_argument` when an argument has the wrong form; the function's own error.
    fn call<'c>(&self, cx: &mut Context<'c>, args: &[Local<'c>]) -> Result<Local<'c>, Raise>;
}

/// A function without arguments takes OCaml's `()`.
impl<Fun, Ret> HostFunction<()> for Fun
where
    Fun: Fn() -> Ret,
    Ret: ToOcaml,
{
    const ARITY: usize = 1;

    fn call<'c>(&self, cx: &mut Context<'c>, args: &[Local<'c>]) -> Result<Local<'c>, Raise> {
        <()>::from_ocaml(cx, args[0]).map_err(|e| e.in_argument(0))?;
        self().to_ocaml(cx)
    }
}

macro_rules! tuples {
    ($($n:literal $expected:literal ($($t:ident $v:ident $i:tt),*);)*) => { $(
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

            fn types() -> Vec<TypeOf> {
                vec![$($t::ocaml_type),*]
            }
        }

        impl<Fun, Ret, $($t: FromOcaml),*> HostFunction<($($t,)*)> for Fun
        where
            Fun: Fn($($t),*) -> Ret,
            Ret: ToOcaml,
        {
            const ARITY: usize = $n;

            fn call<'c>(&self, cx: &mut Context<'c>, args: &[Local<'c>]) -> Result<Local<'c>, Raise> {
                $(let $v = $t::from_ocaml(cx, args[$i]).map_err(|e| e.in_argument($i))?;)*
                self($($v),*).to_ocaml(cx)
            }
        }
    )* };
}
tuples! {
    1 "a tuple of one" (A a 0);
    2 "a pair" (A a 0, B b 1);
    3 "a triple" (A a 0, B b 1, C c 2);
    4 "a tuple of 4" (A a 0, B b 1, C c 2, D d 3);
    5 "a tuple of 5" (A a 0, B b 1, C c 2, D d 3, E e 4);
    6 "a tuple of 6" (A a 0, B b 1, C c 2, D d 3, E e 4, F f 5);
    7 "a tuple of 7" (A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6);
    8 "a tuple of 8" (A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7);
}
