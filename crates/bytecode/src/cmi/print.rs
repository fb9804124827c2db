//! Printing types and interfaces in OCaml's notation. What is printed, and the names that variables without one get,
//! are those of `ocamlc -i`; lines are not broken to fit a page.

mod declarations;
mod items;
mod names;
mod parts;
mod types;

use std::collections::HashSet;
use std::fmt;

use self::names::{Key, Names, key};
use self::parts::{is_aliasable, is_open, printed_parts, proxy, ty_name};
use self::types::path_text;
use super::types::Node;
use super::{Interface, Path, Type};

/// How deep types are printed.
const DEEPEST: usize = 100;

/// How many nodes are looked at: a number, and so many for each type of the interface. Shared types are printed
/// wherever they occur, so without a limit a small file could cause an endless text.
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
    fn alias(&mut self, ty: &Type<'i>, shown: Key, place: Place) {
        let name = self.names.of(ty_name(&proxy(ty)), shown);
        self.printed.insert(shown);
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
}
