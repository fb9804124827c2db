//! Random programs that are correct unless mutated: heights are tracked, functions get the variables that they read,
//! handlers are placed where their trap frames end. They compute nothing useful, but use the patterns of compilers,
//! and others that compilers could use.

use spelter_bytecode::Opcode::{self, *};
use spelter_bytecode::verify::{Entry, Limits};

use super::lines::{Line, Lines};
use super::world::Chance;

/// What the code may refer to.
pub(crate) const LIMITS: Limits = Limits { globals: 6, prims: 9, slots: 0 };

/// A program or a unit.
pub(crate) fn program(entry: Entry, size: usize, chance: &mut Chance) -> Lines {
    let mut grower =
        Grower { chance, lines: Lines::default(), labels: Vec::new(), made: Vec::new(), fuel: size };
    grower.main(entry);
    // Functions create further functions.
    let mut done = 0;
    while done < grower.made.len() {
        grower.function(grower.made[done].clone());
        done += 1;
    }
    let Grower { mut lines, labels, .. } = grower;
    lines.retarget(|label| labels[label]);
    lines
}

/// A few unrelated instructions. Most such programs are wrong, and the others are unusual.
pub(crate) fn soup(entry: Entry, chance: &mut Chance) -> Lines {
    const USUAL: &[Opcode] = &[
        ACC0,
        ACC1,
        PUSH,
        PUSHACC0,
        PUSHACC1,
        POP,
        ASSIGN,
        ENVACC2,
        PUSHENVACC,
        OFFSETCLOSURE3,
        OFFSETCLOSURE,
        APPLY,
        APPLY1,
        APPLY2,
        APPTERM,
        APPTERM1,
        APPTERM2,
        RETURN,
        RETURN,
        RESTART,
        GRAB,
        GRAB,
        CLOSURE,
        CLOSURE,
        CLOSUREREC,
        PUSH_RETADDR,
        PUSHTRAP,
        POPTRAP,
        RAISE,
        BRANCH,
        BRANCHIF,
        SWITCH,
        C_CALL1,
        C_CALLN,
        PERFORM,
        RESUME,
        RESUMETERM,
        REPERFORMTERM,
        CONST0,
        CONST1,
        PUSHCONST1,
        MAKEBLOCK,
        STOP,
    ];
    let len = 2 + chance.below(10);
    let mut lines: Vec<Line> = (0..len).map(|_| odd_line(*chance.pick(USUAL), len + 2, chance)).collect();
    lines.push(odd_line(*chance.pick(&[RETURN, STOP, RAISE]), len + 2, chance));
    lines.push(match entry {
        Entry::Program => Line::new(STOP, &[], &[]),
        Entry::Unit => Line::new(RETURN, &[1], &[]),
    });
    Lines(lines)
}

/// A random instruction with small operands, in code of `len` lines.
pub(crate) fn odd_line(op: Opcode, len: usize, chance: &mut Chance) -> Line {
    let mut small = || chance.below(4) as i32;
    match op {
        SWITCH => {
            let (constants, blocks) = (small().min(2), small().min(2));
            let targets: Vec<usize> = (0..constants + blocks).map(|_| chance.below(len)).collect();
            Line::new(op, &[constants | blocks << 16], &targets)
        }
        CLOSUREREC => {
            let (functions, vars) = (1 + small().min(2), small());
            let targets: Vec<usize> = (0..functions).map(|_| chance.below(len)).collect();
            Line::new(op, &[functions, vars], &targets)
        }
        PUSHENVACC | ENVACC => Line::new(op, &[2 + small()], &[]),
        OFFSETCLOSURE | PUSHOFFSETCLOSURE => Line::new(op, &[3 * (small() - 2)], &[]),
        _ => {
            let operands: Vec<i32> = (0..plain_operands(op)).map(|_| small()).collect();
            let targets: Vec<usize> = (0..offsets(op)).map(|_| chance.below(len)).collect();
            Line::new(op, &operands, &targets)
        }
    }
}

/// The number of offsets of an instruction without a table.
pub(crate) fn offsets(op: Opcode) -> usize {
    match op {
        PUSH_RETADDR | CLOSURE | BRANCH | BRANCHIF | BRANCHIFNOT | PUSHTRAP => 1,
        BEQ | BNEQ | BLTINT | BLEINT | BGTINT | BGEINT | BULTINT | BUGEINT => 1,
        _ => 0,
    }
}

fn plain_operands(op: Opcode) -> usize {
    op.operands().len() - offsets(op)
}

/// A function that closures have been made of.
#[derive(Debug, Clone)]
struct Function {
    label: usize,
    arity: usize,
    /// Its index in its block, and the block's number of functions.
    index: usize,
    of: usize,
    vars: usize,
}

/// The context of the code being generated.
struct Place {
    /// The function; `None` in main code.
    function: Option<Function>,
    /// The frame's words, and whether each is a value. The top is last.
    frame: Vec<bool>,
    /// How many of them belong to the enclosing code, which must find them unchanged.
    floor: usize,
    depth: usize,
}

impl Place {
    /// How many values on top this code may pop.
    fn room(&self) -> usize {
        self.frame[self.floor..].iter().rev().take_while(|value| **value).count()
    }

    /// The indices of all values in the frame, from the top.
    fn values(&self) -> Vec<i32> {
        let from_top = self.frame.iter().rev().enumerate();
        from_top.filter(|(_, value)| **value).map(|(index, _)| index as i32).collect()
    }

    fn push(&mut self, values: usize) {
        self.frame.extend((0..values).map(|_| true));
    }

    fn pop(&mut self, words: usize) {
        self.frame.truncate(self.frame.len() - words);
    }
}

struct Grower<'c> {
    chance: &'c mut Chance,
    /// Their targets are labels.
    lines: Lines,
    labels: Vec<usize>,
    made: Vec<Function>,
    fuel: usize,
}

impl Grower<'_> {
    fn emit(&mut self, op: Opcode, operands: &[usize]) {
        let operands: Vec<i32> = operands.iter().map(|operand| *operand as i32).collect();
        self.lines.0.push(Line::new(op, &operands, &[]));
    }

    fn emit_to(&mut self, op: Opcode, operands: &[usize], labels: &[usize]) {
        let operands: Vec<i32> = operands.iter().map(|operand| *operand as i32).collect();
        self.lines.0.push(Line::new(op, &operands, labels));
    }

    fn emit_one_of(&mut self, ops: &[Opcode]) {
        let op = *self.chance.pick(ops);
        self.emit(op, &[]);
    }

    fn emit_sized(&mut self, ops: &[Opcode], size: usize) {
        let op = *self.chance.pick(ops);
        self.emit(op, &[size]);
    }

    fn label(&mut self) -> usize {
        self.labels.push(usize::MAX);
        self.labels.len() - 1
    }

    fn place(&mut self, label: usize) {
        self.labels[label] = self.lines.len();
    }

    fn main(&mut self, entry: Entry) {
        let unit = matches!(entry, Entry::Unit);
        let label = self.label();
        self.place(label);
        let function = unit.then_some(Function { label, arity: 1, index: 0, of: 1, vars: 0 });
        let frame = vec![true; usize::from(unit)];
        let mut place = Place { function, floor: 0, frame, depth: 0 };
        place.floor = place.frame.len();
        self.block(&mut place);
        if unit {
            self.emit(RETURN, &[place.frame.len()]);
        } else {
            self.level(&mut place);
            self.emit(STOP, &[]);
        }
    }

    fn function(&mut self, function: Function) {
        let arity = function.arity;
        if arity > 1 || self.chance.one_in(10) {
            self.emit(RESTART, &[]);
            self.place(function.label);
            self.emit(GRAB, &[arity - 1]);
        } else {
            self.place(function.label);
        }
        let mut place = Place { function: Some(function), frame: vec![true; arity], floor: arity, depth: 0 };
        // Its arguments are its own.
        place.floor = 0;
        if self.block(&mut place) {
            self.finish(&mut place);
        }
    }

    /// Returns from the function, whose frame consists of values.
    fn finish(&mut self, place: &mut Place) {
        let height = place.frame.len();
        if self.chance.one_in(2) {
            return self.emit(RETURN, &[height]);
        }
        let args = 1 + self.chance.below(4);
        for _ in height..args {
            self.value(place, true);
        }
        let height = place.frame.len();
        self.value(place, false);
        match (args, self.chance.one_in(3)) {
            (1, false) => self.emit(APPTERM1, &[height]),
            (2, false) => self.emit(APPTERM2, &[height]),
            (3, false) => self.emit(APPTERM3, &[height]),
            (2.., true) if height >= 3 => self.emit_sized(&[RESUMETERM, REPERFORMTERM], height),
            _ => self.emit(APPTERM, &[args, height]),
        }
    }

    /// Some statements; false if control does not continue after them.
    fn block(&mut self, place: &mut Place) -> bool {
        let statements = 1 + self.chance.below(8);
        for _ in 0..statements {
            if self.fuel == 0 {
                break;
            }
            self.fuel -= 1;
            if !self.statement(place) {
                return false;
            }
        }
        true
    }

    /// A block of statements that restores the frame.
    fn arm(&mut self, place: &mut Place) -> bool {
        let (floor, height) = (place.floor, place.frame.len());
        place.floor = height;
        place.depth += 1;
        let goes_on = self.block(place);
        if goes_on {
            self.level(place);
        }
        place.depth -= 1;
        place.floor = floor;
        place.frame.truncate(height);
        goes_on
    }

    /// Pops the words above the floor.
    fn level(&mut self, place: &mut Place) {
        let above = place.frame.len() - place.floor;
        if above > 0 {
            self.emit(POP, &[above]);
            place.pop(above);
        }
    }

    fn statement(&mut self, place: &mut Place) -> bool {
        let room = place.room();
        match self.chance.below(22) {
            0..=3 => self.value(place, true),
            4..=5 => self.value(place, false),
            6 => {
                let words = self.chance.below(room + 1);
                self.emit(POP, &[words]);
                place.pop(words);
            }
            7 => {
                if let values @ [_, ..] = &place.values()[..] {
                    let index = *self.chance.pick(values);
                    self.emit(ASSIGN, &[index as usize]);
                }
            }
            8..=9 => self.operation(place, room),
            10..=11 => self.closure(place, room),
            12 => self.closurerec(place, room),
            13 if room > 0 => {
                let args = 1 + self.chance.below(room.min(3));
                self.emit([APPLY1, APPLY2, APPLY3][args - 1], &[]);
                place.pop(args);
            }
            14 => self.long_call(place),
            15 if place.depth < 4 => return self.branches(place),
            16 if place.depth < 4 => return self.cases(place),
            17 if place.depth < 4 => return self.repetition(place),
            18..=19 if place.depth < 4 => self.handled(place),
            20 if place.depth > 0 => {
                self.emit_one_of(&[RAISE, RERAISE, RAISE_NOTRACE]);
                return false;
            }
            21 if place.depth > 0 && place.function.is_some() && place.frame.iter().all(|value| *value) => {
                self.finish(place);
                return false;
            }
            _ => self.emit(CHECK_SIGNALS, &[]),
        }
        true
    }

    /// Puts a value into the accumulator, optionally pushing the old one.
    fn value(&mut self, place: &mut Place, push: bool) {
        if push {
            place.push(1);
        }
        let either = |pushing: Opcode, plain: Opcode| if push { pushing } else { plain };
        let (vars, siblings) = match &place.function {
            Some(Function { index, of, vars, .. }) => (*vars, (*index, *of)),
            None => (0, (0, 0)),
        };
        match self.chance.below(7) {
            0 | 1 => {
                if let values @ [_, ..] = &place.values()[..] {
                    let index = *self.chance.pick(values) as usize;
                    return self.emit(either(PUSHACC, ACC), &[index]);
                }
                self.emit(either(PUSHATOM0, ATOM0), &[]);
            }
            2 if vars > 0 => {
                let field = 3 * (siblings.1 - siblings.0) - 1 + self.chance.below(vars);
                self.emit(either(PUSHENVACC, ENVACC), &[field]);
            }
            3 if siblings.1 > 0 => {
                let words = 3 * (self.chance.below(siblings.1) as i32 - siblings.0 as i32);
                let op = either(PUSHOFFSETCLOSURE, OFFSETCLOSURE);
                self.lines.0.push(Line::new(op, &[words], &[]));
            }
            4 | 5 => {
                let global = self.chance.below(LIMITS.globals);
                self.emit(either(PUSHGETGLOBAL, GETGLOBAL), &[global]);
            }
            _ => self.emit(either(PUSHCONST1, CONST1), &[]),
        }
    }

    fn operation(&mut self, place: &mut Place, room: usize) {
        let prim = self.chance.below(LIMITS.prims);
        match self.chance.below(8) {
            6 => self.emit(PERFORM, &[]),
            7 if room >= 3 => {
                self.emit(RESUME, &[]);
                place.pop(3);
            }
            0 => {
                let args = 1 + self.chance.below(room.min(4) + 1);
                self.emit([C_CALL1, C_CALL2, C_CALL3, C_CALL4, C_CALL5][args - 1], &[prim]);
                place.pop(args - 1);
            }
            1 => {
                let args = 1 + self.chance.below(room + 1);
                self.emit(C_CALLN, &[args, prim]);
                place.pop(args - 1);
            }
            2 => {
                let size = 1 + self.chance.below(room + 1);
                self.emit(MAKEBLOCK, &[size, 0]);
                place.pop(size - 1);
            }
            3 if room >= 2 => {
                self.emit(SETVECTITEM, &[]);
                place.pop(2);
            }
            4 if room >= 1 => {
                self.emit_one_of(&[ADDINT, EQ, SETFIELD0, GETVECTITEM, DIVINT]);
                place.pop(1);
            }
            _ => self.emit_one_of(&[GETFIELD0, VECTLENGTH, ISINT, BOOLNOT]),
        }
    }

    /// A closure of a new function, or of an existing one, sometimes with more variables.
    fn closure(&mut self, place: &mut Place, room: usize) {
        let vars = self.chance.below(room.min(4) + 2);
        let old = self.made.iter().find(|function| function.of == 1 && function.vars <= vars);
        let label = match old.map(|function| function.label).filter(|_| self.chance.one_in(3)) {
            Some(label) => label,
            None => self.declare(0, 1, vars),
        };
        self.emit_to(CLOSURE, &[vars], &[label]);
        place.pop(vars.saturating_sub(1));
    }

    fn closurerec(&mut self, place: &mut Place, room: usize) {
        let of = 1 + self.chance.below(3);
        let vars = self.chance.below(room.min(4) + 2);
        let labels: Vec<usize> = (0..of).map(|index| self.declare(index, of, vars)).collect();
        self.emit_to(CLOSUREREC, &[of, vars], &labels);
        place.pop(vars.saturating_sub(1));
        place.push(of);
    }

    fn declare(&mut self, index: usize, of: usize, vars: usize) -> usize {
        let label = self.label();
        let arity = 1 + self.chance.below(4);
        self.made.push(Function { label, arity, index, of, vars });
        label
    }

    fn long_call(&mut self, place: &mut Place) {
        let label = self.label();
        self.emit_to(PUSH_RETADDR, &[], &[label]);
        place.frame.extend([false; 3]);
        let args = 1 + self.chance.below(5);
        for _ in 0..args {
            if place.depth < 3 && self.chance.one_in(4) {
                self.arm(place);
            }
            self.value(place, true);
        }
        self.value(place, false);
        self.emit(APPLY, &[args]);
        place.pop(args + 3);
        self.place(label);
    }

    fn branches(&mut self, place: &mut Place) -> bool {
        let (otherwise, end) = (self.label(), self.label());
        match self.chance.one_in(2) {
            true => self.emit_to(BRANCHIFNOT, &[], &[otherwise]),
            false => self.emit_to(BEQ, &[1], &[otherwise]),
        }
        let first = self.arm(place);
        if first {
            self.emit_to(BRANCH, &[], &[end]);
        }
        self.place(otherwise);
        let second = self.arm(place);
        self.place(end);
        first || second
    }

    fn cases(&mut self, place: &mut Place) -> bool {
        let (constants, blocks) = (self.chance.below(3), 1 + self.chance.below(2));
        let labels: Vec<usize> = (0..constants + blocks).map(|_| self.label()).collect();
        let end = self.label();
        self.emit_to(SWITCH, &[constants | blocks << 16], &labels);
        let mut goes_on = false;
        for label in labels {
            self.place(label);
            if self.arm(place) {
                self.emit_to(BRANCH, &[], &[end]);
                goes_on = true;
            }
        }
        self.place(end);
        goes_on
    }

    fn repetition(&mut self, place: &mut Place) -> bool {
        let again = self.label();
        self.place(again);
        self.emit(CHECK_SIGNALS, &[]);
        let goes_on = self.arm(place);
        if goes_on {
            self.emit_to(BRANCHIF, &[], &[again]);
        }
        goes_on
    }

    fn handled(&mut self, place: &mut Place) {
        let (handler, end) = (self.label(), self.label());
        self.emit_to(PUSHTRAP, &[], &[handler]);
        place.frame.extend([false; 4]);
        if self.arm(place) {
            self.emit(POPTRAP, &[]);
            self.emit_to(BRANCH, &[], &[end]);
        }
        place.pop(4);
        self.place(handler);
        // The accumulator holds the exception.
        self.emit(PUSH, &[]);
        self.emit(POP, &[1]);
        self.place(end);
    }
}
