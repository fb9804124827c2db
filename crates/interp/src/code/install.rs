//! Installation of units.

use std::rc::Rc;

use spelter_heap::OutOfMemory;
use spelter_heap::raw::{Value, WeakId, tag};

use crate::Machine;
use crate::code::object::{OWNER, UnitOwner};
use crate::code::program::LoadError;
use crate::code::unit::{Translated, Unit, UnitCode, UnitId, Words};
use crate::exec::regs::Regs;
use crate::fallible;
use crate::inspect::backtrace::DebugInfo;
use crate::layout::{OBJECT_CODE, OBJECT_IMPORTS, OBJECT_OWNER, OBJECT_SLOTS, closinfo};
use crate::prim::Slot;

/// What a unit takes besides its code, debug data and name: its own data, and nodes of tables.
const UNIT_BYTES: usize = 2 << 10;

/// The maximum number of dead units that one safe point frees. The others wait for the next safe point, so that none
/// takes long.
pub(crate) const DEAD_AT_ONCE: usize = 256;

/// How the closures of a loaded unit refer to their code object.
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
    /// The strategy for which the code was patched.
    pub strategy: Strategy,
    /// The digest of the code before it was patched.
    pub digest: Option<[u8; 16]>,
    /// How many slots of its own the unit has.
    pub own_slots: usize,
    /// What its slot operands refer to.
    pub slots: Vec<SlotRef>,
    /// Its debug events.
    pub debug: DebugInfo,
}

/// An installed unit, in slots of the caller.
#[derive(Clone, Copy, Debug)]
pub struct Installed {
    /// The unit's number.
    pub id: UnitId,
    /// The code object.
    pub object: Slot,
    /// The closure of the unit's code. Applied to `()`, it runs the module's initialiser.
    pub init: Slot,
}

impl Machine {
    pub(super) fn next_unit_id(&mut self) -> UnitId {
        self.next_unit += 1;
        UnitId(self.next_unit)
    }

    /// Installs a unit: its code object and initialiser are in new slots, and all its own slots hold `()`.
    ///
    /// # Errors
    /// When its words are not valid instructions, or memory is exhausted. All tables are unchanged then.
    ///
    /// # Panics
    /// When an import is not a code object, or a slot is not one of its unit.
    ///
    /// # Safety
    /// The words are a unit's code, patched for the strategy: closures are made only by the instructions for loaded
    /// code, and slot operands are indices into `source.slots` (those of `SETSLOT`, into the own slots). Unless the
    /// machine's engine is [trusted](crate::Engine::trusted), the words were verified against the machine's current
    /// globals and primitives, and [`Machine::reserve_frames`] made room for their largest frame.
    pub unsafe fn install_unit(
        &mut self,
        source: UnitSource,
        imports: &[Slot],
    ) -> Result<Installed, LoadError> {
        // A program that loads without ever reaching a safe point frees units as fast as it loads them.
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
            assert!(self.unit_of_object(self.val(*import)).is_some(), "an import that is not a code object");
        }
        // SAFETY: tag 0 is scanned, so the fields are initialised.
        let slots = unsafe { self.heap.alloc_pinned(source.own_slots.max(1), 0) };
        let slots = self.push_old(slots)?;
        // SAFETY: tag 0 is scanned, so the fields are initialised. The closinfo replaces an integer.
        let object = unsafe {
            let object = self.heap.alloc_major(OBJECT_IMPORTS + 2 * imports.len(), tag::CLOSURE);
            object.inspect(|object| *object.field_ptr(1) = closinfo(2))
        };
        let object = self.push_old(object)?;
        self.set_object_field(object, OBJECT_SLOTS, self.raw(slots));
        for (i, import) in imports.iter().enumerate() {
            self.set_object_field(object, OBJECT_IMPORTS + i, self.raw(*import));
            // The slots, too: their addresses will be in the code, and revoking a unit makes its code object drop them.
            let slots = self.object_field(*import, OBJECT_SLOTS);
            self.set_object_field(object, OBJECT_IMPORTS + imports.len() + i, slots);
        }
        let addresses: Vec<u64> = fallible::collect(source.slots.iter().map(|slot| match slot {
            SlotRef::Own(i) => self.slot_address(object, *i),
            SlotRef::Import(which, i) => self.slot_address(imports[*which], *i),
        }))?;
        let id = self.next_unit_id();
        let own = UNIT_BYTES + 4 * source.name.len();
        let bytes = Unit::code_bytes(source.words.len()) + source.debug.bytes() + own;
        let charge = Some(self.charge(bytes).map_err(|_| LoadError::OutOfMemory)?);
        // Memory for the unit itself, its owner, and nodes of the tables.
        fallible::afford(0)?;
        self.registry.borrow_mut().reserve()?;
        // SAFETY: the code object was just allocated.
        let weak = unsafe { self.heap.weak_new(self.raw(object)) }?;
        let strategy = source.strategy;
        let translated = Unit::translate(
            UnitCode {
                id,
                name: source.name,
                words: Words::Unit(source.words),
                digest: source.digest,
                opcodes: self.dialect.opcodes,
                slots: &addresses,
                debug: source.debug,
                object: Some(weak),
                charge,
            },
            Translated::AtOnce,
            self.translator(),
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
        // From here on, if anything fails, the unit's owner undoes what was done.
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

    /// Pushes a block of the old generation into a new slot.
    fn push_old(&mut self, block: Result<Value, OutOfMemory>) -> Result<Slot, LoadError> {
        self.request_action();
        Ok(self.push_raw(block.map_err(|_| LoadError::OutOfMemory)?))
    }

    /// Frees up to `most` units whose code objects the collector has freed. Returns false when some are left.
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
        // SAFETY: each unit's weak reference is dropped once: when its translation failed, or when it is removed from
        // the tables after its death.
        unsafe { self.heap.weak_drop(weak) };
    }
}
