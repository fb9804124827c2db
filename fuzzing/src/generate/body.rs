//! Code that the verifier accepts: heights, frames and environments are followed while it is written.

use spelter_bytecode::Opcode::{self, *};

use super::asm::{Asm, Label, Ref};
use super::constants::{self, Const};
use super::kinds::Kind;
use super::prims::{self, Prim};
use crate::source::Source;

/// Globals that programs write, besides their constants.
pub(crate) const REGISTERS: usize = 6;
/// Exceptions that every program has.
pub(crate) const PREDEFINED: usize = spelter_bytecode::Dialect::V4_13.predefined.len();
/// Units that may name each other.
pub(crate) const UNITS: usize = 4;

/// What all code of a program or unit shares.
#[derive(Default, Debug)]
pub(crate) struct Tables {
    pub(crate) consts: Vec<Const>,
    pub(crate) prims: Vec<&'static str>,
    /// Pieces of code for `caml_reify_bytecode`.
    pub(crate) codes: Vec<Asm>,
    /// Whether what comes out may depend on when the collector ran.
    pub(crate) volatile: bool,
    /// Whether code may hold what the verifier must refuse.
    pub(crate) wild: bool,
}

impl Tables {
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
    /// As a unit whose `RETURN 1` is there.
    Reified,
}

/// A function that a closure names.
#[derive(Clone, Copy, Debug)]
struct Plan {
    entry: Label,
    restart: Option<Label>,
    arity: usize,
    /// Fields of the environment that hold variables.
    vars: (usize, usize),
    /// Closures before and after its own in the same block.
    siblings: (usize, usize),
}

/// A word of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    Value(Kind),
    /// Of a return or trap frame.
    Frame,
}

/// Whether control goes on.
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
    /// Which of the plans have code.
    done: usize,
    /// Blocks of closures that the code makes.
    shapes: Vec<(Vec<Label>, usize)>,
    /// The function that is being written; none for the code as a whole.
    current: Option<Plan>,
    stack: Vec<Word>,
    accu: Kind,
    /// How many more instructions are worth writing.
    budget: usize,
    /// How deep code may be reified in reified code.
    level: usize,
    form: Form,
}

/// What is known of the code once it is written.
pub(crate) struct Written {
    pub(crate) asm: Asm,
    pub(crate) shapes: Vec<(Vec<usize>, usize)>,
    pub(crate) restarts: Vec<(usize, usize, usize)>,
}

const ACC: [Opcode; 8] = [ACC0, ACC1, ACC2, ACC3, ACC4, ACC5, ACC6, ACC7];
const PUSHACC: [Opcode; 8] = [PUSHACC0, PUSHACC1, PUSHACC2, PUSHACC3, PUSHACC4, PUSHACC5, PUSHACC6, PUSHACC7];
const ENVACC: [Opcode; 4] = [ENVACC1, ENVACC2, ENVACC3, ENVACC4];
const PUSHENVACC: [Opcode; 4] = [PUSHENVACC1, PUSHENVACC2, PUSHENVACC3, PUSHENVACC4];
const CONST: [Opcode; 4] = [CONST0, CONST1, CONST2, CONST3];
const PUSHCONST: [Opcode; 4] = [PUSHCONST0, PUSHCONST1, PUSHCONST2, PUSHCONST3];
const GETFIELD: [Opcode; 4] = [GETFIELD0, GETFIELD1, GETFIELD2, GETFIELD3];
const SETFIELD: [Opcode; 4] = [SETFIELD0, SETFIELD1, SETFIELD2, SETFIELD3];
const C_CALL: [Opcode; 5] = [C_CALL1, C_CALL2, C_CALL3, C_CALL4, C_CALL5];
const APPLY_N: [Opcode; 3] = [APPLY1, APPLY2, APPLY3];
const APPTERM_N: [Opcode; 3] = [APPTERM1, APPTERM2, APPTERM3];

/// Instructions that take two operands, accu and the top of the stack.
const BINARY: [Opcode; 20] = [
    ADDINT, SUBINT, MULINT, DIVINT, MODINT, ANDINT, ORINT, XORINT, LSLINT, LSRINT, ASRINT, EQ, NEQ, LTINT,
    LEINT, GTINT, GEINT, ULTINT, UGEINT, EQ,
];

/// Tags that instructions may give.
const TAGS: [i32; 12] = [0, 0, 0, 0, 1, 2, 5, 244, 245, 246, 248, 250];

pub(crate) fn write(source: &mut Source<'_>, tables: &mut Tables, form: Form, size: usize) -> Written {
    write_at(source, tables, form, size, 0)
}

/// A program that does nothing but to register, as `round`, a function that reads a value from bytes, writes it, and
/// reads and writes that; when it has written the first time it tells its host 1. What it could do besides is never run,
/// but closures of it can be read.
pub(crate) fn write_reader(source: &mut Source<'_>, tables: &mut Tables, size: usize) -> Written {
    let [register, read, write] =
        ["caml_register_named_value", "caml_input_value_from_bytes", "caml_output_value_to_bytes"]
            .map(|name| Ref::Prim(tables.prim(name)));
    let note = Ref::Prim(tables.prim("fuzz_note"));
    tables.consts.push(Const::Str(b"round".to_vec()));
    // Marshal.Closures
    tables.consts.push(Const::Block(0, vec![Const::Int(1), Const::Int(0)]));
    let prelude = Prelude { register, read, write, note, name: Ref::Const(0), flags: Ref::Const(1) };
    write_with(source, tables, Form::Program, size, 0, Some(prelude))
}

#[derive(Clone, Copy)]
struct Prelude {
    register: Ref,
    read: Ref,
    write: Ref,
    note: Ref,
    name: Ref,
    flags: Ref,
}

impl Prelude {
    fn main(&self, asm: &mut Asm, round: Label) {
        asm.jump(CLOSURE, &[0], round);
        asm.op(PUSHGETGLOBAL, &[]);
        asm.reference(self.name);
        asm.op(C_CALL2, &[]);
        asm.reference(self.register);
        asm.op(STOP, &[]);
    }

    fn round(&self, asm: &mut Asm) {
        for i in 0..2 {
            asm.op(CONST0, &[]);
            asm.op(PUSHACC1, &[]);
            asm.op(C_CALL2, &[]);
            asm.reference(self.read);
            asm.op(PUSHGETGLOBAL, &[]);
            asm.reference(self.flags);
            asm.op(PUSHACC1, &[]);
            asm.op(C_CALL2, &[]);
            asm.reference(self.write);
            asm.op(PUSH, &[]);
            if i == 0 {
                asm.op(CONST1, &[]);
                asm.op(C_CALL1, &[]);
                asm.reference(self.note);
            }
        }
        asm.op(CONST0, &[]);
        asm.op(RETURN, &[5]);
    }
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
    /// The code as a whole: its functions come first, last, or in the middle.
    fn whole(&mut self) {
        let unit = self.form != Form::Program;
        if unit {
            self.stack.push(Word::Value(Kind::Int));
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
            // What the loader appends is not there yet; what comes before must not run into it with another height.
            Form::Unit => self.asm.op(CONST0, &[]),
            Form::Reified => self.asm.op(RETURN, &[1]),
            Form::Program => {}
        }
    }

    /// Writes what closures name.
    fn functions(&mut self) {
        while self.done < self.plans.len() {
            let plan = self.plans[self.done];
            self.done += 1;
            self.function(plan);
        }
    }

    /// Closures that are never made: control does not get here.
    fn source_of_functions(&mut self) {
        for _ in 0..1 + self.source.below(5) {
            match self.source.one_in(2) {
                true => self.closures(),
                false => self.closure(),
            }
        }
        self.stack.clear();
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
        self.stack = vec![Word::Value(Kind::Any); plan.arity];
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
        if !self.source.one_in(16) {
            self.fuel();
        }
        if self.statements(0) == Then::On {
            self.leave();
        }
        if self.tables.wild && self.source.one_in(8) {
            self.asm.op(RESTART, &[]);
        }
    }

    // ---- the stack --------------------------------------------------------------------------------------

    fn push(&mut self) {
        self.asm.op(PUSH, &[]);
        self.stack.push(Word::Value(self.accu));
    }

    fn pop(&mut self, n: usize) {
        if n > 0 {
            self.asm.op(POP, &[n as i32]);
            self.stack.truncate(self.stack.len() - n);
        }
    }

    /// Words above the innermost frame.
    fn above(&self) -> usize {
        self.stack.iter().rev().take_while(|word| **word != Word::Frame).count()
    }

    /// Stack words that hold values, from the top, with what is believed of them.
    fn values(&self) -> Vec<(usize, Kind)> {
        let of = |(i, word): (usize, &Word)| match word {
            Word::Value(kind) => Some((i, *kind)),
            Word::Frame => None,
        };
        self.stack.iter().rev().enumerate().filter_map(of).collect()
    }

    fn one_of(&mut self, plain: &[Opcode], pushing: &[Opcode], i: usize, push: bool, more: [Opcode; 2]) {
        let table = if push { pushing } else { plain };
        match table.get(i) {
            Some(op) => self.asm.op(*op, &[]),
            None => self.asm.op(more[usize::from(push)], &[i as i32]),
        }
    }

    /// The word `i` from the top, once accu has been pushed if it is to be.
    fn acc(&mut self, i: usize, push: bool) {
        if push {
            self.stack.push(Word::Value(self.accu));
        }
        let at = self.stack.len() - 1 - i;
        if let Word::Value(kind) = self.stack[at] {
            self.accu = kind;
        }
        self.one_of(&ACC, &PUSHACC, i, push, [Opcode::ACC, Opcode::PUSHACC]);
    }

    fn int(&mut self, n: i64, push: bool) {
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

    fn global_const(&mut self, constant: Const, push: bool) {
        self.tables.consts.push(constant);
        let index = self.tables.consts.len() - 1;
        self.asm.op(if push { PUSHGETGLOBAL } else { GETGLOBAL }, &[]);
        self.asm.reference(Ref::Const(index));
    }

    /// Puts a value of that kind into accu, which is pushed first if it is to be.
    fn load(&mut self, kind: Kind, push: bool) {
        let kind = if self.source.one_in(14) { Kind::Any } else { kind };
        self.load_of(kind, push);
    }

    /// The same for an operand of an instruction: a wrong one ends the program.
    fn exact(&mut self, kind: Kind, push: bool) {
        let kind = if self.source.one_in(100) { Kind::Any } else { kind };
        self.load_of(kind, push);
    }

    fn load_of(&mut self, kind: Kind, push: bool) {
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
        if pick == 6 && self.form != Form::Unit && kind != Kind::Int {
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
    fn make(&mut self, kind: Kind, push: bool) {
        match kind {
            Kind::Int => {
                let n = constants::int(self.source);
                return self.int(n, push);
            }
            Kind::Small => {
                let n = self.source.below(5) as i64;
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

    fn exception(&mut self) {
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
    fn object(&mut self) {
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

    /// A block of accu and what lies on the stack.
    fn block_of(&mut self, fields: usize, tag: i32) {
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

    // ---- closures ---------------------------------------------------------------------------------------

    /// A function for a place in a block of closures: one that is there, if what it reads is there too, or a new one.
    fn plan(&mut self, vars: (usize, usize), siblings: (usize, usize)) -> Plan {
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
            _ => 1 + self.source.below(9),
        };
        let restart = arity > 1 || self.tables.wild && self.source.one_in(3);
        let restart = restart.then(|| self.asm.label());
        let plan = Plan { entry: self.asm.label(), restart, arity, vars, siblings };
        self.plans.push(plan);
        plan
    }

    fn variables(&mut self) -> usize {
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

    fn closure(&mut self) {
        let base = self.stack.len();
        let vars = self.variables();
        let plan = self.plan((2, 2 + vars), (0, 0));
        self.asm.jump(CLOSURE, &[vars as i32], plan.entry);
        self.shapes.push((vec![plan.entry], vars));
        self.stack.truncate(base);
        self.accu = Kind::Closure;
    }

    /// Leaves as many closures on the stack.
    fn closures(&mut self) {
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

    // ---- calls ------------------------------------------------------------------------------------------

    /// A call that raises or not.
    fn call(&mut self, prim: &'static Prim) {
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
            // Nothing of the exception is left.
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

    fn bare_call(&mut self, prim: &'static Prim) {
        self.tables.volatile |= prim.volatile;
        for (i, kind) in prim.args.iter().rev().enumerate() {
            self.load(*kind, i > 0);
        }
        self.call_loaded(prim);
    }

    /// With the first argument in accu and the others on the stack.
    fn call_loaded(&mut self, prim: &Prim) {
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

    /// A call that names the wrong number of arguments.
    fn miscall(&mut self) {
        let prim = &prims::all()[self.source.below(prims::all().len())];
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

    fn host(&mut self, name: &'static str) {
        let index = self.tables.prim(name);
        self.asm.op(C_CALL1, &[]);
        self.asm.reference(Ref::Prim(index));
    }

    /// Ends the program when it has run for long enough, whatever it catches.
    fn fuel(&mut self) {
        self.int(0, false);
        self.host("fuzz_fuel");
        let on = self.asm.label();
        self.asm.jump(BRANCHIF, &[], on);
        self.int(0, false);
        self.host("caml_sys_exit");
        self.asm.place(on);
        self.accu = Kind::Int;
    }

    /// Tells the host what is in accu, if it can be told.
    fn note(&mut self) {
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
    fn apply(&mut self, function: Kind) {
        let args = match self.source.below(6) {
            0..3 => 1,
            3 => 2,
            4 => 3,
            _ => 1 + self.source.below(9),
        };
        let framed = args > 3 || self.source.one_in(5);
        let back = self.asm.label();
        if framed {
            self.asm.jump(PUSH_RETADDR, &[], back);
            self.stack.extend([Word::Frame; 3]);
        }
        for i in 0..args {
            self.load(Kind::Any, i > 0);
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

    /// Applies what is in accu, if that is a function.
    fn apply_accu(&mut self) {
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

    /// Leaves the function, or ends the program's code by an exception.
    fn leave(&mut self) {
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

    // ---- statements -------------------------------------------------------------------------------------

    /// Some statements; the stack is as high afterwards as before, if control goes on.
    fn statements(&mut self, depth: usize) -> Then {
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

    fn keep(&mut self) {
        if !self.source.one_in(4) {
            self.push();
        }
    }

    fn statement(&mut self, depth: usize) -> Then {
        if self.tables.wild && self.source.one_in(4) {
            self.call(prims::named("caml_input_value_from_bytes"));
            self.use_message();
            return Then::On;
        }
        match self.source.below(40) {
            0..6 => {
                let all = prims::all();
                let prim = &all[self.source.below(all.len())];
                self.call(prim);
                if self.source.one_in(3) {
                    self.note();
                }
                self.keep();
            }
            6..12 => {
                let sharp = prims::sharp();
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
            36 if self.level < 2 => {
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

    fn use_message(&mut self) {
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

    /// {handle, closure}: runs it, and looks into the handle.
    fn use_reified(&mut self) {
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
            // What the code is kept alive by, or reads without testing.
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

    fn make_block(&mut self) {
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

    fn field(&mut self) {
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

    fn arithmetic(&mut self) {
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

    /// Control that comes from several places: what they left in accu may be anything.
    fn join(&mut self, thens: &[Then], end: Label, stack: Vec<Word>) -> Then {
        self.asm.place(end);
        self.stack = stack;
        self.accu = Kind::Any;
        if thens.contains(&Then::On) { Then::On } else { Then::Ended }
    }

    fn branch(&mut self, depth: usize) -> Then {
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

    fn switch(&mut self, depth: usize) -> Then {
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
                // Nothing leads there.
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

    fn looping(&mut self, depth: usize) {
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

    fn trap(&mut self, depth: usize) -> Then {
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

    fn method(&mut self) {
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

    fn shuffle(&mut self) {
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

    fn global(&mut self) {
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
