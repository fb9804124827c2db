//! What a Rust type says about its OCaml type.

use std::fmt;

/// Tells a type. It is a function, because types may contain themselves.
pub type TypeOf = fn() -> OcamlType;

/// The OCaml type of a Rust type's values, one level of it. It prints in OCaml's notation.
///
/// ```
/// use spelter::ToOcaml;
///
/// let prices = <Vec<(String, f64)> as ToOcaml>::ocaml_type();
/// assert_eq!(prices.to_string(), "(string * float) list");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OcamlType {
    /// Any type: the host keeps the value without looking at it.
    Any,
    /// The Rust type of this name does not say.
    Unknown(&'static str),
    /// A predefined type, or `result`, and its arguments.
    Predefined(&'static str, Vec<TypeOf>),
    /// A tuple.
    Tuple(Vec<TypeOf>),
    /// A record.
    Record(RecordType),
    /// A variant.
    Variant(VariantType),
    /// A polymorphic variant.
    Polymorphic(PolymorphicType),
}

/// A record type.
#[derive(Clone, Debug)]
pub struct RecordType {
    /// Its name, which only messages show.
    pub name: &'static str,
    /// The arguments of a generic type, which only messages show.
    pub arguments: Vec<TypeOf>,
    /// The names and types of the fields, in order.
    pub fields: Vec<(&'static str, TypeOf)>,
    /// How values are represented.
    pub layout: RecordLayout,
}

/// How values of a record type are represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordLayout {
    /// A block of tag 0.
    Block,
    /// A flat array: all fields are floats.
    Floats,
    /// As the only field (`[@@unboxed]`).
    Unboxed,
}

/// A variant type.
#[derive(Clone, Debug)]
pub struct VariantType {
    /// Its name, which only messages show.
    pub name: &'static str,
    /// The arguments of a generic type, which only messages show.
    pub arguments: Vec<TypeOf>,
    /// Its constructors, in order.
    pub constructors: Vec<ConstructorType>,
    /// Whether values are those of the only constructor's only argument (`[@@unboxed]`).
    pub is_unboxed: bool,
}

/// A constructor of a variant.
#[derive(Clone, Debug)]
pub struct ConstructorType {
    /// Its name.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: ConstructorArguments,
}

/// The arguments of a constructor.
#[derive(Clone, Debug)]
pub enum ConstructorArguments {
    /// None, or some in order.
    Tuple(Vec<TypeOf>),
    /// An inline record.
    Record(Vec<(&'static str, TypeOf)>),
}

/// A polymorphic variant.
#[derive(Clone, Debug)]
pub struct PolymorphicType {
    /// Its name, which only messages show.
    pub name: &'static str,
    /// The arguments of a generic type, which only messages show.
    pub arguments: Vec<TypeOf>,
    /// Its tags, in any order.
    pub tags: Vec<TagType>,
}

/// A tag of a polymorphic variant.
#[derive(Clone, Debug)]
pub struct TagType {
    /// Its name, without the backquote.
    pub name: &'static str,
    /// The type of its argument, if it has one.
    pub argument: Option<TypeOf>,
}

/// How deep types are printed.
const DEEPEST: usize = 8;

/// Where a type stands: whether it needs parentheses.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Place {
    Any,
    /// In a tuple, or left of an arrow.
    Part,
    /// An argument of a type.
    Argument,
}

impl fmt::Display for OcamlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f, Place::Any, DEEPEST)
    }
}

/// A type at a place.
pub(crate) struct Placed(pub(crate) TypeOf, pub(crate) Place);

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)().print(f, self.1, DEEPEST)
    }
}

impl OcamlType {
    fn print(&self, f: &mut fmt::Formatter<'_>, place: Place, depth: usize) -> fmt::Result {
        let Some(depth) = depth.checked_sub(1) else { return f.write_str("...") };
        match self {
            OcamlType::Any => f.write_str("_"),
            OcamlType::Unknown(name) => write!(f, "(the Rust type {name})"),
            OcamlType::Predefined(name, arguments) => applied(f, name, arguments, depth),
            OcamlType::Record(RecordType { name, arguments, .. }) => applied(f, name, arguments, depth),
            OcamlType::Variant(VariantType { name, arguments, .. }) => applied(f, name, arguments, depth),
            OcamlType::Polymorphic(PolymorphicType { name, arguments, .. }) => {
                applied(f, name, arguments, depth)
            }
            OcamlType::Tuple(parts) => {
                let nested = place >= Place::Part;
                f.write_str(if nested { "(" } else { "" })?;
                list(f, parts, " * ", Place::Part, depth)?;
                f.write_str(if nested { ")" } else { "" })
            }
        }
    }
}

fn applied(f: &mut fmt::Formatter<'_>, name: &str, arguments: &[TypeOf], depth: usize) -> fmt::Result {
    match arguments {
        [] => {}
        [argument] => {
            argument().print(f, Place::Argument, depth)?;
            f.write_str(" ")?;
        }
        _ => {
            f.write_str("(")?;
            list(f, arguments, ", ", Place::Any, depth)?;
            f.write_str(") ")?;
        }
    }
    f.write_str(name)
}

fn list(
    f: &mut fmt::Formatter<'_>,
    types: &[TypeOf],
    between: &str,
    place: Place,
    depth: usize,
) -> fmt::Result {
    for (i, ty) in types.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { between })?;
        ty().print(f, place, depth)?;
    }
    Ok(())
}
