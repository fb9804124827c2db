//! Closures as stock OCaml would see them, without what loaded code adds.

use std::rc::Rc;

use spelter_bytecode::Opcode;
use spelter_heap::Val;
#[cfg(debug_assertions)]
use spelter_heap::raw::Value;
use spelter_heap::raw::tag;

use crate::Machine;
use crate::code::unit::Unit;
#[cfg(debug_assertions)]
use crate::exec::dispatch::Grade;
#[cfg(debug_assertions)]
use crate::exec::regs::closure_word;
use crate::exec::regs::{Regs, enclosing, last_field};
#[cfg(debug_assertions)]
use crate::layout::PARTIAL_FUNCTION;
use crate::layout::{SIBLING_WORDS, function_count};

/// A closure as stock OCaml would see it.
#[derive(Clone)]
pub struct ClosureView {
    /// The unit whose code it runs.
    pub unit: Rc<Unit>,
    /// Each function's field in the block and byte offset in the code.
    pub functions: Vec<(usize, usize)>,
    /// The size in words, without those that Spelter adds at the end.
    pub wosize: usize,
}

impl Machine {
    /// The number of words by which closures of the code that called the running primitive exceed the size that the
    /// compiler assumes when `let rec` allocates them in advance.
    pub fn closure_slack(&mut self) -> usize {
        let registry = self.registry.borrow();
        let stub = self.stub_code();
        let caller = self.roots.thread.stack.live().iter().enumerate().find_map(|(i, v)| {
            let unit = registry.find(Regs::code_address(*v) as usize)?;
            Regs::is_code_value(*v).then(|| (i, unit.is_loaded()))
        });
        let Some((i, true)) = caller else { return 0 };
        // The code word of the frame's env shows for which strategy the unit was patched.
        let env = self.roots.thread.stack.live()[i + 1];
        // SAFETY: the frame of a primitive holds the caller's closure behind its pc.
        let code = unsafe { enclosing(env).0.field(0) };
        if code == stub { 2 } else { 1 }
    }

    /// A closure block (not an infix entry) as stock OCaml would see it, or `None` if its code is in no unit.
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
        let functions = function_count(block);
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

    /// Panics unless `env` refers to the code object of the unit, if any, that contains `pc`: the frame invariant.
    #[cfg(debug_assertions)]
    #[inline(never)]
    pub(crate) fn assert_frame_invariant(&self, pc: *const u64, env: Value) {
        let registry = self.registry.borrow();
        if registry.counts.alive() == 0 {
            return;
        }
        let Some(unit) = registry.find(pc as usize).filter(|unit| unit.is_loaded()) else { return };
        // A partial application refers to the unit through the closure that it holds.
        let partial = unit.word(unit.position(pc as usize)) == Some(Opcode::RESTART.word());
        if partial && self.engine.grade() == Grade::Checked {
            return; // tested by the instruction itself
        }
        let closure = if partial { closure_word(env, PARTIAL_FUNCTION) } else { env };
        // SAFETY: a closure that is being entered is alive.
        let object = unsafe { Val::from_raw(last_field(closure)) };
        assert!(
            self.unit_of_object(object).is_some_and(|owned| Rc::ptr_eq(&owned, unit)),
            "code of {} runs in a closure that does not refer to it",
            unit.name
        );
    }
}
