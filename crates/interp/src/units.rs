//! Code objects: the heap blocks that own loaded code, and how units come to be.
//!
//! A code object is a block {`()`, closinfo, owner, code address, slots, imported code objects…, their slots…}. Its owner is
//! an external that drops the unit when the object dies; nothing else points to that external. The slots
//! (literals, and what the unit defines) are a pinned block of their own, which the unit's code reads by
//! address: they live as long as the code, and no longer, because only the code object leads to them.
//!
//! To programs it is a closure without code: what `let rec` has not filled in looks the same. So nothing calls it, and in
//! checked code nothing reads, writes, copies or retags it; no value of a program leads to the slots.

use std::rc::Rc;

use spelter_bytecode::Opcode;
use spelter_bytecode::opcode::OpcodeSet;
use spelter_bytecode::verify::{Entry, Limits, verify};
use spelter_heap::raw::CustomOps;
use spelter_heap::raw::{Value, WeakId, tag};
use spelter_heap::{OutOfMemory, Val};

use crate::Machine;
use crate::backtrace::DebugInfo;
use crate::build::Failed;
use crate::code::{Registry, Source, Unit, UnitId, UnitOwner};
use crate::dispatch::Grade;
use crate::fallible;
use crate::handlers::closure::{SIBLING_WORDS, closinfo};
use crate::prim::{Raise, Res, Slot};
use crate::regs::{Regs, enclosing, last_field};
#[cfg(debug_assertions)]
use crate::{handlers::closure::PARTIAL_PREFIX, regs::closure_word};

/// Fields of a code object, behind the two words that make it a closure without code.
pub(crate) const OBJECT_OWNER: usize = 2;
pub(crate) const OBJECT_CODE: usize = 3;
pub(crate) const OBJECT_SLOTS: usize = 4;
pub(crate) const OBJECT_IMPORTS: usize = 5;

/// What a field of a code object is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectField {
    /// What makes it a block that owns code.
    Own,
    /// The unit's slots.
    Slots,
    /// The code object of the import of that number.
    Import(usize),
    /// The slots of the import of that number.
    ImportSlots(usize),
}

impl ObjectField {
    /// What field `i` of this code object is for.
    pub fn of(object: Val<'_>, i: usize) -> ObjectField {
        let imports = object.wosize().unwrap_or(0).saturating_sub(OBJECT_IMPORTS) / 2;
        match i.checked_sub(OBJECT_IMPORTS) {
            Some(import) if import < imports => ObjectField::Import(import),
            Some(import) => ObjectField::ImportSlots(import - imports),
            None if i == OBJECT_SLOTS => ObjectField::Slots,
            None => ObjectField::Own,
        }
    }
}

/// So many dead units are freed at one safe point: the others wait for the next, so that none takes long.
pub(crate) const DEAD_AT_ONCE: usize = 256;

static OWNER: CustomOps = CustomOps::new("_unit", &()).owning().counting();

/// How a loaded unit's closures lead to their code object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strategy {
    /// Through the stub `CALL_DYN`, as Alain Frisch proposed.
    Stub,
    /// In a trailing slot that each new closure copies, as Nuutti Kotivuori proposed.
    #[default]
    Carry,
}

/// What a slot operand of a unit's code refers to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SlotRef {
    /// One of the unit's own slots.
    Own(usize),
    /// A slot of an imported unit: which import, which of its slots.
    Import(usize, usize),
}

/// A unit to be installed: patched and relocated code, and what it refers to.
pub struct UnitSource {
    /// The module's name.
    pub name: String,
    /// The code, patched for `strategy`.
    pub words: Vec<i32>,
    /// For which strategy.
    pub strategy: Strategy,
    /// The digest of the code as it came.
    pub digest: Option<[u8; 16]>,
    /// How many slots of its own the unit has.
    pub own_slots: usize,
    /// What its slot operands refer to.
    pub slots: Vec<SlotRef>,
    /// Its debug events.
    pub debug: DebugInfo,
}

/// An installed unit, in slots of the caller's.
#[derive(Clone, Copy, Debug)]
pub struct Installed {
    /// The unit's number.
    pub id: UnitId,
    /// The code object.
    pub object: Slot,
    /// The closure of the unit's code: applied to `()`, it runs the module's initialiser.
    pub init: Slot,
}

/// A program to be run: what an executable's sections hold.
pub struct Program<'a> {
    /// A name for messages.
    pub name: String,
    /// `CODE`, in words.
    pub words: Vec<i32>,
    /// `PRIM`
    pub prims: Vec<&'a str>,
    /// `DATA`, marshalled.
    pub data: &'a [u8],
    /// How many globals the data must hold at least: the code is verified for as many.
    pub globals: usize,
    /// `DBUG`
    pub debug: DebugInfo,
}

/// A program that has been loaded.
#[derive(Clone)]
pub struct LoadedProgram(Rc<Unit>);

/// What can be wrong with a program or unit at load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The code or the data cannot be read.
    #[error(transparent)]
    Format(spelter_bytecode::Error),
    /// The data is no table of globals.
    #[error("section DATA holds no table of globals; the file may be damaged")]
    Globals,
    /// Its frames are larger than the stack may grow.
    #[error("it has a function whose frame is larger than the stack may grow")]
    Frames,
    /// No memory for it.
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

/// A closure as stock OCaml would see it.
#[derive(Clone)]
pub struct ClosureView {
    /// The unit whose code it runs.
    pub unit: Rc<Unit>,
    /// Each function's field in the block and byte offset in the code.
    pub functions: Vec<(usize, usize)>,
    /// Fields without those that Spelter adds at the end.
    pub wosize: usize,
}

impl Machine {
    fn next_unit_id(&mut self) -> UnitId {
        self.next_unit += 1;
        UnitId(self.next_unit)
    }

    /// Loads a program into a machine that has none: its globals, primitives and code, which is verified first unless the
    /// machine trusts its code.
    ///
    /// # Errors
    /// When a section is damaged, or the code is not as it must be; the machine is as before then.
    ///
    /// # Panics
    /// When the machine has a program.
    pub fn load_program(&mut self, program: Program<'_>) -> Result<LoadedProgram, LoadError> {
        assert!(
            self.prims.count() == 0 && self.registry.borrow().iter().next().is_none(),
            "a second program"
        );
        if self.engine.grade() == Grade::Checked {
            let limits = Limits { globals: program.globals, prims: program.prims.len(), slots: 0 };
            let verified = verify(&program.words, OpcodeSet::V4, Entry::Program, &limits)
                .map_err(|e| e.in_section("CODE"))?;
            self.reserve_frames(verified.max_height() as usize).map_err(|_| LoadError::Frames)?;
        }
        let id = self.next_unit_id();
        let source = Source {
            id,
            name: program.name,
            words: program.words,
            digest: None,
            slots: &[],
            debug: program.debug,
            object: None,
            charge: None,
        };
        let numbered = self.prims.count();
        let numbers = self.prims.reserve(program.prims.len());
        let numbers = numbers
            .and_then(|()| program.prims.iter().try_for_each(|name| self.prims.append(name).map(drop)));
        let mark = self.mark();
        let loaded = numbers.map_err(LoadError::from).and_then(|()| {
            let unit = Unit::translate(source, &self.translator, &self.prims)?;
            let globals = self.unmarshal_globals(program.data, program.globals)?;
            self.registry.borrow_mut().reserve()?;
            Ok((Rc::new(unit), globals))
        });
        let (unit, globals) = loaded.inspect_err(|_| self.prims.truncate(numbered))?;
        self.roots.globals = self.raw(globals);
        self.heap.consider_alive();
        self.release(mark);
        self.registry.borrow_mut().add(Rc::clone(&unit));
        self.debug_unit(&unit);
        Ok(LoadedProgram(unit))
    }

    fn unmarshal_globals(&mut self, data: &[u8], least: usize) -> Result<Slot, LoadError> {
        let globals = self.push_unmarshalled(data)?;
        let v = self.val(globals);
        let least = least.max(crate::PREDEFINED.len());
        let is_table = v.tag() == Ok(0) && v.wosize().is_ok_and(|n| n >= least);
        let starts_well = is_table
            && (0..crate::PREDEFINED.len()).all(|i| v.field(i).is_ok_and(|exn| exn.tag() == Ok(tag::OBJECT)));
        if starts_well { Ok(globals) } else { Err(LoadError::Globals) }
    }

    /// Keeps the value that marshalled data describes in a new slot.
    ///
    /// # Errors
    /// When the data is damaged or memory is exhausted; nothing is left behind.
    pub fn push_unmarshalled(&mut self, data: &[u8]) -> Result<Slot, LoadError> {
        let no_code = |_: &mut Machine, _: &_| Err(Raise::failure("a code pointer in a program's data"));
        match self.unmarshal(data, no_code) {
            Ok((slot, _)) => Ok(slot),
            Err(Failed::Data(e)) => Err(e.into()),
            Err(Failed::Raise(Raise::OutOfMemory)) => Err(LoadError::OutOfMemory),
            Err(Failed::Raise(_) | Failed::Rooted) => Err(LoadError::Globals),
        }
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// What it ended with: an uncaught exception, `exit`, a fault.
    pub fn run_loaded(&mut self, program: &LoadedProgram) -> Result<(), Raise> {
        self.run_program(program.0.start())
    }

    /// Installs a unit: its code object and initialiser are in new slots, and its own slots are `()`.
    ///
    /// # Errors
    /// When its words are no instructions or memory is exhausted; every table is as before then.
    ///
    /// # Panics
    /// When an import is no code object, or a slot is none of its unit's.
    ///
    /// # Safety
    /// The words are a unit's code, patched for the strategy: closures are made by the instructions of loaded code only,
    /// and slot operands number `source.slots` (those of `SETSLOT`, the own slots). Unless the machine's engine is
    /// [trusted](crate::Engine::trusted), they were verified before, with the machine's globals and primitives as they are, and
    /// [`Machine::reserve_frames`] made room for their largest frame.
    pub unsafe fn install_unit(
        &mut self,
        source: UnitSource,
        imports: &[Slot],
    ) -> Result<Installed, LoadError> {
        // Those who load without ever reaching a safe point free as fast as they load.
        self.free_dead_units(DEAD_AT_ONCE);
        let mark = self.mark();
        let installed = self.install(source, imports);
        if installed.is_err() {
            self.release(mark);
        }
        installed
    }

    fn install(&mut self, source: UnitSource, imports: &[Slot]) -> Result<Installed, LoadError> {
        for import in imports {
            assert!(self.unit_of_object(self.val(*import)).is_some(), "an import that is no code object");
        }
        // SAFETY: tag 0 is scanned, so the fields are initialised.
        let slots = unsafe { self.heap.alloc_pinned(source.own_slots.max(1), 0) };
        let slots = self.push_old(slots)?;
        // SAFETY: likewise. The closinfo goes where an integer was.
        let object = unsafe {
            let object = self.heap.alloc_major(OBJECT_IMPORTS + 2 * imports.len(), tag::CLOSURE);
            object.inspect(|object| *object.field_ptr(1) = closinfo(2))
        };
        let object = self.push_old(object)?;
        self.set_object_field(object, OBJECT_SLOTS, self.raw(slots));
        for (i, import) in imports.iter().enumerate() {
            self.set_object_field(object, OBJECT_IMPORTS + i, self.raw(*import));
            // The slots too: their addresses will be in the code, and a unit that is revoked lets go of them.
            let slots = self.object_field(*import, OBJECT_SLOTS);
            self.set_object_field(object, OBJECT_IMPORTS + imports.len() + i, slots);
        }
        let addresses: Vec<u64> = fallible::collect(source.slots.iter().map(|slot| match slot {
            SlotRef::Own(i) => self.slot_address(object, *i),
            SlotRef::Import(which, i) => self.slot_address(imports[*which], *i),
        }))?;
        let id = self.next_unit_id();
        let bytes = Unit::code_bytes(source.words.len()) + source.debug.bytes();
        let charge = Some(self.charge(bytes).map_err(|_| LoadError::OutOfMemory)?);
        // The unit itself, its owner, and nodes of tables.
        fallible::afford(0)?;
        self.registry.borrow_mut().reserve()?;
        // SAFETY: the code object was just allocated.
        let weak = unsafe { self.heap.weak_new(self.raw(object)) }?;
        let strategy = source.strategy;
        let translated = Unit::translate(
            Source {
                id,
                name: source.name,
                words: source.words,
                digest: source.digest,
                slots: &addresses,
                debug: source.debug,
                object: Some(weak),
                charge,
            },
            &self.translator,
            &self.prims,
        );
        let unit = match translated {
            Ok(unit) => Rc::new(unit),
            Err(e) => {
                self.drop_weak(weak);
                return Err(e.into());
            }
        };
        let start = Regs::code_value(unit.start());
        let bytes = unit.bytes();
        self.debug_unit(&unit);
        // From here on the unit's owner undoes what has been done, should anything fail.
        self.registry.borrow_mut().add(Rc::clone(&unit));
        let owner = Box::new(UnitOwner { unit, registry: Rc::clone(&self.registry) });
        let owner = self
            .push(|m| m.new_external(&OWNER, owner, bytes.code + bytes.debug))
            .map_err(|_| LoadError::OutOfMemory)?;
        self.set_object_field(object, OBJECT_OWNER, self.raw(owner));
        self.set_object_field(object, OBJECT_CODE, start);
        let init = self.push_init(object, strategy)?;
        Ok(Installed { id, object, init })
    }

    /// The closure of a unit's code as a whole.
    fn push_init(&mut self, object: Slot, strategy: Strategy) -> Result<Slot, LoadError> {
        let code = self.object_field(object, OBJECT_CODE);
        let fields: &[Value] = match strategy {
            Strategy::Carry => &[code, closinfo(2)],
            Strategy::Stub => &[self.stub_code(), closinfo(2), Value::int(0)],
        };
        let wosize = fields.len() + 1;
        let block = self.alloc_raw(wosize, tag::CLOSURE).map_err(|_| LoadError::OutOfMemory)?;
        let last = self.raw(object);
        for (i, v) in fields.iter().copied().chain([last]).enumerate() {
            // SAFETY: `block` was just allocated with that many fields.
            unsafe { self.heap.initialize(block, i, v) };
        }
        Ok(self.push_raw(block))
    }

    /// Keeps a block of the old generation in a new slot.
    fn push_old(&mut self, block: Result<Value, OutOfMemory>) -> Result<Slot, LoadError> {
        self.request_action();
        Ok(self.push_raw(block.map_err(|_| LoadError::OutOfMemory)?))
    }

    /// Field `i` of a code object.
    pub(crate) fn object_field(&self, object: Slot, i: usize) -> Value {
        self.val(object).scanned_field(i).expect("code objects have these fields").raw()
    }

    /// Field `i` of a code object ← `v`.
    ///
    /// # Panics
    /// When it has no such field.
    pub(crate) fn set_object_field(&mut self, object: Slot, i: usize, v: Value) {
        self.object_field(object, i);
        let object = self.raw(object);
        // SAFETY: a block of values with a field `i` (just read).
        unsafe { self.heap.modify(object, i, v) };
    }

    fn slot_address(&self, object: Slot, i: usize) -> u64 {
        let slots = self.object_field(object, OBJECT_SLOTS);
        // SAFETY: a block, as code objects hold; the assertion keeps the address within it.
        unsafe {
            assert!(slots.is_block(), "the slots of a unit that has been revoked");
            assert!(i < slots.wosize(), "a slot beyond those of its unit");
            slots.field_ptr(i) as u64
        }
    }

    /// Panics unless `env` leads to the code object of the unit, if any, that `pc` is in: the frame invariant.
    #[cfg(debug_assertions)]
    #[inline(never)]
    pub(crate) fn assert_frame_invariant(&self, pc: *const u64, env: Value) {
        let registry = self.registry.borrow();
        if registry.counts.alive() == 0 {
            return;
        }
        let Some(unit) = registry.find(pc as usize).filter(|unit| unit.is_loaded()) else { return };
        // A partial application leads to the unit by the closure that it holds.
        let partial = unit.word(unit.position(pc as usize)) == Some(Opcode::RESTART.word());
        if partial && self.engine.grade() == Grade::Checked {
            return; // tested by the instruction itself
        }
        let closure = if partial { closure_word(env, PARTIAL_PREFIX - 1) } else { env };
        // SAFETY: a closure that is being entered is alive.
        let object = unsafe { Val::from_raw(last_field(closure)) };
        assert!(
            self.unit_of_object(object).is_some_and(|owned| Rc::ptr_eq(&owned, unit)),
            "code of {} runs in a closure that does not lead to it",
            unit.name
        );
    }

    /// Frees units whose code objects the collector has freed: `most` of them. False when some are left.
    pub(crate) fn free_dead_units(&mut self, most: usize) -> bool {
        if !self.registry.borrow().has_dead() {
            return true;
        }
        let dead = self.registry.borrow_mut().take_dead(most);
        for weak in dead.iter().filter_map(|unit| unit.object) {
            self.drop_weak(weak);
        }
        drop(dead);
        !self.registry.borrow().has_dead()
    }

    fn drop_weak(&mut self, weak: WeakId) {
        // SAFETY: each unit's weak reference is dropped once: when its translation failed, or when it is taken out of
        // the tables after its death.
        unsafe { self.heap.weak_drop(weak) };
    }

    /// Slot `i` of the unit that `object` is the code object of ← `v`.
    ///
    /// # Errors
    /// When the unit has no such slot.
    pub fn set_unit_slot(&mut self, object: Slot, i: usize, v: Slot) -> Result<(), Raise> {
        self.unit_of_object(self.val(object)).ok_or_else(|| Raise::invalid("not a code object"))?;
        let mark = self.mark();
        let slots = self.push_raw(self.object_field(object, OBJECT_SLOTS));
        let outcome = self.set_field(slots, i, v);
        self.release(mark);
        outcome
    }

    /// Slot `i` of the unit that `object` is the code object of.
    ///
    /// # Errors
    /// When the unit has no such slot.
    pub fn unit_slot(&self, object: Slot, i: usize) -> Res<'_> {
        self.unit_of_object(self.val(object)).ok_or_else(|| Raise::invalid("not a code object"))?;
        Ok(self.val(object).scanned_field(OBJECT_SLOTS)?.field(i)?)
    }

    /// The unit that a code object owns.
    pub fn unit_of_object(&self, object: Val<'_>) -> Option<Rc<Unit>> {
        if object.tag() != Ok(tag::CLOSURE) {
            return None;
        }
        let owner = object.scanned_field(OBJECT_OWNER).ok()?;
        Some(Rc::clone(&owner.external::<UnitOwner>().ok()?.unit))
    }

    /// The code object of a living unit, in a new slot.
    pub fn push_code_object(&mut self, unit: &Unit) -> Option<Slot> {
        let object = self.heap.weak_get(unit.object?)?;
        Some(self.push_raw(object))
    }

    // ---- the global table --------------------------------------------------------------------------

    /// The program's global table.
    pub fn globals(&self) -> Val<'_> {
        // SAFETY: a root; the result borrows the machine.
        unsafe { Val::from_raw(self.roots.globals) }
    }

    /// Makes the global table hold at least `n + 1` slots, by the steps of `caml_realloc_global`.
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

    // ---- closures seen from outside ----------------------------------------------------------------

    /// How many words longer closures made by the code that called the running primitive are than the compiler
    /// thinks: its `let rec` allocates them in advance.
    pub fn closure_slack(&mut self) -> usize {
        let registry = self.registry.borrow();
        let stub = self.stub_code();
        let caller = self.roots.stack.live().iter().enumerate().find_map(|(i, v)| {
            let unit = registry.find(Regs::code_address(*v) as usize)?;
            Regs::is_code_value(*v).then(|| (i, unit.is_loaded()))
        });
        let Some((i, true)) = caller else { return 0 };
        // The frame's env says by its code word which strategy the unit was patched for.
        let env = self.roots.stack.live()[i + 1];
        // SAFETY: the frame of a primitive holds the caller's closure behind its pc.
        let code = unsafe { enclosing(env).0.field(0) };
        if code == stub { 2 } else { 1 }
    }

    /// A closure block (not an infix entry) as stock OCaml would see it; nothing if its code is not in any unit.
    pub fn closure_view(&self, closure: Val<'_>) -> Option<ClosureView> {
        if closure.tag() != Ok(tag::CLOSURE) {
            return None;
        }
        let block = closure.raw();
        // SAFETY: a closure block (just tested); its words are read as they are.
        let (words, wosize) = unsafe {
            let wosize = block.wosize();
            ((0..wosize).map(|i| block.field(i)).collect::<Vec<_>>(), wosize)
        };
        let functions = (words[1].as_int() as usize & ((1 << 54) - 1)).div_ceil(SIBLING_WORDS).max(1);
        let registry = self.registry.borrow();
        if words[0] == self.stub_code() {
            // SAFETY: the closures of loaded code end in their code object.
            let object = unsafe { Val::from_raw(last_field(block)) };
            let unit = self.unit_of_object(object)?;
            let functions: Vec<_> = (0..functions)
                .map(|i| (i * SIBLING_WORDS, 4 * words[wosize - 2 - i].as_int() as usize))
                .collect();
            let wosize = wosize - 1 - functions.len();
            return Some(ClosureView { unit, functions, wosize });
        }
        let unit = registry.find(Regs::code_address(words[0]) as usize)?;
        let position = |i: usize| unit.position(Regs::code_address(words[i * SIBLING_WORDS]) as usize);
        let partial = unit.word(position(0)) == Some(Opcode::RESTART.word());
        let functions = (0..functions).map(|i| (i * SIBLING_WORDS, 4 * position(i))).collect();
        let hidden = usize::from(unit.is_loaded() && !partial);
        Some(ClosureView { unit: Rc::clone(unit), functions, wosize: wosize - hidden })
    }
}

impl Registry {
    /// Units loaded at run time that are alive, by address.
    pub fn loaded(&self) -> impl Iterator<Item = &Rc<Unit>> {
        self.iter().filter(|unit| unit.is_loaded() && !unit.is_dead())
    }
}
