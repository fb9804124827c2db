//! Conversions between Rust values and OCaml values.
//!
//! OCaml values do not carry their types. A conversion checks everything visible (an integer, a string, a block of
//! tag 0 with exactly two fields, a list that ends); the host is responsible for the rest, unless it binds functions
//! by their interface ([`Vm::function`](crate::Vm::function)).

mod arguments;
mod arrays;
mod boxed;
mod integers;
mod lists;
mod ocaml_type;
pub mod support;
mod text;

pub use self::arguments::Args;
pub use self::arrays::{Array, FloatArray};
pub use self::boxed::{Int32, Int64, Nativeint, OcamlResult};
pub use self::ocaml_type::{
    ConstructorArguments, ConstructorType, OcamlType, PolymorphicType, RecordLayout, RecordType, TagType,
    TypeOf, VariantType,
};
pub(crate) use self::ocaml_type::{Place, Placed};
pub use self::text::Bytes;

use spelter_interp::{Kept, Raise};

use crate::context::{Context, Local};
use crate::wrong_type::WrongType;

/// A Rust value that can become an OCaml value.
///
/// | Rust | OCaml |
/// |---|---|
/// | `()`, `bool` | `unit`, `bool` |
/// | `i8` … `i64`, `u8` … `u64`, `isize`, `usize` | `int`; what does not fit is an error |
/// | [`Int32`], [`Int64`], [`Nativeint`] | `int32`, `int64`, `nativeint` |
/// | `f64` | `float` |
/// | `char` | `char`; only those up to `'\u{ff}'`, as OCaml's are bytes |
/// | `str`, `String`, `Cow<str>` | `string` |
/// | [`Bytes`], `[u8]`, `Vec<u8>`, `[u8; N]` | `string` or `bytes`: any bytes |
/// | `[T]`, `Vec<T>`, `[T; N]` | `list` |
/// | `BTreeMap`, `HashMap` | `(key * value) list` |
/// | [`Array`], [`FloatArray`] | `array`; `float array` or `floatarray` |
/// | `Option<T>` | `option` |
/// | [`OcamlResult`] | `result` |
/// | tuples of 2 to 8 | tuples |
/// | `&T`, `Box<T>`, `Cow<T>` | as `T` |
/// | [`Value`] | any type |
///
/// With the feature `derive`, `#[derive(ToOcaml)]` writes it for structs and enums: see the
/// [macro](macro@crate::ToOcaml). With the feature `serde`, `Serde` converts types that implement serde's traits.
///
/// A `Result` is no data here, because host functions return it to raise its error ([`Reply`](crate::Reply)). Reading a
/// `Result` reads OCaml's `result`. Big arrays are not copied either: functions borrow them as
/// [`Elements`](crate::Elements), and keep them as a [`Value`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no OCaml type",
    label = "it cannot become an OCaml value",
    note = "derive it with `#[derive(spelter::ToOcaml)]`, or implement `spelter::ToOcaml`",
    note = "use `spelter::Array` for OCaml's arrays, and `spelter::Value` for values of any type"
)]
pub trait ToOcaml {
    /// Whether the values are OCaml floats: OCaml stores records of floats flat.
    const IS_FLOAT: bool = false;

    /// Creates the OCaml value.
    ///
    /// # Errors
    /// When memory is exhausted; when the value does not fit (an integer of 64 bits).
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise>;

    /// The OCaml type of the values that it makes. Only typed functions need it ([`Vm::function`](crate::Vm::function)),
    /// which refuse types that do not say theirs.
    fn ocaml_type() -> OcamlType {
        OcamlType::Unknown(std::any::type_name::<Self>())
    }

    /// A slice of such values: a list, or for bytes a string.
    ///
    /// # Errors
    /// As for [`ToOcaml::to_ocaml`].
    #[doc(hidden)]
    fn slice_to_ocaml<'c>(items: &[Self], cx: &mut Context<'c>) -> Result<Local<'c>, Raise>
    where
        Self: Sized,
    {
        lists::make(items.iter(), cx)
    }

    /// The type of a slice of such values.
    #[doc(hidden)]
    fn slice_type() -> OcamlType
    where
        Self: Sized,
    {
        OcamlType::Predefined("list", vec![Self::ocaml_type])
    }
}

/// A Rust value that can be read from an OCaml value.
///
/// An implementation must not recurse by itself as deep as a value goes: guests make values of any depth, and running out
/// of native stack ends the process. Derived ones have a limit.
///
/// [`ToOcaml`] lists the types; those that borrow are missing here. With the feature `derive`, `#[derive(FromOcaml)]`
/// writes it for structs and enums: see the [macro](macro@crate::FromOcaml).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from an OCaml value",
    label = "no OCaml value becomes this",
    note = "derive it with `#[derive(spelter::FromOcaml)]`, or implement `spelter::FromOcaml`",
    note = "it must own its content (`String`, not `&str`); `spelter::Value` takes values of any type"
)]
pub trait FromOcaml: Sized {
    /// Whether the values are OCaml floats: OCaml stores records of floats flat.
    const IS_FLOAT: bool = false;

    /// Reads it.
    ///
    /// # Errors
    /// When the OCaml value has the wrong form.
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType>;

    /// The OCaml type of the values that it reads. Only typed functions need it
    /// ([`Vm::function`](crate::Vm::function)), which refuse types that do not say theirs.
    fn ocaml_type() -> OcamlType {
        OcamlType::Unknown(std::any::type_name::<Self>())
    }

    /// Reads a list of such values, or for bytes a string.
    ///
    /// # Errors
    /// As for [`FromOcaml::from_ocaml`].
    #[doc(hidden)]
    fn vec_from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Vec<Self>, WrongType> {
        lists::read(cx, v)
    }

    /// The type of a list of such values.
    #[doc(hidden)]
    fn vec_type() -> OcamlType {
        OcamlType::Predefined("list", vec![Self::ocaml_type])
    }
}

/// The type of a conversion whose OCaml type has no parameters.
macro_rules! predefined {
    ($name:literal) => {
        fn ocaml_type() -> crate::convert::OcamlType {
            crate::convert::OcamlType::Predefined($name, Vec::new())
        }
    };
}
pub(crate) use predefined;

/// An OCaml value of any type, which the host keeps alive until it drops this.
#[derive(Clone, Debug)]
pub struct Value(pub(crate) Kept);

impl ToOcaml for Value {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        Ok(cx.kept(self))
    }

    fn ocaml_type() -> OcamlType {
        OcamlType::Any
    }
}

impl FromOcaml for Value {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        Ok(cx.keep(v))
    }

    fn ocaml_type() -> OcamlType {
        OcamlType::Any
    }
}

impl<T: ToOcaml + ?Sized> ToOcaml for &T {
    const IS_FLOAT: bool = T::IS_FLOAT;

    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        (**self).to_ocaml(cx)
    }

    fn ocaml_type() -> OcamlType {
        T::ocaml_type()
    }
}

impl ToOcaml for () {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        Ok(cx.unit())
    }

    predefined!("unit");
}

impl FromOcaml for () {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        if cx.get(v).int() == Ok(0) { Ok(()) } else { Err(cx.wrong(v, "()")) }
    }

    predefined!("unit");
}

impl ToOcaml for bool {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        Ok(cx.int(i64::from(*self)))
    }

    predefined!("bool");
}

impl FromOcaml for bool {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        match cx.get(v).int() {
            Ok(0) => Ok(false),
            Ok(1) => Ok(true),
            _ => Err(cx.wrong(v, "a boolean")),
        }
    }

    predefined!("bool");
}

impl ToOcaml for f64 {
    const IS_FLOAT: bool = true;

    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        cx.float(*self)
    }

    predefined!("float");
}

impl FromOcaml for f64 {
    const IS_FLOAT: bool = true;

    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        cx.get(v).float().map_err(|_| cx.wrong(v, "a float"))
    }

    predefined!("float");
}

impl<T: ToOcaml> ToOcaml for Option<T> {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        let Some(v) = self else { return Ok(cx.int(0)) };
        let v = v.to_ocaml(cx)?;
        cx.block(0, &[v])
    }

    fn ocaml_type() -> OcamlType {
        OcamlType::Predefined("option", vec![T::ocaml_type])
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

    fn ocaml_type() -> OcamlType {
        OcamlType::Predefined("option", vec![T::ocaml_type])
    }
}

/// Checks that a value is a block of tag 0 with `fields` fields.
fn expect_fields<'c>(cx: &Context<'c>, v: Local<'c>, fields: usize, expected: &str) -> Result<(), WrongType> {
    let found = cx.get(v);
    if found.tag() == Ok(0) && found.wosize() == Ok(fields) { Ok(()) } else { Err(cx.wrong(v, expected)) }
}

fn field<'c, T: FromOcaml>(cx: &mut Context<'c>, v: Local<'c>, i: usize) -> Result<T, WrongType> {
    let field = cx.field(v, i)?;
    T::from_ocaml(cx, field).map_err(|e| e.in_field(i))
}
