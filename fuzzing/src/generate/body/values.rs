//! Values of a kind: existing or new ones.

use spelter_bytecode::Opcode::{self, *};

use super::{Body, Form, PREDEFINED, REGISTERS, Word, write_at};
use crate::generate::asm::Ref;
use crate::generate::constants::{self, Const};
use crate::generate::kinds::Kind;
use crate::generate::prims;

const ENVACC: [Opcode; 4] = [ENVACC1, ENVACC2, ENVACC3, ENVACC4];
const PUSHENVACC: [Opcode; 4] = [PUSHENVACC1, PUSHENVACC2, PUSHENVACC3, PUSHENVACC4];
const CONST: [Opcode; 4] = [CONST0, CONST1, CONST2, CONST3];
const PUSHCONST: [Opcode; 4] = [PUSHCONST0, PUSHCONST1, PUSHCONST2, PUSHCONST3];

/// Tags that instructions may set.
const TAGS: [i32; 12] = [0, 0, 0, 0, 1, 2, 5, 244, 245, 246, 248, 250];

impl Body<'_, '_> {
    /// Puts a value of that kind into accu, which is pushed first if requested.
    pub(super) fn load(&mut self, kind: Kind, push: bool) {
        let kind = if self.source.one_in(14) { Kind::Any } else { kind };
        self.load_of(kind, push);
    }

    /// The same for an operand of an instruction, where a wrong kind ends the program.
    pub(super) fn exact(&mut self, kind: Kind, push: bool) {
        let kind = if self.source.one_in(100) { Kind::Any } else { kind };
        self.load_of(kind, push);
    }

    pub(super) fn load_of(&mut self, kind: Kind, push: bool) {
        self.budget = self.budget.saturating_sub(1);
        let pick = self.source.below(8);
        let known: Vec<usize> =
            self.values().into_iter().filter(|(_, k)| k.fits(kind)).map(|(i, _)| i).collect();
        if pick < 5 && !known.is_empty() {
            let i = known[self.source.below(known.len())];
            return self.acc(i + usize::from(push), push);
        }
        if pick == 5
            && let Some(plan) = self.current
            && plan.vars.0 < plan.vars.1
        {
            let field = plan.vars.0 + self.source.below(plan.vars.1 - plan.vars.0);
            if push {
                self.stack.push(Word::Value(self.accu));
            }
            self.accu = Kind::Any;
            return match (ENVACC.get(field - 1), PUSHENVACC.get(field - 1), push) {
                (Some(op), _, false) | (_, Some(op), true) => self.asm.op(*op, &[]),
                (_, _, push) => {
                    self.asm.op(if push { Opcode::PUSHENVACC } else { Opcode::ENVACC }, &[field as i32]);
                }
            };
        }
        // Most globals are not fibers, and operands of that kind end the program.
        let rarely = matches!(kind, Kind::Fiber | Kind::Cont) && !self.source.one_in(4);
        if pick == 6 && self.form != Form::Unit && !rarely && !matches!(kind, Kind::Int | Kind::Offset) {
            let register = self.source.below(REGISTERS);
            if push {
                self.stack.push(Word::Value(self.accu));
            }
            self.asm.op(if push { PUSHGETGLOBAL } else { GETGLOBAL }, &[]);
            self.asm.reference(Ref::Register(register));
            self.accu = kind;
            return;
        }
        self.make(kind, push);
    }

    /// A new value of that kind.
    pub(super) fn make(&mut self, kind: Kind, push: bool) {
        match kind {
            Kind::Int => {
                let n = constants::int(self.source);
                return self.int(n, push);
            }
            Kind::Small => {
                let n = self.source.below(5) as i64;
                return self.int(n, push);
            }
            Kind::Offset => {
                let n = if self.source.one_in(12) { self.source.below(30) as i64 } else { 0 };
                return self.int(n, push);
            }
            _ => {}
        }
        if self.budget == 0 {
            return self.int(0, push);
        }
        match kind {
            Kind::Closure => {
                if push {
                    self.push();
                }
                self.closure();
            }
            Kind::Weak | Kind::Ephemeron | Kind::Big | Kind::Lazy | Kind::Bytes if !self.source.one_in(4) => {
                if push {
                    self.push();
                }
                let name = match kind {
                    Kind::Weak => "caml_weak_create",
                    Kind::Ephemeron => "caml_ephe_create",
                    Kind::Big => "caml_ba_create",
                    Kind::Lazy => "caml_lazy_make_forward",
                    _ => "caml_create_bytes",
                };
                self.call(prims::named(name));
                self.accu = kind;
            }
            Kind::Object if self.source.one_in(2) => {
                if push {
                    self.push();
                }
                self.object();
            }
            Kind::Fiber if self.tables.has_effects() => {
                if push {
                    self.push();
                }
                self.fiber();
            }
            Kind::Cont if self.tables.has_effects() => {
                if push {
                    self.push();
                }
                self.continuation();
            }
            Kind::Code if self.level < 2 => {
                if push {
                    self.push();
                }
                let size = 10 + self.source.below(30);
                let code = write_at(self.source, self.tables, Form::Reified, size, self.level + 1);
                self.tables.codes.push(code.asm);
                let code = self.tables.codes.len() - 1;
                self.global_const(Const::Code(code), false);
                self.accu = Kind::Code;
            }
            Kind::Exn => {
                if push {
                    self.push();
                }
                self.exception();
            }
            Kind::Any => {
                const KINDS: [Kind; 14] = [
                    Kind::Int,
                    Kind::Small,
                    Kind::Closure,
                    Kind::Block,
                    Kind::Str,
                    Kind::Float,
                    Kind::Floats,
                    Kind::Int64,
                    Kind::Big,
                    Kind::Weak,
                    Kind::Object,
                    Kind::List,
                    Kind::Ephemeron,
                    Kind::Lazy,
                ];
                let kind = self.source.of(&KINDS);
                self.make(kind, push);
            }
            _ => {
                if push {
                    self.stack.push(Word::Value(self.accu));
                }
                let constant = Const::of_kind(kind, self.source);
                self.tables.volatile |= constant.is_forward();
                self.global_const(constant, push);
                self.accu = kind;
            }
        }
    }

    pub(super) fn int(&mut self, n: i64, push: bool) {
        if push {
            self.stack.push(Word::Value(self.accu));
        }
        self.accu = Kind::Int;
        match i32::try_from(n) {
            Ok(n @ 0..4) => self.one_of(&CONST, &PUSHCONST, n as usize, push, [CONSTINT, PUSHCONSTINT]),
            Ok(n) => self.asm.op(if push { PUSHCONSTINT } else { CONSTINT }, &[n]),
            Err(_) => self.global_const(Const::Int(n), push),
        }
    }

    pub(super) fn global_const(&mut self, constant: Const, push: bool) {
        self.tables.consts.push(constant);
        let index = self.tables.consts.len() - 1;
        self.asm.op(if push { PUSHGETGLOBAL } else { GETGLOBAL }, &[]);
        self.asm.reference(Ref::Const(index));
    }

    pub(super) fn exception(&mut self) {
        self.asm.op(GETGLOBAL, &[]);
        let which = self.source.below(PREDEFINED);
        self.asm.reference(Ref::Predef(which));
        self.accu = Kind::Exn;
        if self.source.one_in(2) {
            // With an argument.
            self.push();
            self.load(Kind::Any, false);
            self.push();
            self.acc(1, false);
            self.asm.op(MAKEBLOCK2, &[0]);
            self.stack.pop();
            self.pop(1);
            self.accu = Kind::Exn;
        }
    }

    /// An object with a table of methods, more or less as classes make it.
    pub(super) fn object(&mut self) {
        let n = self.source.below(3);
        // Count, mask, and pairs of method and name, from the last.
        let base = self.stack.len();
        self.load(Kind::Small, false);
        for i in (0..n).rev() {
            self.int(10 * i as i64 + 3, true);
            self.load(Kind::Closure, true);
        }
        let mask = if self.source.one_in(4) { 7 } else { 0 };
        self.int(mask, true);
        let count = if self.source.one_in(5) { constants::int(self.source) } else { n as i64 };
        self.int(count, true);
        let fields = self.stack.len() - base + 1;
        self.block_of(fields, 0);
        let id = constants::int(self.source);
        self.push();
        self.int(id, false);
        self.push();
        self.acc(1, false);
        self.block_of(2, 248);
        self.pop(1);
        self.accu = Kind::Object;
    }

    /// A block of accu and stack words.
    pub(super) fn block_of(&mut self, fields: usize, tag: i32) {
        self.tables.volatile |= tag == 250;
        match fields {
            1 => self.asm.op(MAKEBLOCK1, &[tag]),
            2 => self.asm.op(MAKEBLOCK2, &[tag]),
            3 => self.asm.op(MAKEBLOCK3, &[tag]),
            _ => self.asm.op(MAKEBLOCK, &[fields as i32, tag]),
        }
        self.stack.truncate(self.stack.len() - (fields - 1));
        self.accu = Kind::Block;
    }

    pub(super) fn make_block(&mut self) {
        let n = 1 + self.source.below(4);
        match self.source.below(8) {
            0 => {
                let tag = self.source.of(&TAGS);
                match self.source.below(4) {
                    0 => self.asm.op(ATOM0, &[]),
                    1 => self.asm.op(ATOM, &[tag]),
                    2 => {
                        self.asm.op(PUSHATOM0, &[]);
                        self.stack.push(Word::Value(self.accu));
                    }
                    _ => {
                        self.asm.op(PUSHATOM, &[tag]);
                        self.stack.push(Word::Value(self.accu));
                    }
                }
                self.accu = Kind::Block;
            }
            1 => {
                for i in 0..n {
                    self.exact(Kind::Float, i > 0);
                }
                self.asm.op(MAKEFLOATBLOCK, &[n as i32]);
                self.stack.truncate(self.stack.len() - (n - 1));
                self.accu = Kind::Floats;
            }
            _ => {
                for i in 0..n {
                    self.load(Kind::Any, i > 0);
                }
                let tag = self.source.of(&TAGS);
                self.block_of(n, tag);
            }
        }
        self.push();
    }
}
