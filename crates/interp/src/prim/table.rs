//! The primitives that a machine knows, and the numbers by which its program calls them.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;

use crate::exec::dispatch::own::Inline;
use crate::prim::families::{Families, Row};
use crate::prim::{HostFn, Library, Prim};

/// What a number in the code leads to.
#[derive(Clone)]
pub(crate) enum Target {
    /// One of the families'.
    Static(Prim),
    /// One of the host's, with its number of arguments.
    Host(usize, HostFn),
    /// Named by the program, known to nobody: raises when called.
    Missing,
}

impl Target {
    /// How many arguments it takes, where that is fixed.
    pub(crate) fn arity(&self) -> Option<usize> {
        match self {
            Target::Static(Prim::P1(_)) => Some(1),
            Target::Static(Prim::P2(_) | Prim::V2(_)) => Some(2),
            Target::Static(Prim::P3(_)) => Some(3),
            Target::Static(Prim::P4(_) | Prim::V4(_)) => Some(4),
            Target::Static(Prim::P5(_)) => Some(5),
            Target::Host(n, _) => Some(*n),
            Target::Static(Prim::Pn(_)) | Target::Missing => None,
        }
    }
}

/// All primitives that a machine knows, and the numbers by which its program calls them.
#[derive(Default)]
pub struct PrimTable {
    families: Vec<&'static Families>,
    host: HashMap<String, (usize, HostFn)>,
    libraries: Vec<Library>,
    /// By number: the program's `PRIM` section, extended by loaded units.
    pub(crate) numbered: Vec<Target>,
    names: Vec<Cow<'static, str>>,
    /// Made when first asked for: only those who load units do.
    numbers: OnceCell<HashMap<Cow<'static, str>, usize>>,
}

impl PrimTable {
    /// Makes room for so many more numbers.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.numbered.reserve_exact(count);
        self.names.reserve_exact(count);
    }

    /// Makes families known.
    pub(crate) fn add_families(&mut self, families: &'static Families) {
        self.families.push(families);
    }

    /// Makes a library known. Its primitives are found by whoever names them, but are none of the runtime's own.
    pub(crate) fn add_library(&mut self, library: Library) {
        self.libraries.push(library);
    }

    /// The library of this name.
    pub fn library(&self, name: &str) -> Option<&Library> {
        self.libraries.iter().find(|library| library.name == name)
    }

    fn built_in(&self, name: &str) -> Option<&'static Row> {
        let own = self.families.iter().find_map(|families| families.find(name));
        own.or_else(|| self.libraries.iter().find_map(|library| library.primitives.find(name)))
    }

    /// Makes one primitive of the host's known; it wins over a built-in one of that name.
    pub(crate) fn add_host(&mut self, name: &str, arity: usize, f: HostFn) {
        self.host.insert(name.to_owned(), (arity, f));
    }

    /// Whether anybody knows this name.
    pub fn knows(&self, name: &str) -> bool {
        self.host.contains_key(name) || self.built_in(name).is_some()
    }

    /// The names of the runtime's own primitives and the host's, sorted.
    pub fn known_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.host.keys().map(String::as_str).collect();
        names.extend(self.families.iter().flat_map(|families| families.rows()).map(|(name, _)| *name));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// How many numbers are given out.
    pub fn count(&self) -> usize {
        self.numbered.len()
    }

    /// The name behind a number.
    pub fn name(&self, number: usize) -> Option<&str> {
        self.names.get(number).map(|name| &**name)
    }

    fn numbers(&self) -> &HashMap<Cow<'static, str>, usize> {
        self.numbers.get_or_init(|| {
            let mut numbers = HashMap::with_capacity(self.names.len());
            for (number, name) in self.names.iter().enumerate() {
                numbers.entry(name.clone()).or_insert(number);
            }
            numbers
        })
    }

    /// The number of a name that has one already.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.numbers().get(name).copied()
    }

    /// The instruction that stands in for a primitive. What a host puts in its place is the host's own business.
    pub(crate) fn inline(&self, number: usize) -> Option<Inline> {
        match self.numbered.get(number)? {
            Target::Static(_) => Inline::find(&self.names[number]),
            _ => None,
        }
    }

    /// Gives out the next number to `name`, whether it has one or not: numbers are positions in `PRIM`.
    pub(crate) fn append(&mut self, name: &str) -> usize {
        let (name, target) = match (self.host.get(name), self.built_in(name)) {
            (Some((arity, f)), _) => (name.to_owned().into(), Target::Host(*arity, f.clone())),
            (None, Some((name, prim))) => (Cow::Borrowed(*name), Target::Static(*prim)),
            (None, None) => (name.to_owned().into(), Target::Missing),
        };
        let number = self.numbered.len();
        self.numbered.push(target);
        if let Some(numbers) = self.numbers.get_mut() {
            numbers.entry(name.clone()).or_insert(number);
        }
        self.names.push(name);
        number
    }

    /// Forgets the numbers from `count` on: a load that failed takes back what it appended.
    pub(crate) fn truncate(&mut self, count: usize) {
        for name in self.names.drain(count.min(self.names.len())..) {
            if let Some(numbers) = self.numbers.get_mut()
                && numbers.get(&name).is_some_and(|n| *n >= count)
            {
                numbers.remove(&name);
            }
        }
        self.numbered.truncate(count);
    }
}
