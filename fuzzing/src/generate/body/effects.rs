//! Effects: fibers, continuations, and everything that can be done with them, whether it is allowed or not.

use spelter_bytecode::Opcode::*;
use spelter_bytecode::dialect::Release;

use super::{Body, Plan, Tables, Then, Word};
use crate::generate::asm::Ref;
use crate::generate::constants::Const;
use crate::generate::kinds::Kind;
use crate::generate::prims;

/// The exceptions that the library registers for the runtime, each with the predefined one that stands for it.
const NAMED: [(&[u8], usize); 2] = [(b"Effect.Unhandled", 6), (b"Effect.Continuation_already_resumed", 4)];

impl Tables {
    /// Whether `caml_reify_bytecode` takes code as strings.
    pub(super) fn takes_code_as_strings(&self) -> bool {
        self.dialect.release < Release::V5_2
    }

    /// Whether handlers store the last fiber in the continuation; later, `PERFORM` does.
    pub(super) fn handlers_store_last(&self) -> bool {
        self.dialect.release == Release::V5_2
    }
}

impl Body<'_, '_> {
    /// Registers the exceptions that the runtime raises by name, mostly.
    pub(super) fn name_exceptions(&mut self) {
        if !self.tables.has_effects() || self.source.one_in(12) {
            return;
        }
        for (name, exception) in NAMED {
            self.asm.op(GETGLOBAL, &[]);
            self.asm.reference(Ref::Predef(exception));
            self.stack.push(Word::Value(Kind::Exn));
            self.asm.op(PUSHGETGLOBAL, &[]);
            self.tables.consts.push(Const::Str(name.to_vec()));
            self.asm.reference(Ref::Const(self.tables.consts.len() - 1));
            self.call_loaded(prims::named("caml_register_named_value"));
        }
    }

    /// A closure that handles effects.
    fn effect_handler(&mut self) {
        let known: Vec<Plan> = self.plans.iter().filter(|plan| plan.handler).copied().collect();
        let base = self.stack.len();
        let vars = self.variables();
        let fitting = known.iter().find(|plan| plan.vars.1 <= 2 + vars);
        let plan = match fitting {
            Some(plan) if known.len() >= 4 || self.budget < 6 || self.source.one_in(3) => *plan,
            _ => {
                let (entry, restart) = (self.asm.label(), Some(self.asm.label()));
                let plan =
                    Plan { entry, restart, arity: 3, vars: (2, 2 + vars), siblings: (0, 0), handler: true };
                self.plans.push(plan);
                plan
            }
        };
        self.asm.jump(CLOSURE, &[vars as i32], plan.entry);
        self.shapes.push((vec![plan.entry], vars));
        self.stack.truncate(base);
        self.accu = Kind::Closure;
    }

    /// With the arguments of a handler on top of the stack: stores the last fiber in the continuation.
    pub(super) fn store_last(&mut self) {
        self.asm.op(ACC2, &[]);
        self.asm.op(PUSHACC2, &[]);
        self.asm.op(SETFIELD1, &[]);
    }

    /// An argument of the running handler, counted from the last, or any value of that kind.
    fn own_argument(&mut self, i: usize, kind: Kind, push: bool) {
        match self.current {
            Some(plan) if plan.handler && !self.source.one_in(6) => {
                let at = self.stack.len() + usize::from(push) - 1 - i;
                self.acc(at, push);
            }
            _ => self.exact(kind, push),
        }
    }

    /// A new fiber.
    pub(super) fn fiber(&mut self) {
        match self.source.one_in(24) {
            true => self.load(Kind::Any, false),
            false => self.effect_handler(),
        }
        self.exact(Kind::Closure, true);
        self.exact(Kind::Closure, true);
        self.call_loaded(prims::named("caml_alloc_stack"));
    }

    /// A continuation: what the handler of a function gets that performs at once.
    pub(super) fn continuation(&mut self) {
        let [handler, performer, after] = [(); 3].map(|()| self.asm.label());
        self.asm.jump(BRANCH, &[], after);
        self.asm.op(RESTART, &[]);
        self.asm.place(handler);
        self.asm.op(GRAB, &[2]);
        if self.tables.handlers_store_last() {
            self.store_last();
        }
        self.asm.op(ACC1, &[]);
        self.asm.op(RETURN, &[3]);
        self.asm.place(performer);
        self.asm.op(ACC0, &[]);
        self.asm.op(PERFORM, &[]);
        self.asm.op(RETURN, &[1]);
        self.asm.place(after);
        self.accu = Kind::Any;
        let operands = self.tables.resume_operands();
        let base = self.stack.len();
        if operands > 2 {
            self.int(0, false);
            self.push();
        }
        self.load(Kind::Any, false);
        self.push();
        self.asm.jump(CLOSURE, &[0], performer);
        self.push();
        self.asm.jump(CLOSURE, &[0], handler);
        self.accu = Kind::Closure;
        self.exact(Kind::Closure, true);
        self.exact(Kind::Closure, true);
        self.call_loaded(prims::named("caml_alloc_stack"));
        self.asm.op(RESUME, &[]);
        self.stack.truncate(base);
        self.accu = Kind::Cont;
    }

    /// Something about effects.
    pub(super) fn effect(&mut self) -> Then {
        let whole = self.current.is_none();
        let may_leave = !whole && !self.stack.contains(&Word::Frame);
        match self.source.below(16) {
            0..3 => self.perform(),
            3..6 => {
                self.operands_of_new_fiber();
                self.asm.op(RESUME, &[]);
                self.has_resumed();
            }
            6..9 => {
                self.operands_of_continuation();
                self.asm.op(RESUME, &[]);
                self.has_resumed();
            }
            9 | 10 if may_leave => {
                self.reperform();
                return Then::Ended;
            }
            11 if may_leave => {
                match self.source.one_in(2) {
                    true => self.operands_of_new_fiber(),
                    false => self.operands_of_continuation(),
                }
                self.asm.op(RESUMETERM, &[self.stack.len() as i32]);
                return Then::Ended;
            }
            12 => self.use_continuation(),
            13 => self.store(),
            14 => {
                // Values that other code finds.
                let kind = self.source.of(&[Kind::Cont, Kind::Fiber, Kind::Cont]);
                self.load(kind, false);
                self.push();
            }
            _ => {
                // A callback: its effects have no handler outside of it.
                let prim = self.source.of(&["fuzz_apply", "fuzz_apply_twice"]);
                self.call(prims::named(prim));
                self.keep();
            }
        }
        Then::On
    }

    fn perform(&mut self) {
        self.load(Kind::Any, false);
        self.asm.op(PERFORM, &[]);
        self.accu = Kind::Any;
        if self.source.one_in(3) {
            self.note();
        }
        self.keep();
    }

    fn has_resumed(&mut self) {
        let height = self.stack.len() - self.tables.resume_operands();
        self.stack.truncate(height);
        self.accu = Kind::Any;
        if self.source.one_in(2) {
            self.note();
        }
        self.keep();
    }

    /// The operands of `RESUME` for a new fiber and a function that mostly performs.
    fn operands_of_new_fiber(&mut self) {
        if self.tables.resume_operands() > 2 {
            match self.source.one_in(16) {
                true => self.load(Kind::Fiber, false),
                false => self.int(0, false),
            }
            self.push();
        }
        self.load(Kind::Any, false);
        self.exact(Kind::Closure, true);
        match self.source.one_in(8) {
            true => self.exact(Kind::Fiber, true),
            false => {
                self.push();
                self.fiber();
            }
        }
    }

    /// The operands of `RESUME` for what a continuation holds.
    fn operands_of_continuation(&mut self) {
        // Below the operands, where it stays.
        self.own_argument(1, Kind::Cont, false);
        self.push();
        let mut above = 0;
        if self.tables.resume_operands() > 2 {
            match self.source.below(12) {
                10 => self.load(Kind::Fiber, false),
                11 => self.int(0, false),
                _ => {
                    self.acc(0, false);
                    self.asm.op(GETFIELD1, &[]);
                }
            }
            self.push();
            above += 1;
        }
        self.load(Kind::Any, false);
        self.exact(Kind::Closure, true);
        self.push();
        above += 2;
        let name = self.source.of(&[
            "caml_continuation_use_noexc",
            "caml_continuation_use_noexc",
            "caml_continuation_use_noexc",
            "caml_continuation_use",
            "caml_continuation_use_and_update_handler_noexc",
        ]);
        let prim = prims::named(name);
        for i in (1..prim.args.len()).rev() {
            match i {
                3 => self.effect_handler(),
                _ => self.exact(Kind::Closure, false),
            }
            self.push();
        }
        self.acc(above + prim.args.len() - 1, false);
        match self.source.one_in(16) {
            // The fiber itself stays in the continuation.
            true => {
                let extra = prim.args.len() - 1;
                self.asm.op(GETFIELD0, &[]);
                if extra > 0 {
                    self.push();
                    self.asm.op(ACC0, &[]);
                    self.pop(extra + 1);
                }
                self.accu = Kind::Fiber;
            }
            false => self.call_loaded(prim),
        }
    }

    /// Hands an effect on to the handler outside.
    pub(super) fn reperform(&mut self) {
        self.own_argument(0, Kind::Fiber, false);
        self.own_argument(1, Kind::Cont, true);
        self.load(Kind::Any, true);
        self.asm.op(REPERFORMTERM, &[self.stack.len() as i32]);
    }

    fn use_continuation(&mut self) {
        const NAMES: [&str; 3] =
            ["caml_drop_continuation", "caml_get_continuation_callstack", "caml_continuation_use_noexc"];
        let own = prims::all(self.tables.dialect);
        let name = self.source.of(&NAMES);
        if own.iter().any(|prim| prim.name == name) {
            self.call(prims::named(name));
            self.keep();
        }
    }

    /// Puts a fiber, or something else, into a continuation.
    fn store(&mut self) {
        self.load(Kind::Fiber, false);
        self.exact(Kind::Cont, true);
        let op = self.source.of(&[SETFIELD0, SETFIELD1, SETFIELD0]);
        self.asm.op(op, &[]);
        self.stack.pop();
        self.accu = Kind::Int;
    }
}
