//! Functions, and the closures that refer to them.

use spelter_bytecode::Opcode::*;

use super::calls::MANY;
use super::{Body, Plan, Word};
use crate::generate::asm::Label;
use crate::generate::kinds::Kind;

impl Body<'_, '_> {
    /// A function for a position in a block of closures: an existing one, if the block has everything that it reads,
    /// or a new one.
    pub(super) fn plan(&mut self, vars: (usize, usize), siblings: (usize, usize)) -> Plan {
        let fitting: Vec<Plan> = self
            .plans
            .iter()
            .filter(|p| p.vars.0 >= vars.0 && (p.vars.1 <= vars.1 || p.vars.0 >= p.vars.1))
            .filter(|p| p.siblings.0 <= siblings.0 && p.siblings.1 <= siblings.1)
            .copied()
            .collect();
        let enough = self.plans.len() >= 24 || self.budget < 4;
        if !fitting.is_empty() && (enough || self.source.one_in(3)) {
            return fitting[self.source.below(fitting.len())];
        }
        let arity = match self.source.below(8) {
            0..4 => 1,
            4 | 5 => 2,
            6 => 3,
            _ if self.source.one_in(8) => self.source.of(&MANY),
            _ => 1 + self.source.below(9),
        };
        let restart = arity > 1 || self.tables.wild && self.source.one_in(2);
        let restart = restart.then(|| self.asm.label());
        let plan = Plan { entry: self.asm.label(), restart, arity, vars, siblings, handler: false };
        self.plans.push(plan);
        plan
    }

    pub(super) fn variables(&mut self) -> usize {
        let vars = match self.source.below(6) {
            0..3 => 0,
            3 => 1,
            4 => 2,
            _ => self.source.below(7),
        };
        for i in 0..vars {
            self.load(Kind::Any, i > 0);
        }
        vars
    }

    pub(super) fn closure(&mut self) {
        let base = self.stack.len();
        let vars = self.variables();
        let plan = self.plan((2, 2 + vars), (0, 0));
        self.asm.jump(CLOSURE, &[vars as i32], plan.entry);
        self.shapes.push((vec![plan.entry], vars));
        self.stack.truncate(base);
        self.accu = Kind::Closure;
    }

    /// Leaves this many closures on the stack.
    pub(super) fn closures(&mut self) {
        let base = self.stack.len();
        let vars = self.variables();
        let functions = 1 + self.source.below(4);
        let entries: Vec<Label> = (0..functions)
            .map(|i| {
                let start = 3 * (functions - i) - 1;
                self.plan((start, start + vars), (i, functions - 1 - i)).entry
            })
            .collect();
        self.asm.op(CLOSUREREC, &[functions as i32, vars as i32]);
        self.asm.table(&entries);
        self.shapes.push((entries, vars));
        self.stack.truncate(base);
        self.stack.extend((0..functions).map(|_| Word::Value(Kind::Closure)));
        self.accu = Kind::Closure;
    }
}
