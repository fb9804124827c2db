//! Boxed integers, boxes, and OCaml's `result`.

use spelter_interp::Raise;

use super::{FromOcaml, OcamlType, ToOcaml, field, predefined};
use crate::context::{Context, Local};
use crate::wrong_type::WrongType;

/// Makes a newtype of an OCaml type of boxed integers.
macro_rules! boxed_integers {
    ($($(#[$doc:meta])* $name:ident($int:ty) $ocaml:literal $expected:literal $make:ident $read:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $int);

        impl ToOcaml for $name {
            fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
                cx.$make(self.0)
            }

            predefined!($ocaml);
        }

        impl FromOcaml for $name {
            fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
                cx.$read(v).map($name).ok_or_else(|| cx.wrong(v, $expected))
            }

            predefined!($ocaml);
        }
    )* };
}

boxed_integers! {
    /// An OCaml `int32`.
    Int32(i32) "int32" "an int32" int32 read_int32;
    /// An OCaml `int64`. (A Rust `i64` is an OCaml `int`.)
    Int64(i64) "int64" "an int64" int64 read_int64;
    /// An OCaml `nativeint`.
    Nativeint(i64) "nativeint" "a nativeint" nativeint read_nativeint;
}

impl<T: ToOcaml + ?Sized> ToOcaml for Box<T> {
    const IS_FLOAT: bool = T::IS_FLOAT;

    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        (**self).to_ocaml(cx)
    }

    fn ocaml_type() -> OcamlType {
        T::ocaml_type()
    }
}

impl<T: FromOcaml> FromOcaml for Box<T> {
    const IS_FLOAT: bool = T::IS_FLOAT;

    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        T::from_ocaml(cx, v).map(Box::new)
    }

    fn ocaml_type() -> OcamlType {
        T::ocaml_type()
    }
}

/// OCaml's `result` as data. (A plain `Result` that becomes an OCaml value raises its error.)
///
/// ```
/// use spelter::{OcamlResult, Vm};
///
/// let mut vm = Vm::builder().build();
/// let back: Result<i64, String> = vm.with(|cx| {
///     let v = cx.make(&OcamlResult::<i64, &str>(Err("no more zinc")))?;
///     Ok(cx.read(v)?)
/// })?;
/// assert_eq!(back, Err("no more zinc".to_owned()));
/// # Ok::<(), spelter::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OcamlResult<T, E>(pub Result<T, E>);

impl<T: ToOcaml, E: ToOcaml> ToOcaml for OcamlResult<T, E> {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        let (tag, argument) = match &self.0 {
            Ok(v) => (0, v.to_ocaml(cx)?),
            Err(e) => (1, e.to_ocaml(cx)?),
        };
        cx.block(tag, &[argument])
    }

    fn ocaml_type() -> OcamlType {
        OcamlType::Predefined("result", vec![T::ocaml_type, E::ocaml_type])
    }
}

impl<T: FromOcaml, E: FromOcaml> FromOcaml for OcamlResult<T, E> {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        Result::from_ocaml(cx, v).map(OcamlResult)
    }

    fn ocaml_type() -> OcamlType {
        <Result<T, E> as FromOcaml>::ocaml_type()
    }
}

/// OCaml's `result`.
impl<T: FromOcaml, E: FromOcaml> FromOcaml for Result<T, E> {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        let found = cx.get(v);
        match (found.tag(), found.wosize()) {
            (Ok(0), Ok(1)) => field(cx, v, 0).map(Ok),
            (Ok(1), Ok(1)) => field(cx, v, 0).map(Err),
            _ => Err(cx.wrong(v, "a result")),
        }
    }

    fn ocaml_type() -> OcamlType {
        OcamlType::Predefined("result", vec![T::ocaml_type, E::ocaml_type])
    }
}
