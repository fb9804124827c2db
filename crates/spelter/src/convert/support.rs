//! What the code that the derive macros write calls. Not for others: it may change at any time.

use spelter_interp::Raise;
use spelter_interp::inspect::reachability::tag;

use super::FromOcaml;
use crate::context::{Context, Local};
use crate::wrong_type::WrongType;

/// The type and name of a field or argument that is read, for messages.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// A field of a tuple.
    Tuple,
    /// A field of a record: its name, and the name of the type or of the constructor.
    Field(&'static str, &'static str),
    /// An argument of this constructor.
    Argument(&'static str),
    /// The argument of this tag of a polymorphic variant.
    Tag(&'static str),
}

/// Makes something one level deeper in a value of a recursive type.
///
/// # Errors
/// Those of `f`; `Failure` if that is too deep.
pub fn make<'c>(
    cx: &mut Context<'c>,
    type_name: &'static str,
    f: impl FnOnce(&mut Context<'c>) -> Result<Local<'c>, Raise>,
) -> Result<Local<'c>, Raise> {
    cx.deeper(f)
        .unwrap_or_else(|| Err(Raise::failure(format!("a value of type {type_name} is nested too deeply"))))
}

/// Reads something one level deeper in a value of a recursive type.
///
/// # Errors
/// Those of `f`; also if that is too deep.
pub fn read<'c, T>(
    cx: &mut Context<'c>,
    v: Local<'c>,
    type_name: &'static str,
    f: impl FnOnce(&mut Context<'c>) -> Result<T, WrongType>,
) -> Result<T, WrongType> {
    match cx.deeper(f) {
        Some(result) => result,
        None => Err(cx.wrong(v, format!("a value of type {type_name} that is not nested so deeply"))),
    }
}

/// A flat record of these floats.
///
/// # Errors
/// When memory is exhausted, or one is no float.
pub fn float_record<'c>(cx: &mut Context<'c>, fields: &[Local<'c>]) -> Result<Local<'c>, Raise> {
    let record = cx.floats(fields.len())?;
    for (i, field) in fields.iter().enumerate() {
        let float = cx.get(*field).float().map_err(|_| cx.wrong(*field, "a float"))?;
        cx.set_float(record, i, float)?;
    }
    Ok(record)
}

/// Checks that a value is a record of the type, or a tuple.
///
/// # Errors
/// When it is not.
pub fn expect_record<'c>(
    cx: &Context<'c>,
    v: Local<'c>,
    what: &'static str,
    fields: usize,
    is_flat: bool,
) -> Result<(), WrongType> {
    let expected_tag = if is_flat { tag::DOUBLE_ARRAY } else { 0 };
    let found = cx.get(v);
    match found.tag() == Ok(expected_tag) && found.wosize() == Ok(fields) {
        true => Ok(()),
        false => {
            let unit = if is_flat { "float" } else { "field" };
            let plural = if fields == 1 { "" } else { "s" };
            Err(cx.wrong(v, format!("{what} of {fields} {unit}{plural}")))
        }
    }
}

/// Reads field `i` of a record, of a tuple or of a constructor.
///
/// # Errors
/// When it has another type, with its name.
pub fn field<'c, T: FromOcaml>(
    cx: &mut Context<'c>,
    v: Local<'c>,
    i: usize,
    is_flat: bool,
    at: At,
) -> Result<T, WrongType> {
    let field = if is_flat { cx.float_of(v, i)? } else { cx.field(v, i)? };
    T::from_ocaml(cx, field).map_err(|wrong| match at {
        At::Tuple => wrong.in_field(i),
        At::Field(name, of) => wrong.in_record(name, of),
        At::Argument(constructor) => wrong.in_constructor(i, constructor),
        At::Tag(tag) => wrong.in_constructor(0, tag),
    })
}

/// How a value of a variant is told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A constant constructor.
    Constant(i64),
    /// A constructor with arguments: its tag, and how many they are.
    Block(u8, usize),
}

/// The form of a value of a variant.
pub fn form<'c>(cx: &Context<'c>, v: Local<'c>) -> Form {
    let found = cx.get(v);
    match (found.int(), found.tag(), found.wosize()) {
        (Ok(n), ..) => Form::Constant(n),
        (_, Ok(tag), Ok(size)) => Form::Block(tag, size),
        // A block has both.
        _ => Form::Block(u8::MAX, 0),
    }
}

/// The number of a polymorphic variant's tag, and whether it has an argument.
///
/// # Errors
/// When the value is no polymorphic variant.
pub fn tag_of<'c>(
    cx: &mut Context<'c>,
    v: Local<'c>,
    type_name: &'static str,
) -> Result<(i64, bool), WrongType> {
    let found = cx.get(v);
    if let Ok(hash) = found.int() {
        return Ok((hash, false));
    }
    let hash = match (found.tag(), found.wosize()) {
        (Ok(0), Ok(2)) => found.field(0).and_then(|hash| hash.int()).ok(),
        _ => None,
    };
    hash.map(|hash| (hash, true)).ok_or_else(|| wrong_constructor(cx, v, type_name))
}

/// The error that no constructor of the type has this form.
pub fn wrong_constructor<'c>(cx: &Context<'c>, v: Local<'c>, type_name: &'static str) -> WrongType {
    cx.wrong(v, format!("a constructor of {type_name}"))
}
