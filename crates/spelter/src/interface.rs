//! Loaded units with their compiled interfaces.

use std::sync::Arc;

use spelter_bytecode::cmi::Interface;

use crate::error::Error;
use crate::unit::Unit;

/// A loaded unit and its compiled interface (`.cmi`), which says what types the unit's values have. It keeps the unit
/// alive, like the [`Unit`] that it was made of.
///
/// [`Vm::function`](crate::Vm::function) and [`Vm::component`](crate::Vm::component) use it.
#[derive(Clone, Debug)]
pub struct TypedUnit {
    unit: Unit,
    interface: Arc<Interface>,
    /// Those of other units, whose types the interface names.
    others: Vec<Arc<Interface>>,
}

impl Unit {
    /// The unit with its compiled interface: the content of the `.cmi` file that `ocamlc` made with the unit, or
    /// before it from a `.mli` file.
    ///
    /// # Errors
    /// When the file is damaged, or is not the interface that the unit was compiled with: their digests must agree.
    pub fn with_interface(&self, cmi: impl AsRef<[u8]>) -> Result<TypedUnit, Error> {
        let unit = self.name();
        let interface = read(unit, cmi.as_ref())?;
        let refuse = |reason: String| Err(Error::OtherInterface { unit: unit.to_owned(), reason });
        if interface.name != unit {
            return refuse(format!("this is the interface of {}", interface.name));
        }
        match (self.0.facts().interface, interface.digest()) {
            (Some(own), Some(digest)) if own == digest => {
                let interface = Arc::new(interface);
                Ok(TypedUnit { unit: self.clone(), interface, others: Vec::new() })
            }
            (None, _) => refuse("it does not say which interface it was compiled with".to_owned()),
            _ => refuse(
                "it was compiled with another interface than this one; use the .cmi made with its .cmo"
                    .to_owned(),
            ),
        }
    }
}

impl TypedUnit {
    /// Adds the interface of another unit whose types this one's interface names. Predefined types, `result` and the
    /// modules that only rename them (`Int64.t`) need none.
    ///
    /// # Errors
    /// When the file is damaged, or the unit's interface was compiled with another one of that name.
    pub fn and_interface(mut self, cmi: impl AsRef<[u8]>) -> Result<TypedUnit, Error> {
        let unit = self.unit.name();
        let other = read(unit, cmi.as_ref())?;
        let is_other = |(name, digest): &(String, Option<_>)| {
            *name == other.name && digest.is_some() && *digest == other.digest()
        };
        if !self.known().any(|interface| interface.imports.iter().any(is_other)) {
            let reason = format!("its interface does not import this one of {}", other.name);
            return Err(Error::OtherInterface { unit: unit.to_owned(), reason });
        }
        self.others.push(Arc::new(other));
        Ok(self)
    }

    /// The unit.
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    pub(crate) fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The interface of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Interface> {
        self.known().find(|interface| interface.name == name)
    }

    fn known(&self) -> impl Iterator<Item = &Interface> {
        std::iter::once(&self.interface).chain(&self.others).map(|interface| &**interface)
    }
}

fn read(unit: &str, cmi: &[u8]) -> Result<Interface, Error> {
    Interface::read(cmi).map_err(|source| Error::Format { file: format!("interface of unit {unit}"), source })
}
