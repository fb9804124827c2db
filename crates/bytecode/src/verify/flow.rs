//! The second pass, over all reachable code, tracking the stack on every path.

use super::brief::Brief;
use super::frames::{Frames, Kind, NONE, Stack};
use super::survey::Survey;
use super::{Entry, Fault, Function, Verified, restart_of};
use crate::code::{Instr, WORD};
use crate::error::Result;
use crate::opcode::{Access, Flow, Opcode};
use crate::room;

/// The part of the environment that a function may read through `env`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Env {
    /// The fields that contain variables.
    vars: (u32, u32),
    /// The closures before and after its own in the same block; `None` if `env` is not a closure.
    siblings: Option<(u32, u32)>,
}

impl Env {
    /// The intersection, for a function that two closures refer to.
    fn intersection(self, other: Env) -> Env {
        let siblings = self.siblings.zip(other.siblings);
        Env {
            vars: (self.vars.0.max(other.vars.0), self.vars.1.min(other.vars.1)),
            siblings: siblings.map(|(one, two)| (one.0.min(two.0), one.1.min(two.1))),
        }
    }
}

/// The functions for which an instruction creates closures, and their environments. Its operands have been checked.
/// Layouts are those of `runtime/caml/mlvalues.h` since 4.12.
pub(super) fn closures_of(instr: &Instr<'_>) -> impl Iterator<Item = (u32, Env)> {
    let operand = |i: usize| instr.operands[i] as u32;
    let (functions, vars) = match instr.op.facts().flow {
        Flow::Closure => (1, operand(0)),
        Flow::ClosureRec => (operand(0), operand(1)),
        _ => (0, 0),
    };
    (0..functions).zip(instr.targets()).map(move |(i, target)| {
        // Each entry takes two words and, except for the first, an infix header.
        let start = 3 * (functions - i) - 1;
        let env = Env { vars: (start, start + vars), siblings: Some((i, functions - 1 - i)) };
        (target as u32, env)
    })
}

/// The stack at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    function: u32,
    frames: Stack,
    height: u64,
}

/// Marks targets that control has not reached yet.
const UNSEEN: State = State { function: u32::MAX, frames: NONE, height: 0 };

pub(super) struct Checker<'a> {
    code: Survey<'a>,
    entry: Entry,
    functions: Vec<(Function, Env)>,
    frames: Frames,
    /// The stack at each target that control has reached, by the target's number.
    states: Vec<State>,
    /// Targets that have been reached, but not followed yet.
    work: Vec<(usize, State)>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(mut code: Survey<'a>, entry: Entry) -> Result<Checker<'a>> {
        let mut envs = room::filled(None, code.entries.count()?)?;
        for (entry, env) in std::mem::take(&mut code.closures) {
            let known: &mut Option<Env> = &mut envs[code.entries.number(entry as usize)];
            *known = Some(known.map_or(env, |known| known.intersection(env)));
        }
        let mut checker = Checker {
            states: room::filled(UNSEEN, code.targets.count()?)?,
            code,
            entry,
            functions: room::with_capacity(1 + envs.len())?,
            frames: Frames::default(),
            work: Vec::new(),
        };
        let (arity, siblings) = match entry {
            Entry::Program => (0, None),
            Entry::Unit => (1, Some((0, 0))),
        };
        checker.enter(0, 0, arity, Env { vars: (0, 0), siblings })?;
        let entries = room::collect(checker.code.entries.iter().map(Ok))?;
        for (entry, env) in entries.into_iter().zip(envs) {
            if let Some(env) = env {
                checker.function(entry, env)?;
            }
        }
        Ok(checker)
    }

    /// Starts a function that a closure refers to: at its `GRAB`, or with one argument.
    fn function(&mut self, entry: usize, env: Env) -> Result<()> {
        let instr = self.code.instr(entry)?;
        let Some(restart) = restart_of(instr.op) else { return self.enter(entry, entry, 1, env) };
        let before = entry.checked_sub(1).filter(|before| self.code.starts.contains(*before));
        match before.map(|before| self.code.words[before]) {
            Some(word) if word == restart.word() => {}
            _ => return Err(Fault::NoRestart(restart).at(entry)),
        }
        let arity = instr.operands[0] as u64 + 1;
        self.enter(entry, instr.next(), arity, env)
    }

    fn enter(&mut self, entry: usize, first: usize, arity: u64, env: Env) -> Result<()> {
        let function = self.functions.len() as u32;
        room::push(&mut self.functions, (Function { entry, arity, max_height: arity }, env))?;
        self.arrive(entry, first, State { function, height: arity, frames: NONE })
    }

    /// Follows control to `target`; `from` is its origin, for errors.
    fn arrive(&mut self, from: usize, target: usize, state: State) -> Result<()> {
        if self.is_new(from, target, state)? {
            room::push(&mut self.work, (target, state))?;
        }
        Ok(())
    }

    /// Whether control reaches `target` for the first time; otherwise the stack must be the same as before. A
    /// position that is not a target is reached only from the preceding instruction, and so only once.
    #[inline(always)]
    fn is_new(&mut self, from: usize, target: usize, state: State) -> Result<bool> {
        match self.code.targets.contains(target) {
            true => self.is_new_target(target, state),
            false if target < self.code.words.len() => {
                debug_assert!(self.code.starts.contains(target));
                Ok(true)
            }
            false => Err(Fault::FallsOff.at(from)),
        }
    }

    fn is_new_target(&mut self, target: usize, state: State) -> Result<bool> {
        let place = &mut self.states[self.code.targets.number(target)];
        let known = *place;
        if known == UNSEEN || known == state {
            *place = state;
            return Ok(known == UNSEEN);
        }
        Err(if known.function != state.function {
            let entry = |state: State| self.functions[state.function as usize].0.entry * WORD;
            Fault::SharedCode { one: entry(known), other: entry(state) }.at(target)
        } else {
            Fault::Merge { one: known.height, other: state.height }.at(target)
        })
    }

    pub(super) fn run(mut self) -> Result<Verified> {
        while let Some((pos, state)) = self.work.pop() {
            let mut highest = 0;
            let followed = self.follow(pos, state, &mut highest);
            self.note_height(State { height: highest, ..state });
            followed?;
        }
        let functions = self.functions.into_iter().map(|(function, _)| Ok(function));
        Ok(Verified { functions: room::collect(functions)? })
    }

    /// Follows the code while control falls through to instructions that have not been visited.
    fn follow(&mut self, mut pos: usize, mut state: State, highest: &mut u64) -> Result<()> {
        let mut floor = self.frames.floor(state.frames);
        loop {
            let brief = Brief::of(self.code.words[pos]);
            let next = if let Some(height) = brief.height(state.height, floor) {
                state.height = height;
                *highest = height.max(*highest);
                pos + brief.size()
            } else {
                let instr = self.code.instr(pos)?;
                let Some(after) = self.step(&instr, state)? else { return Ok(()) };
                state = after;
                floor = self.frames.floor(state.frames);
                instr.next()
            };
            if !self.is_new(pos, next, state)? {
                return Ok(());
            }
            pos = next;
        }
    }

    /// The stack at the next instruction, if control falls through to it; other targets are recorded.
    fn step(&mut self, instr: &Instr<'_>, before: State) -> Result<Option<State>> {
        let (op, pos, facts) = (instr.op, instr.pos, self.code.accepted.facts(instr.op));
        let mut state = before;
        if facts.push_accu {
            state.height += 1;
        }
        self.check_access(instr, state)?;
        let targets = || instr.targets().map(|target| target as usize);
        match facts.flow {
            Flow::Next | Flow::Closure | Flow::ClosureRec => {
                return self.pop_and_push(instr, state).map(Some);
            }
            Flow::Jump | Flow::Switch => targets().try_for_each(|target| self.arrive(pos, target, state))?,
            Flow::Branch => {
                targets().try_for_each(|target| self.arrive(pos, target, state))?;
                return Ok(Some(state));
            }
            Flow::PushRetaddr => {
                let after =
                    targets().next().map(|target| self.push_frame(state, Kind::Return(target as u32)));
                return after.transpose();
            }
            Flow::PushTrap => {
                targets().try_for_each(|handler| self.arrive(pos, handler, state))?;
                return self.push_frame(state, Kind::Trap).map(Some);
            }
            Flow::PopTrap => match self.frames.top(state.frames) {
                Some(frame) if frame.kind == Kind::Trap && frame.end() == state.height => {
                    return Ok(Some(State { height: frame.base, frames: frame.below, ..state }));
                }
                _ => return Err(Fault::NoFrame { op, frame: "trap" }.at(pos)),
            },
            Flow::Apply => {
                let args = u64::from(facts.pops.of(instr.operands).unwrap_or(0));
                match self.frames.top(state.frames) {
                    Some(&frame) if frame.end() + args == state.height => match frame.kind {
                        Kind::Return(target) => {
                            let state = State { height: frame.base, frames: frame.below, ..state };
                            self.arrive(pos, target as usize, state)?;
                        }
                        Kind::Trap => return Err(Fault::NoFrame { op, frame: "return" }.at(pos)),
                    },
                    _ => return Err(Fault::NoFrame { op, frame: "return" }.at(pos)),
                }
            }
            Flow::TailCall { args, frame } => {
                let size = instr.operands[usize::from(frame)];
                let args = args.of(instr.operands).map_or(u64::MAX, u64::from);
                if args > state.height {
                    let available = state.height;
                    return Err(Fault::Underflow { op, count: args, available }.at(pos));
                }
                self.check_leaving(instr, size, state)?;
            }
            Flow::Return => self.check_leaving(instr, instr.operands[0], state)?,
            Flow::Raise => {}
            Flow::Stop => {
                if self.entry != Entry::Program || state.function != 0 {
                    let why = "only a program's main code may stop";
                    return Err(Fault::Misplaced { op, why }.at(pos));
                }
                if state.height != 0 {
                    let (height, frames) = (state.height, state.frames != NONE);
                    return Err(Fault::FrameSize { op, size: 0, height, frames }.at(pos));
                }
            }
            Flow::Grab => {
                let why = "it belongs at the entry of a function, where a closure points";
                return Err(Fault::Misplaced { op, why }.at(pos));
            }
            Flow::Restart => {
                let why = "only partial applications lead to it";
                return Err(Fault::Misplaced { op, why }.at(pos));
            }
            Flow::Stub => {
                let why = "it belongs in the stub";
                return Err(Fault::Misplaced { op, why }.at(pos));
            }
        }
        Ok(None)
    }

    fn check_access(&mut self, instr: &Instr<'_>, state: State) -> Result<()> {
        let (op, pos) = (instr.op, instr.pos);
        let (function, env) = &mut self.functions[state.function as usize];
        function.max_height = function.max_height.max(state.height);
        match instr.op.facts().access {
            Access::Nothing => Ok(()),
            Access::Stack(index) => {
                let index = i64::from(index.of(instr.operands));
                let word = u64::try_from(index).ok().and_then(|index| (state.height).checked_sub(index + 1));
                match word {
                    Some(word) if !self.frames.covers(state.frames, word) => Ok(()),
                    _ => Err(Fault::Stack { op, index, height: state.height }.at(pos)),
                }
            }
            Access::Env(index) => {
                let index = index.of(instr.operands);
                match u32::try_from(index) {
                    Ok(field) if env.vars.0 <= field && field < env.vars.1 => Ok(()),
                    _ => Err(Fault::Env { op, index }.at(pos)),
                }
            }
            Access::Sibling(words) => {
                let words = words.of(instr.operands);
                let steps = i64::from(words) / 3;
                match env.siblings {
                    Some((before, after))
                        if words % 3 == 0 && -i64::from(before) <= steps && steps <= after.into() =>
                    {
                        Ok(())
                    }
                    _ => Err(Fault::Env { op, index: words }.at(pos)),
                }
            }
        }
    }

    fn pop_and_push(&mut self, instr: &Instr<'_>, mut state: State) -> Result<State> {
        let facts = self.code.accepted.facts(instr.op);
        let (Some(pops), Some(pushes)) = (facts.pops.of(instr.operands), facts.pushes.of(instr.operands))
        else {
            let value = instr.operands.iter().copied().min().unwrap_or(0);
            return Err(Fault::Operand { op: instr.op, value }.at(instr.pos));
        };
        let count = u64::from(pops);
        let available = state.height - self.frames.floor(state.frames);
        if count > available {
            return Err(Fault::Underflow { op: instr.op, count, available }.at(instr.pos));
        }
        state.height = state.height - count + u64::from(pushes);
        self.note_height(state);
        Ok(state)
    }

    fn push_frame(&mut self, state: State, kind: Kind) -> Result<State> {
        let frames = self.frames.push(state.frames, kind, state.height)?;
        let state = State { height: self.frames.floor(frames), frames, ..state };
        self.note_height(state);
        Ok(state)
    }

    fn note_height(&mut self, state: State) {
        let (function, _) = &mut self.functions[state.function as usize];
        function.max_height = function.max_height.max(state.height);
    }

    /// Control leaves the function: the stack may hold only the frame, and the instruction must state its size.
    fn check_leaving(&self, instr: &Instr<'_>, size: i32, state: State) -> Result<()> {
        let op: Opcode = instr.op;
        if self.entry == Entry::Program && state.function == 0 {
            let why = "nothing called the main code of a program";
            return Err(Fault::Misplaced { op, why }.at(instr.pos));
        }
        let frames = state.frames != NONE;
        if frames || u64::try_from(size) != Ok(state.height) {
            return Err(Fault::FrameSize { op, size, height: state.height, frames }.at(instr.pos));
        }
        Ok(())
    }
}
