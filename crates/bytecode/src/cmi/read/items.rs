//! The items of a signature, and module types.

use super::names::{Identifier, identifier, path};
use super::types::option;
use super::{DEEPEST, Reader, Todo, too_deep};
use crate::cmi::*;
use crate::dialect::Release;
use crate::error::Result;
use crate::marshal::{Item as Raw, Node as RawNode};
use crate::room;
use crate::view::View;

/// The tags of `Types.signature_item`.
const VALUE: u8 = 0;
const TYPE: u8 = 1;
const EXTENSION: u8 = 2;
const MODULE: u8 = 3;
const MODULE_TYPE: u8 = 4;
const CLASS: u8 = 5;
const CLASS_TYPE: u8 = 6;

impl Reader {
    pub(super) fn signature<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<Signature> {
        let mut items = Vec::new();
        // A class is followed by the types that it brings along.
        let mut of_class = 0;
        for item in view.list()? {
            self.place.push(items.len() as u32);
            let read = self.item(item.of(item.item, "item of a signature"), todo)?;
            self.place.pop();
            let hash_type = usize::from(self.dialect.release < Release::V5_1);
            match read {
                (Item::Class(name), stamp) => {
                    of_class = 2 + hash_type;
                    self.remember(stamp, None)?;
                    room::push(&mut items, Item::Class(name))?;
                }
                (Item::ClassType(_), _) if of_class > 0 => of_class -= 1,
                (Item::ClassType(name), _) => {
                    of_class = 1 + hash_type;
                    room::push(&mut items, Item::ClassType(name))?;
                }
                (mut item, stamp) => {
                    match &mut item {
                        Item::Type(declaration) if of_class > 0 => {
                            of_class -= 1;
                            declaration.of_class = true;
                        }
                        _ => of_class = 0,
                    }
                    self.remember(stamp, Some(items.len() as u32))?;
                    room::push(&mut items, item)?;
                }
            }
        }
        Ok(Signature { items })
    }

    /// Stores where a declaration is.
    fn remember(&mut self, stamp: Option<i64>, index: Option<u32>) -> Result<()> {
        let (Some(stamp), Some(index)) = (stamp, index) else { return Ok(()) };
        let mut place = room::with_capacity(self.place.len() + 1)?;
        place.extend_from_slice(&self.place);
        place.push(index);
        room::insert(&mut self.places, stamp, place)
    }

    fn item<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<(Item, Option<i64>)> {
        let (tag, fields) = view.block()?;
        let Some((name, fields)) = fields.split_first() else { return Err(view.not("of a known kind")) };
        let name = identifier(view.of(*name, "name of an item"))?;
        let stamp = name.stamp();
        let of = |item: &Raw<_>, what| view.of(*item, what);
        let item = match (tag, fields) {
            (VALUE, [value, _]) => Item::Value(self.value(name, of(value, "value description"), todo)?),
            (TYPE, [declaration, recursion, _]) => {
                let recursion = read_recursion(of(recursion, "flag of a type"))?;
                Item::Type(self.declaration(name, recursion, of(declaration, "type declaration"), todo)?)
            }
            (EXTENSION, [extension, place, _]) => {
                let place = match of(place, "flag of an extension").int()? {
                    0 => ExtensionPlace::First,
                    1 => ExtensionPlace::Next,
                    _ => ExtensionPlace::Exception,
                };
                Item::Extension(self.extension(name, place, of(extension, "extension"), todo)?)
            }
            (MODULE, [presence, declaration, recursion, _]) => {
                let [ty, _, _, _] = *of(declaration, "module declaration").tuple()?;
                Item::Module(Module {
                    name: name.name,
                    present: of(presence, "flag of a module").int()? == 0,
                    ty: self.module_type(of(&ty, "module type"), todo)?,
                    recursion: read_recursion(of(recursion, "flag of a module"))?,
                })
            }
            (MODULE_TYPE, [declaration, _]) => {
                let [ty, _, _, _] = *of(declaration, "module type").tuple()?;
                let ty = option(of(&ty, "module type"), "module type")?;
                let ty = ty.map(|ty| self.module_type(ty, todo)).transpose()?;
                Item::ModuleType(NamedModuleType { name: name.name, ty })
            }
            (CLASS, [_, _, _]) => Item::Class(name.name),
            (CLASS_TYPE, [_, _, _]) => Item::ClassType(name.name),
            _ => return Err(view.not("of a known kind")),
        };
        Ok((item, stamp))
    }

    fn module_type<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<ModuleType> {
        if self.depth == DEEPEST {
            return Err(too_deep("modules"));
        }
        view.charge(1)?;
        self.depth += 1;
        let read = self.module_type_within(view, todo);
        self.depth -= 1;
        read
    }

    fn module_type_within<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<ModuleType> {
        Ok(match view.block()? {
            (0, [name]) => ModuleType::Named(path(view.of(*name, "path"))?),
            (1, [signature]) => {
                ModuleType::Signature(self.signature(view.of(*signature, "signature"), todo)?)
            }
            (2, [parameter, result]) => {
                let parameter = match parameter {
                    Raw::Int(_) => None,
                    _ => {
                        let parameter = view.of(*parameter, "parameter of a functor");
                        let (0, [name, ty]) = parameter.block()? else {
                            return Err(parameter.not("a parameter"));
                        };
                        let name = option(view.of(*name, "name of a parameter"), "name of a parameter")?;
                        let name = name.map(identifier).transpose()?.map(|ident| ident.name);
                        let ty = self.module_type(view.of(*ty, "module type"), todo)?;
                        Some(Box::new(FunctorParameter { name, ty }))
                    }
                };
                let result = self.module_type(view.of(*result, "module type"), todo)?;
                ModuleType::Functor { parameter, result: Box::new(result) }
            }
            (3, [name]) => ModuleType::Alias(path(view.of(*name, "path"))?),
            _ => return Err(view.not("of a known kind")),
        })
    }

    fn value<'g>(&mut self, name: Identifier, view: View<'g>, todo: &mut Todo<'g>) -> Result<Value> {
        let [ty, kind, _, _, _] = *view.tuple()?;
        let primitive = match view.of(kind, "kind of a value").node() {
            Some(RawNode::Block { tag: 0, fields: [primitive] }) => {
                Some(read_primitive(view.of(*primitive, "primitive"))?)
            }
            _ => None,
        };
        Ok(Value { name: name.name, ty: self.ty(view.of(ty, "type"), todo)?, primitive })
    }

    fn declaration<'g>(
        &mut self,
        name: Identifier,
        recursion: Recursion,
        view: View<'g>,
        todo: &mut Todo<'g>,
    ) -> Result<TypeDeclaration> {
        let [parameters, _arity, kind, private, manifest, variance, _, _, _, _, attributes, _, _, _] =
            *view.tuple()?;
        let parameters = self.tys(view.of(parameters, "parameter of a type"), todo)?;
        let variances = view.of(variance, "variance of a parameter").list()?;
        if variances.len() != parameters.len() {
            return Err(view.not("right about its parameters"));
        }
        let parameters = room::collect(parameters.iter().zip(variances).map(|(ty, variance)| {
            let bits = variance.int()?;
            // From 5.1 the bit for weak occurrences belongs to those in negative positions, too.
            Ok(Parameter {
                ty: *ty,
                positive: bits & 1 != 0,
                negative: bits & 2 != 0,
                injective: bits & 8 != 0,
            })
        }))?;
        Ok(TypeDeclaration {
            stamp: name.stamp(),
            name: name.name,
            parameters,
            kind: self.type_kind(view.of(kind, "kind of a type"), todo)?,
            manifest: self.ty_option(view.of(manifest, "manifest of a type"), todo)?,
            private: view.of(private, "flag of a type").int()? == 0,
            immediate: immediate(view.of(attributes, "attribute"))?,
            recursion,
            of_class: false,
        })
    }

    fn type_kind<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<TypeKind> {
        // From 5.2 abstract types say where they come from.
        let origins = self.dialect.release >= Release::V5_2;
        match (origins, view.item) {
            (false, Raw::Int(0)) => return Ok(TypeKind::Abstract),
            (false, Raw::Int(1)) | (true, Raw::Int(0)) => return Ok(TypeKind::Open),
            _ => {}
        }
        let (tag, fields) = view.block()?;
        match (tag + u8::from(!origins), fields) {
            (0, [_origin]) => Ok(TypeKind::Abstract),
            (1, [fields, representation]) => {
                let representation = match view.of(*representation, "representation of a record").item {
                    Raw::Int(0) => RecordRepresentation::Block,
                    Raw::Int(1) => RecordRepresentation::Floats,
                    _ => RecordRepresentation::Unboxed,
                };
                let fields = self.fields(view.of(*fields, "field of a record"), todo)?;
                Ok(TypeKind::Record { fields, representation })
            }
            (2, [constructors, representation]) => {
                let unboxed = view.of(*representation, "representation of a variant").int()? == 1;
                let constructors = self.constructors(view.of(*constructors, "constructor"), unboxed, todo)?;
                Ok(TypeKind::Variant { constructors, unboxed })
            }
            (3, [name]) => Ok(TypeKind::External(view.of(*name, "name of an external type").name()?)),
            _ => Err(view.not("of a known kind")),
        }
    }

    fn fields<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<Vec<Field>> {
        let atomic_flags = self.dialect.release >= Release::V5_4;
        room::collect(view.list()?.iter().map(|field| {
            let [name, mutable, atomic, ty] = match (atomic_flags, field.block()?) {
                (true, (0, [name, mutable, atomic, ty, _, _, _])) => [*name, *mutable, *atomic, *ty],
                (false, (0, [name, mutable, ty, _, _, _])) => [*name, *mutable, Raw::Int(0), *ty],
                _ => return Err(field.not("a record field")),
            };
            Ok(Field {
                name: identifier(field.of(name, "name of a field"))?.name,
                mutable: field.of(mutable, "flag of a field").bool()?,
                atomic: field.of(atomic, "flag of a field").bool()?,
                ty: self.ty(field.of(ty, "type"), todo)?,
            })
        }))
    }

    fn constructors<'g>(
        &mut self,
        view: View<'g>,
        unboxed: bool,
        todo: &mut Todo<'g>,
    ) -> Result<Vec<Constructor>> {
        let (mut constants, mut blocks) = (0, 0);
        room::collect(view.list()?.iter().map(|constructor| {
            let [name, arguments, result, _, _, _] = *constructor.tuple()?;
            let arguments = self.arguments(constructor.of(arguments, "arguments of a constructor"), todo)?;
            let counter = if arguments.is_empty() { &mut constants } else { &mut blocks };
            let number = *counter;
            *counter += 1;
            let tag = match (unboxed, arguments.is_empty()) {
                (true, _) => ConstructorTag::Unboxed,
                (false, true) => ConstructorTag::Constant(number),
                (false, false) => ConstructorTag::Block(number),
            };
            Ok(Constructor {
                name: identifier(constructor.of(name, "name of a constructor"))?.name,
                arguments,
                result: self.ty_option(constructor.of(result, "result of a constructor"), todo)?,
                tag,
            })
        }))
    }

    fn arguments<'g>(&mut self, view: View<'g>, todo: &mut Todo<'g>) -> Result<Arguments> {
        match view.block()? {
            (0, [types]) => Ok(Arguments::Tuple(self.tys(view.of(*types, "type"), todo)?)),
            (1, [fields]) => {
                Ok(Arguments::Record(self.fields(view.of(*fields, "field of an inline record"), todo)?))
            }
            _ => Err(view.not("of a known kind")),
        }
    }

    fn extension<'g>(
        &mut self,
        name: Identifier,
        place: ExtensionPlace,
        view: View<'g>,
        todo: &mut Todo<'g>,
    ) -> Result<Extension> {
        let [of, parameters, arguments, result, private, _, _, _] = *view.tuple()?;
        Ok(Extension {
            name: name.name,
            of: path(view.of(of, "path"))?,
            parameters: self.tys(view.of(parameters, "parameter of a type"), todo)?,
            arguments: self.arguments(view.of(arguments, "arguments of a constructor"), todo)?,
            result: self.ty_option(view.of(result, "result of a constructor"), todo)?,
            private: view.of(private, "flag of an extension").int()? == 0,
            place,
        })
    }
}

fn read_recursion(view: View<'_>) -> Result<Recursion> {
    match view.int()? {
        0 => Ok(Recursion::None),
        1 => Ok(Recursion::First),
        2 => Ok(Recursion::Next),
        _ => Err(view.not("of a known kind")),
    }
}

fn read_primitive(view: View<'_>) -> Result<Primitive> {
    let [name, arity, allocates, native_name, arguments, result] = *view.tuple()?;
    let native = |view: View<'_>| match view.item {
        Raw::Int(0) => Ok(Native::Same),
        // A float, or one of the boxed integers.
        Raw::Int(1) | Raw::Obj(_) => Ok(Native::Unboxed),
        Raw::Int(2) => Ok(Native::Untagged),
        _ => Err(view.not("of a known kind")),
    };
    let mut natives = room::collect(
        view.of(arguments, "representation of an argument").list()?.iter().map(|argument| native(*argument)),
    )?;
    room::push(&mut natives, native(view.of(result, "representation of a result"))?)?;
    Ok(Primitive {
        name: view.of(name, "name of a primitive").name()?,
        arity: view.of(arity, "arity of a primitive").size()?,
        native_name: view.of(native_name, "name of a primitive").name()?,
        allocates: view.of(allocates, "flag of a primitive").bool()?,
        native: natives,
    })
}

/// What a declaration's attributes say about immediate values.
fn immediate(attributes: View<'_>) -> Result<Immediate> {
    let mut found = Immediate::Unknown;
    for attribute in attributes.list()? {
        let [name, _payload, _place] = *attribute.tuple()?;
        let [name, _place] = *attribute.of(name, "name of an attribute").tuple()?;
        match attribute.of(name, "name of an attribute").bytes()? {
            b"immediate" | b"ocaml.immediate" => return Ok(Immediate::Always),
            b"immediate64" | b"ocaml.immediate64" => found = Immediate::On64Bits,
            _ => {}
        }
    }
    Ok(found)
}
