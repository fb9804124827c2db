//! From a type to the declaration that it names, through abbreviations and other units' interfaces.

use std::sync::Arc;

use super::types::{Bindings, Node};
use super::*;
use crate::error::{Error, ErrorKind, Result};

/// How many abbreviations are expanded, and how many may be nested in the arguments of others.
const LONGEST: usize = 1000;

/// How many aliases of modules and names of module types are followed for one name.
const FURTHEST: usize = 100;

/// Finds the interface of another unit by its name, such as `Stdlib__Map`.
pub type Units<'i, 'f> = dyn Fn(&str) -> Option<&'i Interface> + 'f;

/// What a type is, once abbreviations are expanded.
#[derive(Debug, Clone)]
pub enum Head<'i> {
    /// A predefined type (`int`, `list`, …) and its arguments.
    Predefined(&'i str, Vec<Type<'i>>),
    /// A declared type: a record, a variant, or an abstract type.
    Declared(Declared<'i>),
    /// A type whose declaration was not found: the interface of its unit is missing, or it is that of a functor's
    /// parameter or result.
    Unknown(Type<'i>),
    /// A type that is no constructor: a function, a tuple, a variable, a polymorphic variant.
    Structural(Type<'i>),
}

/// A declaration, with the arguments that its parameters stand for.
#[derive(Debug, Clone)]
pub struct Declared<'i> {
    /// The interface that it stands in.
    pub interface: &'i Interface,
    /// The declaration.
    pub declaration: &'i TypeDeclaration,
    /// The arguments.
    pub arguments: Vec<Type<'i>>,
    bindings: Option<Arc<Bindings<'i>>>,
}

impl<'i> Declared<'i> {
    /// A type within the declaration (of a field, of an argument), with the arguments in place of the parameters.
    ///
    /// # Panics
    ///
    /// When the type belongs to another interface that has more of them.
    pub fn ty(&self, id: TypeId) -> Type<'i> {
        Type { bindings: self.bindings.clone(), ..self.interface.ty(id) }.beside(id)
    }

    /// The name and type of each field of a record; none for others.
    pub fn fields(&self) -> Vec<(&'i Field, Type<'i>)> {
        match &self.declaration.kind {
            TypeKind::Record { fields, .. } => {
                fields.iter().map(|field| (field, self.ty(field.ty))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The constructors of a variant; none for others.
    pub fn constructors(&self) -> &'i [Constructor] {
        match &self.declaration.kind {
            TypeKind::Variant { constructors, .. } => constructors,
            _ => &[],
        }
    }
}

impl<'i> Type<'i> {
    /// Expands one abbreviation: `prices` to `(string * float) list`. `None` if the type is none, or its declaration
    /// is not found.
    ///
    /// A private abbreviation is expanded as well: its values have the same representation.
    ///
    /// # Errors
    ///
    /// When abbreviations are nested without an end.
    pub fn expand(&self, units: &Units<'i, '_>) -> Result<Option<Type<'i>>> {
        let Some(declared) = self.declared(units)? else { return Ok(None) };
        match (&declared.declaration.kind, declared.declaration.manifest) {
            (TypeKind::Abstract, Some(manifest)) => Ok(Some(declared.ty(manifest))),
            _ => Ok(None),
        }
    }

    /// Expands abbreviations until there are no more, and finds the declaration.
    ///
    /// `units` finds the interfaces of other units; with `&|_| None` only this interface is searched.
    ///
    /// # Errors
    ///
    /// When abbreviations are nested without an end.
    pub fn head(&self, units: &Units<'i, '_>) -> Result<Head<'i>> {
        let mut ty = self.clone();
        for _ in 0..LONGEST {
            ty = match ty.expand(units)? {
                Some(next) => next,
                None => return ty.unexpanded(units),
            };
        }
        Err(endless())
    }

    fn unexpanded(&self, units: &Units<'i, '_>) -> Result<Head<'i>> {
        match self.node() {
            Node::Constr(path, arguments) => Ok(match (self.declared(units)?, &path.root) {
                (Some(declared), _) => Head::Declared(declared),
                (None, Root::Predefined(name)) if path.names.is_empty() => {
                    Head::Predefined(name, self.each(arguments))
                }
                _ => Head::Unknown(self.clone()),
            }),
            _ => Ok(Head::Structural(self.clone())),
        }
    }

    /// The declaration that a constructor names.
    fn declared(&self, units: &Units<'i, '_>) -> Result<Option<Declared<'i>>> {
        let Node::Constr(path, arguments) = self.node() else { return Ok(None) };
        let mut fuel = FURTHEST;
        let Some((interface, declaration)) = self.interface.find_type(path, units, &mut fuel) else {
            return Ok(None);
        };
        let arguments = self.each(arguments);
        let depth =
            arguments.iter().filter_map(|ty| ty.bindings.as_ref()).map(|bindings| bindings.depth).max();
        let depth = depth.unwrap_or(0) + 1;
        if depth > LONGEST {
            return Err(endless());
        }
        let parameters = declaration.parameters.iter().map(|parameter| parameter.ty);
        let bindings = (!arguments.is_empty()).then(|| {
            Arc::new(Bindings { parameters: parameters.zip(arguments.iter().cloned()).collect(), depth })
        });
        Ok(Some(Declared { interface, declaration, arguments, bindings }))
    }
}

#[cold]
fn endless() -> Error {
    Error::new(ErrorKind::Malformed("abbreviations of types are nested without an end".to_owned()))
}

/// A declaration found by its path.
enum Place<'i> {
    Interface(&'i Interface),
    Item(&'i Interface, &'i Item),
}

impl Interface {
    /// The signature of a module type, if it is in this interface.
    pub(super) fn signature_of<'i>(&'i self, ty: &'i ModuleType) -> Option<&'i Signature> {
        let mut fuel = FURTHEST;
        let (interface, signature) = self.signature_in(ty, &|_| None, &mut fuel)?;
        std::ptr::eq(interface, self).then_some(signature)
    }

    fn find_type<'i>(
        &'i self,
        path: &'i Path,
        units: &Units<'i, '_>,
        fuel: &mut usize,
    ) -> Option<(&'i Interface, &'i TypeDeclaration)> {
        match self.find(path, units, fuel, |signature, name| {
            signature.items.iter().rev().find(|item| matches!(item, Item::Type(_)) && item.name() == name)
        })? {
            Place::Item(interface, Item::Type(declaration)) => Some((interface, declaration)),
            _ => None,
        }
    }

    /// Finds what a path names. `last` finds its last name in a signature, the others are modules.
    fn find<'i>(
        &'i self,
        path: &'i Path,
        units: &Units<'i, '_>,
        fuel: &mut usize,
        last: fn(&'i Signature, &str) -> Option<&'i Item>,
    ) -> Option<Place<'i>> {
        *fuel = fuel.checked_sub(1)?;
        let mut place = match &path.root {
            Root::Unit(name) if *name == self.name => Place::Interface(self),
            Root::Unit(name) => Place::Interface(units(name)?),
            Root::Local { stamp, .. } => Place::Item(self, self.local(*stamp)?),
            Root::Predefined(_) | Root::Application(_) => return None,
        };
        for (index, name) in path.names.iter().enumerate() {
            let (interface, signature) = place.signature(units, fuel)?;
            let item =
                if index + 1 == path.names.len() { last(signature, name) } else { module(signature, name) };
            place = Place::Item(interface, item?);
        }
        Some(place)
    }

    /// The item of a stamp.
    fn local(&self, stamp: i64) -> Option<&Item> {
        let (last, modules) = self.places.get(&stamp)?.split_last()?;
        let mut signature = &self.signature;
        for index in modules {
            signature = match signature.items.get(*index as usize)? {
                Item::Module(Module { ty: ModuleType::Signature(inner), .. }) => inner,
                Item::ModuleType(NamedModuleType { ty: Some(ModuleType::Signature(inner)), .. }) => inner,
                _ => return None,
            };
        }
        signature.items.get(*last as usize)
    }

    fn signature_in<'i>(
        &'i self,
        ty: &'i ModuleType,
        units: &Units<'i, '_>,
        fuel: &mut usize,
    ) -> Option<(&'i Interface, &'i Signature)> {
        match ty {
            ModuleType::Signature(signature) => Some((self, signature)),
            ModuleType::Alias(path) => self.find(path, units, fuel, module)?.signature(units, fuel),
            ModuleType::Named(path) => self.find(path, units, fuel, module_type)?.signature(units, fuel),
            ModuleType::Functor { .. } => None,
        }
    }
}

fn module<'i>(signature: &'i Signature, name: &str) -> Option<&'i Item> {
    signature.items.iter().rev().find(|item| matches!(item, Item::Module(_)) && item.name() == name)
}

fn module_type<'i>(signature: &'i Signature, name: &str) -> Option<&'i Item> {
    signature.items.iter().rev().find(|item| matches!(item, Item::ModuleType(_)) && item.name() == name)
}

impl<'i> Place<'i> {
    /// The signature of a module or module type.
    fn signature(&self, units: &Units<'i, '_>, fuel: &mut usize) -> Option<(&'i Interface, &'i Signature)> {
        *fuel = fuel.checked_sub(1)?;
        match self {
            Place::Interface(interface) => Some((interface, &interface.signature)),
            Place::Item(interface, Item::Module(module)) => interface.signature_in(&module.ty, units, fuel),
            Place::Item(interface, Item::ModuleType(named)) => {
                interface.signature_in(named.ty.as_ref()?, units, fuel)
            }
            Place::Item(..) => None,
        }
    }
}
