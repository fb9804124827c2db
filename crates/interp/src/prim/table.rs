//! The primitives of a machine, and the numbers by which its program calls them.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use spelter_bytecode::Dialect;
use spelter_bytecode::Opcode;
use spelter_bytecode::dialect::Release;
use spelter_heap::OutOfMemory;

use crate::exec::dispatch::own::Inline;
use crate::fallible;
use crate::prim::families::{Families, Row};
use crate::prim::foreign::{Foreign, Loader};
use crate::prim::screen::Screen;
use crate::prim::{HostFn, Library, Prim};

/// What a primitive number in the code refers to.
#[derive(Clone)]
pub(crate) enum Target {
    /// A primitive of a family.
    Static(Prim),
    /// A primitive of the host, with its number of arguments.
    Host(usize, HostFn),
    /// A primitive of a library that a loader has opened; it takes as many arguments as it is called with.
    Foreign(Foreign),
    /// A name in the program for which there is no primitive: raises when called.
    Missing,
}

impl Target {
    /// The number of arguments, if it is fixed.
    pub(crate) fn arity(&self) -> Option<usize> {
        match self {
            Target::Static(Prim::P1(_)) => Some(1),
            Target::Static(Prim::P2(_) | Prim::V2(_)) => Some(2),
            Target::Static(Prim::P3(_)) => Some(3),
            Target::Static(Prim::P4(_) | Prim::V4(_)) => Some(4),
            Target::Static(Prim::P5(_)) => Some(5),
            Target::Host(n, _) => Some(*n),
            Target::Static(Prim::Pn(_)) | Target::Foreign(_) | Target::Missing => None,
        }
    }
}

/// A copy of a name.
#[allow(clippy::ptr_arg, reason = "copying a borrowed name costs nothing")]
fn copy(name: &Cow<'static, str>) -> Result<Cow<'static, str>, OutOfMemory> {
    Ok(match name {
        Cow::Borrowed(name) => Cow::Borrowed(name),
        Cow::Owned(name) => fallible::to_string(name)?.into(),
    })
}

/// The built-in primitives that a program's names refer to, on machines with the same built-in ones and grants.
pub(crate) struct Resolved {
    /// What it depends on: the version, the families and libraries, the screen.
    key: Key,
    /// For each name, the primitive to be called and its name; `None` if none is built in.
    found: Vec<Option<(&'static str, Prim)>>,
}

type Key = (Release, Vec<usize>, Vec<&'static str>, Option<(u32, usize)>);

/// All primitives of a machine, and the numbers by which its program calls them.
pub struct PrimTable {
    /// The version of OCaml whose primitives these are.
    release: Release,
    families: Vec<&'static Families>,
    host: HashMap<String, (usize, HostFn)>,
    libraries: Vec<Library>,
    /// Finds primitives of libraries that are not Rust.
    pub(crate) loader: Option<&'static Loader>,
    /// Replaces built-in primitives that reach outside the machine.
    pub(crate) screen: Option<Screen>,
    /// By number: the program's `PRIM` section, extended by loaded units.
    pub(crate) numbered: Vec<Target>,
    names: Vec<Cow<'static, str>>,
    /// Created on first use, because only loading units needs it.
    numbers: OnceCell<HashMap<Cow<'static, str>, usize>>,
}

impl PrimTable {
    /// A table without primitives.
    pub(crate) fn new(dialect: &Dialect) -> PrimTable {
        PrimTable {
            release: dialect.release,
            families: Vec::new(),
            host: HashMap::new(),
            libraries: Vec::new(),
            loader: None,
            screen: None,
            numbered: Vec::new(),
            names: Vec::new(),
            numbers: OnceCell::new(),
        }
    }

    /// Finds names in another version from now on. No number is assigned yet.
    pub(crate) fn adopt(&mut self, dialect: &Dialect) {
        self.release = dialect.release;
    }

    /// Reserves room for `count` more numbers.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<(), OutOfMemory> {
        fallible::reserve(&mut self.numbered, count)?;
        fallible::reserve(&mut self.names, count)
    }

    /// Adds families.
    pub(crate) fn add_families(&mut self, families: &'static Families) {
        self.families.push(families);
    }

    /// Adds a library. Its primitives are found by name, but do not count as the runtime's own.
    pub(crate) fn add_library(&mut self, library: Library) {
        self.libraries.push(library);
    }

    /// The library with this name.
    pub fn library(&self, name: &str) -> Option<&Library> {
        let fits = |library: &&Library| library.name == name && library.versions.contains(self.release);
        self.libraries.iter().find(fits)
    }

    /// The built-in primitive with this name.
    pub(super) fn built_in(&self, name: &str) -> Option<&'static Row> {
        let own = self.families.iter().find_map(|families| families.find(name, self.release));
        own.or_else(|| self.libraries.iter().find_map(|library| library.primitives.find(name, self.release)))
    }

    /// Adds a primitive of the host. It takes precedence over a built-in one with that name.
    pub(crate) fn add_host(&mut self, name: &str, arity: usize, f: HostFn) {
        self.host.insert(name.to_owned(), (arity, f));
    }

    /// Whether there is a primitive with this name.
    pub fn knows(&self, name: &str) -> bool {
        self.host.contains_key(name) || self.built_in(name).is_some() || self.foreign(name).is_some()
    }

    /// The primitive of an open library that is not Rust.
    fn foreign(&self, name: &str) -> Option<Foreign> {
        (self.loader?.find)(None, name)
    }

    /// The grant that a built-in primitive needs and the machine does not have, as messages name it. The host's own
    /// primitives need none.
    pub fn lacks_grant(&self, name: &str) -> Option<&'static str> {
        let screen = self.screen?;
        if self.host.contains_key(name) { None } else { (screen.refused)(screen.grants, name) }
    }

    /// The names of the runtime's own primitives and the host's, sorted.
    pub fn known_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.host.keys().map(String::as_str).collect();
        let rows = self.families.iter().flat_map(|families| families.rows());
        names.extend(rows.filter(|row| row.versions.contains(self.release)).map(|row| row.name));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The built-in primitives with these names, as [`PrimTable::append`] finds them. `known`: those of an earlier machine.
    pub(crate) fn resolve(
        &self,
        names: &[&str],
        known: Option<&Arc<Resolved>>,
    ) -> Result<Arc<Resolved>, OutOfMemory> {
        let families = self.families.iter().map(|families| std::ptr::from_ref(*families).addr()).collect();
        let libraries = self.libraries.iter().map(|library| library.name).collect();
        let screen = self.screen.map(|screen| (screen.grants, screen.substitute as usize));
        let key = (self.release, families, libraries, screen);
        if let Some(known) = known
            && known.key == key
        {
            return Ok(Arc::clone(known));
        }
        let mut found = fallible::with_capacity(names.len())?;
        found.extend(names.iter().map(|name| {
            let row = self.built_in(name)?;
            Some((row.name, self.screened(row)))
        }));
        Ok(Arc::new(Resolved { key, found }))
    }

    /// What is called for a built-in primitive.
    fn screened(&self, row: &'static Row) -> Prim {
        let substitute = self.screen.and_then(|screen| (screen.substitute)(screen.grants, row));
        debug_assert!(
            substitute.is_none() || Inline::find(row.name).is_none(),
            "{} is an instruction, which would still do what the screen refuses",
            row.name
        );
        substitute.unwrap_or(row.prim)
    }

    /// Those of a program's names that no primitive has.
    pub(crate) fn missing<'a>(&self, names: &[&'a str], resolved: &Resolved) -> Vec<&'a str> {
        let unknown = names.iter().zip(&resolved.found).filter(|(_, found)| found.is_none());
        let unknown = unknown.map(|(name, _)| *name);
        unknown.filter(|name| !self.host.contains_key(*name) && self.foreign(name).is_none()).collect()
    }

    /// [Appends](PrimTable::append) all names of a program.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub(crate) fn append_all(&mut self, names: &[&str], resolved: &Resolved) -> Result<(), OutOfMemory> {
        self.reserve(names.len())?;
        for (name, found) in names.iter().zip(&resolved.found) {
            match found {
                Some((name, prim)) if !self.host.contains_key(*name) => {
                    self.assign(Cow::Borrowed(name), Target::Static(*prim))?;
                }
                _ => {
                    self.append(name)?;
                }
            }
        }
        Ok(())
    }

    /// The number of assigned numbers.
    pub fn count(&self) -> usize {
        self.numbered.len()
    }

    /// The name with a number.
    pub fn name(&self, number: usize) -> Option<&str> {
        self.names.get(number).map(|name| &**name)
    }

    /// Whether a number is that of a name for which there is no primitive, or of none.
    pub fn is_missing(&self, number: usize) -> bool {
        matches!(self.numbered.get(number), None | Some(Target::Missing))
    }

    /// The numbers by name. `None` if there is no memory for them.
    fn numbers(&self) -> Option<&HashMap<Cow<'static, str>, usize>> {
        if self.numbers.get().is_none() {
            let mut numbers = HashMap::new();
            numbers.try_reserve(self.names.len()).ok()?;
            for (number, name) in self.names.iter().enumerate() {
                numbers.entry(copy(name).ok()?).or_insert(number);
            }
            let _ = self.numbers.set(numbers);
        }
        self.numbers.get()
    }

    /// The number of a name, if one is assigned.
    pub fn find(&self, name: &str) -> Option<usize> {
        match self.numbers() {
            Some(numbers) => numbers.get(name).copied(),
            None => self.names.iter().position(|known| known == name),
        }
    }

    /// The instruction that replaces calls of a primitive by `call`. `None` if the host has replaced the primitive.
    pub(crate) fn inline(&self, number: usize, call: Opcode) -> Option<Inline> {
        match self.numbered.get(number)? {
            Target::Static(_) => Inline::find(&self.names[number]),
            Target::Foreign(_) => Inline::foreign(call),
            _ => None,
        }
    }

    /// Whether the calls of some primitive are translated differently than without the host's primitives and libraries.
    pub(crate) fn replaces_instructions(&self) -> bool {
        self.numbered.iter().zip(&self.names).any(|(target, name)| match target {
            Target::Host(..) => Inline::find(name).is_some(),
            Target::Foreign(_) => true,
            Target::Static(_) | Target::Missing => false,
        })
    }

    /// Assigns the next number to `name`, even if it already has one: numbers are positions in `PRIM`.
    ///
    /// # Errors
    /// When there is not enough memory. Nothing has changed then.
    pub(crate) fn append(&mut self, name: &str) -> Result<usize, OutOfMemory> {
        let (name, target) = match (self.host.get(name), self.built_in(name)) {
            (Some((arity, f)), _) => (fallible::to_string(name)?.into(), Target::Host(*arity, f.clone())),
            (None, Some(row)) => (Cow::Borrowed(row.name), Target::Static(self.screened(row))),
            (None, None) => {
                let target = self.foreign(name).map_or(Target::Missing, Target::Foreign);
                (fallible::to_string(name)?.into(), target)
            }
        };
        self.assign(name, target)
    }

    /// Assigns the next number to a primitive of a library that is not Rust, whatever else has its name.
    pub(super) fn append_foreign(&mut self, name: &str, primitive: Foreign) -> Result<usize, OutOfMemory> {
        self.assign(fallible::to_string(name)?.into(), Target::Foreign(primitive))
    }

    fn assign(&mut self, name: Cow<'static, str>, target: Target) -> Result<usize, OutOfMemory> {
        self.reserve(1)?;
        let number = self.numbered.len();
        if let Some(numbers) = self.numbers.get_mut() {
            let key = copy(&name)?;
            numbers.try_reserve(1).map_err(|_| OutOfMemory { words: numbers.len() })?;
            numbers.entry(key).or_insert(number);
        }
        self.numbered.push(target);
        self.names.push(name);
        Ok(number)
    }

    /// Forgets the numbers from `count` on: a failed load undoes what it appended.
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
