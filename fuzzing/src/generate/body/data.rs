//! Instructions that inspect values, compute, and read and write globals.

use spelter_bytecode::Opcode::{self, *};

use super::{Body, Form, PREDEFINED, REGISTERS, UNITS, Word};
use crate::generate::asm::Ref;
use crate::generate::constants;
use crate::generate::kinds::Kind;

const GETFIELD: [Opcode; 4] = [GETFIELD0, GETFIELD1, GETFIELD2, GETFIELD3];
const SETFIELD: [Opcode; 4] = [SETFIELD0, SETFIELD1, SETFIELD2, SETFIELD3];

/// Instructions that take two operands, accu and the top of the stack.
const BINARY: [Opcode; 20] = [
    ADDINT, SUBINT, MULINT, DIVINT, MODINT, ANDINT, ORINT, XORINT, LSLINT, LSRINT, ASRINT, EQ, NEQ, LTINT,
    LEINT, GTINT, GEINT, ULTINT, UGEINT, EQ,
];

impl Body<'_, '_> {
    pub(super) fn field(&mut self) {
        let i = match self.source.below(30) {
            0..18 => 0,
            18..26 => 1,
            26..29 => self.source.below(4),
            _ => self.source.below(40),
        };
        match self.source.below(10) {
            0..3 => {
                self.exact(Kind::Block, false);
                match GETFIELD.get(i) {
                    Some(op) if !self.source.one_in(4) => self.asm.op(*op, &[]),
                    _ => self.asm.op(Opcode::GETFIELD, &[i as i32]),
                }
                self.accu = Kind::Any;
            }
            3 | 4 => {
                self.load(Kind::Any, false);
                self.exact(Kind::Block, true);
                match SETFIELD.get(i) {
                    Some(op) if !self.source.one_in(4) => self.asm.op(*op, &[]),
                    _ => self.asm.op(Opcode::SETFIELD, &[i as i32]),
                }
                self.stack.pop();
                self.accu = Kind::Int;
            }
            5 => {
                self.exact(Kind::Floats, false);
                self.asm.op(GETFLOATFIELD, &[i as i32]);
                self.accu = Kind::Float;
            }
            6 => {
                self.exact(Kind::Float, false);
                self.exact(Kind::Floats, true);
                self.asm.op(SETFLOATFIELD, &[i as i32]);
                self.stack.pop();
                self.accu = Kind::Int;
            }
            7 => {
                let kind = self.source.of(&[Kind::Block, Kind::Floats, Kind::Block]);
                self.exact(kind, false);
                match self.source.below(3) {
                    0 => self.asm.op(VECTLENGTH, &[]),
                    1 => self.asm.op(ISINT, &[]),
                    _ => self.asm.op(OFFSETREF, &[i as i32]),
                }
                self.accu = Kind::Int;
                self.note();
            }
            8 => {
                self.exact(Kind::Small, false);
                let op = self.source.of(&[GETVECTITEM, GETBYTESCHAR, GETSTRINGCHAR]);
                self.exact(if op == GETVECTITEM { Kind::Block } else { Kind::Bytes }, true);
                self.asm.op(op, &[]);
                self.stack.pop();
                self.accu = Kind::Any;
            }
            _ => {
                let op = self.source.of(&[SETVECTITEM, SETBYTESCHAR]);
                self.load(Kind::Any, false);
                self.exact(Kind::Small, true);
                self.exact(if op == SETVECTITEM { Kind::Block } else { Kind::Bytes }, true);
                self.asm.op(op, &[]);
                self.stack.pop();
                self.stack.pop();
                self.accu = Kind::Int;
            }
        }
        self.keep();
    }

    /// {handle, closure}: runs the closure, and inspects the handle.
    pub(super) fn use_reified(&mut self) {
        self.accu = Kind::Block;
        self.push();
        if !self.source.one_in(3) {
            self.asm.op(GETFIELD1, &[]);
            self.apply_accu();
            self.push();
            self.acc(1, false);
        }
        let deep = self.source.below(6);
        self.asm.op(GETFIELD0, &[]);
        if deep > 0 {
            self.asm.op(GETFIELD0, &[]);
        }
        self.accu = Kind::Block;
        self.push();
        if deep > 3 {
            // Values that keep the code alive, or that the code reads without a check.
            self.exact(Kind::Any, false);
            self.push();
            self.acc(1, false);
            let op = self.source.of(&SETFIELD);
            self.asm.op(op, &[]);
            self.stack.pop();
            self.acc(1, false);
            self.asm.op(GETFIELD1, &[]);
            self.apply_accu();
        }
    }

    pub(super) fn arithmetic(&mut self) {
        let kind = if self.source.one_in(20) { Kind::Any } else { Kind::Int };
        match self.source.below(6) {
            0 => {
                self.exact(kind, false);
                let n = constants::int(self.source) as i32;
                match self.source.below(3) {
                    0 => self.asm.op(NEGINT, &[]),
                    1 => self.asm.op(BOOLNOT, &[]),
                    _ => self.asm.op(OFFSETINT, &[n]),
                }
            }
            1 => {
                self.exact(kind, false);
                let n = constants::int(self.source) as i32;
                let op = self.source.of(&[BEQ, BNEQ, BLTINT, BLEINT, BGTINT, BGEINT, BULTINT, BUGEINT]);
                let end = self.asm.label();
                self.asm.jump(op, &[n], end);
                self.int(1, false);
                self.asm.place(end);
            }
            _ => {
                self.exact(kind, false);
                self.exact(kind, true);
                let op = self.source.of(&BINARY);
                self.asm.op(op, &[]);
                self.stack.pop();
            }
        }
        self.accu = Kind::Int;
        if self.source.one_in(2) {
            self.note();
        }
        self.keep();
    }

    pub(super) fn method(&mut self) {
        let name = 10 * self.source.below(3) as i32 + 3;
        match self.source.below(3) {
            0 => {
                self.exact(Kind::Object, false);
                self.asm.op(GETPUBMET, &[name, 0]);
                self.stack.push(Word::Value(Kind::Object));
                self.accu = Kind::Closure;
            }
            1 => {
                self.exact(Kind::Object, false);
                self.int(name.into(), true);
                self.asm.op(GETDYNMET, &[]);
                self.accu = Kind::Closure;
            }
            _ => {
                self.exact(Kind::Object, false);
                self.exact(Kind::Small, true);
                self.asm.op(GETMETHOD, &[]);
                self.accu = Kind::Any;
            }
        }
        self.apply_accu();
        self.keep();
    }

    pub(super) fn global(&mut self) {
        match self.form {
            Form::Unit => {
                // Another unit's module.
                self.asm.op(GETGLOBAL, &[]);
                let unit = self.source.below(UNITS);
                self.asm.reference(Ref::Import(unit));
                self.accu = Kind::Block;
                self.push();
                if self.source.one_in(2) {
                    let i = self.source.below(3) as i32;
                    self.asm.op(GETGLOBALFIELD, &[]);
                    self.asm.reference(Ref::Import(unit));
                    self.asm.words.push(i);
                    self.accu = Kind::Any;
                    self.push();
                }
            }
            Form::Program | Form::Reified => {
                let register = Ref::Register(self.source.below(REGISTERS));
                match self.source.below(8) {
                    0..5 => {
                        self.load(Kind::Any, false);
                        self.asm.op(SETGLOBAL, &[]);
                        self.asm.reference(register);
                        self.accu = Kind::Int;
                    }
                    5 => {
                        // Exceptions that the machine raises must be what they were.
                        self.load(Kind::Any, false);
                        self.asm.op(SETGLOBAL, &[]);
                        let which = self.source.below(PREDEFINED);
                        self.asm.reference(Ref::Predef(which));
                        self.accu = Kind::Int;
                    }
                    _ => {
                        let push = self.source.one_in(2);
                        if push {
                            self.stack.push(Word::Value(self.accu));
                        }
                        let i = self.source.below(4) as i32;
                        self.asm.op(if push { PUSHGETGLOBALFIELD } else { GETGLOBALFIELD }, &[]);
                        self.asm.reference(register);
                        self.asm.words.push(i);
                        self.accu = Kind::Any;
                        self.push();
                    }
                }
            }
        }
    }
}
