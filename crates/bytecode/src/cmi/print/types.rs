//! Type expressions, in OCaml's notation.

use super::names::key;
use super::parts::{is_nameable, methods, ty_name};
use super::{Place, Printer};
use crate::cmi::types::{Node, PackageNode, RowNode, TagNode};
use crate::cmi::{Label, Path, Root, Type, TypeId};
use crate::dialect::Release;

impl<'i> Printer<'i> {
    pub(super) fn variable(&mut self, name: &str) {
        // As a character, `'a'` would be read otherwise.
        let blank = if name.chars().nth(1) == Some('\'') { " " } else { "" };
        self.text(&format!("'{blank}{name}"));
    }

    pub(super) fn shape(&mut self, ty: &Type<'i>, place: Place) {
        match ty.node() {
            Node::Var(name) | Node::Univar(name) => {
                let name = self.names.of(name.as_deref(), key(ty));
                self.variable(&name);
            }
            Node::Arrow(label, argument, result) => self.parenthesised(place > Place::Result, |p| {
                p.argument(label, &ty.beside(*argument));
                p.text(" -> ");
                p.ty(&ty.beside(*result), Place::Result);
            }),
            Node::Tuple(parts) => self.tuple(ty, parts, place),
            Node::Constr(path, arguments) => {
                self.arguments(&ty.each(arguments));
                self.path(path);
            }
            Node::Variant(row) => self.row(ty, row),
            Node::Object(_, Some((path, arguments))) => {
                self.arguments(&ty.each(arguments.get(1..).unwrap_or_default()));
                self.text("#");
                self.path(path);
            }
            Node::Object(fields, None) => self.object(&ty.beside(*fields)),
            Node::Field { .. } | Node::Nil => self.object(ty),
            Node::Poly(body, variables) => {
                let variables = ty.each(variables);
                self.parenthesised(place > Place::Any, |p| p.polymorphic(&ty.beside(*body), &variables));
            }
            Node::Package(package) => {
                self.text("(module ");
                self.package(ty, package);
                self.text(")");
            }
            Node::Functor(label, name, package, result) => self.parenthesised(place > Place::Result, |p| {
                p.label(label);
                p.text(&format!("(module {name} : "));
                p.package(ty, package);
                p.text(") -> ");
                p.ty(&ty.beside(*result), Place::Result);
            }),
        }
    }

    fn label(&mut self, label: &Label) {
        match label {
            Label::None => {}
            Label::Labelled(name) => self.text(&format!("{name}:")),
            Label::Optional(name) => self.text(&format!("?{name}:")),
        }
    }

    pub(super) fn argument(&mut self, label: &Label, argument: &Type<'i>) {
        self.label(label);
        match (label, argument.node()) {
            (Label::Optional(_), Node::Constr(path, arguments)) if path.is_predefined("option") => {
                for argument in argument.each(arguments) {
                    self.ty(&argument, Place::Argument);
                }
            }
            (Label::Optional(_), _) => self.text("<hidden>"),
            _ => self.ty(argument, Place::Argument),
        }
    }

    fn tuple(&mut self, ty: &Type<'i>, parts: &[(Option<String>, TypeId)], place: Place) {
        let label_first = matches!(parts, [(Some(_), _), ..]);
        let parentheses = place > Place::Argument || place == Place::Argument && label_first;
        self.parenthesised(parentheses, |p| {
            for (index, (label, part)) in parts.iter().enumerate() {
                if index > 0 {
                    p.text(" * ");
                }
                if let Some(label) = label {
                    p.text(&format!("{label}:"));
                }
                p.ty(&ty.beside(*part), Place::Simple);
            }
        });
    }

    /// The arguments of a constructor, with the space after them.
    fn arguments(&mut self, arguments: &[Type<'i>]) {
        match arguments {
            [] => {}
            [one] => {
                self.ty(one, Place::Simple);
                self.text(" ");
            }
            many => {
                self.text("(");
                self.list(many, ", ", Place::Any);
                self.text(") ");
            }
        }
    }

    pub(super) fn list(&mut self, types: &[Type<'i>], separator: &str, place: Place) {
        for (index, ty) in types.iter().enumerate() {
            if index > 0 {
                self.text(separator);
            }
            self.ty(ty, place);
        }
    }

    fn row(&mut self, ty: &Type<'i>, row: &'i RowNode) {
        let tags: Vec<_> =
            row.tags.iter().filter(|(_, tag)| !(row.closed && matches!(tag, TagNode::Absent))).collect();
        let present: Vec<_> = tags.iter().filter(|(_, tag)| matches!(tag, TagNode::Present(_))).collect();
        let all_present = present.len() == tags.len();
        let own = std::mem::take(&mut self.own_name_hidden);
        let name = row.name.as_ref().filter(|_| !own && is_nameable(row));
        if let Some((path, arguments)) = name
            && row.closed
            && all_present
        {
            self.arguments(&ty.each(arguments));
            return self.path(path);
        }
        self.text(match (row.closed, all_present) {
            (true, true) => "[ ",
            (true, false) => "[< ",
            (false, true) => "[> ",
            (false, false) => "[? ",
        });
        match name {
            Some((path, arguments)) => {
                self.arguments(&ty.each(arguments));
                self.path(path);
            }
            None => {
                for (index, (name, tag)) in tags.iter().enumerate() {
                    if index > 0 {
                        self.text(" | ");
                    }
                    self.tag(ty, name, tag);
                }
            }
        }
        if !all_present && !present.is_empty() {
            self.text(" >");
            for (name, _) in present {
                self.text(&format!(" `{name}"));
            }
        }
        self.text(" ]");
    }

    fn tag(&mut self, ty: &Type<'i>, name: &str, tag: &TagNode) {
        self.text(&format!("`{name}"));
        let arguments = match tag {
            TagNode::Present(argument) => argument.as_slice(),
            TagNode::Either(true, arguments) => {
                if !arguments.is_empty() {
                    self.text(" of & ");
                }
                return self.list(&ty.each(arguments), " & ", Place::Any);
            }
            TagNode::Either(false, arguments) => arguments,
            TagNode::Absent => &[],
        };
        if !arguments.is_empty() {
            self.text(" of ");
            self.list(&ty.each(arguments), " & ", Place::Any);
        }
    }

    fn object(&mut self, fields: &Type<'i>) {
        let (mut methods, rest) = methods(fields);
        methods.sort_by_key(|(name, _)| *name);
        self.text("< ");
        for (index, (name, ty)) in methods.iter().enumerate() {
            if index > 0 {
                self.text("; ");
            }
            self.text(&format!("{name} : "));
            self.ty(ty, Place::Any);
        }
        if !matches!(rest.node(), Node::Nil) {
            self.text(if methods.is_empty() { ".." } else { "; .." });
        }
        self.text(" >");
    }

    fn polymorphic(&mut self, body: &Type<'i>, variables: &[Type<'i>]) {
        let before = self.delayed.clone();
        self.delayed.extend(variables.iter().map(key));
        for (index, variable) in variables.iter().enumerate() {
            if index > 0 {
                self.text(" ");
            }
            let name = self.names.of(ty_name(variable), key(variable));
            self.variable(&name);
        }
        self.text(". ");
        self.ty(body, Place::Any);
        self.names.forget(variables.iter().map(key));
        self.delayed = before;
    }

    fn package(&mut self, ty: &Type<'i>, package: &PackageNode) {
        self.path(&package.path);
        for (index, (names, constraint)) in package.constraints.iter().enumerate() {
            let keyword = if index == 0 { "with" } else { "and" };
            self.text(&format!(" {keyword} type {} = ", names.join(".")));
            self.ty(&ty.beside(*constraint), Place::Any);
        }
    }

    /// From 5.1 a type that another one of its name hides has a number.
    fn which(&mut self, name: &str, stamp: i64) {
        let mut namesakes = self.scope.iter().rev().filter(|(known, _)| *known == name);
        if let Some(others @ 1..) = namesakes.position(|(_, known)| *known == Some(stamp)) {
            self.text(&format!("/{}", others + 1));
        }
    }

    /// Whether a name of `Stdlib` means something else here.
    fn is_hidden(&self, name: &str, is_module: bool) -> bool {
        match is_module {
            false => self.scope[..self.printing].iter().any(|(known, _)| *known == name),
            true => self.interface.dialect.release >= Release::V5_1 && self.modules.contains(&name),
        }
    }

    pub(super) fn path(&mut self, path: &Path) {
        let is_open = self.interface.name != "Stdlib";
        let text = path_text(path, &|name, is_module| is_open && !self.is_hidden(name, is_module));
        self.text(&text);
        if let Root::Local { name, stamp } = &path.root
            && path.names.is_empty()
            && self.interface.dialect.release >= Release::V5_1
        {
            self.which(name, *stamp);
        }
    }
}

/// A path. `seen` says whether a name of `Stdlib`, perhaps that of a module, is seen without it.
pub(super) fn path_text(path: &Path, seen: &dyn Fn(&str, bool) -> bool) -> String {
    let application;
    let mut parts = match &path.root {
        // The modules of the standard library are aliases in `Stdlib`.
        Root::Unit(unit) => match unit.strip_prefix("Stdlib__") {
            Some(module) if seen(module, true) => vec![module],
            Some(module) if seen("", true) => vec!["Stdlib", module],
            _ => match &path.names[..] {
                [first, rest @ ..] if unit == "Stdlib" && seen(first, !rest.is_empty()) => Vec::new(),
                _ => vec![unit.as_str()],
            },
        },
        Root::Predefined(name) | Root::Local { name, .. } => vec![name.as_str()],
        Root::Application(paths) => {
            application = format!("{}({})", path_text(&paths.0, seen), path_text(&paths.1, seen));
            vec![application.as_str()]
        }
    };
    parts.extend(path.names.iter().map(String::as_str));
    parts.join(".")
}
