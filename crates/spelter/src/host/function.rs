//! Host functions: Rust closures that OCaml code calls as primitives.

use std::cell::RefCell;

use spelter_interp::Raise;

use super::argument::{Argument, ContextArgument, Lending, check_views};
use super::reply::Reply;
use crate::context::{Context, Local};
use crate::convert::FromOcaml;
use crate::vm::VmBuilder;

/// Stands for the context in the signature of a function that takes it.
#[derive(Clone, Copy, Debug)]
pub struct InContext;

/// A Rust function that OCaml code can call as a primitive: see [`VmBuilder::primitive`].
///
/// It takes up to 8 arguments ([`Argument`]), before which it may take the [`Context`], and returns a [`Reply`]. `Signature`
/// is its type, as a function pointer; the compiler finds it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that OCaml code can call",
    label = "this is not such a function",
    note = "it takes up to 8 arguments, each with its type written (`|n: i64|`): those that implement `spelter::FromOcaml`, \
            `&str`, slices, `&Host<T>` of `Send` types, `Elements<'_, T>`",
    note = "before them it may take `cx: &mut Context<'_>`; then it cannot take `Elements`, which `Context::elements` lends",
    note = "its result implements `spelter::ToOcaml`, or is a `Host<T>`, or a `Result` of one of these and a `Raise` or another error",
    note = "it is `Fn`: `primitive_mut` takes functions that change what they capture",
    note = "`primitive_in_context` takes functions that work with OCaml values themselves"
)]
pub trait HostFunction<Signature> {
    /// The number of OCaml arguments.
    const ARITY: usize;

    /// Converts the arguments and calls the function. `args` must have `ARITY` elements.
    ///
    /// # Errors
    /// `Invalid_argument` when an argument has the wrong form; the function's own error.
    fn call<'c>(&self, cx: &mut Context<'c>, args: &[Local<'c>]) -> Result<Local<'c>, Raise>;
}

/// A Rust function that OCaml code can call as a primitive, and that changes what it captures: see
/// [`VmBuilder::primitive_mut`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that OCaml code can call",
    label = "this is not such a function",
    note = "it takes up to 8 arguments, each with its type written (`|n: i64|`): those that implement `spelter::FromOcaml`, \
            `&str`, slices, `&Host<T>` of `Send` types, `Elements<'_, T>`",
    note = "before them it may take `cx: &mut Context<'_>`; then it cannot take `Elements`, which `Context::elements` lends",
    note = "its result implements `spelter::ToOcaml`, or is a `Result` of such a value and a `Raise` or another error"
)]
pub trait HostFunctionMut<Signature> {
    /// The number of OCaml arguments.
    const ARITY: usize;

    /// Converts the arguments and calls the function. `args` must have `ARITY` elements.
    ///
    /// # Errors
    /// As for [`HostFunction::call`].
    fn call_mut<'c>(&mut self, cx: &mut Context<'c>, args: &[Local<'c>]) -> Result<Local<'c>, Raise>;
}

impl VmBuilder {
    /// Registers a Rust function that changes what it captures as the primitive `name`, as [`VmBuilder::primitive`] does
    /// for others. While it runs, it cannot be called again: a guest that it calls back, and that calls it, gets `Failure`.
    ///
    /// ```
    /// use spelter::{Error, Vm};
    ///
    /// let mut sum = 0;
    /// let add = move |n: i64| {
    ///     sum += n;
    ///     sum
    /// };
    /// // external double : int -> int = "host_double"
    /// # let mut vm = Vm::builder()
    /// #     .primitive_mut("host_double", add)
    /// #     .primitive("host_join", |a: &str, b: &str| format!("{a}{b}"))
    /// #     .primitive("host_fail", |_: &str| 0)
    /// #     .build();
    /// # vm.run_bytes("host.byte", include_bytes!("../../tests/fixtures/host.byte"))?;
    /// # vm.load_bytes("calls.cmo", include_bytes!("../../tests/fixtures/calls.cmo"))?;
    /// assert_eq!(vm.call::<i64>("double", (5i64,))?, 5);
    /// assert_eq!(vm.call::<i64>("double", (6i64,))?, 11);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn primitive_mut<S, F: HostFunctionMut<S> + Send + 'static>(self, name: &str, f: F) -> Self {
        let f = RefCell::new(f);
        let own_name = name.to_owned();
        self.primitive_in_context(name, F::ARITY, move |cx, args| match f.try_borrow_mut() {
            Ok(mut f) => f.call_mut(cx, args),
            Err(_) => Err(runs_already(&own_name)),
        })
    }
}

#[cold]
fn runs_already(name: &str) -> Raise {
    Raise::failure(format!("primitive {name} is running, and cannot be called again before it returns"))
}

/// A function without arguments takes OCaml's `()`.
fn expect_unit<'c>(cx: &mut Context<'c>, args: &[Local<'c>]) -> Result<(), Raise> {
    <()>::from_ocaml(cx, args[0]).map_err(|e| e.in_argument(0).into())
}

/// Implements a trait for functions of one kind of closure.
macro_rules! functions {
    ($trait:ident $method:ident $kind:ident ($($mut:tt)*) $arity:literal ($($t:ident $v:ident $i:tt),*)) => {
        impl<F, R, $($t),*> $trait<fn($($t),*) -> R> for F
        where
            F: $kind($($t),*) -> R,
            F: for<'a> $kind($($t::Arg<'a>),*) -> R,
            R: Reply,
            $($t: Argument,)*
        {
            const ARITY: usize = if $arity == 0 { 1 } else { $arity };

            fn $method<'c>(&$($mut)* self, cx: &mut Context<'c>, args: &[Local<'c>]) -> Result<Local<'c>, Raise> {
                // With both bounds in scope, the compiler does not know which call is meant.
                #[allow(clippy::too_many_arguments, reason = "the function has as many")]
                fn apply<R, $($t),*>(f: &$($mut)* impl $kind($($t),*) -> R, $($v: $t),*) -> R {
                    f($($v),*)
                }
                if $arity == 0 {
                    expect_unit(cx, args)?;
                }
                $(let mut $v = $t::hold(cx, args[$i]).map_err(|e| e.in_argument($i))?;)*
                // A view alone cannot overlap another one.
                if const { $arity > 1 && (false $(|| $t::IS_VIEW)*) } {
                    check_views(&[$($t::memory(&$v)),*])?;
                }
                apply(self, $($t::lend(&mut $v, Lending(()))),*).reply(cx)
            }
        }

        impl<F, R, $($t),*> $trait<fn(InContext, $($t),*) -> R> for F
        where
            F: for<'x, 'c> $kind(&'x mut Context<'c>, $($t),*) -> R,
            F: for<'x, 'c, 'a> $kind(&'x mut Context<'c>, $($t::Arg<'a>),*) -> R,
            R: Reply,
            $($t: ContextArgument,)*
        {
            const ARITY: usize = if $arity == 0 { 1 } else { $arity };

            fn $method<'c>(&$($mut)* self, cx: &mut Context<'c>, args: &[Local<'c>]) -> Result<Local<'c>, Raise> {
                #[allow(clippy::too_many_arguments, reason = "the function has as many")]
                fn apply<'c, R, $($t),*>(
                    f: &$($mut)* impl for<'x> $kind(&'x mut Context<'c>, $($t),*) -> R,
                    cx: &mut Context<'c>,
                    $($v: $t),*
                ) -> R {
                    f(cx, $($v),*)
                }
                if $arity == 0 {
                    expect_unit(cx, args)?;
                }
                $(let mut $v = $t::hold(cx, args[$i]).map_err(|e| e.in_argument($i))?;)*
                apply(self, cx, $($t::lend(&mut $v, Lending(()))),*).reply(cx)
            }
        }
    };
}

macro_rules! all_functions {
    ($($n:literal ($($arg:tt)*);)*) => { $(
        functions!(HostFunction call Fn () $n ($($arg)*));
        functions!(HostFunctionMut call_mut FnMut (mut) $n ($($arg)*));
    )* };
}

all_functions! {
    0 ();
    1 (A a 0);
    2 (A a 0, B b 1);
    3 (A a 0, B b 1, C c 2);
    4 (A a 0, B b 1, C c 2, D d 3);
    5 (A a 0, B b 1, C c 2, D d 3, E e 4);
    6 (A a 0, B b 1, C c 2, D d 3, E e 4, G g 5);
    7 (A a 0, B b 1, C c 2, D d 3, E e 4, G g 5, H h 6);
    8 (A a 0, B b 1, C c 2, D d 3, E e 4, G g 5, H h 6, I i 7);
}
