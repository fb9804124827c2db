//! OCaml's arrays.

use spelter_interp::Raise;
use spelter_interp::inspect::reachability::tag;

use super::{FromOcaml, OcamlType, ToOcaml, predefined};
use crate::context::{Context, Local};
use crate::wrong_type::WrongType;

/// An OCaml array. Those of floats are flat, as in OCaml; [`FloatArray`] converts them without boxes.
///
/// ```
/// use spelter::{Array, Vm};
///
/// let mut vm = Vm::builder().build();
/// let sizes = vm.with(|cx| {
///     let words = cx.make(&Array(vec!["tin", "zinc"]))?;
///     let words: Array<String> = cx.read(words)?;
///     Ok(words.0.iter().map(String::len).collect::<Vec<_>>())
/// })?;
/// assert_eq!(sizes, [3, 4]);
/// # Ok::<(), spelter::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Array<T>(pub Vec<T>);

impl<T: ToOcaml> ToOcaml for Array<T> {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        let Some((first, rest)) = self.0.split_first() else { return cx.block(0, &[]) };
        let first = first.to_ocaml(cx)?;
        let is_flat = cx.get(first).tag() == Ok(tag::DOUBLE);
        let array = if is_flat { cx.floats(self.0.len())? } else { cx.blank(self.0.len())? };
        set(cx, array, is_flat, 0, first)?;
        for (i, item) in rest.iter().enumerate() {
            cx.scope([array], |cx, [array]| {
                let item = item.to_ocaml(cx)?;
                set(cx, array, is_flat, i + 1, item)
            })?;
        }
        Ok(array)
    }

    fn ocaml_type() -> OcamlType {
        OcamlType::Predefined("array", vec![T::ocaml_type])
    }
}

fn set<'c>(
    cx: &mut Context<'c>,
    array: Local<'c>,
    is_flat: bool,
    i: usize,
    to: Local<'c>,
) -> Result<(), Raise> {
    if !is_flat {
        return Ok(cx.set_field(array, i, to)?);
    }
    let float = cx.get(to).float().map_err(|_| cx.wrong(to, "a float, as the array's first element"))?;
    cx.set_float(array, i, float)
}

impl<T: FromOcaml> FromOcaml for Array<T> {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        let found = cx.get(v);
        let (Ok(found_tag @ (0 | tag::DOUBLE_ARRAY)), Ok(len)) = (found.tag(), found.wosize()) else {
            return Err(cx.wrong(v, "an array"));
        };
        let mut items = Vec::new();
        for i in 0..len {
            let item = cx.scope([v], |cx, [v]| {
                let item = match found_tag {
                    tag::DOUBLE_ARRAY => cx.float_of(v, i)?,
                    _ => cx.field(v, i)?,
                };
                T::from_ocaml(cx, item)
            });
            items.push(item.map_err(|e| e.in_element(i))?);
        }
        Ok(Array(items))
    }

    fn ocaml_type() -> OcamlType {
        OcamlType::Predefined("array", vec![T::ocaml_type])
    }
}

/// An OCaml `float array` or `floatarray`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct FloatArray(pub Vec<f64>);

impl ToOcaml for FloatArray {
    fn to_ocaml<'c>(&self, cx: &mut Context<'c>) -> Result<Local<'c>, Raise> {
        cx.float_array(&self.0)
    }

    predefined!("floatarray");
}

impl FromOcaml for FloatArray {
    fn from_ocaml<'c>(cx: &mut Context<'c>, v: Local<'c>) -> Result<Self, WrongType> {
        let array = cx.get(v);
        let len = match (array.tag(), array.float_len()) {
            (Ok(0 | tag::DOUBLE_ARRAY), Ok(len)) => len,
            _ => return Err(cx.wrong(v, "an array of floats")),
        };
        let items: Result<Vec<f64>, _> = (0..len).map(|i| array.float_field(i)).collect();
        items.map(FloatArray).map_err(|_| cx.wrong(v, "an array of floats"))
    }

    predefined!("floatarray");
}
