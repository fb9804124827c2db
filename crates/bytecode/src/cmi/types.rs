//! Types of the core language: the compiler's graph with its links resolved, and handles to walk it.

use std::sync::Arc;

use super::Interface;

/// A type of one interface. [`Interface::ty`] makes a handle of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(super) u32);

/// What stands before an arrow's argument.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Label {
    /// Nothing.
    None,
    /// `name:`
    Labelled(String),
    /// `?name:`; the argument's type is an `option`.
    Optional(String),
}

/// Where the names of a path are looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Root {
    /// In the interface of that unit.
    Unit(String),
    /// It is a type that every program has, such as `int`.
    Predefined(String),
    /// In the interface itself (or, in a functor, it is the parameter).
    Local {
        /// Its name.
        name: String,
        /// What tells it from others of the same name.
        stamp: i64,
    },
    /// In what a functor makes of an argument.
    Application(Box<(Path, Path)>),
}

/// The path of a type, a module or a module type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    /// Where it starts.
    pub root: Root,
    /// The names after that, such as `List` and `t` for `Stdlib.List.t`.
    pub names: Vec<String>,
}

impl Path {
    /// Whether it is the predefined type of that name.
    pub fn is_predefined(&self, name: &str) -> bool {
        self.names.is_empty() && matches!(&self.root, Root::Predefined(known) if known == name)
    }

    /// The last of its names.
    pub fn last(&self) -> &str {
        match (self.names.last(), &self.root) {
            (Some(name), _) => name,
            (None, Root::Unit(name) | Root::Predefined(name) | Root::Local { name, .. }) => name,
            (None, Root::Application(paths)) => paths.0.last(),
        }
    }
}

/// A node of the graph.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Var(Option<String>),
    /// A variable that a `Poly` quantifies.
    Univar(Option<String>),
    Arrow(Label, TypeId, TypeId),
    Tuple(Vec<(Option<String>, TypeId)>),
    Constr(Path, Vec<TypeId>),
    /// An object: its methods, and the class type that it abbreviates.
    Object(TypeId, Option<(Path, Vec<TypeId>)>),
    /// A method and the rest of them.
    Field {
        name: String,
        public: bool,
        ty: TypeId,
        rest: TypeId,
    },
    Nil,
    Variant(RowNode),
    Poly(TypeId, Vec<TypeId>),
    Package(PackageNode),
    /// A module-dependent function (from 5.5).
    Functor(Label, String, PackageNode, TypeId),
}

#[derive(Debug, Clone)]
pub(super) struct RowNode {
    pub(super) tags: Vec<(String, TagNode)>,
    pub(super) more: TypeId,
    pub(super) closed: bool,
    pub(super) name: Option<(Path, Vec<TypeId>)>,
}

#[derive(Debug, Clone)]
pub(super) enum TagNode {
    Present(Option<TypeId>),
    /// Possibly there; the flag says that it may be constant.
    Either(bool, Vec<TypeId>),
    Absent,
}

#[derive(Debug, Clone)]
pub(super) struct PackageNode {
    pub(super) path: Path,
    pub(super) constraints: Vec<(Vec<String>, TypeId)>,
}

/// The types that stand for a declaration's parameters.
#[derive(Debug)]
pub(super) struct Bindings<'i> {
    pub(super) parameters: Vec<(TypeId, Type<'i>)>,
    /// How many bindings lie within each other here.
    pub(super) depth: usize,
}

/// A type of an interface: a handle that is cheap to copy around.
///
/// [`kind`](Type::kind) shows one level of it. Types may contain themselves (`< next : 'a > as 'a`), so whoever walks
/// a type of an unknown file needs a limit. It prints in OCaml's notation, as `ocamlc -i` does; what is nested
/// too deep or too large is cut short with `...`.
#[derive(Debug, Clone)]
pub struct Type<'i> {
    pub(super) interface: &'i Interface,
    pub(super) id: TypeId,
    pub(super) bindings: Option<Arc<Bindings<'i>>>,
}

/// One level of a type.
#[derive(Debug, Clone)]
pub enum Kind<'i> {
    /// A type variable, with its name if the source gives one.
    Variable(Option<&'i str>),
    /// A function of one argument.
    Arrow {
        /// The argument's label.
        label: &'i Label,
        /// The argument's type, for an optional one including `option`.
        argument: Type<'i>,
        /// The result's type.
        result: Type<'i>,
    },
    /// A tuple; from 5.4 its parts may have labels.
    Tuple(Vec<(Option<&'i str>, Type<'i>)>),
    /// A type constructor applied to arguments.
    Constructor {
        /// Its path.
        path: &'i Path,
        /// Its arguments.
        arguments: Vec<Type<'i>>,
    },
    /// A polymorphic variant.
    Variant(Row<'i>),
    /// A type that is polymorphic itself: a method's, or a record field's.
    Polymorphic {
        /// What it quantifies.
        variables: Vec<Type<'i>>,
        /// The type in which they stand.
        body: Type<'i>,
    },
    /// An object, a first-class module, or a module-dependent function.
    Other,
}

/// A polymorphic variant.
#[derive(Debug, Clone)]
pub struct Row<'i> {
    /// Its tags, in the order of their names.
    pub tags: Vec<Tag<'i>>,
    /// Whether there are no others.
    pub closed: bool,
}

/// A tag of a polymorphic variant.
#[derive(Debug, Clone)]
pub struct Tag<'i> {
    /// Its name, without the backquote.
    pub name: &'i str,
    /// Whether values surely may have it; in `[< `A | `B > `A ]` this holds for `A` only.
    pub required: bool,
    /// Whether it may stand alone.
    pub constant: bool,
    /// Its argument's type; more than one in an intersection (`A of int & string`).
    pub arguments: Vec<Type<'i>>,
}

impl Tag<'_> {
    /// The number by which values are told apart: see [`hash_variant`].
    pub fn hash(&self) -> i32 {
        hash_variant(self.name)
    }
}

/// The number that stands for a polymorphic variant's tag in values.
///
/// ```
/// assert_eq!(spelter_bytecode::cmi::hash_variant("Ok"), 17724);
/// ```
pub fn hash_variant(name: &str) -> i32 {
    let hash = name.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(223).wrapping_add(byte.into()));
    // 31 bits, the highest of which is the sign.
    (hash << 1) as i32 >> 1
}

impl<'i> Type<'i> {
    /// The interface that it stands in.
    pub fn interface(&self) -> &'i Interface {
        self.interface
    }

    /// Which of its interface's types it is. Where a declaration is applied to arguments, several types have the same.
    pub fn id(&self) -> TypeId {
        self.id
    }

    /// Another type of the same interface, with the same types in place of parameters.
    pub(super) fn beside(&self, id: TypeId) -> Type<'i> {
        Type { id, ..self.clone() }.bound()
    }

    pub(super) fn each(&self, ids: &[TypeId]) -> Vec<Type<'i>> {
        ids.iter().map(|id| self.beside(*id)).collect()
    }

    /// What stands in its place if it is a parameter.
    fn bound(self) -> Type<'i> {
        let found = self.bindings.as_ref().and_then(|bindings| {
            bindings.parameters.iter().find(|(parameter, _)| *parameter == self.id).map(|(_, ty)| ty.clone())
        });
        found.unwrap_or(self)
    }

    pub(super) fn node(&self) -> &'i Node {
        &self.interface.types[self.id.0 as usize]
    }

    /// One level of it.
    pub fn kind(&self) -> Kind<'i> {
        match self.node() {
            Node::Var(name) | Node::Univar(name) => Kind::Variable(name.as_deref()),
            Node::Arrow(label, argument, result) => {
                Kind::Arrow { label, argument: self.beside(*argument), result: self.beside(*result) }
            }
            Node::Tuple(parts) => Kind::Tuple(
                parts.iter().map(|(label, part)| (label.as_deref(), self.beside(*part))).collect(),
            ),
            Node::Constr(path, arguments) => Kind::Constructor { path, arguments: self.each(arguments) },
            Node::Variant(row) => Kind::Variant(self.row(row)),
            Node::Poly(body, variables) => {
                Kind::Polymorphic { variables: self.each(variables), body: self.beside(*body) }
            }
            Node::Object(..) | Node::Field { .. } | Node::Nil | Node::Package(_) | Node::Functor(..) => {
                Kind::Other
            }
        }
    }

    fn row(&self, row: &'i RowNode) -> Row<'i> {
        let tag = |(name, tag): &'i (String, TagNode)| {
            let (required, constant, arguments) = match tag {
                TagNode::Present(None) => (true, true, Vec::new()),
                TagNode::Present(Some(argument)) => (true, false, vec![self.beside(*argument)]),
                TagNode::Either(constant, arguments) => (false, *constant, self.each(arguments)),
                TagNode::Absent => return None,
            };
            Some(Tag { name, required, constant, arguments })
        };
        Row { tags: row.tags.iter().filter_map(tag).collect(), closed: row.closed }
    }
}

#[cfg(test)]
mod tests {
    use super::hash_variant;

    #[test]
    fn hashes_of_tags_are_ocamls() {
        // From `Obj.magic` of these tags in OCaml.
        let hashes = [
            ("A", 65),
            ("Ok", 17724),
            ("Error", 106380200),
            ("Hello_world", 220873221),
            ("Warning", -685964740),
        ];
        for (name, hash) in hashes {
            assert_eq!(hash_variant(name), hash, "{name}");
        }
    }
}
