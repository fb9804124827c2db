//! What an interface declares: OCaml's `Types.signature`, reduced to what a reader needs.

use super::types::{Path, TypeId};

/// A flag of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flag {
    /// Compiled with `-rectypes`.
    RecursiveTypes,
    /// It has alerts, such as `deprecated`.
    Alerts,
    /// Compiled with `-opaque`.
    Opaque,
    /// Compiled with `-unsafe-string` (OCaml 4).
    UnsafeString,
}

/// The items of an interface or of a submodule, in order.
#[derive(Debug, Clone, Default)]
pub struct Signature {
    /// The items.
    pub items: Vec<Item>,
}

/// An item of a signature.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Item {
    /// `val` or `external`
    Value(Value),
    /// `type`
    Type(TypeDeclaration),
    /// `exception`, or a constructor of an extensible type
    Extension(Extension),
    /// `module`
    Module(Module),
    /// `module type`
    ModuleType(NamedModuleType),
    /// `class`: only its name
    Class(String),
    /// `class type`: only its name
    ClassType(String),
}

/// `val name : ty` or `external name : ty = "primitive"`.
#[derive(Debug, Clone)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: TypeId,
    /// What an `external` stands for.
    pub primitive: Option<Primitive>,
}

/// The primitive of an `external`.
#[derive(Debug, Clone)]
pub struct Primitive {
    /// Its name; one with a `%` in front is the compiler's own.
    pub name: String,
    /// How many arguments it takes.
    pub arity: usize,
    /// Its name for native code; empty if it is the same.
    pub native_name: String,
    /// Whether it may allocate or raise (`[@@noalloc]` says that it does not).
    pub allocates: bool,
    /// How native code passes the arguments and, last, the result.
    pub native: Vec<Native>,
}

/// How native code passes a value to a primitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Native {
    /// As bytecode does.
    Same,
    /// `[@unboxed]`
    Unboxed,
    /// `[@untagged]`
    Untagged,
}

/// Whether a declaration is recursive, and where it is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recursion {
    /// The first of a group that is not recursive.
    None,
    /// The first of a recursive group.
    First,
    /// Another one of its group (`and`).
    Next,
}

/// A parameter of a type declaration.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// The variable, or what a constraint says that it is.
    pub ty: TypeId,
    /// Whether it may occur in positions where a subtype may stand for it.
    pub positive: bool,
    /// Whether it may occur in positions where a supertype may stand for it.
    pub negative: bool,
    /// Whether different arguments make different types.
    pub injective: bool,
}

/// `type …`
#[derive(Debug, Clone)]
pub struct TypeDeclaration {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// What it is.
    pub kind: TypeKind,
    /// What it abbreviates, or, for a record or a variant, the type that it equals.
    pub manifest: Option<TypeId>,
    /// Whether values can be taken apart but not made.
    pub private: bool,
    /// Whether its attributes say that values are immediate.
    pub immediate: Immediate,
    /// Its place in its group.
    pub recursion: Recursion,
    /// Whether it comes with a class, and is not written in the source.
    pub of_class: bool,
    /// The compiler's number for it, which paths name it by.
    pub(super) stamp: Option<i64>,
}

/// What a type declaration says about the representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Immediate {
    /// Nothing.
    Unknown,
    /// `[@@immediate]`: values are integers.
    Always,
    /// `[@@immediate64]`
    On64Bits,
}

/// The kind of a declared type.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TypeKind {
    /// An abstract type, or an abbreviation if it has a manifest.
    Abstract,
    /// A record.
    Record {
        /// Its fields, in the order of the block.
        fields: Vec<Field>,
        /// How values are represented.
        representation: RecordRepresentation,
    },
    /// A variant.
    Variant {
        /// Its constructors.
        constructors: Vec<Constructor>,
        /// Whether its one constructor is not there in values (`[@@unboxed]`).
        unboxed: bool,
    },
    /// An extensible type (`..`).
    Open,
    /// A type of the runtime (`external "name"`, from 5.5).
    External(String),
}

/// How values of a record type are represented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordRepresentation {
    /// A block of tag 0.
    Block,
    /// All fields are floats: a flat float array.
    Floats,
    /// As its one field (`[@@unboxed]`).
    Unboxed,
}

/// A field of a record.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Whether it is mutable.
    pub mutable: bool,
    /// Whether it is `[@atomic]` (from 5.4).
    pub atomic: bool,
    /// Its type.
    pub ty: TypeId,
}

/// A constructor of a variant.
#[derive(Debug, Clone)]
pub struct Constructor {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub arguments: Arguments,
    /// The type that it makes, if its declaration says so (`C : int -> int t`).
    pub result: Option<TypeId>,
    /// How its values are told from those of others.
    pub tag: ConstructorTag,
}

/// What values of a constructor look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConstructorTag {
    /// The integer of that value.
    Constant(usize),
    /// A block of that tag.
    Block(usize),
    /// Whatever its argument looks like.
    Unboxed,
}

/// The arguments of a constructor.
#[derive(Debug, Clone)]
pub enum Arguments {
    /// One after the other.
    Tuple(Vec<TypeId>),
    /// An inline record.
    Record(Vec<Field>),
}

impl Arguments {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        matches!(self, Arguments::Tuple(types) if types.is_empty())
    }
}

/// An exception, or a constructor added to an extensible type.
#[derive(Debug, Clone)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// The type that it belongs to; `exn` for an exception.
    pub of: Path,
    /// The type's parameters.
    pub parameters: Vec<TypeId>,
    /// Its arguments.
    pub arguments: Arguments,
    /// The type that it makes, if its declaration says so.
    pub result: Option<TypeId>,
    /// Whether values can be taken apart but not made.
    pub private: bool,
    /// How it is declared.
    pub place: ExtensionPlace,
}

/// How a constructor is added to a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExtensionPlace {
    /// The first of `type t += A | B`.
    First,
    /// Another one.
    Next,
    /// `exception A`
    Exception,
}

/// A submodule.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Whether it has a field in the module block. An alias of another module need not have one.
    pub present: bool,
    /// Its type.
    pub ty: ModuleType,
    /// Its place in its group.
    pub recursion: Recursion,
}

/// `module type …`
#[derive(Debug, Clone)]
pub struct NamedModuleType {
    /// Its name.
    pub name: String,
    /// What it stands for; `None` if it is abstract.
    pub ty: Option<ModuleType>,
}

/// The type of a module.
#[derive(Debug, Clone)]
pub enum ModuleType {
    /// The module type of that path.
    Named(Path),
    /// `sig … end`
    Signature(Signature),
    /// A functor.
    Functor {
        /// Its parameter; `None` if it is `()`.
        parameter: Option<Box<FunctorParameter>>,
        /// What it makes.
        result: Box<ModuleType>,
    },
    /// That of the module of that path, which it is the same as.
    Alias(Path),
}

/// The parameter of a functor.
#[derive(Debug, Clone)]
pub struct FunctorParameter {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its type.
    pub ty: ModuleType,
}

impl Item {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Item::Value(value) => &value.name,
            Item::Type(declaration) => &declaration.name,
            Item::Extension(extension) => &extension.name,
            Item::Module(module) => &module.name,
            Item::ModuleType(named) => &named.name,
            Item::Class(name) | Item::ClassType(name) => name,
        }
    }

    /// Whether it has a field in the module block: a value that is no primitive, an exception or another constructor of
    /// an extensible type, a module that is present, or a class.
    pub fn is_component(&self) -> bool {
        match self {
            Item::Value(value) => value.primitive.is_none(),
            Item::Extension(_) | Item::Class(_) => true,
            Item::Module(module) => module.present,
            Item::Type(_) | Item::ModuleType(_) | Item::ClassType(_) => false,
        }
    }
}

impl Signature {
    /// How many fields the module block has.
    pub fn size(&self) -> usize {
        self.items.iter().filter(|item| item.is_component()).count()
    }

    /// The field of the item of that index, if it has one.
    pub fn field(&self, index: usize) -> Option<usize> {
        let (before, item) = (self.items.get(..index)?, self.items.get(index)?);
        item.is_component().then(|| before.iter().filter(|item| item.is_component()).count())
    }

    /// The last value of that name, and its field.
    pub fn value(&self, name: &str) -> Option<(&Value, Option<usize>)> {
        self.last(|item| match item {
            Item::Value(value) if value.name == name => Some(value),
            _ => None,
        })
    }

    /// The last submodule of that name, and its field.
    pub fn module(&self, name: &str) -> Option<(&Module, Option<usize>)> {
        self.last(|item| match item {
            Item::Module(module) if module.name == name => Some(module),
            _ => None,
        })
    }

    /// The last exception of that name, and its field.
    pub fn exception(&self, name: &str) -> Option<(&Extension, Option<usize>)> {
        self.last(|item| match item {
            Item::Extension(extension) if extension.name == name => Some(extension),
            _ => None,
        })
    }

    /// The last type of that name.
    pub fn declaration(&self, name: &str) -> Option<&TypeDeclaration> {
        let found = self.last(|item| match item {
            Item::Type(declaration) if declaration.name == name => Some(declaration),
            _ => None,
        });
        found.map(|(declaration, _)| declaration)
    }

    /// The last module type of that name.
    pub fn module_type(&self, name: &str) -> Option<&NamedModuleType> {
        let found = self.last(|item| match item {
            Item::ModuleType(named) if named.name == name => Some(named),
            _ => None,
        });
        found.map(|(named, _)| named)
    }

    fn last<'a, T>(&'a self, what: impl Fn(&'a Item) -> Option<T>) -> Option<(T, Option<usize>)> {
        let (index, found) =
            self.items.iter().enumerate().rev().find_map(|(index, item)| Some((index, what(item)?)))?;
        Some((found, self.field(index)))
    }
}
