//! Generates code that the verifier accepts, by tracking heights, frames and environments.

mod calls;
mod closures;
mod control;
mod data;
mod effects;
mod reader;
mod stack;
mod statements;
mod values;

use spelter_bytecode::Dialect;
use spelter_bytecode::Opcode::*;
use spelter_bytecode::dialect::Release;

use super::asm::{Asm, Label, Ref};
use super::constants::Const;
use super::kinds::Kind;
use crate::source::Source;
use reader::Prelude;
pub(crate) use reader::write_reader;

/// Globals that programs write, besides their constants.
pub(crate) const REGISTERS: usize = 6;
/// Exceptions that every program has.
pub(crate) const PREDEFINED: usize = Dialect::V4_13.predefined.len();
/// The number of units that may refer to each other.
pub(crate) const UNITS: usize = 4;

/// State shared by all code of a program or unit.
#[derive(Debug)]
pub(crate) struct Tables {
    /// The version of its file.
    pub(crate) dialect: &'static Dialect,
    pub(crate) consts: Vec<Const>,
    pub(crate) prims: Vec<&'static str>,
    /// Pieces of code for `caml_reify_bytecode`.
    pub(crate) codes: Vec<Asm>,
    /// Whether results may depend on when the collector ran.
    pub(crate) volatile: bool,
    /// Whether code may contain something that the verifier must refuse.
    pub(crate) wild: bool,
}

impl Tables {
    pub(crate) fn new(dialect: &'static Dialect) -> Tables {
        let (consts, prims, codes) = Default::default();
        Tables { dialect, consts, prims, codes, volatile: false, wild: false }
    }

    /// Whether the version has effects.
    pub(crate) fn has_effects(&self) -> bool {
        self.dialect.opcodes.contains(PERFORM)
    }

    /// The operands of `RESUME` on the stack.
    fn resume_operands(&self) -> usize {
        if self.dialect.release < Release::V5_2 { 2 } else { 3 }
    }

    pub(crate) fn prim(&mut self, name: &'static str) -> usize {
        self.prims.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.prims.push(name);
            self.prims.len() - 1
        })
    }
}

/// How code is entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// As a program.
    Program,
    /// As a unit, to which the loader appends `RETURN 1`.
    Unit,
    /// As a unit that already contains its `RETURN 1`.
    Reified,
}

/// A function that a closure refers to.
#[derive(Clone, Copy, Debug)]
struct Plan {
    entry: Label,
    restart: Option<Label>,
    arity: usize,
    /// Fields of the environment that hold variables.
    vars: (usize, usize),
    /// Closures before and after its own in the same block.
    siblings: (usize, usize),
    /// Whether it was made to handle effects.
    handler: bool,
}

/// A word of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    Value(Kind),
    /// Part of a return or trap frame.
    Frame,
}

/// Whether control continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    On,
    Ended,
}

pub(crate) struct Body<'s, 'b> {
    source: &'s mut Source<'b>,
    tables: &'s mut Tables,
    pub(crate) asm: Asm,
    plans: Vec<Plan>,
    /// Which of the planned functions have code.
    done: usize,
    /// Blocks of closures that the code makes.
    shapes: Vec<(Vec<Label>, usize)>,
    /// The function being generated; `None` for the top-level code.
    current: Option<Plan>,
    stack: Vec<Word>,
    accu: Kind,
    /// The remaining budget of instructions.
    budget: usize,
    /// How deeply reified code may be nested.
    level: usize,
    form: Form,
}

/// The facts about the finished code.
pub(crate) struct Written {
    pub(crate) asm: Asm,
    pub(crate) shapes: Vec<(Vec<usize>, usize)>,
    pub(crate) restarts: Vec<(usize, usize, usize)>,
}

pub(crate) fn write(source: &mut Source<'_>, tables: &mut Tables, form: Form, size: usize) -> Written {
    write_at(source, tables, form, size, 0)
}

fn write_at(source: &mut Source<'_>, tables: &mut Tables, form: Form, size: usize, level: usize) -> Written {
    write_with(source, tables, form, size, level, None)
}

fn write_with(
    source: &mut Source<'_>,
    tables: &mut Tables,
    form: Form,
    size: usize,
    level: usize,
    prelude: Option<Prelude>,
) -> Written {
    let mut body = Body {
        source,
        tables,
        asm: Asm::default(),
        plans: Vec::new(),
        done: 0,
        shapes: Vec::new(),
        current: None,
        stack: Vec::new(),
        accu: Kind::Int,
        budget: size,
        level,
        form,
    };
    match prelude {
        Some(prelude) => {
            let round = body.asm.label();
            prelude.main(&mut body.asm, round);
            body.source_of_functions();
            body.functions();
            body.asm.place(round);
            prelude.round(&mut body.asm);
        }
        None => body.whole(),
    }
    let Body { mut asm, plans, shapes, .. } = body;
    asm.resolve();
    let place = |label: Label| asm.position(label).unwrap_or(0);
    let shapes =
        shapes.iter().map(|(entries, vars)| (entries.iter().map(|e| place(*e)).collect(), *vars)).collect();
    let restarts =
        plans.iter().filter_map(|plan| Some((place(plan.restart?), place(plan.entry), plan.arity))).collect();
    Written { asm, shapes, restarts }
}

impl Body<'_, '_> {
    /// Generates the code as a whole: its functions come first, last, or in the middle.
    fn whole(&mut self) {
        let unit = self.form != Form::Program;
        if unit {
            self.stack.push(Word::Value(Kind::Int));
        } else {
            self.name_exceptions();
        }
        let end = self.asm.label();
        let ended = self.statements(0) == Then::Ended;
        if !ended {
            let height = self.stack.len();
            if unit {
                self.pop(height - 1);
                self.module();
                self.asm.jump(BRANCH, &[], end);
            } else {
                self.pop(height);
                self.asm.op(STOP, &[]);
            }
        }
        self.functions();
        self.asm.place(end);
        match self.form {
            // The loader appends code later; the code before it must not fall through to it with another height.
            Form::Unit => self.asm.op(CONST0, &[]),
            Form::Reified => self.asm.op(RETURN, &[1]),
            Form::Program => {}
        }
    }

    /// Generates the functions that closures refer to.
    fn functions(&mut self) {
        while self.done < self.plans.len() {
            let plan = self.plans[self.done];
            self.done += 1;
            self.function(plan);
        }
    }

    /// Defines the module of a unit.
    fn module(&mut self) {
        if self.form == Form::Unit {
            self.asm.op(PUSH, &[]);
            let n = 1 + self.source.below(3);
            for _ in 1..n {
                self.asm.op(ACC0, &[]);
                self.asm.op(PUSH, &[]);
            }
            self.asm.op(MAKEBLOCK, &[n as i32 + 1, 0]);
            self.asm.op(SETGLOBAL, &[]);
            self.asm.reference(Ref::Own);
        }
    }

    fn function(&mut self, plan: Plan) {
        self.current = Some(plan);
        self.stack = match plan.handler {
            true => [Kind::Fiber, Kind::Cont, Kind::Any].map(Word::Value).to_vec(),
            false => vec![Word::Value(Kind::Any); plan.arity],
        };
        self.accu = Kind::Closure;
        self.budget = self.budget.max(6);
        if let Some(restart) = plan.restart {
            self.asm.place(restart);
            self.asm.op(RESTART, &[]);
        }
        self.asm.place(plan.entry);
        if plan.arity > 1 {
            self.asm.op(GRAB, &[plan.arity as i32 - 1]);
        }
        if plan.handler && self.tables.handlers_store_last() {
            self.store_last();
        }
        if !self.source.one_in(16) {
            self.fuel();
        }
        let bare = plan.restart.is_some() && plan.arity == 1;
        if plan.handler && self.source.one_in(4) {
            self.reperform();
        } else if self.source.one_in(if bare { 2 } else { 24 }) {
            self.give_back(plan.arity);
        } else if self.statements(0) == Then::On {
            self.leave();
        }
        if self.tables.wild && self.source.one_in(8) {
            self.asm.op(RESTART, &[]);
        }
    }
}
