//! Signatures, values and modules.

use super::{Place, Printer};
use crate::cmi::types::Node;
use crate::cmi::{
    Extension, ExtensionPlace, FunctorParameter, Item, Module, ModuleType, Native, Primitive, Recursion,
    Signature, Type, Value,
};
use crate::dialect::Release;

impl<'i> Printer<'i> {
    /// Prints items, each on a line of its own.
    pub(super) fn items(&mut self, signature: &'i Signature, indent: usize) {
        let (outer, outer_modules) = (self.scope.len(), self.modules.len());
        let mut items = signature.items.iter().peekable();
        while let Some(item) = items.next() {
            let mut more: Vec<&'i Extension> = Vec::new();
            if let Item::Extension(Extension { place: ExtensionPlace::First, .. }) = item {
                while let Some(Item::Extension(next)) = items.next_if(
                    |item| matches!(item, Item::Extension(next) if next.place == ExtensionPlace::Next),
                ) {
                    more.push(next);
                }
            }
            if matches!(item, Item::Type(declaration) if declaration.of_class) {
                continue;
            }
            self.text(&" ".repeat(indent));
            self.printing = self.scope.len();
            if let Item::Type(declaration) = item
                && declaration.recursion != Recursion::None
            {
                self.scope.push((&declaration.name, declaration.stamp));
            }
            self.item(item, &more, indent);
            self.text("\n");
            match item {
                Item::Type(declaration) if declaration.recursion == Recursion::None => {
                    self.scope.push((&declaration.name, declaration.stamp));
                }
                Item::Module(module) => self.modules.push(&module.name),
                _ => {}
            }
        }
        self.scope.truncate(outer);
        self.modules.truncate(outer_modules);
    }

    fn item(&mut self, item: &'i Item, more: &[&'i Extension], indent: usize) {
        match item {
            Item::Value(value) => self.value(value),
            Item::Type(declaration) => {
                self.text(match declaration.recursion {
                    Recursion::None => "type nonrec ",
                    Recursion::First => "type ",
                    Recursion::Next => "and ",
                });
                self.declaration(declaration);
            }
            Item::Extension(first) => {
                self.extensions(first, first.place == ExtensionPlace::Exception, more);
            }
            Item::Module(module) => self.module(module, indent),
            Item::ModuleType(named) => {
                self.text(&format!("module type {}", named.name));
                if let Some(ty) = &named.ty {
                    self.text(" = ");
                    self.module_type(ty, indent);
                }
            }
            Item::Class(name) => self.text(&format!("class {name}")),
            Item::ClassType(name) => self.text(&format!("class type {name}")),
        }
    }

    fn value(&mut self, value: &'i Value) {
        self.reset();
        let ty = self.interface.ty(value.ty);
        self.prepare(&ty);
        self.text(if value.primitive.is_some() { "external " } else { "val " });
        self.text(&if is_operator(&value.name) { format!("( {} )", value.name) } else { value.name.clone() });
        self.text(" : ");
        match &value.primitive {
            None => self.ty(&ty, Place::Any),
            Some(primitive) => self.primitive(&ty, primitive),
        }
    }

    fn primitive(&mut self, ty: &Type<'i>, primitive: &Primitive) {
        let all = |native| primitive.native.iter().all(|other| *other == native);
        let (unboxed, untagged) = (all(Native::Unboxed), all(Native::Untagged));
        let own = if unboxed || untagged { &[][..] } else { &primitive.native };
        self.with_attributes(ty, own);
        self.text(&format!(" = \"{}\"", primitive.name));
        if !primitive.native_name.is_empty() {
            self.text(&format!(" \"{}\"", primitive.native_name));
        }
        for (holds, attribute) in
            [(unboxed, "unboxed"), (untagged, "untagged"), (!primitive.allocates, "noalloc")]
        {
            if holds {
                self.text(&format!(" [@@{attribute}]"));
            }
        }
    }

    /// The type of a primitive, whose arguments and result have attributes of their own.
    fn with_attributes(&mut self, ty: &Type<'i>, native: &[Native]) {
        match (native, ty.node()) {
            ([first, rest @ ..], Node::Arrow(label, argument, result)) if !rest.is_empty() => {
                self.attributed(*first, |p| p.argument(label, &ty.beside(*argument)));
                self.text(" -> ");
                self.with_attributes(&ty.beside(*result), rest);
            }
            ([last], _) => {
                let place = if *last == Native::Same { Place::Result } else { Place::Any };
                self.attributed(*last, |p| p.ty(ty, place));
            }
            _ => self.ty(ty, Place::Any),
        }
    }

    fn attributed(&mut self, native: Native, inner: impl FnOnce(&mut Self)) {
        let attribute = match native {
            Native::Same => return inner(self),
            Native::Unboxed => "unboxed",
            Native::Untagged => "untagged",
        };
        self.text("(");
        inner(self);
        self.text(&format!(" [@{attribute}])"));
    }

    fn module(&mut self, module: &'i Module, indent: usize) {
        self.text(match module.recursion {
            Recursion::None => "module ",
            Recursion::First => "module rec ",
            Recursion::Next => "and ",
        });
        self.text(&module.name);
        match &module.ty {
            ModuleType::Alias(path) => {
                self.text(" = ");
                self.path(path);
            }
            ty => {
                self.text(" : ");
                self.module_type(ty, indent);
            }
        }
    }

    fn module_type(&mut self, ty: &'i ModuleType, indent: usize) {
        let mut parameters = Vec::new();
        let mut result = ty;
        while let ModuleType::Functor { parameter, result: next } = result {
            parameters.push(parameter.as_deref());
            result = next;
        }
        self.functor_parameters(&parameters, indent);
        self.simple_module_type(result, indent);
    }

    /// Parameters without a name are written `S ->` if no named one follows.
    fn functor_parameters(&mut self, parameters: &[Option<&'i FunctorParameter>], indent: usize) {
        let is_anonymous = |parameter: &Option<&FunctorParameter>| {
            parameter.is_some_and(|parameter| parameter.name.is_none())
        };
        let mut rest = parameters;
        while let [first, more @ ..] = rest {
            if is_anonymous(first) {
                if let Some(parameter) = first {
                    self.simple_module_type(&parameter.ty, indent);
                }
                self.text(" -> ");
                rest = more;
                continue;
            }
            let named =
                rest.iter().rposition(|parameter| !is_anonymous(parameter)).map_or(0, |last| last + 1);
            if self.interface.dialect.release < Release::V5_3 {
                self.text("functor ");
            }
            for parameter in &rest[..named] {
                match parameter {
                    None => self.text("() "),
                    Some(parameter) => {
                        self.text(&format!("({} : ", parameter.name.as_deref().unwrap_or("_")));
                        self.module_type(&parameter.ty, indent);
                        self.text(") ");
                    }
                }
            }
            self.text("-> ");
            rest = &rest[named..];
        }
    }

    fn simple_module_type(&mut self, ty: &'i ModuleType, indent: usize) {
        match ty {
            ModuleType::Named(path) => self.path(path),
            ModuleType::Alias(path) => {
                self.text("(module ");
                self.path(path);
                self.text(")");
            }
            ModuleType::Signature(signature) if signature.items.is_empty() => self.text("sig end"),
            ModuleType::Signature(signature) => {
                self.text("sig\n");
                self.items(signature, indent + 2);
                self.text(&" ".repeat(indent));
                self.text("end");
            }
            ModuleType::Functor { .. } => {
                self.text("(");
                self.module_type(ty, indent);
                self.text(")");
            }
        }
    }
}

/// Whether a value's name must be written in parentheses.
fn is_operator(name: &str) -> bool {
    let is_identifier = |char: char| {
        char.is_alphanumeric() || char == '_' || char == '\'' || !char.is_ascii() && char.is_alphabetic()
    };
    ["or", "mod", "land", "lor", "lxor", "lsl", "lsr", "asr"].contains(&name)
        || !name.chars().all(is_identifier)
}
