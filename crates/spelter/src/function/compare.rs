//! Compares an OCaml type of an interface with what Rust types say about theirs.

use std::collections::{HashMap, HashSet, VecDeque};

use spelter_bytecode::cmi::{
    Arguments, Declared, Field, Head, Interface, Kind, RecordRepresentation, Row, Type, TypeId, TypeKind,
    Units,
};

use super::same::Pairs;
use super::standard;
use crate::convert::{
    ConstructorArguments, OcamlType, Place, Placed, PolymorphicType, RecordLayout, RecordType, TypeOf,
    VariantType,
};

/// How many types are compared: an interface of unknown origin may nest them without an end.
const MOST: usize = 2000;

/// Whether the host makes the values or reads them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Made,
    Read,
}

/// Where two types differ.
pub(super) struct Difference {
    /// The field or argument, from the outside in.
    path: Vec<String>,
    what: What,
}

enum What {
    /// This is another type than this of the host.
    Types(String, String),
    Text(String),
}

impl Difference {
    /// What the types themselves do not show.
    pub(super) fn detail(&self) -> Option<String> {
        let path = self.path.join(", ");
        match &self.what {
            What::Types(..) if path.is_empty() => None,
            What::Types(ocaml, host) => Some(format!("{path} has type {ocaml}, the host's has type {host}")),
            What::Text(text) if path.is_empty() => Some(text.clone()),
            What::Text(text) => Some(format!("{path}: {text}")),
        }
    }
}

type Agreement = Result<(), What>;

fn differ(text: impl Into<String>) -> Agreement {
    Err(What::Text(text.into()))
}

fn types_differ(ty: &Type<'_>, host: TypeOf) -> Agreement {
    Err(What::Types(ty.to_string(), Placed(host, Place::Any).to_string()))
}

/// Types are compared once: a type within itself agrees if the rest does. Functions tell host types apart by address.
type Key = (usize, Side, *const Interface, TypeId, String);

/// One comparison.
pub(super) struct Comparison<'i, 'u> {
    units: &'u Units<'i, 'u>,
    compared: HashSet<Key>,
    /// What type variables stand for: the host types of the values that the host makes, or reads.
    variables: HashMap<(*const Interface, TypeId), TypeOf>,
    /// Where the types are that are being compared. After a difference it is where that is.
    path: Vec<String>,
    /// The declared types that are still to be compared: later, so that the shortest path to a difference is found.
    later: VecDeque<Later<'i>>,
    fuel: usize,
}

/// A declared type that is compared later, and where it is.
struct Later<'i> {
    ty: Type<'i>,
    host: TypeOf,
    side: Side,
    path: Vec<String>,
}

impl<'i, 'u> Comparison<'i, 'u> {
    pub(super) fn new(units: &'u Units<'i, 'u>) -> Self {
        Comparison {
            units,
            compared: HashSet::new(),
            variables: HashMap::new(),
            path: Vec::new(),
            later: VecDeque::new(),
            fuel: MOST,
        }
    }

    /// Compares a function that takes these arguments.
    pub(super) fn function(
        mut self,
        ty: &Type<'i>,
        arguments: &[TypeOf],
        result: TypeOf,
    ) -> Result<(), Difference> {
        self.arrows(ty, arguments, result).map_err(|what| Difference { path: self.path, what })
    }

    fn arrows(&mut self, ty: &Type<'i>, arguments: &[TypeOf], result: TypeOf) -> Agreement {
        let mut ty = ty.clone();
        for argument in arguments {
            let Head::Structural(arrow) = self.head(&ty)? else { return types_differ(&ty, result) };
            let Kind::Arrow { argument: parameter, result: rest, .. } = arrow.kind() else {
                return types_differ(&ty, result);
            };
            self.agree(&parameter, *argument, Side::Made)?;
            ty = rest;
        }
        // What the host makes determines what variables stand for, so it comes first.
        self.remaining()?;
        self.agree(&ty, result, Side::Read)?;
        self.remaining()
    }

    /// Compares the declared types that have been met.
    fn remaining(&mut self) -> Agreement {
        while let Some(Later { ty, host, side, path }) = self.later.pop_front() {
            self.path = path;
            self.shape(&ty, host, host(), side)?;
        }
        self.path.clear();
        Ok(())
    }

    /// Compares a part.
    fn inside(&mut self, step: String, ty: &Type<'i>, host: TypeOf, side: Side) -> Agreement {
        self.path.push(step);
        self.agree(ty, host, side)?;
        self.path.pop();
        Ok(())
    }

    fn head(&self, ty: &Type<'i>) -> Result<Head<'i>, What> {
        ty.head(self.units).map_err(|e| What::Text(e.to_string()))
    }

    fn agree(&mut self, ty: &Type<'i>, host: TypeOf, side: Side) -> Agreement {
        self.fuel = match self.fuel.checked_sub(1) {
            Some(fuel) => fuel,
            None => return differ("the types are too large to be compared"),
        };
        match host() {
            OcamlType::Any if !matches!(ty.kind(), Kind::Variable(_)) => Ok(()),
            OcamlType::Unknown(name) => differ(format!(
                "the Rust type {name} does not say its OCaml type: define `ocaml_type`, or derive it"
            )),
            OcamlType::Record(_) | OcamlType::Variant(_) | OcamlType::Polymorphic(_) => {
                let key = (host as usize, side, std::ptr::from_ref(ty.interface()), ty.id(), ty.to_string());
                if self.compared.insert(key) {
                    let (ty, path) = (ty.clone(), self.path.clone());
                    self.later.push_back(Later { ty, host, side, path });
                }
                Ok(())
            }
            shape => self.shape(ty, host, shape, side),
        }
    }

    fn shape(&mut self, ty: &Type<'i>, host: TypeOf, shape: OcamlType, side: Side) -> Agreement {
        if let Some((name, arguments)) = self.standard(ty) {
            return match shape {
                OcamlType::Predefined(expected, parts) => self
                    .predefined((name, &arguments), (expected, &parts), side)
                    .unwrap_or_else(|| types_differ(ty, host)),
                _ => types_differ(ty, host),
            };
        }
        match (self.head(ty)?, shape) {
            (Head::Structural(inner), shape) => self.structural(&inner, host, shape, side),
            (Head::Declared(declared), shape) => self.declared(&declared, ty, host, shape, side),
            (Head::Unknown(inner), _) => differ(format!(
                "the declaration of {inner} is in another interface: add it with `and_interface`"
            )),
            (Head::Predefined(..), _) => types_differ(ty, host),
        }
    }

    /// The predefined type that a type is, after as many expansions as that takes.
    fn standard(&self, ty: &Type<'i>) -> Option<(&'i str, Vec<Type<'i>>)> {
        let mut ty = ty.clone();
        for _ in 0..MOST {
            if let Some(found) = standard::name(&ty) {
                return Some(found);
            }
            ty = ty.expand(self.units).ok()??;
        }
        None
    }

    /// `None` if they have different names.
    fn predefined(
        &mut self,
        (name, arguments): (&str, &[Type<'i>]),
        (expected, parts): (&str, &[TypeOf]),
        side: Side,
    ) -> Option<Agreement> {
        // Text may be `bytes`, and bytes a `string`: they look the same.
        let is_text = |name| matches!(name, "string" | "bytes");
        if expected == "floatarray" && name == "array" {
            let [element] = arguments else { return None };
            return matches!(standard::name(element), Some(("float", _))).then_some(Ok(()));
        }
        if name != expected && !(is_text(name) && is_text(expected)) || arguments.len() != parts.len() {
            return None;
        }
        Some(arguments.iter().zip(parts).try_for_each(|(ty, host)| self.agree(ty, *host, side)))
    }

    fn structural(&mut self, ty: &Type<'i>, host: TypeOf, shape: OcamlType, side: Side) -> Agreement {
        match (ty.kind(), shape) {
            (Kind::Variable(_), _) => self.variable(ty, host, side),
            (_, OcamlType::Any) => Ok(()),
            (Kind::Tuple(types), OcamlType::Tuple(parts)) if types.len() == parts.len() => {
                types.iter().zip(parts).try_for_each(|((_, ty), host)| self.agree(ty, host, side))
            }
            (Kind::Variant(row), OcamlType::Polymorphic(shape)) => match side {
                Side::Made => self.tags_made(&row, &shape),
                Side::Read => self.tags_read(&row, &shape),
            },
            _ => types_differ(ty, host),
        }
    }

    /// A variable stands for one type. What is read may be taken as a value of any type.
    fn variable(&mut self, ty: &Type<'i>, host: TypeOf, side: Side) -> Agreement {
        let key = (std::ptr::from_ref(ty.interface()), ty.id());
        match self.variables.get(&key) {
            Some(known) if Pairs::default().same(*known, host) => Ok(()),
            Some(_) if side == Side::Read && matches!(host(), OcamlType::Any) => Ok(()),
            Some(known) => {
                let (known, host) = (Placed(*known, Place::Any), Placed(host, Place::Any));
                differ(format!("{ty} cannot be both {known} and {host}"))
            }
            None => {
                self.variables.insert(key, host);
                Ok(())
            }
        }
    }

    /// Each tag that the host makes is one that the code accepts.
    fn tags_made(&mut self, row: &Row<'i>, shape: &PolymorphicType) -> Agreement {
        for tag in &shape.tags {
            match row.tags.iter().find(|other| other.name == tag.name) {
                Some(found) => self.tag(found, tag.argument, Side::Made)?,
                None if row.closed => {
                    return differ(format!("the host's `{} is not among its tags", tag.name));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Each tag that the code makes is one that the host reads.
    fn tags_read(&mut self, row: &Row<'i>, shape: &PolymorphicType) -> Agreement {
        for found in &row.tags {
            match shape.tags.iter().find(|tag| tag.name == found.name) {
                Some(tag) => self.tag(found, tag.argument, Side::Read)?,
                None => return differ(format!("its tag `{} is not among the host's", found.name)),
            }
        }
        Ok(())
    }

    fn tag(
        &mut self,
        found: &spelter_bytecode::cmi::Tag<'i>,
        argument: Option<TypeOf>,
        side: Side,
    ) -> Agreement {
        match argument {
            None if found.arguments.is_empty() => Ok(()),
            None => differ(format!("`{} has an argument, the host's has none", found.name)),
            Some(_) if found.arguments.is_empty() => {
                differ(format!("`{} has no argument, the host's has one", found.name))
            }
            Some(host) => {
                let step = || format!("the argument of `{}", found.name);
                found.arguments.iter().try_for_each(|ty| self.inside(step(), ty, host, side))
            }
        }
    }

    fn declared(
        &mut self,
        declared: &Declared<'i>,
        ty: &Type<'i>,
        host: TypeOf,
        shape: OcamlType,
        side: Side,
    ) -> Agreement {
        let name = &declared.declaration.name;
        if matches!(shape, OcamlType::Any) {
            return Ok(());
        }
        if declared.declaration.private && side == Side::Made {
            return differ(format!("{name} is private: the host cannot make it"));
        }
        match (&declared.declaration.kind, shape) {
            (TypeKind::Record { representation, .. }, OcamlType::Record(shape)) => {
                self.record(declared, *representation, &shape, side)
            }
            (TypeKind::Variant { unboxed, .. }, OcamlType::Variant(shape)) => {
                self.variant(declared, *unboxed, &shape, side)
            }
            (TypeKind::Abstract | TypeKind::Open | TypeKind::External(_), _) => {
                differ(format!("{name} is abstract: take it as a `Value`"))
            }
            _ => types_differ(ty, host),
        }
    }

    fn record(
        &mut self,
        declared: &Declared<'i>,
        representation: RecordRepresentation,
        shape: &RecordType,
        side: Side,
    ) -> Agreement {
        let name = &declared.declaration.name;
        let fields: Vec<(&Field, Type<'i>)> = declared.fields();
        self.fields(name, &fields, &shape.fields, side)?;
        let layout = match representation {
            RecordRepresentation::Block => RecordLayout::Block,
            RecordRepresentation::Floats => RecordLayout::Floats,
            RecordRepresentation::Unboxed => RecordLayout::Unboxed,
        };
        let about = |layout| match layout {
            RecordLayout::Block => "a block of values",
            RecordLayout::Floats => "a flat record of floats",
            RecordLayout::Unboxed => "[@@unboxed]",
        };
        match layout == shape.layout {
            true => Ok(()),
            false => differ(format!("{name} is {}, the host's is {}", about(layout), about(shape.layout))),
        }
    }

    /// The fields of a record, or of the inline record of a constructor.
    fn fields(
        &mut self,
        of: &str,
        fields: &[(&Field, Type<'i>)],
        parts: &[(&'static str, TypeOf)],
        side: Side,
    ) -> Agreement {
        let names = |names: Vec<&str>| names.join(", ");
        if !fields.iter().map(|(field, _)| field.name.as_str()).eq(parts.iter().map(|(name, _)| *name)) {
            let own = names(fields.iter().map(|(field, _)| field.name.as_str()).collect());
            let host = names(parts.iter().map(|(name, _)| *name).collect());
            return differ(format!("the fields of {of} are {own}, the host's are {host}"));
        }
        for ((field, ty), (_, host)) in fields.iter().zip(parts) {
            self.inside(format!("field {} of {of}", field.name), ty, *host, side)?;
        }
        Ok(())
    }

    fn variant(
        &mut self,
        declared: &Declared<'i>,
        unboxed: bool,
        shape: &VariantType,
        side: Side,
    ) -> Agreement {
        let name = &declared.declaration.name;
        let constructors = declared.constructors();
        let own: Vec<&str> = constructors.iter().map(|it| it.name.as_str()).collect();
        let host: Vec<&str> = shape.constructors.iter().map(|it| it.name).collect();
        if own != host {
            let (own, host) = (own.join(" | "), host.join(" | "));
            return differ(format!("the constructors of {name} are {own}, the host's are {host}"));
        }
        if unboxed != shape.is_unboxed {
            let not = |unboxed| if unboxed { "" } else { "not " };
            let (own, host) = (not(unboxed), not(shape.is_unboxed));
            return differ(format!("{name} is {own}[@@unboxed], the host's is {host}[@@unboxed]"));
        }
        for (constructor, part) in constructors.iter().zip(&shape.constructors) {
            if constructor.result.is_some() {
                return differ(format!("{name} is a generalised variant: take it as a `Value`"));
            }
            self.arguments(declared, (&constructor.name, &constructor.arguments), &part.arguments, side)?;
        }
        Ok(())
    }

    fn arguments(
        &mut self,
        declared: &Declared<'i>,
        (name, arguments): (&str, &'i Arguments),
        shape: &ConstructorArguments,
        side: Side,
    ) -> Agreement {
        match (arguments, shape) {
            (Arguments::Tuple(types), ConstructorArguments::Tuple(parts)) if types.len() == parts.len() => {
                for (i, (ty, host)) in types.iter().zip(parts).enumerate() {
                    self.inside(format!("argument {} of {name}", i + 1), &declared.ty(*ty), *host, side)?;
                }
                Ok(())
            }
            (Arguments::Record(fields), ConstructorArguments::Record(parts)) => {
                let fields: Vec<_> = fields.iter().map(|field| (field, declared.ty(field.ty))).collect();
                self.fields(name, &fields, parts, side)
            }
            (Arguments::Tuple(types), ConstructorArguments::Tuple(parts)) => {
                let plural = |n: usize| format!("{n} argument{}", if n == 1 { "" } else { "s" });
                differ(format!("{name} has {}, the host's has {}", plural(types.len()), plural(parts.len())))
            }
            (Arguments::Record(_), _) => differ(format!("{name} has an inline record, the host's has none")),
            (_, ConstructorArguments::Record(_)) => {
                differ(format!("{name} has no inline record, the host's has one"))
            }
        }
    }
}
