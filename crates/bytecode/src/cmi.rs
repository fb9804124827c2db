//! Compiled interfaces (`.cmi`): the types of a unit's values, and where the unit's module has them.
//!
//! A `.cmi` file holds the typechecker's graph of a signature. [`Interface::read`] resolves its links into a small
//! tree of items ([`Signature`]) and types ([`Type`]). Both are printed in OCaml's notation, and the interface's
//! digest is the one by which compiled units name it. The bodies of classes are not read.
//!
//! | to … | see |
//! |---|---|
//! | find a value, its type, and its field in the module block | [`Interface::value`] |
//! | walk a type | [`Type::kind`] |
//! | expand abbreviations, find the declaration of a type | [`Type::head`] |
//! | print an interface, or a type | `Display` of [`Interface`], of [`Type`] |
//!
//! ```
//! use spelter_bytecode::cmi::{Head, Interface, Kind};
//!
//! // type order = { item : string; count : int }
//! // type prices = (string * float) list
//! // external log : string -> unit = "host_log"
//! // val limit : int
//! // val decide : prices -> order -> bool
//! let interface = Interface::read(include_bytes!("../tests/fixtures/rule.cmi"))?;
//! let decide = interface.value("decide").expect("it is declared");
//! assert_eq!(decide.ty.to_string(), "prices -> order -> bool");
//! assert_eq!(decide.fields, Some(vec![1])); // after `limit`: an external has no field
//!
//! let Kind::Arrow { argument: prices, .. } = decide.ty.kind() else { panic!("a function") };
//! let Head::Predefined("list", elements) = prices.head(&|_| None)? else { panic!("a list") };
//! assert_eq!(elements[0].to_string(), "string * float");
//! # Ok::<(), spelter_bytecode::Error>(())
//! ```

mod expand;
mod print;
mod read;
mod tree;
mod types;

use std::collections::HashMap;

pub use expand::{Declared, Head, Units};
pub use tree::*;
pub use types::{Kind, Label, Path, Root, Row, Tag, Type, TypeId, hash_variant};

use crate::dialect::Dialect;
use crate::obj::CompilationUnit;
use crate::view::{Digest, Imports};

/// A compiled interface: the content of a `.cmi` file.
#[derive(Debug)]
pub struct Interface {
    /// The version that it was compiled by.
    pub dialect: &'static Dialect,
    /// The unit's name, such as `Stdlib__List`.
    pub name: String,
    /// What it declares.
    pub signature: Signature,
    /// The interfaces that it was compiled against; its own comes first.
    pub imports: Imports,
    /// Its flags.
    pub flags: Vec<Flag>,
    types: Vec<types::Node>,
    /// Where the declarations of local names are, by stamp: the indices of items in nested signatures.
    places: HashMap<i64, Vec<u32>>,
}

/// A value that was looked up in an interface.
#[derive(Debug, Clone)]
pub struct Found<'i> {
    /// Its declaration.
    pub value: &'i Value,
    /// Its type.
    pub ty: Type<'i>,
    /// The fields that lead to it: of the unit's module block, then of the block of each submodule. `None` for a
    /// primitive (`external`), which is no part of a module.
    pub fields: Option<Vec<usize>>,
}

impl Interface {
    /// The digest of the interface: what units that were compiled against it name it by (in
    /// [`imports`](crate::CompilationUnit::imports)).
    pub fn digest(&self) -> Option<Digest> {
        let (name, digest) = self.imports.first()?;
        if *name == self.name { *digest } else { None }
    }

    /// Whether it is the own interface of a unit: the unit was compiled with it, and names its digest.
    pub fn is_of(&self, unit: &CompilationUnit) -> bool {
        let digest = self.digest();
        let own = unit.imports.iter().find(|(name, _)| *name == self.name);
        unit.name == self.name && digest.is_some() && own.is_some_and(|(_, known)| *known == digest)
    }

    /// A handle of one of its types.
    ///
    /// # Panics
    ///
    /// When the type belongs to another interface that has more of them.
    pub fn ty(&self, id: TypeId) -> Type<'_> {
        assert!((id.0 as usize) < self.types.len(), "a type of another interface");
        Type { interface: self, id, bindings: None }
    }

    /// Looks a value up: `decide`, `+.`, or `Sub.decide` in a submodule. Of several declarations of a name the last one
    /// counts.
    ///
    /// Submodules must have a signature in this interface; one that is the alias of another unit, or is described by a
    /// module type of another unit, is not searched.
    pub fn value(&self, path: &str) -> Option<Found<'_>> {
        let mut signature = &self.signature;
        let mut fields = Vec::new();
        let mut name = path;
        while let Some((module, rest)) = name.split_once('.').filter(|_| is_module_name(name)) {
            let (module, field) = signature.module(module)?;
            signature = self.signature_of(&module.ty)?;
            fields.push(field?);
            name = rest;
        }
        let (value, field) = signature.value(name)?;
        fields.extend(field);
        let fields = field.map(|_| fields);
        Some(Found { value, ty: self.ty(value.ty), fields })
    }
}

fn is_module_name(path: &str) -> bool {
    path.starts_with(|first: char| first.is_uppercase())
}
