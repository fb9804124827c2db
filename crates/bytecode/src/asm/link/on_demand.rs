//! Libraries as one program whose units are initialised when they are needed, not in a row.

use std::collections::HashMap;

use super::tables::Tables;
use super::{common_version, error, interfaces, provided, relocated, required, shared_libraries};
use crate::code::WORD;
use crate::error::Result;
use crate::exe::{Executable, ExecutableBuilder};
use crate::obj::{CompilationUnit, Library, Reloc};
use crate::opcode::Opcode;
use crate::view::Ident;

/// Libraries that have been linked with each other. The program makes a function of each unit's initialiser, and puts it
/// into a global of its own: whoever runs the program then calls those that are needed, in order.
#[derive(Debug, Clone)]
pub struct OnDemand {
    /// The program. It has no debug data: see [`OnDemandUnit::start`].
    pub program: Executable,
    /// The units, each after those that it needs.
    pub units: Vec<OnDemandUnit>,
}

/// A unit that is initialised when it is needed.
#[derive(Debug, Clone)]
pub struct OnDemandUnit {
    /// Its name.
    pub name: String,
    /// The index of its library.
    pub library: usize,
    /// The global that holds the function that initialises it, once the program has run.
    pub initialiser: usize,
    /// The globals that it defines.
    pub defines: Vec<usize>,
    /// The units that must be initialised before it: indices of earlier ones.
    pub needs: Vec<usize>,
    /// The numbers of the primitives that it calls.
    pub primitives: Vec<usize>,
    /// Whether it must be initialised even if nothing refers to it.
    pub always: bool,
    /// Where its code begins in the program's, in bytes.
    pub start: usize,
}

impl OnDemand {
    /// Links libraries: all of their units.
    ///
    /// # Errors
    ///
    /// When there are no units, units were compiled by different versions or against different interfaces, one is in two
    /// libraries, one needs another that is in none or comes too late, or is malformed.
    pub fn link(libraries: &[&Library]) -> Result<OnDemand> {
        let all =
            || libraries.iter().enumerate().flat_map(|(i, it)| it.units.iter().map(move |unit| (i, unit)));
        let units: Vec<_> = all().map(|(_, unit)| unit).collect();
        let dialect = common_version(&units)?;
        let crcs = interfaces(&units)?;
        let mut tables = Tables::new(dialect, &[]);
        let mut linked = Vec::new();
        let mut words = Vec::new();
        let mut defined = HashMap::new();
        for (library, unit) in all() {
            let needs = needs(unit, &defined)?;
            for name in provided(unit) {
                if defined.insert(name, linked.len()).is_some() {
                    return Err(error(format!("there are two units {name}")));
                }
            }
            linked.push(append(unit, library, needs, &mut tables, &mut words)?);
        }
        words.push(Opcode::STOP.word());
        let names = libraries.iter().flat_map(|library| &library.dllibs);
        let program = shared_libraries(ExecutableBuilder::new(dialect).code(&words), names, &[], dialect);
        let program = program.prims(tables.primitives()).data(tables.data());
        let program = program.symbols(&tables.symbols).crcs(&crcs).finish()?;
        Ok(OnDemand { program, units: linked })
    }
}

/// The indices of the units that a unit needs, in order.
fn needs(unit: &CompilationUnit, defined: &HashMap<&str, usize>) -> Result<Vec<usize>> {
    let mut needs = Vec::new();
    for name in required(unit) {
        match defined.get(name) {
            Some(index) => needs.push(*index),
            None if provided(unit).any(|own| own == name) => {}
            None => {
                let what = format!(
                    "unit {} needs {name}, which no library before it has; give the library that has {name} first",
                    unit.name
                );
                return Err(error(what));
            }
        }
    }
    needs.sort_unstable();
    needs.dedup();
    Ok(needs)
}

/// Appends a unit's code as a function, and the instructions that make its closure.
fn append(
    unit: &CompilationUnit,
    library: usize,
    needs: Vec<usize>,
    tables: &mut Tables,
    words: &mut Vec<i32>,
) -> Result<OnDemandUnit> {
    let too_long = |_| error("there is too much code");
    let initialiser = tables.reserve();
    let (code, numbers) = relocated(unit, tables)?;
    let slot = i32::try_from(initialiser).map_err(too_long)?;
    let over = i32::try_from(code.len() + 3).map_err(too_long)?;
    // Offsets count from the operand.
    words.extend([Opcode::CLOSURE.word(), 0, 5]);
    words.extend([Opcode::SETGLOBAL.word(), slot]);
    words.extend([Opcode::BRANCH.word(), over]);
    let start = words.len();
    words.extend(code);
    let (mut defines, mut primitives) = (Vec::new(), Vec::new());
    for ((reloc, _), number) in unit.relocs.iter().zip(numbers) {
        match reloc {
            Reloc::SetGlobal(Ident::Unit(_)) => defines.push(number as usize),
            Reloc::Primitive(_) => primitives.push(number as usize),
            _ => {}
        }
    }
    words.extend([Opcode::RETURN.word(), 1]);
    primitives.sort_unstable();
    primitives.dedup();
    let (name, always, start) = (unit.name.clone(), unit.force_link, start * WORD);
    Ok(OnDemandUnit { name, library, initialiser, defines, needs, primitives, always, start })
}
