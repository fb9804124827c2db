//! The frame: pushing, reading, moving and popping words.

use spelter_bytecode::Opcode::{self, *};

use super::{Body, Form, Word};
use crate::generate::kinds::Kind;

const ACC: [Opcode; 8] = [ACC0, ACC1, ACC2, ACC3, ACC4, ACC5, ACC6, ACC7];
const PUSHACC: [Opcode; 8] = [PUSHACC0, PUSHACC1, PUSHACC2, PUSHACC3, PUSHACC4, PUSHACC5, PUSHACC6, PUSHACC7];

impl Body<'_, '_> {
    pub(super) fn push(&mut self) {
        self.asm.op(PUSH, &[]);
        self.stack.push(Word::Value(self.accu));
    }

    pub(super) fn pop(&mut self, n: usize) {
        if n > 0 {
            self.asm.op(POP, &[n as i32]);
            self.stack.truncate(self.stack.len() - n);
        }
    }

    /// Words above the innermost frame.
    pub(super) fn above(&self) -> usize {
        self.stack.iter().rev().take_while(|word| **word != Word::Frame).count()
    }

    /// Stack words that hold values, from the top, with their probable kinds.
    pub(super) fn values(&self) -> Vec<(usize, Kind)> {
        let of = |(i, word): (usize, &Word)| match word {
            Word::Value(kind) => Some((i, *kind)),
            Word::Frame => None,
        };
        self.stack.iter().rev().enumerate().filter_map(of).collect()
    }

    pub(super) fn one_of(
        &mut self,
        plain: &[Opcode],
        pushing: &[Opcode],
        i: usize,
        push: bool,
        more: [Opcode; 2],
    ) {
        let table = if push { pushing } else { plain };
        match table.get(i) {
            Some(op) => self.asm.op(*op, &[]),
            None => self.asm.op(more[usize::from(push)], &[i as i32]),
        }
    }

    /// Word `i` from the top, after accu has been pushed if requested.
    pub(super) fn acc(&mut self, i: usize, push: bool) {
        if push {
            self.stack.push(Word::Value(self.accu));
        }
        let at = self.stack.len() - 1 - i;
        if let Word::Value(kind) = self.stack[at] {
            self.accu = kind;
        }
        self.one_of(&ACC, &PUSHACC, i, push, [Opcode::ACC, Opcode::PUSHACC]);
    }

    pub(super) fn shuffle(&mut self) {
        let values = self.values();
        match self.source.below(3) {
            0 if !values.is_empty() => {
                self.load(Kind::Any, false);
                let values = self.values();
                let (i, _) = values[self.source.below(values.len())];
                self.asm.op(ASSIGN, &[i as i32]);
                let at = self.stack.len() - 1 - i;
                self.stack[at] = Word::Value(self.accu);
                self.accu = Kind::Int;
            }
            1 => {
                let sibling = self.current.map_or((0, 0), |plan| plan.siblings);
                if self.current.is_none() && self.form == Form::Program {
                    return;
                }
                let n = self.source.below(sibling.0 + sibling.1 + 1) as i32 - sibling.0 as i32;
                let push = self.source.one_in(2);
                if push {
                    self.stack.push(Word::Value(self.accu));
                }
                match (n, push) {
                    (0, false) => self.asm.op(OFFSETCLOSURE0, &[]),
                    (0, true) => self.asm.op(PUSHOFFSETCLOSURE0, &[]),
                    (1, false) => self.asm.op(OFFSETCLOSURE3, &[]),
                    (1, true) => self.asm.op(PUSHOFFSETCLOSURE3, &[]),
                    (-1, false) => self.asm.op(OFFSETCLOSUREM3, &[]),
                    (-1, true) => self.asm.op(PUSHOFFSETCLOSUREM3, &[]),
                    (n, false) => self.asm.op(OFFSETCLOSURE, &[3 * n]),
                    (n, true) => self.asm.op(PUSHOFFSETCLOSURE, &[3 * n]),
                }
                self.accu = Kind::Closure;
                self.push();
            }
            _ => {
                let n = 1 + self.source.below(40);
                for _ in 0..n {
                    self.asm.op(PUSH, &[]);
                    self.stack.push(Word::Value(self.accu));
                }
                let n = n - self.source.below(n + 1);
                self.pop(n);
            }
        }
    }
}
