//! Makes OCaml values of what serde's `Serialize` describes.

use ::serde::ser::{self, Serialize, Serializer};

use super::Refusal;
use super::probe::{Form, Layouts};
use crate::context::{Context, Local};
use crate::convert::{ToOcaml, support};

/// A value, and whether it is a float: records of floats are flat.
pub(super) struct Made<'c> {
    pub(super) value: Local<'c>,
    is_float: bool,
}

/// Makes a value.
pub(super) fn make<'c, T: Serialize + ?Sized>(
    cx: &mut Context<'c>,
    layouts: &Layouts,
    v: &T,
) -> Result<Made<'c>, Refusal> {
    v.serialize(Maker { cx, layouts })
}

struct Maker<'a, 'c> {
    cx: &'a mut Context<'c>,
    layouts: &'a Layouts,
}

impl<'c> Maker<'_, 'c> {
    fn simple<T: ToOcaml + ?Sized>(self, v: &T) -> Result<Made<'c>, Refusal> {
        Ok(Made { value: v.to_ocaml(self.cx)?, is_float: T::IS_FLOAT })
    }
}

/// What fields make together.
#[derive(Clone, Copy)]
enum Whole {
    /// A tuple; that of nothing is `()`.
    Tuple,
    /// A record, which may be flat.
    Record,
    Constructor(Form),
}

/// Fields of a block, one after another.
struct Fields<'a, 'c> {
    maker: Maker<'a, 'c>,
    whole: Whole,
    fields: Vec<Local<'c>>,
    all_floats: bool,
}

impl<'a, 'c> Fields<'a, 'c> {
    fn new(maker: Maker<'a, 'c>, whole: Whole, len: usize) -> Self {
        Fields { maker, whole, fields: Vec::with_capacity(len), all_floats: true }
    }

    fn of_constructor(
        maker: Maker<'a, 'c>,
        name: &'static str,
        constructor: &'static str,
        len: usize,
    ) -> Result<Self, Refusal> {
        let form = maker.layouts.form(name, constructor)?;
        match (form, len) {
            (Form::Constant(_), 0) | (Form::Block(_), 1..) => {
                Ok(Fields::new(maker, Whole::Constructor(form), len))
            }
            _ => Err(differ(name, constructor)),
        }
    }

    /// Makes the next field, one level deeper.
    fn push<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Refusal> {
        let layouts = self.maker.layouts;
        let made =
            self.maker.cx.deeper(|cx| make(cx, layouts, v)).unwrap_or_else(|| Err(Refusal::too_deep()))?;
        self.all_floats &= made.is_float;
        self.fields.push(made.value);
        Ok(())
    }

    fn finish(self) -> Result<Made<'c>, Refusal> {
        let cx = self.maker.cx;
        let value = match self.whole {
            Whole::Constructor(Form::Constant(n)) => cx.int(n),
            Whole::Constructor(Form::Block(tag)) => cx.block(tag, &self.fields)?,
            _ if self.fields.is_empty() => cx.unit(),
            Whole::Record if self.all_floats => support::float_record(cx, &self.fields)?,
            Whole::Tuple | Whole::Record => cx.block(0, &self.fields)?,
        };
        Ok(Made { value, is_float: false })
    }
}

/// The type writes itself in another way than it reads itself.
fn differ(name: &str, constructor: &str) -> Refusal {
    Refusal::Custom(format!("constructor {constructor} of {name} is written in another way than it is read"))
}

/// The elements of a list, the last one first.
struct Items<'a, 'c> {
    maker: Maker<'a, 'c>,
    list: Local<'c>,
    /// The key of the pair that is under way.
    key: Option<Local<'c>>,
}

impl<'a, 'c> Items<'a, 'c> {
    fn new(maker: Maker<'a, 'c>) -> Self {
        let list = maker.cx.int(0);
        Items { maker, list, key: None }
    }

    fn finish(self) -> Result<Made<'c>, Refusal> {
        let Items { maker: Maker { cx, .. }, list, .. } = self;
        let value = cx.int(0);
        while cx.get(list).is_block() {
            cx.scope([list, value], |cx, [list, value]| {
                let head = cx.field(list, 0)?;
                Ok::<(), Refusal>(cx.prepend(value, head)?)
            })?;
            cx.advance(list, 1)?;
        }
        Ok(Made { value, is_float: false })
    }
}

macro_rules! simple {
    ($($method:ident $type:ty;)*) => { $(
        fn $method(self, v: $type) -> Result<Made<'c>, Refusal> {
            self.simple(&v)
        }
    )* };
}

impl<'a, 'c> Serializer for Maker<'a, 'c> {
    type Ok = Made<'c>;
    type Error = Refusal;
    type SerializeSeq = Items<'a, 'c>;
    type SerializeMap = Items<'a, 'c>;
    type SerializeTuple = Fields<'a, 'c>;
    type SerializeTupleStruct = Fields<'a, 'c>;
    type SerializeTupleVariant = Fields<'a, 'c>;
    type SerializeStruct = Fields<'a, 'c>;
    type SerializeStructVariant = Fields<'a, 'c>;

    simple! {
        serialize_bool bool;
        serialize_i8 i8;
        serialize_i16 i16;
        serialize_i32 i32;
        serialize_i64 i64;
        serialize_u8 u8;
        serialize_u16 u16;
        serialize_u32 u32;
        serialize_u64 u64;
        serialize_f64 f64;
        serialize_char char;
        serialize_str &str;
        serialize_bytes &[u8];
    }

    fn serialize_f32(self, v: f32) -> Result<Made<'c>, Refusal> {
        self.simple(&f64::from(v))
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_none(self) -> Result<Made<'c>, Refusal> {
        self.simple(&())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, v: &T) -> Result<Made<'c>, Refusal> {
        let made = make(self.cx, self.layouts, v)?;
        Ok(Made { value: self.cx.block(0, &[made.value])?, is_float: false })
    }

    fn serialize_unit(self) -> Result<Made<'c>, Refusal> {
        self.simple(&())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Made<'c>, Refusal> {
        self.simple(&())
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        _: u32,
        constructor: &'static str,
    ) -> Result<Made<'c>, Refusal> {
        match self.layouts.form(name, constructor)? {
            Form::Constant(n) => self.simple(&n),
            Form::Block(_) => Err(differ(name, constructor)),
        }
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        v: &T,
    ) -> Result<Made<'c>, Refusal> {
        let Maker { cx, layouts } = self;
        cx.deeper(|cx| make(cx, layouts, v)).unwrap_or_else(|| Err(Refusal::too_deep()))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        constructor: &'static str,
        v: &T,
    ) -> Result<Made<'c>, Refusal> {
        let mut fields = Fields::of_constructor(self, name, constructor, 1)?;
        fields.push(v)?;
        fields.finish()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'a, 'c>, Refusal> {
        Ok(Items::new(self))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Items<'a, 'c>, Refusal> {
        Ok(Items::new(self))
    }

    fn serialize_tuple(self, len: usize) -> Result<Fields<'a, 'c>, Refusal> {
        Ok(Fields::new(self, Whole::Tuple, len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Fields<'a, 'c>, Refusal> {
        self.serialize_tuple(len)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        constructor: &'static str,
        len: usize,
    ) -> Result<Fields<'a, 'c>, Refusal> {
        Fields::of_constructor(self, name, constructor, len)
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Fields<'a, 'c>, Refusal> {
        Ok(Fields::new(self, Whole::Record, len))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        constructor: &'static str,
        len: usize,
    ) -> Result<Fields<'a, 'c>, Refusal> {
        Fields::of_constructor(self, name, constructor, len)
    }
}

impl<'c> ser::SerializeSeq for Items<'_, 'c> {
    type Ok = Made<'c>;
    type Error = Refusal;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Refusal> {
        let layouts = self.maker.layouts;
        self.maker.cx.scope([self.list], |cx, [list]| {
            let made = make(cx, layouts, v)?;
            Ok(cx.prepend(list, made.value)?)
        })
    }

    fn end(self) -> Result<Made<'c>, Refusal> {
        self.finish()
    }
}

impl<'c> ser::SerializeMap for Items<'_, 'c> {
    type Ok = Made<'c>;
    type Error = Refusal;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refusal> {
        self.key = Some(make(self.maker.cx, self.maker.layouts, key)?.value);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Refusal> {
        let Some(key) = self.key.take() else {
            return Err(Refusal::Custom("a value without a key".to_owned()));
        };
        let layouts = self.maker.layouts;
        self.maker.cx.scope([self.list, key], |cx, [list, key]| {
            let made = make(cx, layouts, v)?;
            let pair = cx.block(0, &[key, made.value])?;
            Ok(cx.prepend(list, pair)?)
        })
    }

    fn serialize_entry<K: Serialize + ?Sized, T: Serialize + ?Sized>(
        &mut self,
        key: &K,
        v: &T,
    ) -> Result<(), Refusal> {
        let layouts = self.maker.layouts;
        self.maker.cx.scope([self.list], |cx, [list]| {
            let key = make(cx, layouts, key)?;
            let made = make(cx, layouts, v)?;
            let pair = cx.block(0, &[key.value, made.value])?;
            Ok(cx.prepend(list, pair)?)
        })
    }

    fn end(self) -> Result<Made<'c>, Refusal> {
        self.finish()
    }
}

macro_rules! fields {
    ($($trait:ident $method:ident ($($name:ident)?);)*) => { $(
        impl<'c> ser::$trait for Fields<'_, 'c> {
            type Ok = Made<'c>;
            type Error = Refusal;

            fn $method<T: Serialize + ?Sized>(&mut self, $($name: &'static str,)? v: &T) -> Result<(), Refusal> {
                self.push(v)
            }

            fn end(self) -> Result<Made<'c>, Refusal> {
                self.finish()
            }
        }
    )* };
}

fields! {
    SerializeTuple serialize_element ();
    SerializeTupleStruct serialize_field ();
    SerializeTupleVariant serialize_field ();
    SerializeStruct serialize_field (_name);
    SerializeStructVariant serialize_field (_name);
}
