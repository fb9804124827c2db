//! Calls of primitives and of functions, and returns from functions.

use spelter_bytecode::Opcode::{self, *};

use super::{Body, Form, Word};
use crate::generate::asm::Ref;
use crate::generate::kinds::Kind;
use crate::generate::prims::{self, Prim};

const C_CALL: [Opcode; 5] = [C_CALL1, C_CALL2, C_CALL3, C_CALL4, C_CALL5];
const APPLY_N: [Opcode; 3] = [APPLY1, APPLY2, APPLY3];
const APPTERM_N: [Opcode; 3] = [APPTERM1, APPTERM2, APPTERM3];

/// Numbers of arguments around the limit for partial applications in checked code.
pub(super) const MANY: [usize; 6] = [40, 100, 127, 128, 129, 140];

impl Body<'_, '_> {
    /// A call that may raise.
    pub(super) fn call(&mut self, prim: &'static Prim) {
        if self.source.one_in(6) {
            return self.bare_call(prim);
        }
        let (handler, end) = (self.asm.label(), self.asm.label());
        let stack = self.stack.clone();
        self.asm.jump(PUSHTRAP, &[], handler);
        self.stack.extend([Word::Frame; 4]);
        self.bare_call(prim);
        self.asm.op(POPTRAP, &[]);
        if self.source.one_in(4) {
            // Drop the exception.
            self.asm.jump(BRANCH, &[], end);
            self.asm.place(handler);
            let kind = self.accu;
            self.stack.clone_from(&stack);
            self.make(kind, false);
        } else {
            self.asm.place(handler);
        }
        self.asm.place(end);
        self.stack = stack;
        self.accu = prim.result;
    }

    pub(super) fn bare_call(&mut self, prim: &'static Prim) {
        self.tables.volatile |= prim.volatile;
        for (i, kind) in prim.args.iter().rev().enumerate() {
            self.load(*kind, i > 0);
        }
        self.call_loaded(prim);
    }

    /// With the first argument in accu and the others on the stack.
    pub(super) fn call_loaded(&mut self, prim: &Prim) {
        let index = self.tables.prim(prim.name);
        let args = prim.args.len();
        match C_CALL.get(args - 1) {
            Some(op) if !self.source.one_in(24) => self.asm.op(*op, &[]),
            _ => self.asm.op(C_CALLN, &[args as i32]),
        }
        self.asm.reference(Ref::Prim(index));
        self.stack.truncate(self.stack.len() - (args - 1));
        self.accu = prim.result;
    }

    /// A call with the wrong number of arguments.
    pub(super) fn miscall(&mut self) {
        let all = prims::all(self.tables.dialect);
        let prim = all[self.source.below(all.len())];
        self.tables.volatile |= prim.volatile;
        let args = 1 + self.source.below(6);
        for i in 0..args {
            self.load(Kind::Any, i > 0);
        }
        let index = self.tables.prim(prim.name);
        match C_CALL.get(args - 1) {
            Some(op) => self.asm.op(*op, &[]),
            _ => self.asm.op(C_CALLN, &[args as i32]),
        }
        self.asm.reference(Ref::Prim(index));
        self.stack.truncate(self.stack.len() - (args - 1));
        self.accu = Kind::Any;
    }

    pub(super) fn host(&mut self, name: &'static str) {
        let index = self.tables.prim(name);
        self.asm.op(C_CALL1, &[]);
        self.asm.reference(Ref::Prim(index));
    }

    /// Ends the program after its step limit, regardless of the exceptions that it catches.
    pub(super) fn fuel(&mut self) {
        self.int(0, false);
        self.host("fuzz_fuel");
        let on = self.asm.label();
        self.asm.jump(BRANCHIF, &[], on);
        self.int(0, false);
        self.host("caml_sys_exit");
        self.asm.place(on);
        self.accu = Kind::Int;
    }

    /// Sends the value of accu to the host, if possible.
    pub(super) fn note(&mut self) {
        let kind = self.accu;
        self.push();
        self.asm.op(ISINT, &[]);
        let (block, end) = (self.asm.label(), self.asm.label());
        self.asm.jump(BRANCHIFNOT, &[], block);
        self.asm.op(ACC0, &[]);
        self.host("fuzz_note");
        self.asm.jump(BRANCH, &[], end);
        self.asm.place(block);
        if kind != Kind::Closure {
            let hash = self.tables.prim("caml_hash");
            let (count, limit) = (10, 100);
            self.asm.op(ACC0, &[]);
            self.asm.op(PUSHCONST0, &[]);
            self.asm.op(PUSHCONSTINT, &[limit]);
            self.asm.op(PUSHCONSTINT, &[count]);
            self.asm.op(C_CALL4, &[]);
            self.asm.reference(Ref::Prim(hash));
            self.host("fuzz_note");
        }
        self.asm.place(end);
        self.accu = Kind::Any;
        self.acc(0, false);
        self.pop(1);
        self.accu = kind;
    }

    /// Applies a function to some arguments.
    pub(super) fn apply(&mut self, function: Kind) {
        let args = match self.source.below(6) {
            0..3 => 1,
            3 => 2,
            4 => 3,
            _ if self.source.one_in(8) => self.source.of(&MANY),
            _ => 1 + self.source.below(9),
        };
        let framed = args > 3 || self.source.one_in(5);
        let back = self.asm.label();
        if framed {
            self.asm.jump(PUSH_RETADDR, &[], back);
            self.stack.extend([Word::Frame; 3]);
        }
        for i in 0..args {
            match i {
                0..12 => self.load(Kind::Any, i > 0),
                _ => self.push(),
            }
        }
        self.exact(function, true);
        if framed {
            self.asm.op(APPLY, &[args as i32]);
            self.asm.place(back);
            self.stack.truncate(self.stack.len() - args - 3);
        } else {
            self.asm.op(APPLY_N[args - 1], &[]);
            self.stack.truncate(self.stack.len() - args);
        }
        self.accu = Kind::Any;
    }

    /// Applies the value of accu, if it is a function.
    pub(super) fn apply_accu(&mut self) {
        self.push();
        let (yes, no) = (self.asm.label(), self.asm.label());
        if !self.source.one_in(40) {
            self.host("caml_obj_tag");
            self.asm.jump(BEQ, &[247], yes);
            self.asm.jump(BEQ, &[249], yes);
            self.asm.jump(BRANCH, &[], no);
            self.asm.place(yes);
        }
        let args = 1 + self.source.below(3);
        for i in 0..args {
            self.load(Kind::Any, i > 0);
        }
        self.push();
        self.acc(args, false);
        self.asm.op(APPLY_N[args - 1], &[]);
        self.stack.truncate(self.stack.len() - args);
        self.asm.place(no);
        self.pop(1);
        self.accu = Kind::Any;
    }

    /// Returns one of the function's arguments, which may be applied to remaining arguments.
    pub(super) fn give_back(&mut self, arity: usize) {
        let i = self.source.below(arity);
        self.acc(i, false);
        self.asm.op(RETURN, &[arity as i32]);
    }

    /// Leaves the function, or ends the program's code by an exception.
    pub(super) fn leave(&mut self) {
        let whole = self.current.is_none();
        let frames = self.stack.contains(&Word::Frame);
        let pick = self.source.below(8);
        if frames || (whole && self.form == Form::Program) || pick == 7 {
            self.load(Kind::Exn, false);
            let op = self.source.of(&[RAISE, RERAISE, RAISE_NOTRACE]);
            self.asm.op(op, &[]);
        } else if pick == 6 && !whole {
            let args = 1 + self.source.below(4);
            for i in 0..args {
                self.load(Kind::Any, i > 0);
            }
            self.exact(Kind::Closure, true);
            let height = self.stack.len() as i32;
            match APPTERM_N.get(args - 1) {
                Some(op) => self.asm.op(*op, &[height]),
                None => self.asm.op(APPTERM, &[args as i32, height]),
            }
        } else {
            self.load(Kind::Any, false);
            self.asm.op(RETURN, &[self.stack.len() as i32]);
        }
    }
}
