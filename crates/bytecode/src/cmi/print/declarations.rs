//! Type declarations, and constructors added to extensible types.

use std::collections::HashSet;

use super::names::key;
use super::parts::{methods, printed_parts, proxy, ty_name};
use super::types::path_text;
use super::{Place, Printer};
use crate::cmi::types::Node;
use crate::cmi::{
    Arguments, Constructor, Extension, Field, Immediate, Path, RecordRepresentation, Root, Type,
    TypeDeclaration, TypeId, TypeKind,
};
use crate::dialect::Release;

impl<'i> Printer<'i> {
    fn get(&self, id: TypeId) -> Type<'i> {
        self.interface.ty(id)
    }

    /// Names the parameters of a declaration, so that they are printed as variables even if a constraint says what
    /// they are.
    fn prepare_parameters(&mut self, parameters: &[Type<'i>]) {
        self.aliased.extend(parameters.iter().map(|ty| key(&proxy(ty))));
        for ty in parameters {
            self.prepare(ty);
        }
        for ty in parameters {
            let shown = proxy(ty);
            self.names.of(ty_name(&shown), key(&shown));
            self.printed.insert(key(&shown));
        }
    }

    fn prepare_arguments(&mut self, arguments: &'i Arguments, result: Option<TypeId>) {
        match arguments {
            Arguments::Tuple(types) => types.iter().for_each(|id| self.prepare(&self.get(*id))),
            Arguments::Record(fields) => fields.iter().for_each(|field| self.prepare(&self.get(field.ty))),
        }
        if let Some(result) = result {
            self.prepare(&self.get(result));
        }
    }

    /// `t = …`, everything after the keyword.
    pub(super) fn declaration(&mut self, declaration: &'i TypeDeclaration) {
        self.reset();
        let parameters: Vec<_> =
            declaration.parameters.iter().map(|parameter| self.get(parameter.ty)).collect();
        self.unname_blanks(declaration, &parameters);
        self.prepare_parameters(&parameters);
        if let Some(manifest) = declaration.manifest {
            self.prepare(&self.get(manifest));
        }
        match &declaration.kind {
            TypeKind::Variant { constructors, .. } => constructors.iter().for_each(|constructor| {
                self.prepare_arguments(&constructor.arguments, constructor.result);
            }),
            TypeKind::Record { fields, .. } => {
                fields.iter().for_each(|field| self.prepare(&self.get(field.ty)));
            }
            _ => {}
        }
        self.head(declaration, &parameters);
        // The compiler names the variables of constraints first, then those of the kind.
        let constraints = self.aside(|p| p.constraints(&parameters));
        let kind = self.aside(|p| p.kind(&declaration.kind, declaration));
        if let Some(manifest) = declaration.manifest {
            let private = matches!(declaration.kind, TypeKind::Abstract) && declaration.private;
            self.text(if private { " = private " } else { " = " });
            self.manifest(&self.get(manifest), declaration);
        }
        self.text(&kind);
        self.text(&constraints);
        self.text(match declaration.immediate {
            Immediate::Unknown => "",
            Immediate::Always => " [@@immediate]",
            Immediate::On64Bits => " [@@immediate64]",
        });
        let unboxed = matches!(
            declaration.kind,
            TypeKind::Variant { unboxed: true, .. }
                | TypeKind::Record { representation: RecordRepresentation::Unboxed, .. }
        );
        if unboxed {
            self.text(" [@@unboxed]");
        }
    }

    /// A parameter `_` that occurs in the manifest gets a name there.
    fn unname_blanks(&mut self, declaration: &TypeDeclaration, parameters: &[Type<'i>]) {
        let Some(manifest) = declaration.manifest else { return };
        let blanks: Vec<_> = parameters.iter().filter(|ty| ty_name(ty) == Some("_")).map(key).collect();
        if blanks.is_empty() {
            return;
        }
        let mut seen = HashSet::new();
        let mut todo = vec![self.get(manifest)];
        while let Some(ty) = todo.pop() {
            if seen.insert(key(&ty)) && !self.spent() {
                if blanks.contains(&key(&ty)) {
                    self.names.unnamed.insert(key(&ty));
                }
                todo.extend(printed_parts(&ty));
            }
        }
    }

    /// Prints into a text of its own.
    fn aside(&mut self, print: impl FnOnce(&mut Self)) -> String {
        let before = std::mem::take(&mut self.out);
        print(self);
        std::mem::replace(&mut self.out, before)
    }

    /// The parameters and the name.
    fn head(&mut self, declaration: &'i TypeDeclaration, parameters: &[Type<'i>]) {
        let declared: Vec<_> = declaration
            .parameters
            .iter()
            .zip(parameters)
            .map(|(parameter, ty)| {
                let is_variable = matches!(ty.node(), Node::Var(_));
                let sign = if self.is_abstract(declaration) || !is_variable {
                    let injective = self.is_injective(declaration) && parameter.injective;
                    let sign = match (parameter.positive, parameter.negative) {
                        (false, false) if self.interface.dialect.release >= Release::V5_4 => "+-",
                        (_, false) => "+",
                        (false, true) => "-",
                        (true, true) => "",
                    };
                    format!("{sign}{}", if injective { "!" } else { "" })
                } else {
                    String::new()
                };
                (sign, ty)
            })
            .collect();
        let parentheses = declared.len() > 1;
        self.parenthesised(parentheses, |p| {
            for (index, (sign, ty)) in declared.iter().enumerate() {
                if index > 0 {
                    p.text(", ");
                }
                p.text(sign);
                p.parameter(ty);
            }
        });
        if !declared.is_empty() {
            self.text(" ");
        }
        self.text(&declaration.name);
    }

    fn parameter(&mut self, ty: &Type<'i>) {
        let shown = proxy(ty);
        let name = self.names.of(ty_name(&shown), key(&shown));
        if name == "_" { self.text("_") } else { self.variable(&name) }
    }

    /// Whether the variance of parameters cannot be seen from the declaration.
    fn is_abstract(&self, declaration: &TypeDeclaration) -> bool {
        match &declaration.kind {
            TypeKind::Abstract => declaration.manifest.is_none() || declaration.private,
            TypeKind::Record { .. } => declaration.private,
            TypeKind::Variant { constructors, .. } => {
                declaration.private || constructors.iter().any(|constructor| constructor.result.is_some())
            }
            TypeKind::Open => declaration.manifest.is_none(),
            TypeKind::External(_) => true,
        }
    }

    fn is_injective(&self, declaration: &TypeDeclaration) -> bool {
        let row = |manifest: TypeId| match self.get(manifest).node() {
            Node::Variant(row) => matches!(self.get(row.more).node(), Node::Constr(..)),
            Node::Object(fields, _) => {
                matches!(methods(&self.get(*fields)).1.node(), Node::Constr(..))
            }
            Node::Constr(path, _) => path.last().ends_with("#row"),
            _ => false,
        };
        matches!(declaration.kind, TypeKind::Abstract)
            && declaration.manifest.is_none_or(|manifest| declaration.private && row(manifest))
    }

    fn constraints(&mut self, parameters: &[Type<'i>]) {
        for ty in parameters.iter().filter(|ty| !matches!(ty.node(), Node::Var(_) | Node::Univar(_))) {
            self.text(" constraint ");
            self.parameter(ty);
            self.text(" = ");
            self.shape(ty, Place::Any);
        }
    }

    /// The manifest; a variant's own name would say nothing.
    fn manifest(&mut self, ty: &Type<'i>, declaration: &TypeDeclaration) {
        match ty.node() {
            Node::Variant(row) => {
                let own = matches!(&row.name, Some((Path { root: Root::Local { stamp, .. }, names }, _))
                    if names.is_empty() && Some(*stamp) == declaration.stamp);
                self.own_name_hidden = own;
                self.ty(ty, Place::Any);
                self.own_name_hidden = false;
            }
            _ => self.ty(ty, Place::Any),
        }
    }

    fn kind(&mut self, kind: &'i TypeKind, declaration: &TypeDeclaration) {
        let private = if declaration.private { " private" } else { "" };
        match kind {
            TypeKind::Abstract => {}
            TypeKind::Open => self.text(&format!(" ={private} ..")),
            TypeKind::External(name) => self.text(&format!(" = external {name:?}")),
            TypeKind::Record { fields, .. } => {
                self.text(&format!(" ={private} "));
                self.record(fields);
            }
            TypeKind::Variant { constructors, .. } => {
                self.text(&format!(" ={private} "));
                if constructors.is_empty() {
                    self.text("|");
                }
                for (index, constructor) in constructors.iter().enumerate() {
                    if index > 0 {
                        self.text(" | ");
                    }
                    let Constructor { name, arguments, result, .. } = constructor;
                    self.constructor(name, arguments, *result);
                }
            }
        }
    }

    fn record(&mut self, fields: &[Field]) {
        self.text("{");
        for field in fields {
            self.text(if field.mutable { " mutable " } else { " " });
            self.text(&format!("{} : ", field.name));
            self.ty(&self.get(field.ty), Place::Any);
            self.text(if field.atomic { " [@atomic];" } else { ";" });
        }
        self.text(" }");
    }

    fn constructor(&mut self, name: &str, arguments: &'i Arguments, result: Option<TypeId>) {
        self.text(if name == "::" { "(::)" } else { name });
        let Some(result) = result else {
            if !arguments.is_empty() {
                self.text(" of ");
                self.constructor_arguments(arguments);
            }
            return;
        };
        // Its variables are its own, and the result's are named first.
        let outer = self.names.set_aside();
        let result = self.aside(|p| p.ty(&p.get(result), Place::Simple));
        self.text(" : ");
        if !arguments.is_empty() {
            self.constructor_arguments(arguments);
            self.text(" -> ");
        }
        self.text(&result);
        self.names.restore(outer);
    }

    fn constructor_arguments(&mut self, arguments: &'i Arguments) {
        match arguments {
            Arguments::Tuple(types) => {
                let types: Vec<_> = types.iter().map(|id| self.get(*id)).collect();
                self.list(&types, " * ", Place::Simple);
            }
            Arguments::Record(fields) => self.record(fields),
        }
    }

    /// `exception A of int`, or `type t += A of int | B`: an extension and those that go on with it.
    pub(super) fn extensions(&mut self, first: &'i Extension, exception: bool, more: &[&'i Extension]) {
        if exception {
            self.text("exception ");
            return self.extension(first);
        }
        let parameters = self.prepare_extension(first);
        self.text("type ");
        self.parenthesised(parameters.len() > 1, |p| {
            for (index, ty) in parameters.iter().enumerate() {
                if index > 0 {
                    p.text(", ");
                }
                p.parameter(ty);
            }
        });
        if !parameters.is_empty() {
            self.text(" ");
        }
        let of = path_text(&first.of, &|_, _| false);
        self.text(&format!("{of} +={} ", if first.private { " private" } else { "" }));
        for (index, extension) in std::iter::once(&first).chain(more).enumerate() {
            if index > 0 {
                self.text(" | ");
            }
            self.extension(extension);
        }
    }

    fn prepare_extension(&mut self, extension: &'i Extension) -> Vec<Type<'i>> {
        self.reset();
        let parameters: Vec<_> = extension.parameters.iter().map(|id| self.get(*id)).collect();
        self.prepare_parameters(&parameters);
        self.prepare_arguments(&extension.arguments, extension.result);
        parameters
    }

    fn extension(&mut self, extension: &'i Extension) {
        self.prepare_extension(extension);
        self.constructor(&extension.name, &extension.arguments, extension.result);
    }
}
