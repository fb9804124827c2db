//! The host's interface to namespaces, and to reloading the units that they name.

use spelter_dynlink::{Reloaded as Linked, Visibility};

use crate::error::Error;
use crate::unit::Unit;
use crate::vm::Vm;

/// An independent set of units in a [`Vm`]: a unit sees the program's modules, the units of its own namespace, and what
/// the host grants it. Dropping this withdraws all its names; its units live while they are reachable otherwise.
#[derive(Debug)]
pub struct Namespace(pub(crate) spelter_dynlink::Namespace);

impl Namespace {
    /// Lets units of this namespace refer to `unit` by the name `module`, whichever namespace it was loaded in. The
    /// name keeps it alive. Units linked before keep the unit that the name referred to then.
    ///
    /// # Panics
    /// When the unit belongs to another machine.
    pub fn grant(&self, module: &str, unit: &Unit) {
        self.0.grant(module, &unit.0);
    }

    /// Removes a name, granted or public: units loaded later cannot use it, and the unit is freed when nothing else
    /// reaches it. Returns false if there is no such name.
    pub fn withdraw(&self, module: &str) -> bool {
        self.0.withdraw(module)
    }

    /// The names of units, in the order in which they were added.
    pub fn names(&self) -> Vec<String> {
        self.0.names()
    }
}

/// The result of a reload: the new version and the version that it replaced.
#[derive(Debug)]
pub struct Reloaded {
    /// The version that the names refer to now.
    pub current: Unit,
    /// The version that they referred to before. After this handle is dropped, the unit is freed when nothing runs or
    /// reaches it; [revoke](Vm::revoke) it to free it sooner.
    pub previous: Unit,
}

impl Vm {
    /// Creates a namespace in which all of the program's modules are visible.
    pub fn namespace(&mut self) -> Namespace {
        Namespace(spelter_dynlink::Namespace::new(self.raw()))
    }

    /// Creates a namespace in which only these of the program's modules are visible: names of compilation units, as
    /// `spelter info` lists them (`Stdlib__List`, not `List`). Predefined exceptions are always visible.
    ///
    /// This only restricts which modules well-behaved units can *name*. It does not isolate malicious guests, which
    /// can bypass it through the table of globals, callbacks, marshalled closures and the primitives of `Dynlink`.
    /// Give guests that do not trust each other separate machines.
    pub fn namespace_showing<S: Into<String>>(&mut self, modules: impl IntoIterator<Item = S>) -> Namespace {
        Namespace(spelter_dynlink::Namespace::showing(self.raw(), modules))
    }

    /// Loads a unit (the bytes of a `.cmo`) that the namespace's other units may name. Messages refer to it as
    /// `name`.
    ///
    /// # Errors
    /// When it cannot be linked, or its initialiser raises.
    ///
    /// # Panics
    /// When the namespace belongs to another machine.
    pub fn load_in(&mut self, space: &Namespace, name: &str, bytes: &[u8]) -> Result<Unit, Error> {
        self.load_unit(Some(&space.0), name, bytes, Visibility::Public)
    }

    /// Loads a unit that sees the modules of the namespace, but that no other unit can name.
    ///
    /// # Errors
    /// When it cannot be linked, or its initialiser raises.
    ///
    /// # Panics
    /// When the namespace belongs to another machine.
    pub fn load_private_in(&mut self, space: &Namespace, name: &str, bytes: &[u8]) -> Result<Unit, Error> {
        self.load_unit(Some(&space.0), name, bytes, Visibility::Private)
    }

    /// Loads a new version of a public unit of the default namespace. After the new version's initialiser has
    /// succeeded, every name of the old version is changed to refer to the new one, atomically. Messages refer to it
    /// as `name`; the file itself determines which unit to replace.
    ///
    /// Units linked before keep the version that they were linked with, and keep it alive; units loaded later get the
    /// new one.
    ///
    /// # Errors
    /// When there is no public unit of its name, when live units were linked with the old version and the new one has
    /// a different interface, when it cannot be linked, or when its initialiser raises. The names do not change then.
    pub fn reload(&mut self, name: &str, bytes: &[u8]) -> Result<Reloaded, Error> {
        let space = spelter_dynlink::Linker::of(self.raw()).default_namespace();
        self.reload_unit(&space, name, bytes)
    }

    /// Like [`Vm::reload`], for a unit that is public in a namespace or was granted there. Names of the old version
    /// in other namespaces are changed, too.
    ///
    /// # Errors
    /// As for [`Vm::reload`].
    ///
    /// # Panics
    /// When the namespace belongs to another machine.
    pub fn reload_in(&mut self, space: &Namespace, name: &str, bytes: &[u8]) -> Result<Reloaded, Error> {
        self.reload_unit(&space.0, name, bytes)
    }

    fn reload_unit(
        &mut self,
        space: &spelter_dynlink::Namespace,
        name: &str,
        bytes: &[u8],
    ) -> Result<Reloaded, Error> {
        let _call = self.begin_call()?;
        let unit = Self::read_unit(name, bytes)?;
        self.link_libraries()?;
        space.assert_of(&mut self.m);
        let reloaded = self.caught(|m| spelter_dynlink::reload(m, space, &unit))?;
        let Linked { current, previous } = reloaded.map_err(|e| self.link_error(name, e))?;
        Ok(Reloaded { current: Unit(current), previous: Unit(previous) })
    }
}
