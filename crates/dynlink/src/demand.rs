//! Libraries that are the machine's program: their units are initialised when a loaded unit needs them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use spelter_bytecode::asm::OnDemandUnit;
use spelter_interp::Machine;

use crate::error::LinkError;
use crate::linker::Linker;
use crate::load::is_of_ocaml;

/// Libraries that have been linked with each other, for any number of machines.
#[derive(Debug)]
pub struct Libraries {
    /// What messages call them.
    names: String,
    units: Vec<OnDemandUnit>,
    /// The unit that defines a global.
    by_global: HashMap<usize, usize>,
}

impl Libraries {
    /// The units of libraries, which messages call `names`.
    pub fn new(names: String, units: Vec<OnDemandUnit>) -> Libraries {
        let globals = |(i, unit): (usize, &OnDemandUnit)| {
            unit.defines.iter().map(move |it| (*it, i)).collect::<Vec<_>>()
        };
        let by_global = units.iter().enumerate().flat_map(globals).collect();
        Libraries { names, units, by_global }
    }
}

/// How far a unit of a library is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting,
    /// Its initialiser runs.
    Running,
    Ready,
}

/// A machine's libraries.
pub(crate) struct Demand {
    libraries: Arc<Libraries>,
    states: Vec<State>,
}

impl Demand {
    pub(crate) fn names(&self) -> &str {
        &self.libraries.names
    }
}

impl Linker {
    /// Makes the units of libraries available. The program that holds them has run: it has made their initialisers.
    pub fn set_libraries(&mut self, libraries: Arc<Libraries>) {
        let states = vec![State::Waiting; libraries.units.len()];
        self.demand = Some(Demand { libraries, states });
    }

    /// The names of the libraries' units that have been initialised, in the order of the libraries.
    pub fn initialised(&self) -> Vec<&str> {
        let Some(Demand { libraries, states }) = &self.demand else { return Vec::new() };
        let ready = libraries.units.iter().zip(states).filter(|(_, state)| **state == State::Ready);
        ready.map(|(unit, _)| &*unit.name).collect()
    }
}

/// The units of libraries that must be initialised before a unit that refers to these globals, in order. Their primitives
/// have been checked.
#[derive(Debug, Default)]
pub(crate) struct Needed(Vec<usize>);

impl Needed {
    /// Finds and checks them for the unit `by`.
    pub(crate) fn find(
        m: &mut Machine,
        by: &str,
        globals: impl Iterator<Item = usize>,
    ) -> Result<Needed, LinkError> {
        let Some(Demand { libraries, states }) = &Linker::of(m).demand else { return Ok(Needed::default()) };
        let libraries = Arc::clone(libraries);
        let direct = globals.filter_map(|global| libraries.by_global.get(&global).copied());
        let always = (0..libraries.units.len()).filter(|i| libraries.units[*i].always);
        let mut todo: Vec<usize> = direct.chain(always).collect();
        let mut needed = BTreeSet::new();
        while let Some(i) = todo.pop() {
            match states[i] {
                State::Ready => {}
                State::Running => {
                    let (unit, import) = (by.to_owned(), libraries.units[i].name.clone());
                    return Err(LinkError::Uninitialised { unit, import });
                }
                State::Waiting if needed.insert(i) => todo.extend(&libraries.units[i].needs),
                State::Waiting => {}
            }
        }
        for i in &needed {
            check_primitives(m, &libraries.units[*i])?;
        }
        Ok(Needed(needed.into_iter().collect()))
    }

    /// Whether this global belongs to one of them.
    pub(crate) fn defines(&self, m: &mut Machine, global: usize) -> bool {
        let Some(Demand { libraries, .. }) = &Linker::of(m).demand else { return false };
        libraries.by_global.get(&global).is_some_and(|i| self.0.binary_search(i).is_ok())
    }

    /// Initialises those that still wait for it.
    pub(crate) fn initialise(&self, m: &mut Machine) -> Result<(), LinkError> {
        for i in &self.0 {
            let Some(Demand { libraries, states }) = &mut Linker::of(m).demand else { return Ok(()) };
            if states[*i] != State::Waiting {
                continue;
            }
            states[*i] = State::Running;
            let libraries = Arc::clone(libraries);
            let unit = &libraries.units[*i];
            let outcome = initialise(m, unit);
            if let Some(demand) = &mut Linker::of(m).demand {
                demand.states[*i] = if outcome.is_ok() { State::Ready } else { State::Waiting };
            }
            outcome?;
        }
        Ok(())
    }
}

fn initialise(m: &mut Machine, unit: &OnDemandUnit) -> Result<(), LinkError> {
    let mark = m.mark();
    let outcome = m.push(|m| Ok(m.globals().field(unit.initialiser)?)).and_then(|initialiser| {
        let argument = m.push_int(0);
        m.call(initialiser, &[argument]).map(drop)
    });
    m.release(mark);
    outcome.map_err(|raise| LinkError::Initialiser { unit: unit.name.clone(), raise })
}

/// Checks that the machine has what a unit calls, as for a loaded unit.
fn check_primitives(m: &Machine, unit: &OnDemandUnit) -> Result<(), LinkError> {
    let prims = m.prims();
    let trusted_name = is_of_ocaml(&unit.name);
    for number in &unit.primitives {
        let name = || prims.name(*number).unwrap_or_default().to_owned();
        if prims.is_missing(*number) {
            return Err(LinkError::MissingPrimitive { unit: unit.name.clone(), name: name() });
        }
        if !trusted_name && let Some(grant) = prims.lacks_grant(&name()) {
            return Err(LinkError::NotGranted { unit: unit.name.clone(), name: name(), grant });
        }
    }
    Ok(())
}
