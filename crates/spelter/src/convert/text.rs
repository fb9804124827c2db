//! Characters, text and bytes.

use std::borrow::Cow;

use spelter_interp::Raise;

use super::{FromOcaml, OcamlType, ToOcaml, predefined};
use crate::context::{Context, Local};
use crate::wrong_type::WrongType;

/// The bytes of a string.
pub(super) fn bytes<'a, 'c>(cx: &'a Context<'c>, v: Local<'c>) -> Result<&'a [u8], WrongType> {
    cx.get(v).bytes().map_err(|_| cx.wrong(v, "a string"))
}

/// An OCaml `char` is a byte: it is the character of that number (Latin-1).
impl ToOcaml for char {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        match u8::try_from(*self) {
            Ok(byte) => Ok(cx.int(byte.into())),
            Err(_) => Err(Raise::invalid(format!(
                "the character {self:?} does not fit OCaml's char, which is a byte; pass it in a string"
            ))),
        }
    }

    predefined!("char");
}

impl FromOcaml for char {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        let byte = cx.get(v).int().ok().and_then(|n| u8::try_from(n).ok());
        byte.map(char::from).ok_or_else(|| cx.wrong(v, "a character, 0 to 255"))
    }

    predefined!("char");
}

impl ToOcaml for str {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        cx.string(self)
    }

    predefined!("string");
}

impl ToOcaml for String {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        cx.string(self)
    }

    predefined!("string");
}

impl FromOcaml for String {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        let text = std::str::from_utf8(bytes(cx, v)?).map_err(|_| cx.wrong(v, "a string in UTF-8"))?;
        Ok(text.to_owned())
    }

    predefined!("string");
}

impl<T: ToOwned + ToOcaml + ?Sized> ToOcaml for Cow<'_, T> {
    const IS_FLOAT: bool = T::IS_FLOAT;

    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        (**self).to_ocaml(cx)
    }

    fn ocaml_type() -> OcamlType {
        T::ocaml_type()
    }
}

/// It owns what it reads.
impl<T: ToOwned<Owned: FromOcaml> + ?Sized> FromOcaml for Cow<'_, T> {
    const IS_FLOAT: bool = <T::Owned as FromOcaml>::IS_FLOAT;

    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        T::Owned::from_ocaml(cx, v).map(Cow::Owned)
    }

    fn ocaml_type() -> OcamlType {
        T::Owned::ocaml_type()
    }
}

/// The bytes of an OCaml string, which need not be text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Bytes(pub Vec<u8>);

impl ToOcaml for Bytes {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        cx.string(&self.0)
    }

    predefined!("bytes");
}

impl FromOcaml for Bytes {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        bytes(cx, v).map(|bytes| Bytes(bytes.to_owned()))
    }

    predefined!("bytes");
}
