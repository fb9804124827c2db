//! Hot reload: replaces a public unit with a new version.

use spelter_bytecode::obj::CompilationUnit;
use spelter_interp::Machine;

use crate::error::LinkError;
use crate::handle::LoadedUnit;
use crate::linker::Linker;
use crate::load::{Visibility, load_unit_in, own_interface};
use crate::namespace::Namespace;

/// The two versions of a reloaded unit.
#[derive(Debug)]
pub struct Reloaded {
    /// The version that the names refer to now.
    pub current: LoadedUnit,
    /// The version that they referred to before. If this handle is dropped, the version is freed when nothing runs or
    /// reaches it any more; to remove it sooner, revoke it.
    pub previous: LoadedUnit,
}

/// Loads a new version of the unit that has this name in the namespace, and redirects every name of the old version,
/// here or granted in other namespaces, to the new one. All names change in one step, after the initialiser of the new
/// version has succeeded.
///
/// Units linked before keep the version that they were linked with, and keep it alive; units loaded later get the new
/// one.
///
/// # Errors
/// [`LinkError::NotLoaded`] when the namespace has no unit of that name, [`LinkError::InterfaceChanged`] when units
/// that are alive were linked with the old version and the new one has another interface, and as for
/// [`load_unit`](crate::load_unit). All names are then unchanged.
///
/// # Panics
/// When the namespace belongs to another machine.
pub fn reload(m: &mut Machine, space: &Namespace, unit: &CompilationUnit) -> Result<Reloaded, LinkError> {
    let mark = m.mark();
    let previous = {
        let names = space.names_in(m);
        let object = names.lock().public.get(&unit.name).map(|public| public.object.clone());
        let object = object.map(|object| m.push_kept(&object));
        object.and_then(|object| LoadedUnit::of_object(m, object))
    };
    let Some(previous) = previous else {
        m.release(mark);
        return Err(LinkError::NotLoaded { unit: unit.name.clone() });
    };
    let object = previous.push_object(m);
    let importers = m.importers(object);
    m.release(mark);
    if let Some(importer) = importers.first()
        && own_interface(unit) != previous.facts.interface
    {
        let (unit, importer) = (unit.name.clone(), importer.name.clone());
        return Err(LinkError::InterfaceChanged { unit, importer });
    }
    let current = load_unit_in(m, space, unit, Visibility::Private)?;
    Linker::of(m).redirect(&previous, Some(&current));
    Ok(Reloaded { current, previous })
}
