//! Loads all units of a library (`.cma`), or none.

use spelter_bytecode::obj::CompilationUnit;
use spelter_interp::{Kept, Machine, fallible};

use crate::demand::Needed;
use crate::error::LinkError;
use crate::handle::LoadedUnit;
use crate::linker::Linker;
use crate::load::{initialise, link, take_version};
use crate::namespace::{Namespace, Public, SharedNames};

/// A unit whose initialiser has not run yet.
struct Waiting {
    unit: LoadedUnit,
    init: Kept,
    needed: Needed,
}

/// Loads the units of a library into a namespace, as public, in their order: as `Dynlink.loadfile` does. Each can name those
/// before it. All are linked before any is initialised, and get their names together, after the last initialiser.
///
/// # Errors
/// As for [`load_unit`](crate::load_unit). No name has changed then, and nothing refers to any of the units; only with
/// [`LinkError::Initialiser`] do the effects of initialisers remain.
///
/// # Panics
/// When the namespace belongs to another machine.
pub fn load_library_in(
    m: &mut Machine,
    space: &Namespace,
    units: &[CompilationUnit],
) -> Result<Vec<LoadedUnit>, LinkError> {
    let names = space.names_in(m);
    let (prims, dialect) = (m.prims().count(), m.dialect());
    // While they are linked, only they see each other.
    let inner = SharedNames::new(names.lock().copy()?);
    let mut waiting = Vec::new();
    let linked = units.iter().try_for_each(|unit| {
        let mark = m.mark();
        let linked = link_one(m, &inner, unit);
        m.release(mark);
        let linked = linked?;
        inner.lock().public.insert(unit.name.clone(), Public::of(&linked.unit));
        fallible::push(&mut waiting, linked).map_err(|_| LinkError::out_of_memory(&unit.name))
    });
    linked.inspect_err(|_| {
        // No code with these numbers will ever run.
        m.truncate_primitives(prims);
        if m.dialect() != dialect && !Linker::of(m).has_loaded {
            m.adopt(dialect);
        }
    })?;
    names.lock().public.try_reserve(units.len()).map_err(|_| LinkError::out_of_memory(""))?;
    for Waiting { unit, init, needed } in &waiting {
        needed.initialise(m)?;
        let mark = m.mark();
        let init = m.push_kept(init);
        let outcome = initialise(m, &unit.name, init);
        m.release(mark);
        outcome?;
    }
    let mut names = names.lock();
    for Waiting { unit, .. } in &waiting {
        names.public.insert(unit.name.clone(), Public::of(unit));
    }
    Ok(waiting.into_iter().map(|waiting| waiting.unit).collect())
}

fn link_one(m: &mut Machine, names: &SharedNames, unit: &CompilationUnit) -> Result<Waiting, LinkError> {
    take_version(m, unit)?;
    let linked = link(m, names, unit)?;
    Ok(Waiting { unit: linked.unit, init: m.keep(linked.init), needed: linked.needed })
}
