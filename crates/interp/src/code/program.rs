//! Programs: loading and running them, and their table of globals.

use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use spelter_bytecode::Dialect;
use spelter_bytecode::verify::{Entry, Limits, verify};
use spelter_heap::raw::tag;
use spelter_heap::{OutOfMemory, Val};

use crate::Machine;
use crate::code::cells::SharedCells;
use crate::code::unit::{Translated, Unit, UnitCode, Words};
use crate::exec::dispatch::{Dispatch, Engine, Grade};
use crate::fallible;
use crate::inspect::backtrace::DebugInfo;
use crate::prim::table::Numbers;
use crate::prim::unmarshal::Failed;
use crate::prim::{Raise, Slot};

/// A program to run: the contents of an executable's sections.
pub struct Program<'a> {
    /// A name for messages.
    pub name: String,
    /// The version of its files.
    pub dialect: &'static Dialect,
    /// `CODE`, in words.
    pub words: Arc<Vec<i32>>,
    /// `PRIM`
    pub prims: Vec<&'a str>,
    /// `DATA`, marshalled.
    pub data: &'a [u8],
    /// The minimum number of globals in the data: the code is verified against that number.
    pub globals: usize,
    /// `DBUG`
    pub debug: DebugInfo,
    /// What machines that load the same program have found out about it.
    pub shared: Option<&'a SharedCode>,
}

/// A host's machines differ in what they grant and in the host's functions, but they are of few kinds.
const KINDS: usize = 8;

/// What machines find out about a program and share: it belongs to one program.
#[derive(Default)]
pub struct SharedCode {
    /// Whether many machines will run the program: they share its translated code. For a single one, only the functions
    /// that it calls are translated.
    pub for_many: bool,
    /// The largest frame, if the code has been verified.
    verified: OnceLock<u64>,
    /// What the primitives that it names are, for each kind of machines that loaded it: the last [`KINDS`].
    resolved: Mutex<Vec<Arc<Numbers>>>,
    /// The translated code, for each engine.
    translated: Mutex<Vec<(Engine, Arc<SharedCells>)>>,
}

impl std::fmt::Debug for SharedCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedCode").field("verified", &self.verified.get()).finish_non_exhaustive()
    }
}

impl Program<'_> {
    /// Verifies the code, unless that has been done, and returns the size of the largest frame.
    fn verified(&self) -> Result<u64, LoadError> {
        if let Some(height) = self.shared.and_then(|shared| shared.verified.get()) {
            return Ok(*height);
        }
        let limits = Limits { globals: self.globals, prims: self.prims.len(), slots: 0 };
        let verified = verify(&self.words, self.dialect.opcodes, Entry::Program, &limits);
        let height = verified.map_err(|e| e.in_section("CODE"))?.max_height();
        Ok(self.shared.map_or(height, |shared| *shared.verified.get_or_init(|| height)))
    }
}

/// A program that has been loaded.
#[derive(Clone)]
pub struct LoadedProgram(pub(crate) Rc<Unit>);

/// Why a program or unit cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The code or the data cannot be read.
    #[error(transparent)]
    Format(spelter_bytecode::Error),
    /// The data is not a table of globals.
    #[error("section DATA holds no table of globals; the file may be damaged")]
    Globals,
    /// Its frames are larger than the stack may grow.
    #[error("it has a function whose frame is larger than the stack may grow")]
    Frames,
    /// There is not enough memory.
    #[error("no memory left to load it")]
    OutOfMemory,
}

impl From<OutOfMemory> for LoadError {
    fn from(_: OutOfMemory) -> LoadError {
        LoadError::OutOfMemory
    }
}

impl From<spelter_bytecode::Error> for LoadError {
    fn from(e: spelter_bytecode::Error) -> LoadError {
        if e.is_out_of_memory() { LoadError::OutOfMemory } else { LoadError::Format(e) }
    }
}

impl Machine {
    /// Whether a program or a unit has been loaded.
    pub fn has_code(&self) -> bool {
        self.prims.count() > 0 || self.registry.borrow().iter().next().is_some()
    }

    /// Loads a program into a machine that has none: its globals, primitives and code. The code is verified first
    /// unless the machine trusts its code.
    ///
    /// # Errors
    /// When a section is damaged, or the code is invalid. The machine is unchanged then.
    ///
    /// # Panics
    /// When the machine [has code](Machine::has_code).
    pub fn load_program(&mut self, program: Program<'_>) -> Result<LoadedProgram, LoadError> {
        assert!(!self.has_code(), "a second program");
        let dialect = self.dialect;
        self.adopt(program.dialect);
        if self.engine.grade() == Grade::Checked {
            let height = program.verified()?;
            self.reserve_frames(height as usize).map_err(|_| LoadError::Frames)?;
        }
        let id = self.next_unit_id();
        let source = UnitCode {
            id,
            name: program.name,
            words: Words::Program(program.words),
            digest: None,
            opcodes: program.dialect.opcodes,
            slots: &[],
            debug: program.debug,
            object: None,
            charge: None,
        };
        let numbered = self.prims.count();
        let numbers = self.resolved(&program.prims, program.shared);
        let numbers = numbers.and_then(|resolved| self.prims.begin(resolved));
        let mark = self.mark();
        let loaded = numbers.map_err(LoadError::from).and_then(|()| {
            let unit = self.translate_program(source, program.shared)?;
            let globals = self.unmarshal_globals(program.data, program.globals, program.dialect)?;
            self.registry.borrow_mut().reserve()?;
            Ok((Rc::new(unit), globals))
        });
        let (unit, globals) = loaded.inspect_err(|_| {
            self.prims.truncate(numbered);
            self.adopt(dialect);
        })?;
        self.roots.globals = self.raw(globals);
        self.heap.consider_alive();
        self.release(mark);
        self.registry.borrow_mut().add(Rc::clone(&unit));
        self.debug_unit(&unit);
        Ok(LoadedProgram(unit))
    }

    /// The names of a program's primitives that this machine does not know.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn missing_primitives<'a>(&self, program: &Program<'a>) -> Result<Vec<&'a str>, OutOfMemory> {
        let resolved = self.resolved(&program.prims, program.shared)?;
        Ok(self.prims.missing(&program.prims, &resolved))
    }

    fn resolved(&self, names: &[&str], shared: Option<&SharedCode>) -> Result<Arc<Numbers>, OutOfMemory> {
        let Some(shared) = shared else { return self.prims.resolve(names, &[]) };
        let mut known = shared.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        let resolved = self.prims.resolve(names, &known)?;
        if !known.iter().any(|it| Arc::ptr_eq(it, &resolved)) {
            if known.len() == KINDS {
                known.remove(0);
            }
            fallible::push(&mut known, Arc::clone(&resolved))?;
        }
        Ok(resolved)
    }

    fn translate_program(
        &self,
        source: UnitCode<'_>,
        shared: Option<&SharedCode>,
    ) -> Result<Unit, spelter_bytecode::Error> {
        let may_share = self.engine.dispatch != Dispatch::Profile
            && self.debugging.is_none()
            && !self.prims.replaces_instructions();
        let Some(shared) = shared.filter(|shared| shared.for_many && may_share) else {
            return Unit::translate(source, Translated::OnDemand, self.translator(), &self.prims);
        };
        let mut translated = shared.translated.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cells)) = translated.iter().find(|(engine, _)| *engine == self.engine) {
            return Ok(Unit::of_shared(source, Arc::clone(cells)));
        }
        let mut unit = Unit::translate(source, Translated::AtOnce, self.translator(), &self.prims)?;
        translated.push((self.engine, unit.share()));
        Ok(unit)
    }

    fn unmarshal_globals(&mut self, data: &[u8], least: usize, dialect: &Dialect) -> Result<Slot, LoadError> {
        let globals = self.push_unmarshalled(data)?;
        let v = self.val(globals);
        let exceptions = dialect.predefined.len();
        let least = least.max(exceptions);
        let is_table = v.tag() == Ok(0) && v.wosize().is_ok_and(|n| n >= least);
        let starts_well =
            is_table && (0..exceptions).all(|i| v.field(i).is_ok_and(|exn| exn.tag() == Ok(tag::OBJECT)));
        if starts_well { Ok(globals) } else { Err(LoadError::Globals) }
    }

    /// Unmarshals `data` into a new slot.
    ///
    /// # Errors
    /// When the data is damaged or memory is exhausted. Nothing is left behind.
    pub fn push_unmarshalled(&mut self, data: &[u8]) -> Result<Slot, LoadError> {
        let no_code = |_: &mut Machine, _: &_| Err(Raise::failure("a code pointer in a program's data"));
        match self.unmarshal(data, no_code, "input_value") {
            Ok((slot, _)) => Ok(slot),
            Err(Failed::Data(e)) => Err(e.into()),
            Err(Failed::Raise(Raise::OutOfMemory)) => Err(LoadError::OutOfMemory),
            Err(Failed::Raise(_) | Failed::Closure(_) | Failed::Rooted) => Err(LoadError::Globals),
        }
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// The reason for its end: an uncaught exception, `exit`, or a fault.
    pub fn run_loaded(&mut self, program: &LoadedProgram) -> Result<(), Raise> {
        self.run_program(program.0.start())
    }

    /// The program's global table.
    pub fn globals(&self) -> Val<'_> {
        // SAFETY: a root; the result borrows the machine.
        unsafe { Val::from_raw(self.roots.globals) }
    }

    /// Makes the global table hold at least `n + 1` slots. It grows in the same steps as in `caml_realloc_global`.
    ///
    /// # Errors
    /// When memory is exhausted.
    pub fn grow_globals(&mut self, n: usize) -> Result<(), Raise> {
        let old = self.push_raw(self.roots.globals);
        let len = self.val(old).wosize()?;
        if n >= len {
            let size = n.saturating_add(0x100) & !0xFF;
            let new = self.push(|m| m.new_block_sized(0, size))?;
            self.blit_fields(old, 0, new, 0, len)?;
            self.roots.globals = self.raw(new);
        }
        Ok(())
    }
}
