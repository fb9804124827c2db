//! Which constructors of a type's enums have arguments.
//!
//! serde names the constructors of an enum when a value is read, and asks for the arguments of the one that the input
//! names: so values are read from an input that names a constructor that has not been named before, until all have been.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::serde::de::value::StrDeserializer;
use ::serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

use super::Refusal;

/// How often values of a type are read at most: more than enough for any that is written by hand.
const MOST_TRIALS: usize = 1024;
/// How deep a trial's value may be nested, and how many values it may contain, before options are empty.
const DEEP: usize = 24;
const MANY: usize = 4000;
/// Where a trial ends.
const DEEPEST: usize = 100;
const MOST: usize = 20_000;

/// The enums in a type, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    enums: Vec<Enum>,
    /// How many values the trial's value contains so far.
    values: usize,
    /// How many values of enums have been read.
    ended: usize,
}

#[derive(Debug)]
struct Enum {
    name: &'static str,
    constructors: &'static [&'static str],
    known: Vec<Known>,
    /// How many values of it contain the place where the trial is.
    open: usize,
}

/// What is known of a constructor.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    has_arguments: Option<bool>,
    trials: usize,
    /// When a value of it was first read to its end, compared with others.
    ends: Option<usize>,
}

/// How OCaml represents a constructor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Constant(i64),
    Block(u8),
}

impl Enum {
    fn is(&self, name: &str, constructors: &[&str]) -> bool {
        self.name == name && self.constructors == constructors
    }

    /// The forms of the constructors, in their order.
    fn forms(&self) -> Option<Vec<Form>> {
        let (mut constants, mut blocks) = (0, 0u8);
        let form = |known: &Known| match known.has_arguments? {
            true => {
                let tag = blocks;
                // OCaml has no more tags; the constructor is refused where it is made.
                blocks = blocks.checked_add(1)?;
                Some(Form::Block(tag))
            }
            false => {
                constants += 1;
                Some(Form::Constant(constants - 1))
            }
        };
        self.known.iter().map(form).collect()
    }

    /// The constructor to try: one that has not been tried, or else the one that has been tried least. Inside of a value
    /// of the same enum it is the first that ended, since that one does not contain such a value itself.
    fn choose(&self, small: bool) -> Option<usize> {
        if let Some(untried) = self.known.iter().position(|known| known.trials == 0) {
            return Some(untried);
        }
        let all = self.known.iter().enumerate();
        let chosen = match small || self.open > 0 {
            true => all.filter(|(_, known)| known.ends.is_some()).min_by_key(|(_, known)| known.ends),
            false => all.min_by_key(|(_, known)| known.trials),
        };
        chosen.map(|(i, _)| i)
    }
}

impl Layouts {
    /// The form of a constructor that a value names.
    pub(super) fn form(&self, name: &str, constructor: &str) -> Result<Form, Refusal> {
        let mut found = self.enums.iter().filter(|it| it.name == name).filter_map(|it| {
            let i = it.constructors.iter().position(|other| *other == constructor)?;
            Some(it.forms()?[i])
        });
        match (found.next(), found.next()) {
            (Some(form), None) => Ok(form),
            (Some(form), Some(other)) if form == other => Ok(form),
            _ => Err(unknown(name)),
        }
    }

    /// The forms of an enum's constructors.
    pub(super) fn forms(&self, name: &str, constructors: &[&str]) -> Result<Vec<Form>, Refusal> {
        let found = self.enums.iter().find(|it| it.is(name, constructors));
        found.and_then(Enum::forms).ok_or_else(|| unknown(name))
    }

    fn has_untried(&self) -> bool {
        self.enums.iter().any(|it| it.known.iter().any(|known| known.trials == 0))
    }
}

fn unknown(name: &str) -> Refusal {
    Refusal::Custom(format!(
        "no trial showed which constructors of {name} have arguments; derive spelter::ToOcaml and FromOcaml instead"
    ))
}

/// The enums in a type.
pub(super) fn layouts<T: DeserializeOwned + 'static>() -> Arc<Layouts> {
    static KNOWN: Mutex<Option<HashMap<TypeId, Arc<Layouts>>>> = Mutex::new(None);
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(layouts) = known().as_ref().and_then(|known| known.get(&TypeId::of::<T>())) {
        return Arc::clone(layouts);
    }
    // The type's own code runs here, which may convert other values.
    let layouts = Arc::new(find::<T>());
    known().get_or_insert_default().insert(TypeId::of::<T>(), Arc::clone(&layouts));
    layouts
}

fn find<T: DeserializeOwned>() -> Layouts {
    let layouts = RefCell::new(Layouts::default());
    for _ in 0..MOST_TRIALS {
        // A trial that fails has told something all the same.
        let _ = T::deserialize(Probe { layouts: &layouts, depth: 0 });
        let mut found = layouts.borrow_mut();
        found.enums.iter_mut().for_each(|it| it.open = 0);
        found.values = 0;
        if !found.has_untried() {
            break;
        }
    }
    layouts.into_inner()
}

/// An input that answers every question, with numbers that are 1 and texts that are short.
#[derive(Clone, Copy)]
struct Probe<'a> {
    layouts: &'a RefCell<Layouts>,
    depth: usize,
}

impl Probe<'_> {
    fn deeper(self) -> Result<Self, Refusal> {
        let mut layouts = self.layouts.borrow_mut();
        layouts.values += 1;
        match self.depth < DEEPEST && layouts.values < MOST {
            true => Ok(Probe { depth: self.depth + 1, ..self }),
            false => Err(Refusal::too_deep()),
        }
    }

    /// How many elements a sequence or map has.
    fn elements(self) -> usize {
        usize::from(self.depth < DEEP && self.layouts.borrow().values < MANY)
    }
}

/// Some values in a row.
struct Row<'a> {
    probe: Probe<'a>,
    left: usize,
}

macro_rules! answers {
    ($($method:ident $visit:ident $answer:expr;)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            visitor.$visit($answer)
        }
    )* };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Refusal;

    answers! {
        deserialize_bool visit_bool true;
        deserialize_i8 visit_i8 1;
        deserialize_i16 visit_i16 1;
        deserialize_i32 visit_i32 1;
        deserialize_i64 visit_i64 1;
        deserialize_i128 visit_i128 1;
        deserialize_u8 visit_u8 1;
        deserialize_u16 visit_u16 1;
        deserialize_u32 visit_u32 1;
        deserialize_u64 visit_u64 1;
        deserialize_u128 visit_u128 1;
        deserialize_f32 visit_f32 1.0;
        deserialize_f64 visit_f64 1.0;
        deserialize_char visit_char 'a';
        deserialize_str visit_str "a";
        deserialize_string visit_str "a";
        deserialize_bytes visit_bytes b"a";
        deserialize_byte_buf visit_bytes b"a";
        deserialize_identifier visit_str "a";
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refusal> {
        Err(super::read::not_described())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if self.elements() == 0 { visitor.visit_none() } else { visitor.visit_some(self.deeper()?) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self.deeper()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_seq(Row { probe: self.deeper()?, left: self.elements() })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_seq(Row { probe: self.deeper()?, left: len })
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
        visitor.visit_map(Row { probe: self.deeper()?, left: self.elements() })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        constructors: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let probe = self.deeper()?;
        let (at, chosen) = {
            let mut layouts = self.layouts.borrow_mut();
            let at = layouts.enums.iter().position(|it| it.is(name, constructors)).unwrap_or_else(|| {
                let known = vec![Known::default(); constructors.len()];
                layouts.enums.push(Enum { name, constructors, known, open: 0 });
                layouts.enums.len() - 1
            });
            let small = layouts.values >= MANY;
            let found = &mut layouts.enums[at];
            let chosen = found.choose(small).ok_or_else(Refusal::too_deep)?;
            found.known[chosen].trials += 1;
            found.open += 1;
            (at, chosen)
        };
        let result = visitor.visit_enum(Trial { probe, at, chosen });
        let mut layouts = self.layouts.borrow_mut();
        layouts.ended += 1;
        let now = layouts.ended;
        let found = &mut layouts.enums[at];
        found.open = found.open.saturating_sub(1);
        if result.is_ok() {
            found.known[chosen].ends.get_or_insert(now);
        }
        result
    }
}

impl<'de> de::SeqAccess<'de> for Row<'_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.probe).map(Some)
    }
}

impl<'de> de::MapAccess<'de> for Row<'_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refusal> {
        seed.deserialize(self.probe)
    }
}

/// A trial of one constructor of the enum at this place.
struct Trial<'a> {
    probe: Probe<'a>,
    at: usize,
    chosen: usize,
}

impl Trial<'_> {
    fn learn(&self, has_arguments: bool) {
        self.probe.layouts.borrow_mut().enums[self.at].known[self.chosen].has_arguments = Some(has_arguments);
    }
}

impl<'de> de::EnumAccess<'de> for Trial<'_> {
    type Error = Refusal;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Refusal> {
        let name = self.probe.layouts.borrow().enums[self.at].constructors[self.chosen];
        let named: StrDeserializer<'_, Refusal> = name.into_deserializer();
        Ok((seed.deserialize(named)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Trial<'_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        self.learn(false);
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refusal> {
        self.learn(true);
        seed.deserialize(self.probe)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.learn(len > 0);
        visitor.visit_seq(Row { probe: self.probe, left: len })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.tuple_variant(fields.len(), visitor)
    }
}
