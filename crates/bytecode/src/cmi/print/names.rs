//! The names of type variables.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Printer;
use super::parts::{printed_parts, proxy};
use crate::cmi::types::Node;
use crate::cmi::{Type, TypeId};

/// What tells one type from another: the interface, the type in it, and what its parameters stand for.
pub(super) type Key = (usize, TypeId, usize);

pub(super) fn key(ty: &Type<'_>) -> Key {
    let bindings = ty.bindings.as_ref().map_or(0, |bindings| Arc::as_ptr(bindings).addr());
    (std::ptr::from_ref(ty.interface).addr(), ty.id, bindings)
}

/// The names that have been given.
#[derive(Default)]
pub(super) struct Names {
    given: HashMap<Key, String>,
    used: HashSet<String>,
    /// For each name the first number that may be free.
    numbers: HashMap<String, usize>,
    /// The names in the source, which no other variable may get.
    pub(super) reserved: HashSet<String>,
    /// Parameters `_` that need a name.
    pub(super) unnamed: HashSet<Key>,
    pub(super) visited: HashSet<Key>,
    counter: usize,
}

impl Names {
    /// The name of a type: the one from the source, with a number if another one has that name, or a new one.
    pub(super) fn of(&mut self, source: Option<&str>, key: Key) -> String {
        if let Some(name) = self.given.get(&key) {
            return name.clone();
        }
        let name = match source {
            // Not a name that others could refer to.
            Some("_") if !self.unnamed.contains(&key) => return "_".to_owned(),
            Some("_") | None => self.new_name(),
            Some(name) if !self.used.contains(name) => name.to_owned(),
            Some(name) => {
                let numbered = |number: usize| format!("{name}{number}");
                let first = self.numbers.entry(name.to_owned()).or_default();
                while self.used.contains(&numbered(*first)) {
                    *first += 1;
                }
                numbered(*first)
            }
        };
        self.used.insert(name.clone());
        self.given.insert(key, name.clone());
        name
    }

    fn new_name(&mut self) -> String {
        loop {
            let letter = char::from(b'a' + (self.counter % 26) as u8);
            let name = match self.counter / 26 {
                0 => letter.to_string(),
                round => format!("{letter}{round}"),
            };
            self.counter += 1;
            if !self.reserved.contains(&name) && !self.used.contains(&name) {
                return name;
            }
        }
    }

    /// Takes names back at the end of their scope.
    pub(super) fn forget(&mut self, keys: impl Iterator<Item = Key>) {
        self.numbers.clear();
        for key in keys {
            if let Some(name) = self.given.remove(&key) {
                self.used.remove(&name);
            }
        }
    }

    /// Sets the given names aside, for a constructor with a result of its own.
    pub(super) fn set_aside(&mut self) -> (HashMap<Key, String>, HashSet<String>) {
        self.numbers.clear();
        (std::mem::take(&mut self.given), std::mem::take(&mut self.used))
    }

    pub(super) fn restore(&mut self, (given, used): (HashMap<Key, String>, HashSet<String>)) {
        self.given = given;
        self.used = used;
    }
}

impl<'i> Printer<'i> {
    /// Finds the names in the source of a type.
    pub(super) fn reserve(&mut self, ty: &Type<'i>) {
        let mut todo = vec![ty.clone()];
        while let Some(ty) = todo.pop() {
            if !self.names.visited.insert(key(&proxy(&ty))) || self.spent() {
                continue;
            }
            match ty.node() {
                Node::Var(name) | Node::Univar(name) => self.names.reserved.extend(name.clone()),
                _ => todo.extend(printed_parts(&ty)),
            }
        }
    }
}
