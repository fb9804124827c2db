//! Conversions between Rust values and OCaml values.
//!
//! OCaml values do not carry their types. A conversion checks everything visible (an integer, a string, a block of
//! tag 0 with exactly two fields, a list that ends); the host is responsible for the rest.

use std::fmt::Display;

use spelter_interp::{Kept, Raise};

use crate::context::{Context, Local};
use crate::wrong_type::WrongType;

/// A Rust value that can become an OCaml value.
pub trait ToOcaml {
    /// Creates the OCaml value.
    ///
    /// # Errors
    /// When memory is exhausted; the error of a host function that failed.
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise>;
}

/// A Rust value that can be read from an OCaml value.
pub trait FromOcaml: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// When the OCaml value has the wrong form.
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType>;
}

/// An OCaml value of any type, which the host keeps alive until it drops this.
#[derive(Clone, Debug)]
pub struct Value(pub(crate) Kept);

impl ToOcaml for Value {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        Ok(cx.kept(self))
    }
}

impl FromOcaml for Value {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        Ok(cx.keep(v))
    }
}

impl<T: ToOcaml + ?Sized> ToOcaml for &T {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        (**self).to_ocaml(cx)
    }
}

impl ToOcaml for () {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        Ok(cx.unit())
    }
}

impl FromOcaml for () {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        if cx.get(v).int() == Ok(0) { Ok(()) } else { Err(cx.wrong(v, "()")) }
    }
}

impl ToOcaml for i64 {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        Ok(cx.int(*self))
    }
}

impl FromOcaml for i64 {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        cx.get(v).int().map_err(|_| cx.wrong(v, "an integer"))
    }
}

impl ToOcaml for bool {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        Ok(cx.int(i64::from(*self)))
    }
}

impl FromOcaml for bool {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        match cx.get(v).int() {
            Ok(0) => Ok(false),
            Ok(1) => Ok(true),
            _ => Err(cx.wrong(v, "a boolean")),
        }
    }
}

impl ToOcaml for f64 {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        cx.float(*self)
    }
}

impl FromOcaml for f64 {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        cx.get(v).float().map_err(|_| cx.wrong(v, "a float"))
    }
}

impl ToOcaml for str {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        cx.string(self)
    }
}

impl ToOcaml for String {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        cx.string(self)
    }
}

impl FromOcaml for String {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        let bytes = cx.get(v).bytes().map_err(|_| cx.wrong(v, "a string"))?;
        let text = std::str::from_utf8(bytes).map_err(|_| cx.wrong(v, "a string in UTF-8"))?;
        Ok(text.to_owned())
    }
}

/// A string of any bytes.
impl ToOcaml for [u8] {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        cx.string(self)
    }
}

/// The bytes of an OCaml string, which need not be text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Bytes(pub Vec<u8>);

impl ToOcaml for Bytes {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        cx.string(&self.0)
    }
}

impl FromOcaml for Bytes {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        match cx.get(v).bytes() {
            Ok(bytes) => Ok(Bytes(bytes.to_owned())),
            Err(_) => Err(cx.wrong(v, "a string")),
        }
    }
}

/// Checks that a value is a block of tag 0 with `fields` fields.
fn expect_fields<'c>(cx: &Context<'c>, v: Local<'c>, fields: usize, expected: &str) -> Result<(), WrongType> {
    let found = cx.get(v);
    if found.tag() == Ok(0) && found.wosize() == Ok(fields) { Ok(()) } else { Err(cx.wrong(v, expected)) }
}

impl<T: ToOcaml> ToOcaml for Option<T> {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        let Some(v) = self else { return Ok(cx.int(0)) };
        let v = v.to_ocaml(cx)?;
        cx.block(0, &[v])
    }
}

impl<T: FromOcaml> FromOcaml for Option<T> {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        if cx.get(v).int() == Ok(0) {
            return Ok(None);
        }
        expect_fields(cx, v, 1, "an option")?;
        field(cx, v, 0).map(Some)
    }
}

/// A list.
impl<T: ToOcaml> ToOcaml for Vec<T> {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        let items: Vec<Local<'c>> = self.iter().map(|item| item.to_ocaml(cx)).collect::<Result<_, _>>()?;
        cx.list(&items)
    }
}

/// A list.
impl<T: FromOcaml> FromOcaml for Vec<T> {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        let len = cx.list_len(v)?;
        let mut items = Vec::new();
        let rest = cx.copy(v);
        // Reading an element may run code that changes the list: so each step is checked again, up to the initial
        // length.
        for i in 0..len {
            expect_fields(cx, rest, 2, "a list").map_err(|e| e.in_element(i))?;
            let item = cx.scope([rest], |cx, [cell]| {
                let head = cx.field(cell, 0)?;
                T::from_ocaml(cx, head)
            });
            items.push(item.map_err(|e| e.in_element(i))?);
            cx.advance(rest, 1)?;
        }
        if cx.get(rest).int() == Ok(0) { Ok(items) } else { Err(cx.wrong(rest, "the end of a list")) }
    }
}

fn field<'c, T: FromOcaml>(cx: &mut Context<'c>, v: Local<'c>, i: usize) -> Result<T, WrongType> {
    let field = cx.field(v, i)?;
    T::from_ocaml(cx, field).map_err(|e| e.in_field(i))
}

/// The result of a host function that may fail: the error is raised as `Failure` with its text.
impl<T: ToOcaml, E: Display> ToOcaml for Result<T, E> {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        match self {
            Ok(v) => v.to_ocaml(cx),
            Err(e) => Err(Raise::failure(e.to_string())),
        }
    }
}

/// Arguments of a function: a tuple with one element for each argument.
pub trait Args {
    /// Creates the OCaml values.
    ///
    /// # Errors
    /// As for [`ToOcaml::to_ocaml`].
    fn to_locals<'c>(&self, cx: &mut Context<'c>) -> Result<Vec<Local<'c>>, Raise>;
}

/// A Rust function that OCaml code can call as a primitive: a closure over OCaml-convertible arguments.
pub trait HostFunction<A> {
    /// The number of arguments.
    const ARITY: usize;

    /// Converts the arguments and calls the function. `args` must have `ARITY` elements.
    ///
    /// # Errors
    /// `Invalid_argument` when an argument has the wrong form; the function's own error.
    fn call<'c>(&self, cx: &mut Context<'c>, args: &[Local<'c>]) -> Result<Local<'c>, Raise>;
}

macro_rules! tuples {
    ($($n:literal $expected:literal ($($t:ident $v:ident $i:tt),*);)*) => { $(
        impl<$($t: ToOcaml),*> ToOcaml for ($($t,)*) {
            fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
                let fields = self.to_locals(cx)?;
                cx.block(0, &fields)
            }
        }

        impl<$($t: FromOcaml),*> FromOcaml for ($($t,)*) {
            fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
                expect_fields(cx, v, $n, $expected)?;
                Ok(($(field::<$t>(cx, v, $i)?,)*))
            }
        }

        impl<$($t: ToOcaml),*> Args for ($($t,)*) {
            fn to_locals<'c>(&self, cx: &mut Context<'c>) -> Result<Vec<Local<'c>>, Raise> {
                Ok(vec![$(self.$i.to_ocaml(cx)?),*])
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
}
