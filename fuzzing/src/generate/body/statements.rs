//! Sequences of random statements.

use spelter_bytecode::Opcode::*;

use super::{Body, Then};
use crate::generate::kinds::Kind;
use crate::generate::prims;

impl Body<'_, '_> {
    /// Some statements; the stack has the same height before and after, if control continues.
    pub(super) fn statements(&mut self, depth: usize) -> Then {
        let base = self.stack.len();
        let most = if depth == 0 { 24 } else { 6 };
        let n = 1 + self.source.below(most);
        for _ in 0..n {
            if self.budget == 0 || self.source.is_empty() {
                break;
            }
            self.budget -= 1;
            if self.statement(depth) == Then::Ended {
                return Then::Ended;
            }
            // Locals stay for a while.
            let locals = self.stack.len() - base;
            if locals > 12 {
                let n = self.above().min(locals - 4);
                self.pop(n);
            }
        }
        let n = self.stack.len() - base;
        self.pop(n);
        Then::On
    }

    pub(super) fn keep(&mut self) {
        if !self.source.one_in(4) {
            self.push();
        }
    }

    pub(super) fn statement(&mut self, depth: usize) -> Then {
        if self.tables.wild && self.source.one_in(4) {
            self.call(prims::named("caml_input_value_from_bytes"));
            self.use_message();
            return Then::On;
        }
        if self.tables.has_effects() && self.source.one_in(3) {
            return self.effect();
        }
        match self.source.below(40) {
            0..6 => {
                let all = prims::all(self.tables.dialect);
                let prim = all[self.source.below(all.len())];
                self.call(prim);
                if self.source.one_in(3) {
                    self.note();
                }
                self.keep();
            }
            6..12 => {
                let sharp = prims::sharp(self.tables.dialect);
                let prim = sharp[self.source.below(sharp.len())];
                self.call(prim);
                if self.source.one_in(3) {
                    self.note();
                }
                self.keep();
            }
            12..15 => {
                self.apply(Kind::Closure);
                self.keep();
            }
            15 | 16 => {
                self.call(prims::named("caml_input_value_from_bytes"));
                self.use_message();
            }
            17 => {
                self.closure();
                self.push();
            }
            18 => self.closures(),
            19 | 20 => self.make_block(),
            21..24 => self.field(),
            24..27 => self.arithmetic(),
            27 if depth < 4 => return self.branch(depth),
            28 if depth < 4 => return self.switch(depth),
            29 if depth < 3 => self.looping(depth),
            30 | 31 if depth < 4 => return self.trap(depth),
            32 => self.method(),
            33 => self.shuffle(),
            34 => {
                self.load(Kind::Any, false);
                self.note();
                self.keep();
            }
            35 => self.global(),
            36 if self.level < 2 && self.tables.takes_code_as_strings() => {
                self.call(prims::named("caml_reify_bytecode"));
                self.use_reified();
            }
            37 if depth > 0 && self.source.one_in(3) => {
                self.leave();
                return Then::Ended;
            }
            38 if self.source.one_in(10) => self.miscall(),
            _ => {
                self.load(Kind::Any, false);
                self.push();
            }
        }
        Then::On
    }

    pub(super) fn use_message(&mut self) {
        if self.source.one_in(3) {
            self.push();
            return;
        }
        if self.source.one_in(4) {
            self.asm.op(GETFIELD0, &[]);
        }
        self.apply_accu();
        self.note();
        self.keep();
    }
}
