//! Revoking a unit: whatever leads into its code raises from then on, and nothing but running frames keeps it alive.
//!
//! Three things happen, in this order. Each instruction of the unit becomes `REVOKED`, in place: calls, returns and
//! exception handlers that lead into the unit raise at once, wherever they are saved, so its frames unwind as soon as
//! control comes back to them, and a handler of its own cannot catch what makes them unwind. Then the code object
//! lets go of the unit's slots and imports. Last, every closure of the unit's is turned into one of no unit, which
//! raises the same exception, so that no closure, wherever it is held, keeps the code.
//!
//! The exception is `Spelter.Revoked of string`, with the unit's name. Its constructor is the one that OCaml code
//! registered by that name, as `Callback.register_exception "Spelter.Revoked"` does, or else one of the machine's own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use spelter_heap::raw::{CustomOps, Value, tag};

use crate::Machine;
use crate::code::Unit;
use crate::exec::regs::{Checked, Regs, closure_field, enclosing, last_field};
use crate::layout::{
    OBJECT_IMPORTS, OBJECT_SLOTS, PARTIAL_FUNCTION, SIBLING_WORDS, function_code, function_count,
};
use crate::prim::{Raise, Slot};

/// The exception's name, also that by which OCaml code may register its constructor.
pub const REVOKED: &str = "Spelter.Revoked";

static MARKER: CustomOps = CustomOps::new("_revoked", &()).owning();

/// What the closures of a revoked unit hold instead of its code object.
struct Revoked {
    name: String,
}

impl Machine {
    /// Revokes the unit that `object` is the code object of. False when it was revoked before.
    ///
    /// Takes as long as a full major collection: all closures of the heap are looked at.
    ///
    /// # Errors
    /// `Out_of_memory`, or when `object` is no code object; nothing has changed then.
    pub fn revoke_unit(&mut self, object: Slot) -> Result<bool, Raise> {
        let unit = self
            .unit_of_object(self.val(object))
            .ok_or_else(|| Raise::invalid("revoke_unit: not a code object"))?;
        if unit.is_revoked() {
            return Ok(false);
        }
        let mark = self.mark();
        let revoked = self.revoke(object, &unit);
        self.release(mark);
        revoked.map(|()| true)
    }

    fn revoke(&mut self, object: Slot, unit: &Unit) -> Result<(), Raise> {
        self.push_revoked_constructor()?;
        let name = unit.name.clone();
        let marker = self.push(|m| m.new_external(&MARKER, Box::new(Revoked { name }), 0))?;
        unit.poison(self.engine);
        self.strip_object(object, unit)?;
        // Everything is in the old generation after this, the marker too.
        self.collect_full();
        self.cut_closures(object, marker, unit);
        Ok(())
    }

    /// Lets a code object go of what only its code needed. Units that import this one hold on to its slots themselves,
    /// but of these only to the module.
    fn strip_object(&mut self, object: Slot, unit: &Unit) -> Result<(), Raise> {
        let slots = self.push_raw(self.object_field(object, OBJECT_SLOTS));
        for i in 0..self.val(slots).wosize()? {
            if unit.facts().module != Some(i) {
                self.set_field_int(slots, i, 0)?;
            }
        }
        for i in OBJECT_SLOTS..self.val(object).wosize()? {
            self.set_object_field(object, i, Value::UNIT);
        }
        Ok(())
    }

    /// Turns the unit's closures into closures of no unit. One whose code somebody has exchanged is left alone: its own
    /// code address may be kept somewhere, as an integer.
    fn cut_closures(&mut self, object: Slot, marker: Slot, unit: &Unit) {
        let (object, marker) = (self.raw(object), self.raw(marker));
        let (stub, revoked) = (self.stub_code(), self.revoked_code());
        let mut found = Vec::new();
        self.heap.for_each_block(|block, header| {
            if header.tag() != tag::CLOSURE || header.wosize() < 2 {
                return;
            }
            let functions = function_count(block);
            if functions * SIBLING_WORDS > header.wosize() + 1 {
                return; // made by hand, of no unit
            }
            let of_unit = (0..functions).all(|i| {
                let code = function_code(block, i);
                match code == stub {
                    true => last_field(block) == object,
                    false => unit.find_position(Regs::code_address(code)).is_some(),
                }
            });
            if of_unit {
                found.push((block, functions));
            }
        });
        for (block, functions) in found {
            // SAFETY: closure blocks of the heap, with that many functions; the marker is as old as they are.
            unsafe {
                for i in 0..functions {
                    self.heap.modify(block, i * SIBLING_WORDS, revoked);
                }
                if last_field(block) == object {
                    self.heap.modify(block, block.wosize() - 1, marker);
                }
            }
        }
    }

    /// Makes the exception that says that the unit at `pc`, or else the one whose closure `env` was, has been revoked,
    /// and leaves it to be raised. The registers are saved.
    #[cold]
    #[inline(never)]
    pub(crate) fn leave_revoked(&mut self) {
        let name = self.revoked_name();
        let raise = self.revoked(&name);
        self.leave_exn(raise);
    }

    /// What says that a unit has been revoked: `Spelter.Revoked name`.
    pub fn revoked(&mut self, name: &str) -> Raise {
        let mark = self.mark();
        let raise = self.push_revoked(name).map_or_else(|raise| raise, |exn| self.set_exn(exn));
        self.release(mark);
        raise
    }

    fn push_revoked(&mut self, name: &str) -> Result<Slot, Raise> {
        let constructor = self.push_revoked_constructor()?;
        let name = self.push(|m| m.new_string(name.as_bytes()))?;
        self.push(|m| m.new_block(0, &[constructor, name]))
    }

    fn revoked_name(&self) -> String {
        let at = self.roots.thread.pc.wrapping_sub(1) as usize;
        if let Some(unit) = self.registry.borrow().find(at) {
            return unit.name.clone();
        }
        let marked = |closure: Value| {
            let last = closure.is_block().then(|| last_field(closure))?;
            self.as_val(last).external::<Revoked>().ok().map(|revoked| revoked.name.clone())
        };
        // A partial application leads to its unit by the closure that it holds.
        let inner = || closure_field::<Checked>(self.roots.thread.env, PARTIAL_FUNCTION).ok();
        marked(self.roots.thread.env)
            .or_else(|| marked(inner().filter(|v| v.is_block() && is_closure(*v))?))
            .unwrap_or_else(|| "?".to_owned())
    }

    /// The constructor `Spelter.Revoked`: the registered one, or a new one that is registered now.
    fn push_revoked_constructor(&mut self) -> Result<Slot, Raise> {
        if let Some(registered) = self.named_value(REVOKED)
            && self.val(registered).tag() == Ok(tag::OBJECT)
        {
            return Ok(registered);
        }
        let name = self.push(|m| m.new_string(REVOKED.as_bytes()))?;
        let id = self.fresh_oo_id();
        let id = self.push_int(id);
        let constructor = self.push(|m| m.new_block(tag::OBJECT, &[name, id]))?;
        self.register_named(REVOKED.as_bytes(), constructor);
        Ok(constructor)
    }

    /// Tells those who asked about units that have been freed: the host's own functions, so in its own thread. All are told;
    /// then the first panic among them goes on.
    pub(crate) fn run_unload_callbacks(&mut self) {
        if !self.is_home() {
            return;
        }
        let unloaded = std::mem::take(&mut self.registry.borrow_mut().unloaded);
        let mut first = None;
        for (unloaded, callbacks) in unloaded {
            for callback in callbacks {
                let told = catch_unwind(AssertUnwindSafe(|| callback(&unloaded)));
                first = first.or(told.err());
            }
        }
        if let Some(payload) = first {
            resume_unwind(payload);
        }
    }

    /// The living units that were linked with the one that `object` is the code object of.
    pub fn importers(&mut self, object: Slot) -> Vec<Rc<Unit>> {
        let units: Vec<Rc<Unit>> = self.registry.borrow().loaded().cloned().collect();
        let object = self.raw(object);
        let mut importers = Vec::new();
        for unit in units {
            let Some(importer) = unit.object.and_then(|weak| self.heap.weak_get(weak)) else { continue };
            let importer = self.as_val(importer);
            let imports = OBJECT_IMPORTS..importer.wosize().unwrap_or(0);
            if imports.into_iter().any(|i| importer.scanned_field(i).is_ok_and(|v| v.raw() == object)) {
                importers.push(unit);
            }
        }
        importers
    }
}

fn is_closure(v: Value) -> bool {
    // SAFETY: callers pass blocks.
    unsafe { enclosing(v).0.tag() == tag::CLOSURE }
}
