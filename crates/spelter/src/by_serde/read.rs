//! Reads OCaml values into what serde's `Deserialize` asks for.

use ::serde::de::value::StrDeserializer;
use ::serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use spelter_interp::inspect::reachability::tag;

use super::Refusal;
use super::probe::{Form, Layouts};
use crate::context::{Context, Local};
use crate::convert::support::{self, Form as Found};
use crate::convert::{Bytes, FromOcaml};
use crate::wrong_type::WrongType;

/// Reads a value.
pub(super) fn read<'c, T: DeserializeOwned>(
    cx: &mut Context<'c>,
    layouts: &Layouts,
    v: Local<'c>,
) -> Result<T, Refusal> {
    T::deserialize(Reader { cx, layouts, v })
}

/// The error for types that read whatever the input contains: OCaml values do not carry their types.
pub(super) fn not_described() -> Refusal {
    Refusal::Custom("OCaml values do not say which type they have".to_owned())
}

struct Reader<'a, 'c> {
    cx: &'a mut Context<'c>,
    layouts: &'a Layouts,
    v: Local<'c>,
}

/// What the parts of a block are called in messages.
#[derive(Clone, Copy)]
enum Parts {
    Tuple,
    Record(&'static str, &'static [&'static str]),
    /// Of an inline record, which is never flat.
    Inline(&'static str, &'static [&'static str]),
    Constructor(&'static str),
}

impl Parts {
    fn at(self, wrong: WrongType, i: usize) -> WrongType {
        match self {
            Parts::Tuple => wrong.in_field(i),
            Parts::Record(of, fields) | Parts::Inline(of, fields) => match fields.get(i) {
                Some(field) => wrong.in_record(field, of),
                None => wrong.in_field(i),
            },
            Parts::Constructor(constructor) => wrong.in_constructor(i, constructor),
        }
    }
}

impl<'a, 'c> Reader<'a, 'c> {
    fn simple<T: FromOcaml>(self) -> Result<T, Refusal> {
        Ok(T::from_ocaml(self.cx, self.v)?)
    }

    /// The fields of a block with this tag.
    fn fields(self, tag: u8, len: usize, parts: Parts, expected: &str) -> Result<Fields<'a, 'c>, Refusal> {
        let found = self.cx.get(self.v);
        let is_flat = matches!(parts, Parts::Record(..)) && found.tag() == Ok(tag::DOUBLE_ARRAY);
        if (is_flat || found.tag() == Ok(tag)) && found.wosize() == Ok(len) {
            return Ok(Fields { reader: self, next: 0, len, is_flat, parts });
        }
        let plural = if len == 1 { "" } else { "s" };
        Err(self.cx.wrong(self.v, format!("{expected} of {len} field{plural}")).into())
    }

    /// The cells of a list.
    fn cells(self) -> Result<Cells<'a, 'c>, Refusal> {
        let left = self.cx.list_len(self.v)?;
        let rest = self.cx.copy(self.v);
        Ok(Cells { reader: self, rest, left, next: 0 })
    }
}

/// Fields of a block, one after another.
struct Fields<'a, 'c> {
    reader: Reader<'a, 'c>,
    next: usize,
    len: usize,
    is_flat: bool,
    parts: Parts,
}

impl<'de> de::SeqAccess<'de> for Fields<'_, '_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        if self.next == self.len {
            return Ok(None);
        }
        let (i, is_flat, layouts) = (self.next, self.is_flat, self.reader.layouts);
        self.next += 1;
        let read = self.reader.cx.scope([self.reader.v], |cx, [block]| {
            let v = if is_flat { cx.float_of(block, i)? } else { cx.field(block, i)? };
            cx.deeper(|cx| seed.deserialize(Reader { cx, layouts, v }))
                .unwrap_or_else(|| Err(Refusal::too_deep()))
        });
        read.map(Some).map_err(|refusal| inside(refusal, |wrong| self.parts.at(wrong, i)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.len - self.next)
    }
}

/// Adds where in a value another one is wrong.
fn inside(refusal: Refusal, f: impl FnOnce(WrongType) -> WrongType) -> Refusal {
    match refusal {
        Refusal::Wrong(wrong) => Refusal::Wrong(f(wrong)),
        other => other,
    }
}

/// Elements of a list, one after another. Reading one may run code that changes the list: each step is checked.
struct Cells<'a, 'c> {
    reader: Reader<'a, 'c>,
    rest: Local<'c>,
    left: usize,
    next: usize,
}

impl Cells<'_, '_> {
    /// Reads the head of the next cell, or a part of it.
    fn head<'de, T: DeserializeSeed<'de>>(
        &mut self,
        part: Option<usize>,
        seed: T,
    ) -> Result<T::Value, Refusal> {
        let (i, layouts) = (self.next, self.reader.layouts);
        let read = self.reader.cx.scope([self.rest], |cx, [cell]| {
            expect_block(cx, cell, "a list")?;
            let mut v = cx.field(cell, 0)?;
            if let Some(part) = part {
                expect_block(cx, v, "a pair")?;
                v = cx.field(v, part).map_err(|wrong| wrong.in_field(part))?;
            }
            seed.deserialize(Reader { cx, layouts, v })
        });
        read.map_err(|refusal| inside(refusal, |wrong| wrong.in_element(i)))
    }

    fn advance(&mut self) -> Result<(), Refusal> {
        self.left -= 1;
        self.next += 1;
        Ok(self.reader.cx.advance(self.rest, 1)?)
    }
}

/// Expects a cell of a list, or a pair.
fn expect_block<'c>(cx: &Context<'c>, v: Local<'c>, expected: &str) -> Result<(), WrongType> {
    let found = cx.get(v);
    if found.tag() == Ok(0) && found.wosize() == Ok(2) { Ok(()) } else { Err(cx.wrong(v, expected)) }
}

impl<'de> de::SeqAccess<'de> for Cells<'_, '_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        if self.left == 0 {
            return Ok(None);
        }
        let element = self.head(None, seed)?;
        self.advance()?;
        Ok(Some(element))
    }
}

impl<'de> de::MapAccess<'de> for Cells<'_, '_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        if self.left == 0 { Ok(None) } else { self.head(Some(0), seed).map(Some) }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refusal> {
        if self.left == 0 {
            return Err(Refusal::Custom("a value without a key".to_owned()));
        }
        let value = self.head(Some(1), seed)?;
        self.advance()?;
        Ok(value)
    }
}

/// A constructor of an enum, and the value that has it.
struct Constructor<'a, 'c> {
    reader: Reader<'a, 'c>,
    name: &'static str,
    found: Found,
}

impl<'a, 'c> Constructor<'a, 'c> {
    fn fields(self, len: usize, parts: Parts) -> Result<Fields<'a, 'c>, Refusal> {
        let Found::Block(tag, _) = self.found else {
            let wrong =
                self.reader.cx.wrong(self.reader.v, format!("constructor {} with arguments", self.name));
            return Err(wrong.into());
        };
        let expected = format!("constructor {}", self.name);
        self.reader.fields(tag, len, parts, &expected)
    }
}

impl<'de, 'a, 'c> de::EnumAccess<'de> for Constructor<'a, 'c> {
    type Error = Refusal;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Refusal> {
        let named: StrDeserializer<'_, Refusal> = self.name.into_deserializer();
        Ok((seed.deserialize(named)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Constructor<'_, '_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        match self.found {
            Found::Constant(_) => Ok(()),
            Found::Block(..) => {
                Err(self.reader.cx.wrong(self.reader.v, format!("constructor {}", self.name)).into())
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refusal> {
        let parts = Parts::Constructor(self.name);
        let mut fields = self.fields(1, parts)?;
        let argument = de::SeqAccess::next_element_seed(&mut fields, seed)?;
        argument.ok_or_else(|| Refusal::Custom("a constructor without its argument".to_owned()))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refusal> {
        if len == 0 {
            return visitor.visit_seq(Nothing);
        }
        let parts = Parts::Constructor(self.name);
        visitor.visit_seq(self.fields(len, parts)?)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        if fields.is_empty() {
            return visitor.visit_seq(Nothing);
        }
        let parts = Parts::Inline(self.name, fields);
        visitor.visit_seq(self.fields(fields.len(), parts)?)
    }
}

/// No fields.
struct Nothing;

impl<'de> de::SeqAccess<'de> for Nothing {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, _: T) -> Result<Option<T::Value>, Refusal> {
        Ok(None)
    }
}

macro_rules! simple {
    ($($method:ident $visit:ident $type:ty;)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            visitor.$visit(self.simple::<$type>()?)
        }
    )* };
}

impl<'de> Deserializer<'de> for Reader<'_, '_> {
    type Error = Refusal;

    simple! {
        deserialize_bool visit_bool bool;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_f64 visit_f64 f64;
        deserialize_f32 visit_f64 f64;
        deserialize_char visit_char char;
        deserialize_str visit_string String;
        deserialize_string visit_string String;
        deserialize_identifier visit_string String;
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refusal> {
        Err(not_described())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_byte_buf(self.simple::<Bytes>()?.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let Reader { cx, layouts, v } = self;
        match (cx.get(v).int(), cx.get(v).tag(), cx.get(v).wosize()) {
            (Ok(0), ..) => visitor.visit_none(),
            (_, Ok(0), Ok(1)) => cx.scope([v], |cx, [v]| {
                let v = cx.field(v, 0)?;
                let read = visitor.visit_some(Reader { cx, layouts, v });
                read.map_err(|refusal| inside(refusal, |wrong| wrong.in_field(0)))
            }),
            _ => Err(cx.wrong(v, "an option").into()),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.simple::<()>()?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let Reader { cx, layouts, v } = self;
        cx.deeper(|cx| visitor.visit_newtype_struct(Reader { cx, layouts, v }))
            .unwrap_or_else(|| Err(Refusal::too_deep()))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_seq(self.cells()?)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refusal> {
        if len == 0 {
            self.simple::<()>()?;
            return visitor.visit_seq(Nothing);
        }
        visitor.visit_seq(self.fields(0, len, Parts::Tuple, "a tuple")?)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_map(self.cells()?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        if fields.is_empty() {
            self.simple::<()>()?;
            return visitor.visit_seq(Nothing);
        }
        let expected = format!("a record {name}");
        visitor.visit_seq(self.fields(0, fields.len(), Parts::Record(name, fields), &expected)?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        constructors: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let forms = self.layouts.forms(name, constructors)?;
        let found = support::form(self.cx, self.v);
        let is = |form: &Form| match (*form, found) {
            (Form::Constant(n), Found::Constant(m)) => n == m,
            (Form::Block(tag), Found::Block(found, _)) => tag == found,
            _ => false,
        };
        match forms.iter().position(is) {
            Some(i) => visitor.visit_enum(Constructor { reader: self, name: constructors[i], found }),
            None => Err(self.cx.wrong(self.v, format!("a constructor of {name}")).into()),
        }
    }
}
