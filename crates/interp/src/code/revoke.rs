//! Revoking a unit: from then on, all control transfers into its code raise, and only running frames keep it alive.
//!
//! This takes three steps, in this order. First, each instruction of the unit is overwritten with `REVOKED`: calls,
//! returns and exception handlers that enter the unit raise at once, wherever their addresses are saved. So its frames
//! unwind as soon as control returns to them, and its own handlers cannot catch the exception that unwinds them.
//! Second, the code object drops the unit's slots and imports. Third, every closure of the unit becomes one of no unit,
//! which raises the same exception, so that no closure, wherever it is stored, keeps the code alive.
//!
//! The exception is `Spelter.Revoked of string`, with the unit's name. Its constructor is the one that OCaml code
//! registered under that name, as `Callback.register_exception "Spelter.Revoked"` does; otherwise the machine makes
//! one.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use spelter_heap::raw::{CustomOps, Value, tag};

use crate::Machine;
use crate::code::Unit;
use crate::exec::regs::{Checked, Regs, closure_field, enclosing, last_field};
use crate::fallible;
use crate::layout::{
    OBJECT_IMPORTS, OBJECT_SLOTS, PARTIAL_FUNCTION, SIBLING_WORDS, function_code, function_count,
};
use crate::prim::{Raise, Slot};

/// The exception's name, under which OCaml code may also register its constructor.
pub const REVOKED: &str = "Spelter.Revoked";

/// The minimum number of closures that are cut between two walks over the heap.
const CUT_AT_ONCE: usize = 64;

static MARKER: CustomOps = CustomOps::new(c"_revoked", &()).owning();

/// What the closures of a revoked unit refer to instead of its code object.
struct Revoked {
    name: String,
}

impl Machine {
    /// Revokes the unit whose code object is `object`. Returns false if it was revoked before.
    ///
    /// Takes as long as a full major collection, because it visits all closures of the heap.
    ///
    /// # Errors
    /// `Out_of_memory`, or when `object` is not a code object. Nothing has changed then.
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
        let name = fallible::to_string(&unit.name)?;
        let marker = self.push(|m| m.new_external(&MARKER, Box::new(Revoked { name }), 0))?;
        let (words, found) = (unit.words()?, fallible::with_capacity(CUT_AT_ONCE)?);
        unit.poison(self.engine, &words);
        self.strip_object(object, unit)?;
        // After this, everything is in the old generation, including the marker.
        self.collect_full();
        self.cut_closures(object, marker, unit, found);
        Ok(())
    }

    /// Makes a code object drop what only its code needed. Units that import this one refer to its slots directly; of
    /// these, only the module stays.
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

    /// Turns the unit's closures into closures of no unit. A closure whose code was replaced is left alone: its
    /// original code address may be saved somewhere, as an integer.
    fn cut_closures(&mut self, object: Slot, marker: Slot, unit: &Unit, mut found: Vec<(Value, usize)>) {
        // If there is no memory to list all of them, each pass cuts those that fit, which frees memory for the next.
        while self.cut_some_closures(object, marker, unit, &mut found) {}
    }

    /// Cuts some closures, and returns whether there are more.
    fn cut_some_closures(
        &mut self,
        object: Slot,
        marker: Slot,
        unit: &Unit,
        found: &mut Vec<(Value, usize)>,
    ) -> bool {
        let (object, marker) = (self.raw(object), self.raw(marker));
        let (stub, revoked) = (self.stub_code(), self.revoked_code());
        let mut more = false;
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
                more |= fallible::push(found, (block, functions)).is_err();
            }
        });
        for (block, functions) in found.drain(..) {
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
        more
    }

    /// Makes the exception for a revoked unit, either that at `pc` or the one to which the closure `env` belonged, and
    /// records it to be raised. The registers are saved.
    #[cold]
    #[inline(never)]
    pub(crate) fn leave_revoked(&mut self) {
        let name = self.revoked_name();
        let raise = self.revoked(&name);
        self.leave_exn(raise);
    }

    /// The exception for a revoked unit: `Spelter.Revoked name`.
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
        // A partial application refers to its unit through the closure that it holds.
        let inner = || closure_field::<Checked>(self.roots.thread.env, PARTIAL_FUNCTION).ok();
        marked(self.roots.thread.env)
            .or_else(|| marked(inner().filter(|v| v.is_block() && is_closure(*v))?))
            .unwrap_or_else(|| "?".to_owned())
    }

    /// The constructor `Spelter.Revoked`: the registered one, or a new one, which is registered now.
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

    /// Runs the callbacks for units that have been freed. They are functions of the host, so they run in its own
    /// thread. If some panic, all others still run; then the first panic is resumed.
    pub(crate) fn run_unload_callbacks(&mut self) {
        if !self.is_home() {
            return;
        }
        let unloaded = std::mem::take(&mut self.registry.borrow_mut().unloaded);
        let mut first = None;
        for (unloaded, callbacks) in unloaded {
            for callback in callbacks {
                let outcome = catch_unwind(AssertUnwindSafe(|| callback(&unloaded)));
                first = first.or(outcome.err());
            }
        }
        if let Some(payload) = first {
            resume_unwind(payload);
        }
    }

    /// The living units that were linked with the unit whose code object is `object`.
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
