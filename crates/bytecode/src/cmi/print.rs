//! Printing types and interfaces in OCaml's notation. What is printed, and the names that variables without one get,
//! are those of `ocamlc -i`; lines are not broken to fit a page.

mod declarations;
mod items;
mod names;

use std::collections::HashSet;
use std::fmt;

use self::names::{Key, Names, key};
use super::types::{Node, PackageNode, RowNode, TagNode};
use crate::dialect::Release;

use super::{Interface, Label, Path, Root, Type, TypeId};

/// How deep types are printed, and how many methods of an object.
const DEEPEST: usize = 100;
const METHODS: usize = 1000;

/// How many nodes are looked at: a number, and so many for each type of the interface. Shared types are printed wherever
/// they occur, so without a limit a small file could cause an endless text.
const NODES: usize = 20_000;
const NODES_PER_TYPE: usize = 32;

/// How many bytes are printed for each of these nodes.
const BYTES_PER_NODE: usize = 16;

impl fmt::Display for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printer = Printer::new(self.interface);
        printer.prepare(self);
        printer.ty(self, Place::Any);
        f.write_str(&printer.out)
    }
}

/// All items, each on a line of its own. Of a class only the name is printed, because the rest is not read.
impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printer = Printer::new(self);
        printer.items(&self.signature, 0);
        f.write_str(&printer.out)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&path_text(self, &|_, _| true))
    }
}

/// What a type stands in, and so whether it needs parentheses.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Place {
    Any,
    Result,
    Argument,
    Simple,
}

/// Prints one interface.
struct Printer<'i> {
    interface: &'i Interface,
    out: String,
    names: Names,
    /// The types that occur within themselves.
    aliased: HashSet<Key>,
    /// Those of them that have been printed, so that their name suffices.
    printed: HashSet<Key>,
    /// The variables of polymorphic types that are being printed.
    delayed: HashSet<Key>,
    visited_objects: HashSet<Key>,
    /// Whether the name of the variant that is printed next is that of its own declaration.
    own_name_hidden: bool,
    /// How many nodes may still be looked at.
    fuel: usize,
    /// How many bytes may still be printed.
    room: usize,
    depth: usize,
    /// The names and stamps of the types in scope.
    scope: Vec<(&'i str, Option<i64>)>,
    /// How many of them were there before the declaration that is being printed.
    printing: usize,
    /// The names of the modules in scope.
    modules: Vec<&'i str>,
}

impl<'i> Printer<'i> {
    fn new(interface: &'i Interface) -> Printer<'i> {
        let fuel = NODES + NODES_PER_TYPE * interface.types.len();
        Printer {
            interface,
            out: String::new(),
            names: Names::default(),
            aliased: HashSet::new(),
            printed: HashSet::new(),
            delayed: HashSet::new(),
            visited_objects: HashSet::new(),
            own_name_hidden: false,
            fuel,
            room: fuel * BYTES_PER_NODE,
            depth: 0,
            scope: Vec::new(),
            printing: 0,
            modules: Vec::new(),
        }
    }

    /// Forgets everything about the types of the item before.
    fn reset(&mut self) {
        self.names = Names::default();
        self.aliased.clear();
        self.printed.clear();
        self.visited_objects.clear();
        self.delayed.clear();
    }

    fn text(&mut self, text: &str) {
        match self.room.checked_sub(text.len()) {
            Some(room) => {
                self.room = room;
                self.out.push_str(text);
            }
            None => self.fuel = 0,
        }
    }

    /// Finds the names and the loops of a type.
    fn prepare(&mut self, ty: &Type<'i>) {
        self.reserve(ty);
        self.mark_loops(ty, &mut HashSet::new(), 0);
    }

    fn mark_loops(&mut self, ty: &Type<'i>, visited: &mut HashSet<Key>, depth: usize) {
        if depth > DEEPEST || self.spent() {
            return;
        }
        let proxy = key(&proxy(ty));
        if visited.contains(&proxy) && is_aliasable(ty) {
            self.aliased.insert(proxy);
            return;
        }
        let new = visited.insert(proxy);
        match ty.node() {
            Node::Variant(_) | Node::Object(..) if self.visited_objects.contains(&proxy) => {
                self.aliased.insert(proxy);
            }
            Node::Variant(_) | Node::Object(..) => {
                if is_open(ty) {
                    self.visited_objects.insert(proxy);
                }
                self.mark_parts(ty, visited, depth);
            }
            Node::Poly(body, variables) => {
                for variable in ty.each(variables) {
                    self.aliased.insert(key(&variable));
                }
                self.mark_loops(&ty.beside(*body), visited, depth + 1);
            }
            _ => self.mark_parts(ty, visited, depth),
        }
        if new {
            visited.remove(&proxy);
        }
    }

    fn mark_parts(&mut self, ty: &Type<'i>, visited: &mut HashSet<Key>, depth: usize) {
        for part in printed_parts(ty) {
            self.mark_loops(&part, visited, depth + 1);
        }
    }

    /// Whether there is nothing left to print with; otherwise takes one.
    fn spent(&mut self) -> bool {
        match self.fuel.checked_sub(1) {
            Some(left) => {
                self.fuel = left;
                false
            }
            None => true,
        }
    }

    /// Prints a type.
    fn ty(&mut self, ty: &Type<'i>, place: Place) {
        if self.depth > DEEPEST || self.spent() {
            self.out.push_str("...");
            return;
        }
        self.depth += 1;
        let proxy = key(&proxy(ty));
        if self.printed.contains(&proxy) && !self.delayed.contains(&proxy) {
            let name = self.names.of(ty_name(ty), proxy);
            self.variable(&name);
        } else {
            self.delayed.remove(&proxy);
            if self.aliased.contains(&proxy) && is_aliasable(ty) {
                self.alias(ty, proxy, place);
            } else {
                self.shape(ty, place);
            }
        }
        self.depth -= 1;
    }

    /// Prints a type that occurs within itself.
    fn alias(&mut self, ty: &Type<'i>, proxy: Key, place: Place) {
        let name = self.names.of(ty_name(&self::proxy(ty)), proxy);
        self.printed.insert(proxy);
        self.parenthesised(place > Place::Any, |p| {
            p.shape(ty, Place::Any);
            p.text(" as ");
            p.variable(&name);
        });
    }

    fn parenthesised(&mut self, parentheses: bool, inner: impl FnOnce(&mut Self)) {
        if parentheses {
            self.text("(");
        }
        inner(self);
        if parentheses {
            self.text(")");
        }
    }

    fn variable(&mut self, name: &str) {
        // As a character, `'a'` would be read otherwise.
        let blank = if name.chars().nth(1) == Some('\'') { " " } else { "" };
        self.text(&format!("'{blank}{name}"));
    }

    fn shape(&mut self, ty: &Type<'i>, place: Place) {
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

    fn argument(&mut self, label: &Label, argument: &Type<'i>) {
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

    fn list(&mut self, types: &[Type<'i>], separator: &str, place: Place) {
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

    fn path(&mut self, path: &Path) {
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
fn path_text(path: &Path, seen: &dyn Fn(&str, bool) -> bool) -> String {
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

fn ty_name<'i>(ty: &Type<'i>) -> Option<&'i str> {
    match ty.node() {
        Node::Var(name) | Node::Univar(name) => name.as_deref(),
        _ => None,
    }
}

/// The public methods of an object type, and what comes after its methods.
fn methods<'i>(fields: &Type<'i>) -> (Vec<(&'i str, Type<'i>)>, Type<'i>) {
    let mut methods = Vec::new();
    let mut rest = fields.clone();
    for _ in 0..METHODS {
        let Node::Field { name, public, ty, rest: more } = rest.node() else { break };
        if *public {
            methods.push((name.as_str(), rest.beside(*ty)));
        }
        rest = rest.beside(*more);
    }
    (methods, rest)
}

/// The type by whose identity a type is recognised: of an open variant or object the variable of its row.
fn proxy<'i>(ty: &Type<'i>) -> Type<'i> {
    match ty.node() {
        Node::Variant(row) if !is_static(row) => ty.beside(row.more),
        Node::Object(fields, _) => match methods(&ty.beside(*fields)).1 {
            rest if matches!(rest.node(), Node::Nil) => ty.clone(),
            rest => rest,
        },
        _ => ty.clone(),
    }
}

fn is_static(row: &RowNode) -> bool {
    row.closed && !row.tags.iter().any(|(_, tag)| matches!(tag, TagNode::Either(..)))
}

fn is_open(ty: &Type<'_>) -> bool {
    match ty.node() {
        Node::Variant(row) => !is_static(row),
        Node::Object(fields, _) => !matches!(methods(&ty.beside(*fields)).1.node(), Node::Nil),
        _ => false,
    }
}

fn is_nameable(row: &RowNode) -> bool {
    row.tags.iter().all(|(_, tag)| match tag {
        TagNode::Either(true, arguments) => row.closed && arguments.is_empty(),
        TagNode::Either(false, arguments) => row.closed && arguments.len() == 1,
        _ => true,
    })
}

fn is_aliasable(ty: &Type<'_>) -> bool {
    !matches!(ty.node(), Node::Var(_) | Node::Univar(_) | Node::Poly(..))
}

/// The parts of a type that are printed, in the order of the compiler.
fn printed_parts<'i>(ty: &Type<'i>) -> Vec<Type<'i>> {
    match ty.node() {
        Node::Var(_) | Node::Univar(_) | Node::Nil => Vec::new(),
        Node::Arrow(_, argument, result) => ty.each(&[*argument, *result]),
        Node::Tuple(parts) => parts.iter().map(|(_, part)| ty.beside(*part)).collect(),
        Node::Constr(_, arguments) => ty.each(arguments),
        Node::Variant(row) => match &row.name {
            Some((_, arguments)) if is_nameable(row) => ty.each(arguments),
            _ => {
                let tags = row.tags.iter().flat_map(|(_, tag)| match tag {
                    TagNode::Present(argument) => argument.as_slice(),
                    TagNode::Either(_, arguments) => arguments,
                    TagNode::Absent => &[],
                });
                // The variable of the row itself is not printed, but what a fixed row stands for is.
                tags.map(|argument| ty.beside(*argument)).collect()
            }
        },
        Node::Object(_, Some((_, arguments))) => ty.each(arguments.get(1..).unwrap_or_default()),
        Node::Object(fields, None) => methods(&ty.beside(*fields)).0.into_iter().map(|(_, ty)| ty).collect(),
        Node::Field { public, ty: method, rest, .. } => {
            let mut parts = if *public { ty.each(&[*method]) } else { Vec::new() };
            parts.push(ty.beside(*rest));
            parts
        }
        Node::Poly(body, variables) => {
            let mut parts = ty.each(&[*body]);
            parts.extend(ty.each(variables));
            parts
        }
        Node::Package(package) => {
            package.constraints.iter().map(|(_, constraint)| ty.beside(*constraint)).collect()
        }
        Node::Functor(_, _, package, result) => {
            let mut parts: Vec<_> =
                package.constraints.iter().map(|(_, constraint)| ty.beside(*constraint)).collect();
            parts.push(ty.beside(*result));
            parts
        }
    }
}
