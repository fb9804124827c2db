//! Namespaces as a host sees them, and new versions of what they name.

use spelter_dynlink::{Reloaded as Linked, Visibility};

use crate::error::Error;
use crate::unit::Unit;
use crate::vm::Vm;

/// An independent set of units in a [`Vm`]: a unit sees the program's modules, the units of its own namespace, and what
/// the host grants it. Dropping this withdraws all its names; its units live on as long as something else reaches them.
#[derive(Debug)]
pub struct Namespace(pub(crate) spelter_dynlink::Namespace);

impl Namespace {
    /// Lets units of this namespace name `unit` by `module`, whichever namespace it was loaded in. The name keeps it
    /// alive. Units linked before stay linked with what the name led to then.
    ///
    /// # Panics
    /// When the unit is another machine's.
    pub fn grant(&self, module: &str, unit: &Unit) {
        self.0.grant(module, &unit.0);
    }

    /// Takes a name away, granted or public: units loaded later cannot name it, and the unit dies when nothing else
    /// reaches it. False when there is no such name.
    pub fn withdraw(&self, module: &str) -> bool {
        self.0.withdraw(module)
    }

    /// The names of units, in the order in which they came.
    pub fn names(&self) -> Vec<String> {
        self.0.names()
    }
}

/// What a reload was about: the new version and the one whose place it took.
#[derive(Debug)]
pub struct Reloaded {
    /// The version that the names lead to now.
    pub current: Unit,
    /// The version that they led to before. Drop this handle, and it goes when nothing runs or reaches it any more;
    /// [revoke](Vm::revoke) it to be rid of it sooner.
    pub previous: Unit,
}

impl Vm {
    /// A new namespace that shows all of the program's modules.
    pub fn namespace(&mut self) -> Namespace {
        Namespace(spelter_dynlink::Namespace::new(self.raw()))
    }

    /// A new namespace that shows only these of the program's modules: names of compilation units, as `spelter info`
    /// lists them (`Stdlib__List`, not `List`). Predefined exceptions are always there.
    ///
    /// That is about names, for units that are honest: what is hidden cannot be *named*. It is no boundary for guests that
    /// mean harm: the table of globals, callbacks, marshalled closures and the primitives of `Dynlink` lead around it. Those
    /// who do not trust each other get a machine each.
    pub fn namespace_showing<S: Into<String>>(&mut self, modules: impl IntoIterator<Item = S>) -> Namespace {
        Namespace(spelter_dynlink::Namespace::showing(self.raw(), modules))
    }

    /// Loads a unit (the bytes of a `.cmo`) that the namespace's other units may name; `name` stands for it in messages.
    ///
    /// # Errors
    /// When it cannot be linked, or its initialiser raises.
    ///
    /// # Panics
    /// When the namespace is another machine's.
    pub fn load_in(&mut self, space: &Namespace, name: &str, bytes: &[u8]) -> Result<Unit, Error> {
        self.load_unit(Some(&space.0), name, bytes, Visibility::Public)
    }

    /// Loads a unit that sees what the namespace shows, and that nobody can name.
    ///
    /// # Errors
    /// When it cannot be linked, or its initialiser raises.
    ///
    /// # Panics
    /// When the namespace is another machine's.
    pub fn load_private_in(&mut self, space: &Namespace, name: &str, bytes: &[u8]) -> Result<Unit, Error> {
        self.load_unit(Some(&space.0), name, bytes, Visibility::Private)
    }

    /// Loads a new version of a public unit of the default namespace, and makes every name that led to the old version
    /// lead to the new one, in one step and after the new one's initialiser has ended well. `name` stands for it in
    /// messages; which unit is meant, the file says.
    ///
    /// Units linked before keep the version that they were linked with, and keep it alive; units loaded later get the
    /// new one.
    ///
    /// # Errors
    /// When there is no public unit of its name, when units that are alive were linked with the old version and the new
    /// one has another interface, when it cannot be linked, or when its initialiser raises. Every name leads where it did
    /// then.
    pub fn reload(&mut self, name: &str, bytes: &[u8]) -> Result<Reloaded, Error> {
        let space = spelter_dynlink::Linker::of(self.raw()).default_namespace();
        self.reload_unit(&space, name, bytes)
    }

    /// The same for a public unit of a namespace, or one that was granted there. Names in other namespaces that led to
    /// the old version lead to the new one, too.
    ///
    /// # Errors
    /// As for [`Vm::reload`].
    ///
    /// # Panics
    /// When the namespace is another machine's.
    pub fn reload_in(&mut self, space: &Namespace, name: &str, bytes: &[u8]) -> Result<Reloaded, Error> {
        self.reload_unit(&space.0, name, bytes)
    }

    fn reload_unit(
        &mut self,
        space: &spelter_dynlink::Namespace,
        name: &str,
        bytes: &[u8],
    ) -> Result<Reloaded, Error> {
        let _call = self.raw().begin_call();
        let unit = Self::read_unit(name, bytes)?;
        space.assert_of(&mut self.m);
        let reloaded = self.caught(|m| spelter_dynlink::reload(m, space, &unit))?;
        let Linked { current, previous } = reloaded.map_err(|e| self.link_error(name, e))?;
        Ok(Reloaded { current: Unit(current), previous: Unit(previous) })
    }
}
