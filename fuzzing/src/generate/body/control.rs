//! Branches and joins of control flow.

use spelter_bytecode::Opcode::*;

use super::{Body, Then, Word};
use crate::generate::asm::Label;
use crate::generate::kinds::Kind;

impl Body<'_, '_> {
    /// A join of control from several positions: accu may have any value.
    pub(super) fn join(&mut self, thens: &[Then], end: Label, stack: Vec<Word>) -> Then {
        self.asm.place(end);
        self.stack = stack;
        self.accu = Kind::Any;
        if thens.contains(&Then::On) { Then::On } else { Then::Ended }
    }

    pub(super) fn branch(&mut self, depth: usize) -> Then {
        self.load(Kind::Any, false);
        let (other, end) = (self.asm.label(), self.asm.label());
        let op = self.source.of(&[BRANCHIF, BRANCHIFNOT]);
        self.asm.jump(op, &[], other);
        let stack = self.stack.clone();
        let one = self.statements(depth + 1);
        if one == Then::On {
            self.asm.jump(BRANCH, &[], end);
        }
        self.asm.place(other);
        self.stack.clone_from(&stack);
        let two = self.statements(depth + 1);
        self.join(&[one, two], end, stack)
    }

    pub(super) fn switch(&mut self, depth: usize) -> Then {
        let (kind, ints, blocks) = match self.source.below(20) {
            0 => (Kind::Any, self.source.below(4), self.source.below(4)),
            1..6 => (Kind::Block, 8, 256),
            _ => (Kind::Small, 5, self.source.below(3)),
        };
        self.exact(kind, false);
        let end = self.asm.label();
        let cases: Vec<Label> = (0..1 + self.source.below(3)).map(|_| self.asm.label()).collect();
        let table: Vec<Label> = (0..ints + blocks).map(|_| self.source.of(&cases)).collect();
        self.asm.op(SWITCH, &[(ints | blocks << 16) as i32]);
        self.asm.table(&table);
        let stack = self.stack.clone();
        let mut thens = Vec::new();
        for case in cases {
            self.asm.place(case);
            self.stack.clone_from(&stack);
            self.accu = Kind::Any;
            if !table.contains(&case) {
                // It is unreachable.
                continue;
            }
            let then = self.statements(depth + 1);
            if then == Then::On {
                self.asm.jump(BRANCH, &[], end);
            }
            thens.push(then);
        }
        self.join(&thens, end, stack)
    }

    pub(super) fn looping(&mut self, depth: usize) {
        let head = self.asm.label();
        self.asm.place(head);
        self.accu = Kind::Any;
        let stack = self.stack.clone();
        let then = self.statements(depth + 1);
        self.stack = stack;
        if then == Then::On {
            self.fuel();
            self.load(Kind::Int, false);
            self.asm.op(CHECK_SIGNALS, &[]);
            self.asm.jump(BRANCHIF, &[], head);
        } else {
            // Control never gets here.
            self.accu = Kind::Any;
        }
    }

    pub(super) fn trap(&mut self, depth: usize) -> Then {
        let (handler, end) = (self.asm.label(), self.asm.label());
        let stack = self.stack.clone();
        self.asm.jump(PUSHTRAP, &[], handler);
        self.stack.extend([Word::Frame; 4]);
        let one = self.statements(depth + 1);
        if one == Then::On {
            self.asm.op(POPTRAP, &[]);
            self.asm.jump(BRANCH, &[], end);
        }
        self.asm.place(handler);
        self.stack.clone_from(&stack);
        self.accu = Kind::Exn;
        if self.source.one_in(2) {
            self.note();
        }
        let two = self.statements(depth + 1);
        self.join(&[one, two], end, stack)
    }
}
