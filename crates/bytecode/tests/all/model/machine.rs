//! The state of the machine of shapes, and the operations on it. Each operation first checks the assumption that
//! OCaml's machine makes.

use std::collections::HashMap;
use std::rc::Rc;

use spelter_bytecode::verify::{Entry, Verified};
use spelter_bytecode::{Instr, Opcode};

use super::table;
use super::world::{Chance, Code};

/// The shape of a value, as far as control depends on it.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Int,
    /// A block that is not a closure.
    Block,
    /// That function of a block of closures.
    Closure(Rc<Closures>, usize),
    Partial(Rc<Partial>),
    /// An unknown value, whose shape is chosen when it is called.
    Unknown,
}

/// A block of closures: its functions' entries, and the number of shared variables.
#[derive(Debug)]
pub(crate) struct Closures {
    pub(crate) entries: Vec<i64>,
    pub(crate) vars: usize,
}

impl Closures {
    /// The block that `CLOSURE` or `CLOSUREREC` creates; `None` when the number of variables is negative.
    pub(crate) fn of(instr: &Instr<'_>) -> Option<Closures> {
        let vars = instr.operands[if instr.op == Opcode::CLOSURE { 0 } else { 1 }];
        Some(Closures { entries: instr.targets().collect(), vars: usize::try_from(vars).ok()? })
    }

    /// The variables as fields, counted from the entry of a function: `3(f − i) − 1` is the first.
    fn fields(&self, index: usize) -> std::ops::Range<i64> {
        let first = 3 * (self.entries.len() - index) as i64 - 1;
        first..first + self.vars as i64
    }
}

/// A partial application: where it continues, for which function, with how many saved arguments.
#[derive(Debug)]
pub(crate) struct Partial {
    pub(crate) restart: i64,
    pub(crate) env: Value,
    pub(crate) args: usize,
}

/// A word of the stack. The words of frames are in push order, with the code address last.
#[derive(Debug, Clone)]
enum Word {
    Value(Value),
    SavedExtra(usize),
    SavedEnv(Value),
    ReturnPc(Return, Scope),
    /// The position of the enclosing trap frame.
    TrapLink(Option<usize>),
    TrapPc(i64, Scope),
}

/// The destination of a return.
#[derive(Debug, Clone, Copy)]
enum Return {
    To(i64),
    /// To the primitive, or the host, that called.
    Host,
}

/// Facts that OCaml's machine relies on but does not store: the running function, and the beginning of its frame.
#[derive(Debug, Clone, Copy)]
struct Scope {
    function: Function,
    base: usize,
    /// The depth of the stack at the last check for room: at `APPLY` and `APPTERM`, not at `RETURN`.
    checked: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Function {
    /// A program's code outside of functions.
    Main,
    /// The function with that entry: at the `GRAB`, also for a partial application.
    At(i64),
}

/// The violations by which an unchecked machine would do harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// Control goes to a position that is not the start of an instruction.
    NoInstruction,
    /// A number in the code is not within its limits.
    Operand,
    /// An instruction touches words below the frame of its function.
    BelowFrame,
    /// An instruction uses a word of a return or trap frame as a value.
    NotAValue,
    /// `RETURN` or `APPTERM` states a wrong frame size.
    FrameSize,
    /// There is no return frame where there should be one.
    NoReturnFrame,
    /// `POPTRAP` finds something other than the innermost trap frame on top.
    NoTrapFrame,
    /// The running closure has no such variable.
    NoVariable,
    /// The running closure has no such sibling.
    NoSibling,
    /// `RESTART` without a partial application, or with more saved arguments than the `GRAB` after it would save.
    Restart,
    /// `GRAB` would save a frame that does not consist of arguments, or has no `RESTART` before it.
    Grab,
    /// `STOP` with something on the stack, or not in the main code.
    Stop,
    /// The frame is higher than it may be.
    Height,
    /// The stack grows by more words than any function may without a check.
    Room,
    /// The verifier does not know the entered function.
    UnknownFunction,
}

/// The position of the violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) pos: i64,
    pub(crate) wrong: Wrong,
}

pub(crate) type Step<T = ()> = Result<T, Wrong>;

/// The maximum height of frames.
#[derive(Debug)]
pub(crate) enum Heights {
    /// The verifier's heights.
    Verified { main: u64, functions: HashMap<i64, u64>, highest: u64 },
    /// The room that OCaml's machine leaves at function entry.
    Threshold,
}

impl Heights {
    pub(crate) fn of(verified: &Verified, entry: Entry) -> Heights {
        let (main, rest) = verified.functions.split_first().expect("the code as a whole");
        let mut functions = HashMap::new();
        let named = rest.iter().chain(matches!(entry, Entry::Unit).then_some(main));
        for function in named {
            let height = functions.entry(function.entry as i64).or_insert(0);
            *height = function.max_height.max(*height);
        }
        Heights::Verified { main: main.max_height, functions, highest: verified.max_height() }
    }

    fn limit(&self, function: Function) -> Step<u64> {
        match (self, function) {
            (Heights::Verified { main, .. }, Function::Main) => Ok(*main),
            (Heights::Verified { functions, .. }, Function::At(entry)) => {
                functions.get(&entry).copied().ok_or(Wrong::UnknownFunction)
            }
            (Heights::Threshold, _) => Ok(THRESHOLD),
        }
    }

    /// The number of words available after a check for room.
    fn room(&self) -> u64 {
        match self {
            Heights::Verified { highest, .. } => *highest,
            Heights::Threshold => THRESHOLD,
        }
    }
}

/// The room that OCaml's machine ensures at every check.
const THRESHOLD: u64 = 256;
/// The stack depth at which calls raise `Stack_overflow`.
const STACK_LIMIT: usize = 3000;
/// The maximum nesting of callbacks.
const CALLBACKS: usize = 3;

/// The registers, the stack, and the callers.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) code: &'a Code<'a>,
    heights: &'a Heights,
    pub(crate) chance: Chance,
    visits: &'a mut [u32],
    stack: Vec<Word>,
    pub(crate) accu: Value,
    env: Value,
    pc: i64,
    extra_args: usize,
    trap: Option<usize>,
    scope: Scope,
    callers: Vec<Caller>,
    /// Whether nothing interrupts it between instructions: only then are long paths followed to their end.
    calm: bool,
    over: bool,
}

/// The state interrupted by a callback.
#[derive(Debug)]
struct Caller {
    height: usize,
    accu: Value,
    env: Value,
    pc: i64,
    extra_args: usize,
    trap: Option<usize>,
    scope: Scope,
}

impl<'a> Machine<'a> {
    /// A machine about to run the code from its first word.
    pub(crate) fn new(
        code: &'a Code<'a>,
        heights: &'a Heights,
        visits: &'a mut [u32],
        seed: u64,
    ) -> Machine<'a> {
        let main = Scope { function: Function::Main, base: 0, checked: 0 };
        let mut machine = Machine {
            code,
            heights,
            chance: Chance::new(seed),
            visits,
            stack: Vec::new(),
            accu: Value::Int,
            env: Value::Block,
            pc: 0,
            extra_args: 0,
            trap: None,
            scope: main,
            callers: Vec::new(),
            calm: false,
            over: false,
        };
        machine.calm = machine.chance.one_in(2);
        if matches!(code.entry, Entry::Unit) {
            let unit = Rc::new(Closures { entries: vec![0], vars: 0 });
            machine.enter_from_host(Value::Closure(unit, 0), 1);
        }
        machine
    }

    /// A machine whose host calls one of the functions, if there is one.
    pub(crate) fn called(
        code: &'a Code<'a>,
        heights: &'a Heights,
        visits: &'a mut [u32],
        seed: u64,
    ) -> Machine<'a> {
        let mut machine = Machine::new(code, heights, visits, seed);
        if let Some(function) = code.any_callable(&mut machine.chance) {
            let args = 1 + machine.chance.below(4);
            machine.stack.clear();
            machine.enter_from_host(function, args);
        }
        machine
    }

    /// Runs that many instructions, if it does not end before; returns how many it ran.
    pub(crate) fn run(&mut self, steps: usize) -> Result<usize, Violation> {
        for step in 0..steps {
            if self.over {
                return Ok(step);
            }
            let pos = self.pc;
            self.step().map_err(|wrong| Violation { pos, wrong })?;
        }
        Ok(steps)
    }

    fn step(&mut self) -> Step {
        // Between any two instructions a signal handler or a finaliser may run, and may raise.
        if !self.calm {
            if self.chance.one_in(60) && self.callers.len() < CALLBACKS {
                self.callback();
            } else if self.chance.one_in(if self.trap.is_some() { 15 } else { 60 }) {
                self.raise()?;
            }
        }
        if self.over {
            return Ok(());
        }
        let instr = self.code.at(self.pc).ok_or(Wrong::NoInstruction)?;
        self.visits[instr.pos] += 1;
        self.pc = instr.next() as i64;
        table::execute(self, instr)?;
        if self.over {
            return Ok(());
        }
        // A partial application has not entered its function yet: `RESTART` checks that there is one.
        let in_function = !matches!(self.env, Value::Partial(_));
        if in_function && self.height() as u64 > self.heights.limit(self.scope.function)? {
            return Err(Wrong::Height);
        }
        if self.stack.len() as u64 > self.scope.checked as u64 + self.heights.room() {
            return Err(Wrong::Room);
        }
        Ok(())
    }

    // The frame. Indices count from the top of the stack.

    fn height(&self) -> usize {
        self.stack.len() - self.scope.base
    }

    fn word(&mut self, index: i64) -> Step<&mut Value> {
        let index = usize::try_from(index).map_err(|_| Wrong::Operand)?;
        if index >= self.height() {
            return Err(Wrong::BelowFrame);
        }
        let at = self.stack.len() - 1 - index;
        match &mut self.stack[at] {
            Word::Value(value) => Ok(value),
            _ => Err(Wrong::NotAValue),
        }
    }

    pub(crate) fn acc(&mut self, index: i64) -> Step {
        self.accu = self.word(index)?.clone();
        Ok(())
    }

    pub(crate) fn assign(&mut self, index: i64) -> Step {
        *self.word(index)? = self.accu.clone();
        self.accu = Value::Int;
        Ok(())
    }

    pub(crate) fn push(&mut self) {
        self.stack.push(Word::Value(self.accu.clone()));
    }

    pub(crate) fn pop(&mut self, count: usize) -> Step {
        if count > self.height() {
            return Err(Wrong::BelowFrame);
        }
        let from = self.stack.len() - count;
        if self.stack[from..].iter().any(|word| !matches!(word, Word::Value(_))) {
            return Err(Wrong::NotAValue);
        }
        self.stack.truncate(from);
        Ok(())
    }

    // The environment.

    pub(crate) fn envacc(&mut self, field: i64) -> Step {
        match &self.env {
            Value::Closure(block, index) if block.fields(*index).contains(&field) => {
                self.accu = Value::Unknown;
                Ok(())
            }
            _ => Err(Wrong::NoVariable),
        }
    }

    /// Siblings are 3 words apart.
    pub(crate) fn offset_closure(&mut self, words: i64) -> Step {
        let Value::Closure(block, index) = &self.env else {
            // The main code's environment is an empty block, and may be read.
            self.accu = self.env.clone();
            return if words == 0 { Ok(()) } else { Err(Wrong::NoSibling) };
        };
        let sibling = 3 * *index as i64 + words;
        if sibling < 0 || sibling % 3 != 0 || sibling / 3 >= block.entries.len() as i64 {
            return Err(Wrong::NoSibling);
        }
        self.accu = Value::Closure(block.clone(), (sibling / 3) as usize);
        Ok(())
    }

    // Closures.

    pub(crate) fn closures(&mut self, instr: &Instr<'_>) -> Step<Rc<Closures>> {
        let block = Closures::of(instr).ok_or(Wrong::Operand)?;
        if block.entries.iter().any(|entry| self.code.at(*entry).is_none()) {
            return Err(Wrong::NoInstruction);
        }
        if block.vars > 0 {
            self.push();
            self.pop(block.vars)?;
        }
        self.accu = Value::Closure(Rc::new(block), 0);
        match &self.accu {
            Value::Closure(block, _) => Ok(block.clone()),
            _ => unreachable!("that is what it is"),
        }
    }

    // Control.

    pub(crate) fn jump(&mut self, to: i64) {
        self.pc = to;
    }

    /// Goes to one of these targets, preferring those visited less often.
    pub(crate) fn choose(&mut self, targets: &[i64]) {
        let visits =
            |pc: i64| usize::try_from(pc).ok().and_then(|pc| self.visits.get(pc)).copied().unwrap_or(0);
        let rarest = targets.iter().copied().min_by_key(|pc| visits(*pc));
        let by_chance = *self.chance.pick(targets);
        self.pc = rarest.filter(|_| self.chance.one_in(2)).unwrap_or(by_chance);
    }

    fn push_frame_words(&mut self) {
        self.stack.push(Word::SavedExtra(self.extra_args));
        self.stack.push(Word::SavedEnv(self.env.clone()));
    }

    pub(crate) fn push_return_frame(&mut self, to: i64) {
        self.push_frame_words();
        self.stack.push(Word::ReturnPc(Return::To(to), self.scope));
    }

    /// `APPLY`: the return frame is already on the stack, below the arguments.
    pub(crate) fn apply(&mut self, args: usize) -> Step {
        if args + 3 > self.height() {
            return Err(Wrong::BelowFrame);
        }
        let top = self.stack.len() - args;
        if self.stack[top..].iter().any(|word| !matches!(word, Word::Value(_))) {
            return Err(Wrong::NotAValue);
        }
        let [.., Word::SavedExtra(_), Word::SavedEnv(_), Word::ReturnPc(..)] = &self.stack[..top] else {
            return Err(Wrong::NoReturnFrame);
        };
        self.extra_args = args - 1;
        self.check_stack();
        self.enter()
    }

    /// `APPLY1` to `APPLY3`: the return frame is inserted below the arguments.
    pub(crate) fn apply_few(&mut self, args: usize) -> Step {
        self.pop(args)?;
        self.push_return_frame(self.pc);
        self.push_values(args);
        self.apply(args)
    }

    /// `APPTERM`: the arguments replace the frame.
    pub(crate) fn appterm(&mut self, args: usize, frame: usize) -> Step {
        if frame != self.height() {
            return Err(Wrong::FrameSize);
        }
        if args > frame {
            return Err(Wrong::Operand);
        }
        self.pop(frame)?;
        self.push_values(args);
        self.extra_args += args - 1;
        self.check_stack();
        self.enter()
    }

    /// Another stack runs, until it gives this one a value or an exception.
    pub(crate) fn elsewhere(&mut self) -> Step {
        if self.chance.one_in(4) {
            return self.raise();
        }
        self.accu = Value::Unknown;
        Ok(())
    }

    /// A fiber runs with `operands` from the top of the frame. The frame is dropped; when the fiber ends, a function that
    /// it names is called with its result, and with the arguments that were left over.
    pub(crate) fn leave_for_fiber(&mut self, operands: usize, frame: usize) -> Step {
        if frame != self.height() {
            return Err(Wrong::FrameSize);
        }
        if operands > frame {
            return Err(Wrong::BelowFrame);
        }
        self.accu = Value::Unknown;
        self.appterm(1, frame)
    }

    /// `RETURN`.
    pub(crate) fn return_(&mut self, frame: usize) -> Step {
        if frame != self.height() {
            return Err(Wrong::FrameSize);
        }
        self.pop(frame)?;
        if self.extra_args == 0 {
            return self.leave();
        }
        self.extra_args -= 1;
        self.enter()
    }

    fn check_stack(&mut self) {
        self.scope.checked = self.stack.len();
    }

    fn push_values(&mut self, count: usize) {
        self.stack.extend((0..count).map(|_| Word::Value(Value::Unknown)));
    }

    /// Calls the value of the accumulator. One argument is on top of the stack, `extra_args` more are below it.
    fn enter(&mut self) -> Step {
        if self.stack.len() > STACK_LIMIT {
            return self.raise();
        }
        let callee = match &self.accu {
            Value::Closure(..) | Value::Partial(_) => Some(self.accu.clone()),
            // The checked machine finds out when a value is no closure. What is known here not to be one goes on as
            // if it might be, too: neither judge is asked about values, and the code behind the call is to be seen.
            _ if self.chance.one_in(20) => return self.raise(),
            _ => self.code.any_callable(&mut self.chance),
        };
        match callee {
            Some(callee) => {
                self.go(callee);
                Ok(())
            }
            None => {
                let args = 1 + self.extra_args;
                self.stack.truncate(self.stack.len() - args);
                self.accu = Value::Unknown;
                self.leave()
            }
        }
    }

    fn go(&mut self, callee: Value) {
        let (pc, entry) = match &callee {
            Value::Closure(block, index) => (block.entries[*index], block.entries[*index]),
            Value::Partial(partial) => (partial.restart, partial.restart + 1),
            _ => unreachable!("it was asked whether it can be called"),
        };
        self.pc = pc;
        self.scope = Scope { function: Function::At(entry), base: self.stack.len() - 1, ..self.scope };
        self.env = callee;
    }

    /// Returns through the return frame, which must exist.
    fn leave(&mut self) -> Step {
        let frame = (self.stack.pop(), self.stack.pop(), self.stack.pop());
        let (Some(Word::ReturnPc(to, scope)), Some(Word::SavedEnv(env)), Some(Word::SavedExtra(extra_args))) =
            frame
        else {
            return Err(Wrong::NoReturnFrame);
        };
        match to {
            Return::To(pc) => (self.pc, self.env, self.extra_args, self.scope) = (pc, env, extra_args, scope),
            Return::Host => self.back_to_host(),
        }
        Ok(())
    }

    // Currying.

    /// `GRAB`: continues if there are that many extra arguments; otherwise saves the existing ones.
    pub(crate) fn grab(&mut self, pos: i64, wanted: usize) -> Step {
        if self.extra_args >= wanted {
            // They belong to the function now.
            self.extra_args -= wanted;
            self.scope.base -= wanted;
            return Ok(());
        }
        let restart = pos - 1;
        if self.height() != 1 || self.code.at(restart).is_none_or(|instr| instr.op != Opcode::RESTART) {
            return Err(Wrong::Grab);
        }
        let args = 1 + self.extra_args;
        self.scope.base -= self.extra_args;
        self.pop(args)?;
        self.accu = Value::Partial(Rc::new(Partial { restart, env: self.env.clone(), args }));
        self.leave()
    }

    /// `RESTART`: pushes the saved arguments.
    pub(crate) fn restart(&mut self) -> Step {
        let Value::Partial(partial) = &self.env else {
            return Err(Wrong::Restart);
        };
        let partial = partial.clone();
        let grab = self.code.at(self.pc).filter(|instr| instr.op == Opcode::GRAB);
        // A `GRAB` saves no more than that, and nothing else leaves room for them.
        if grab.is_none_or(|grab| i64::from(grab.operands[0]) < partial.args as i64) {
            return Err(Wrong::Restart);
        }
        self.push_values(partial.args);
        self.extra_args += partial.args;
        self.scope.base = self.stack.len() - 1;
        self.env = partial.env.clone();
        Ok(())
    }

    // Exceptions.

    pub(crate) fn push_trap(&mut self, handler: i64) {
        self.push_frame_words();
        self.stack.push(Word::TrapLink(self.trap));
        self.stack.push(Word::TrapPc(handler, self.scope));
        self.trap = Some(self.stack.len() - 1);
    }

    pub(crate) fn pop_trap(&mut self) -> Step {
        if self.height() < 4 {
            return Err(Wrong::BelowFrame);
        }
        if self.trap != Some(self.stack.len() - 1) {
            return Err(Wrong::NoTrapFrame);
        }
        self.unlink_trap().map(|_| ())
    }

    /// Pops the trap frame from the top of the stack.
    fn unlink_trap(&mut self) -> Step<(i64, Scope, Value, usize)> {
        let frame = (self.stack.pop(), self.stack.pop(), self.stack.pop(), self.stack.pop());
        let (
            Some(Word::TrapPc(handler, scope)),
            Some(Word::TrapLink(link)),
            Some(Word::SavedEnv(env)),
            Some(Word::SavedExtra(extra_args)),
        ) = frame
        else {
            return Err(Wrong::NoTrapFrame);
        };
        self.trap = link;
        Ok((handler, scope, env, extra_args))
    }

    /// Raises: to the innermost exception handler of this activation, otherwise to its caller, which may raise in
    /// turn.
    pub(crate) fn raise(&mut self) -> Step {
        self.accu = Value::Unknown;
        let Some(trap) = self.trap else {
            self.stack.truncate(self.callers.last().map_or(0, |caller| caller.height));
            self.back_to_host();
            return if self.over || self.chance.one_in(2) { Ok(()) } else { self.raise() };
        };
        if trap >= self.stack.len() {
            return Err(Wrong::NoTrapFrame);
        }
        self.stack.truncate(trap + 1);
        (self.pc, self.scope, self.env, self.extra_args) = self.unlink_trap()?;
        Ok(())
    }

    // The host.

    /// Runs one of the code's own functions, from a primitive or between two instructions.
    fn callback(&mut self) {
        let Some(function) = self.code.any_callable(&mut self.chance) else { return };
        self.callers.push(Caller {
            height: self.stack.len(),
            accu: self.accu.clone(),
            env: self.env.clone(),
            pc: self.pc,
            extra_args: self.extra_args,
            trap: self.trap.take(),
            scope: self.scope,
        });
        let args = 1 + self.chance.below(4);
        self.enter_from_host(function, args);
    }

    fn enter_from_host(&mut self, function: Value, args: usize) {
        self.stack.push(Word::SavedExtra(0));
        self.stack.push(Word::SavedEnv(Value::Int));
        self.stack.push(Word::ReturnPc(Return::Host, self.scope));
        self.push_values(args);
        self.extra_args = args - 1;
        self.check_stack();
        self.go(function);
    }

    /// Continues after the callback; if there was none, the run ends.
    fn back_to_host(&mut self) {
        let Some(caller) = self.callers.pop() else {
            self.over = true;
            return;
        };
        debug_assert_eq!(self.stack.len(), caller.height, "frames are taken off as they were put on");
        self.accu = caller.accu;
        self.env = caller.env;
        self.pc = caller.pc;
        self.extra_args = caller.extra_args;
        self.trap = caller.trap;
        self.scope = caller.scope;
    }

    pub(crate) fn stop(&mut self) -> Step {
        let main = self.scope.function == Function::Main && self.callers.is_empty();
        self.over = true;
        if main && self.stack.is_empty() { Ok(()) } else { Err(Wrong::Stop) }
    }
}
