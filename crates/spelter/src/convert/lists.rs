//! Slices, vectors and arrays of a fixed length: lists. Maps: lists of pairs.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use spelter_interp::Raise;

use super::{FromOcaml, OcamlType, ToOcaml, expect_fields};
use crate::context::{Context, Local};
use crate::wrong_type::WrongType;

/// A list of these values. It is built from its end, so the last value is made first.
pub(super) fn make<'c, T: ToOcaml>(
    items: impl DoubleEndedIterator<Item = T>,
    cx: &mut Context<'c>,
) -> Result<Local<'c>, Raise> {
    let list = cx.int(0);
    for item in items.rev() {
        cx.scope([list], |cx, [list]| {
            let head = item.to_ocaml(cx)?;
            cx.prepend(list, head)
        })?;
    }
    Ok(list)
}

/// Calls `f` with each element of a list.
fn each<'c>(
    cx: &mut Context<'c>,
    v: Local<'c>,
    mut f: impl for<'s> FnMut(&mut Context<'s>, Local<'s>) -> Result<(), WrongType>,
) -> Result<(), WrongType> {
    let len = cx.list_len(v)?;
    let rest = cx.copy(v);
    // Reading an element may run code that changes the list: so each step is checked again, up to the initial length.
    for i in 0..len {
        expect_fields(cx, rest, 2, "a list").map_err(|e| e.in_element(i))?;
        let read = cx.scope([rest], |cx, [cell]| {
            let head = cx.field(cell, 0)?;
            f(cx, head)
        });
        read.map_err(|e| e.in_element(i))?;
        cx.advance(rest, 1)?;
    }
    if cx.get(rest).int() == Ok(0) { Ok(()) } else { Err(cx.wrong(rest, "the end of a list")) }
}

/// Calls `f` with the parts of each pair in a list of pairs.
fn each_pair<'c, K: FromOcaml, V: FromOcaml>(
    cx: &mut Context<'c>,
    v: Local<'c>,
    mut f: impl FnMut(K, V),
) -> Result<(), WrongType> {
    each(cx, v, |cx, pair| {
        let (key, value) = FromOcaml::from_ocaml(cx, pair)?;
        f(key, value);
        Ok(())
    })
}

/// The elements of a list.
pub(super) fn read<'c, T: FromOcaml>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Vec<T>, WrongType> {
    let mut items = Vec::new();
    each(cx, v, |cx, head| {
        items.push(T::from_ocaml(cx, head)?);
        Ok(())
    })?;
    Ok(items)
}

/// A list; of `u8`, a string.
impl<T: ToOcaml> ToOcaml for [T] {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        T::slice_to_ocaml(self, cx)
    }

    fn ocaml_type() -> OcamlType {
        T::slice_type()
    }
}

/// A list; of `u8`, a string.
impl<T: ToOcaml> ToOcaml for Vec<T> {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        T::slice_to_ocaml(self, cx)
    }

    fn ocaml_type() -> OcamlType {
        T::slice_type()
    }
}

/// A list; of `u8`, a string.
impl<T: FromOcaml> FromOcaml for Vec<T> {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        T::vec_from_ocaml(cx, v)
    }

    fn ocaml_type() -> OcamlType {
        T::vec_type()
    }
}

/// A list; of `u8`, a string.
impl<T: ToOcaml, const N: usize> ToOcaml for [T; N] {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        T::slice_to_ocaml(self, cx)
    }

    fn ocaml_type() -> OcamlType {
        T::slice_type()
    }
}

/// A list of exactly `N` elements; of `u8`, a string of `N` bytes.
impl<T: FromOcaml, const N: usize> FromOcaml for [T; N] {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        let items = T::vec_from_ocaml(cx, v)?;
        items.try_into().map_err(|_| cx.wrong(v, format!("exactly {N} elements")))
    }

    fn ocaml_type() -> OcamlType {
        T::vec_type()
    }
}

/// An association list, in the order of the keys.
impl<K: ToOcaml, V: ToOcaml> ToOcaml for BTreeMap<K, V> {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        make(self.iter(), cx)
    }

    fn ocaml_type() -> OcamlType {
        OcamlType::Predefined("list", vec![<(K, V) as ToOcaml>::ocaml_type])
    }
}

/// An association list. Of several pairs with a key the first one counts, as for `List.assoc`.
impl<K: FromOcaml + Ord, V: FromOcaml> FromOcaml for BTreeMap<K, V> {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        let mut map = BTreeMap::new();
        each_pair(cx, v, |key, value| _ = map.entry(key).or_insert(value))?;
        Ok(map)
    }

    fn ocaml_type() -> OcamlType {
        OcamlType::Predefined("list", vec![<(K, V) as FromOcaml>::ocaml_type])
    }
}

/// An association list, in any order.
impl<K: ToOcaml, V: ToOcaml, S> ToOcaml for HashMap<K, V, S> {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        let list = cx.int(0);
        for pair in self {
            cx.scope([list], |cx, [list]| {
                let head = pair.to_ocaml(cx)?;
                cx.prepend(list, head)
            })?;
        }
        Ok(list)
    }

    fn ocaml_type() -> OcamlType {
        OcamlType::Predefined("list", vec![<(K, V) as ToOcaml>::ocaml_type])
    }
}

/// An association list. Of several pairs with a key the first one counts, as for `List.assoc`.
impl<K: FromOcaml + Eq + Hash, V: FromOcaml, S: BuildHasher + Default> FromOcaml for HashMap<K, V, S> {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        let mut map = HashMap::default();
        each_pair(cx, v, |key, value| _ = map.entry(key).or_insert(value))?;
        Ok(map)
    }

    fn ocaml_type() -> OcamlType {
        OcamlType::Predefined("list", vec![<(K, V) as FromOcaml>::ocaml_type])
    }
}
