//! The primitives of a machine, and the numbers by which its program calls them.
//!
//! What a program's numbers refer to is the same in all machines with the same primitives and grants: they share it
//! ([`Numbers`]). A machine has only its host's functions, and what loaded units have added.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;
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
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// A primitive of a family.
    Static(Prim),
    /// A primitive of the host: its number of arguments, and its place among the [functions](PrimTable::host_function) of
    /// the machine's host.
    Host { arity: u32, place: u32 },
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
            Target::Host { arity, .. } => Some(*arity as usize),
            Target::Static(Prim::Pn(_)) | Target::Foreign(_) | Target::Missing => None,
        }
    }
}

/// Names, each with the first number that it has.
type ByName = HashMap<Cow<'static, str>, usize>;

/// `None` if there is no memory for it.
fn by_name(names: &[Cow<'static, str>], first: usize) -> Option<ByName> {
    let mut numbers = HashMap::new();
    numbers.try_reserve(names.len()).ok()?;
    for (number, name) in (first..).zip(names) {
        numbers.entry(copy(name).ok()?).or_insert(number);
    }
    Some(numbers)
}

/// A copy of a name.
#[allow(clippy::ptr_arg, reason = "copying a borrowed name costs nothing")]
fn copy(name: &Cow<'static, str>) -> Result<Cow<'static, str>, OutOfMemory> {
    Ok(match name {
        Cow::Borrowed(name) => Cow::Borrowed(name),
        Cow::Owned(name) => fallible::to_string(name)?.into(),
    })
}

/// The same where it can be shared, which copies it.
fn shared(targets: Vec<Target>) -> Result<Arc<[Target]>, OutOfMemory> {
    fallible::afford(size_of_val::<[Target]>(&targets))?;
    Ok(targets.into())
}

/// What the numbers of a program refer to, on machines with the same primitives and grants.
pub(crate) struct Numbers {
    /// What it depends on.
    key: Key,
    targets: Arc<[Target]>,
    names: Vec<Cow<'static, str>>,
    /// The numbers of names for which there is no primitive, apart from those of libraries that are not Rust.
    missing: Vec<usize>,
    /// Whether the host replaces primitives that are instructions.
    replaces_instructions: bool,
    /// Created on first use, because only loading units needs it.
    by_name: OnceLock<ByName>,
}

/// What decides which primitive has a name: the version, the families and libraries, the screen, and the host's own
/// primitives with their numbers of arguments, in their order.
struct Key {
    release: Release,
    families: Vec<&'static Families>,
    libraries: Vec<&'static str>,
    screen: Option<(u32, usize)>,
    host: Vec<(String, u32)>,
}

/// All primitives of a machine, and the numbers by which its program calls them.
pub struct PrimTable {
    /// The version of OCaml whose primitives these are.
    release: Release,
    families: Vec<&'static Families>,
    /// The host's primitives.
    host: Vec<HostPrimitive>,
    /// The place of the last one with each name.
    host_places: FxHashMap<String, usize>,
    libraries: Vec<Library>,
    /// Finds primitives of libraries that are not Rust.
    pub(crate) loader: Option<&'static Loader>,
    /// Replaces built-in primitives that reach outside the machine.
    pub(crate) screen: Option<Screen>,
    /// The program's numbers: those of its `PRIM` section.
    program: Option<Arc<Numbers>>,
    /// What they refer to: shared, unless some are primitives of libraries that are not Rust.
    targets: Arc<[Target]>,
    /// What the numbers after these refer to, which loaded units have added.
    more: Vec<Target>,
    more_names: Vec<Cow<'static, str>>,
    /// Created on first use.
    more_by_name: OnceCell<ByName>,
}

struct HostPrimitive {
    name: String,
    arity: u32,
    f: HostFn,
}

impl PrimTable {
    /// A table without primitives.
    pub(crate) fn new(dialect: &Dialect) -> PrimTable {
        PrimTable {
            release: dialect.release,
            families: Vec::new(),
            host: Vec::new(),
            host_places: FxHashMap::default(),
            libraries: Vec::new(),
            loader: None,
            screen: None,
            program: None,
            targets: Arc::default(),
            more: Vec::new(),
            more_names: Vec::new(),
            more_by_name: OnceCell::new(),
        }
    }

    /// Finds names in another version from now on. No number is assigned yet.
    pub(crate) fn adopt(&mut self, dialect: &Dialect) {
        self.release = dialect.release;
    }

    /// Reserves room for `count` more numbers.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<(), OutOfMemory> {
        fallible::reserve(&mut self.more, count)?;
        fallible::reserve(&mut self.more_names, count)
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
        self.host_places.insert(name.to_owned(), self.host.len());
        self.host.push(HostPrimitive { name: name.to_owned(), arity: arity as u32, f });
    }

    /// The host's function at a place.
    pub(crate) fn host_function(&self, place: u32) -> &HostFn {
        &self.host[place as usize].f
    }

    /// Whether the host has a primitive of this name.
    fn is_of_host(&self, name: &str) -> bool {
        !self.host.is_empty() && self.host_places.contains_key(name)
    }

    /// Whether there is a primitive with this name.
    pub fn knows(&self, name: &str) -> bool {
        self.is_of_host(name) || self.built_in(name).is_some() || self.foreign(name).is_some()
    }

    /// The primitive of an open library that is not Rust.
    fn foreign(&self, name: &str) -> Option<Foreign> {
        (self.loader?.find)(None, name)
    }

    /// The grant that a built-in primitive needs and the machine does not have, as messages name it. The host's own
    /// primitives need none.
    pub fn lacks_grant(&self, name: &str) -> Option<&'static str> {
        let screen = self.screen?;
        if self.is_of_host(name) { None } else { (screen.refused)(screen.grants, name) }
    }

    /// The names of the runtime's own primitives and the host's, sorted.
    pub fn known_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.host_places.keys().map(String::as_str).collect();
        let rows = self.families.iter().flat_map(|families| families.rows());
        names.extend(rows.filter(|row| row.versions.contains(self.release)).map(|row| row.name));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What the numbers of a program with these names refer to. `known`: what earlier machines have found.
    pub(crate) fn resolve(
        &self,
        names: &[&str],
        known: &[Arc<Numbers>],
    ) -> Result<Arc<Numbers>, OutOfMemory> {
        if let Some(known) = known.iter().find(|known| self.fits(&known.key)) {
            return Ok(Arc::clone(known));
        }
        let mut targets = fallible::with_capacity(names.len())?;
        let mut found = fallible::with_capacity(names.len())?;
        let mut missing = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let (name, target) = self.look_up(name)?;
            if matches!(target, Target::Missing) {
                fallible::push(&mut missing, number)?;
            }
            targets.push(target);
            found.push(name);
        }
        let of_host = |target: &Target| matches!(target, Target::Host { .. });
        let mut both = targets.iter().zip(&found);
        let replaces_instructions =
            both.any(|(target, name)| of_host(target) && Inline::find(name).is_some());
        let targets = shared(targets)?;
        Ok(Arc::new(Numbers {
            key: self.key(),
            targets,
            names: found,
            missing,
            replaces_instructions,
            by_name: OnceLock::new(),
        }))
    }

    fn screened_by(&self) -> Option<(u32, usize)> {
        self.screen.map(|screen| (screen.grants, screen.substitute as usize))
    }

    fn key(&self) -> Key {
        Key {
            release: self.release,
            families: self.families.clone(),
            libraries: self.libraries.iter().map(|library| library.name).collect(),
            screen: self.screened_by(),
            host: self.host.iter().map(|own| (own.name.clone(), own.arity)).collect(),
        }
    }

    /// Whether the primitives here are those with this key.
    fn fits(&self, key: &Key) -> bool {
        let same_families = || self.families.iter().zip(&key.families).all(|(a, b)| std::ptr::eq(*a, *b));
        let same_libraries = || self.libraries.iter().zip(&key.libraries).all(|(a, b)| a.name == *b);
        let same_host = || self.host.iter().zip(&key.host).all(|(a, b)| a.arity == b.1 && a.name == b.0);
        self.release == key.release
            && self.screened_by() == key.screen
            && self.families.len() == key.families.len()
            && self.libraries.len() == key.libraries.len()
            && self.host.len() == key.host.len()
            && same_families()
            && same_libraries()
            && same_host()
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
    pub(crate) fn missing<'a>(&self, names: &[&'a str], numbers: &Numbers) -> Vec<&'a str> {
        let unknown = numbers.missing.iter().map(|number| names[*number]);
        unknown.filter(|name| self.foreign(name).is_none()).collect()
    }

    /// Assigns the numbers of a program. None has been assigned yet.
    ///
    /// # Errors
    /// When there is not enough memory. Nothing has changed then.
    pub(crate) fn begin(&mut self, numbers: Arc<Numbers>) -> Result<(), OutOfMemory> {
        debug_assert!(self.count() == 0, "a second program");
        let mut foreign = Vec::new();
        for number in &numbers.missing {
            if let Some(primitive) = self.foreign(&numbers.names[*number]) {
                fallible::push(&mut foreign, (*number, primitive))?;
            }
        }
        self.targets = match foreign.is_empty() {
            true => Arc::clone(&numbers.targets),
            false => {
                let mut targets = fallible::to_vec(&numbers.targets)?;
                foreign.iter().for_each(|(number, primitive)| targets[*number] = Target::Foreign(*primitive));
                shared(targets)?
            }
        };
        self.program = Some(numbers);
        Ok(())
    }

    /// What a number refers to.
    #[inline(always)]
    pub(crate) fn target(&self, number: usize) -> Option<&Target> {
        match self.targets.get(number) {
            None => self.more.get(number.wrapping_sub(self.targets.len())),
            found => found,
        }
    }

    /// The number of assigned numbers.
    pub fn count(&self) -> usize {
        self.targets.len() + self.more.len()
    }

    /// The name with a number.
    pub fn name(&self, number: usize) -> Option<&str> {
        let name = match self.program.as_ref().and_then(|program| program.names.get(number)) {
            None => self.more_names.get(number.wrapping_sub(self.targets.len())),
            found => found,
        };
        name.map(|name| &**name)
    }

    /// Whether a number is that of a name for which there is no primitive, or of none.
    pub fn is_missing(&self, number: usize) -> bool {
        matches!(self.target(number), None | Some(Target::Missing))
    }

    /// The number of a name, if one is assigned.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.find_in_program(name).or_else(|| self.find_in_more(name))
    }

    fn find_in_program(&self, name: &str) -> Option<usize> {
        let Numbers { names, by_name: known, .. } = &**self.program.as_ref()?;
        match known.get() {
            Some(numbers) => numbers.get(name).copied(),
            None => match by_name(names, 0) {
                Some(numbers) => known.get_or_init(|| numbers).get(name).copied(),
                None => names.iter().position(|known| known == name),
            },
        }
    }

    fn find_in_more(&self, name: &str) -> Option<usize> {
        let (names, known) = (&self.more_names, &self.more_by_name);
        if names.is_empty() {
            return None;
        }
        match known.get() {
            Some(numbers) => numbers.get(name).copied(),
            None => match by_name(names, self.targets.len()) {
                Some(numbers) => known.get_or_init(|| numbers).get(name).copied(),
                None => names.iter().position(|known| known == name).map(|at| self.targets.len() + at),
            },
        }
    }

    /// The instruction that replaces calls of a primitive by `call`. `None` if the host has replaced the primitive.
    pub(crate) fn inline(&self, number: usize, call: Opcode) -> Option<Inline> {
        match self.target(number)? {
            Target::Static(_) => Inline::find(self.name(number)?),
            Target::Foreign(_) => Inline::foreign(call),
            _ => None,
        }
    }

    /// Whether the calls of some primitive of the program are translated differently than without the host's primitives
    /// and libraries.
    pub(crate) fn replaces_instructions(&self) -> bool {
        self.program.as_ref().is_some_and(|program| {
            program.replaces_instructions || !Arc::ptr_eq(&program.targets, &self.targets)
        })
    }

    /// What a name refers to that gets a number, and the name. A primitive of a library that is not Rust counts as missing.
    fn look_up(&self, name: &str) -> Result<(Cow<'static, str>, Target), OutOfMemory> {
        if !self.host.is_empty()
            && let Some(place) = self.host_places.get(name)
        {
            let target = Target::Host { arity: self.host[*place].arity, place: *place as u32 };
            return Ok((fallible::to_string(name)?.into(), target));
        }
        Ok(match self.built_in(name) {
            Some(row) => (Cow::Borrowed(row.name), Target::Static(self.screened(row))),
            None => (fallible::to_string(name)?.into(), Target::Missing),
        })
    }

    /// Assigns the next number to `name`, even if it already has one: numbers are positions in `PRIM`.
    ///
    /// # Errors
    /// When there is not enough memory. Nothing has changed then.
    pub(crate) fn append(&mut self, name: &str) -> Result<usize, OutOfMemory> {
        let (name, target) = match self.look_up(name)? {
            (name, Target::Missing) => {
                let target = self.foreign(&name).map_or(Target::Missing, Target::Foreign);
                (name, target)
            }
            known => known,
        };
        self.assign(name, target)
    }

    /// Assigns the next number to a primitive of a library that is not Rust, whatever else has its name.
    pub(super) fn append_foreign(&mut self, name: &str, primitive: Foreign) -> Result<usize, OutOfMemory> {
        self.assign(fallible::to_string(name)?.into(), Target::Foreign(primitive))
    }

    fn assign(&mut self, name: Cow<'static, str>, target: Target) -> Result<usize, OutOfMemory> {
        self.reserve(1)?;
        let number = self.count();
        if let Some(numbers) = self.more_by_name.get_mut() {
            let key = copy(&name)?;
            numbers.try_reserve(1).map_err(|_| OutOfMemory { words: numbers.len() })?;
            numbers.entry(key).or_insert(number);
        }
        self.more.push(target);
        self.more_names.push(name);
        Ok(number)
    }

    /// Forgets the numbers from `count` on: a failed load undoes what it appended. Those of a program are forgotten
    /// together.
    pub(crate) fn truncate(&mut self, count: usize) {
        let kept = count.saturating_sub(self.targets.len());
        for name in self.more_names.drain(kept.min(self.more_names.len())..) {
            if let Some(numbers) = self.more_by_name.get_mut()
                && numbers.get(&name).is_some_and(|n| *n >= count)
            {
                numbers.remove(&name);
            }
        }
        self.more.truncate(kept);
        if count < self.targets.len() {
            debug_assert!(count == 0, "a part of a program's numbers");
            (self.program, self.targets) = (None, Arc::default());
        }
    }
}
