//! The machine's side of a debugger (`debugger.c`): where it stops, and what may be asked while it is stopped. Talking to
//! the debugger is the business of whoever implements [`Debugger`].
//!
//! A debugger *covers* instructions: their cells hold `EVENT` or `BREAK` then, which stop or do not, and go on with the
//! instruction that was there. Those that raise are covered from the start, so that the barrier for exceptions costs
//! nothing where there is no debugger.
//!
//! Code is named by fragments, numbered as they come: the program is 0.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use spelter_bytecode::Opcode;
use spelter_heap::Val;
use spelter_heap::raw::Value;

use crate::Machine;
use crate::code::translate::Translator;
use crate::code::{Unit, UnitId};
use crate::exec::dispatch;
use crate::exec::handlers::dynlinked::destination;
use crate::exec::regs::{Checked, Regs, closure_code, closure_field};
use crate::prim::{Raise, Slot};

/// Bytes that the code which OCaml's runtime calls closures by has before the place where they return to.
const CALLBACK_RETURN: usize = 16;
/// Words of a return frame.
const FRAME: i64 = 3;

/// Why the machine has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The program is about to start.
    Start,
    /// The events counted have passed.
    Event,
    /// At a breakpoint.
    Breakpoint,
    /// The program exits.
    Exit,
    /// An exception is about to be handled behind the barrier, or not at all.
    Trap,
    /// The program ends by an exception, which is in `accu`.
    Uncaught,
    /// Code is about to be loaded whose debug events (`Instruct.debug_event list array`) are in this slot.
    DebugInfo(Slot),
    /// That code is there, as the fragment of this number.
    Loaded(usize),
    /// The program has given up the fragment of this number.
    Unloaded(usize),
}

/// Who debugs a program.
pub trait Debugger {
    /// The machine has stopped; it goes on when this returns.
    ///
    /// # Errors
    /// What is to be raised instead, as by a primitive.
    fn stopped(&mut self, m: &mut Machine, stop: Stop) -> Result<(), Raise>;

    /// The process has forked: whether this one, the child or its parent, goes on under the debugger.
    fn follows(&self, child: bool) -> bool;
}

/// What a debugger writes over an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cover {
    /// Counts down, and stops at 0.
    Event,
    /// Stops.
    Break,
}

/// A place in code: a fragment's number, and the byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodePlace {
    /// The fragment.
    pub fragment: usize,
    /// The byte, four for each word of code.
    pub byte: usize,
}

/// An instruction that is covered.
#[derive(Clone, Copy)]
struct Covered {
    /// What its cell held.
    cell: u64,
    /// What the debugger wants there.
    wanted: Option<Cover>,
    /// Whether it raises.
    raises: bool,
}

/// A fragment of code.
struct Fragment {
    /// The unit; none for what calls closures from outside.
    unit: Option<UnitId>,
    /// Which of its words are instructions.
    starts: Box<[bool]>,
}

/// What a machine under a debugger remembers.
pub(crate) struct Debugging {
    /// Not here while it is at work, nor when it has left.
    debugger: Option<Box<dyn Debugger>>,
    covered: HashMap<(UnitId, usize), Covered>,
    /// What the cell under the instruction that is running held.
    original: u64,
    events: u64,
    /// Traps that lie no deeper than this stop the machine when an exception leads there.
    barrier: usize,
    fragments: Vec<Fragment>,
    callbacks: Option<usize>,
    /// Units that have been freed, until that is seen.
    freed: Rc<RefCell<Vec<UnitId>>>,
    /// The words that the debugger has been given since the machine stopped: it asks about no others.
    shown: HashSet<u64>,
}

impl Debugging {
    fn number(&self, unit: UnitId) -> Option<usize> {
        self.fragments.iter().position(|fragment| fragment.unit == Some(unit))
    }
}

impl Machine {
    // ---- with and without --------------------------------------------------------------------------

    /// Puts the machine, which has no program yet, under a debugger.
    ///
    /// # Safety
    /// The debugger keeps the contract of [`Prim`](crate::Prim): it is given the machine where it has stopped.
    pub unsafe fn attach_debugger(&mut self, debugger: Box<dyn Debugger>) {
        self.translator = Rc::new(Translator::word_by_word(self.engine));
        self.debugging = Some(Box::new(Debugging {
            debugger: Some(debugger),
            covered: HashMap::new(),
            original: 0,
            events: 0,
            barrier: 0,
            fragments: Vec::new(),
            callbacks: None,
            freed: Rc::default(),
            shown: HashSet::new(),
        }));
    }

    /// Whether a debugger is attached.
    pub fn has_debugger(&self) -> bool {
        self.debugging.as_ref().is_some_and(|d| d.debugger.is_some())
    }

    /// The process has forked, and this is the child or its parent (`caml_debugger_cleanup_fork`): the debugger
    /// follows one of them.
    pub fn debugger_after_fork(&mut self, child: bool) {
        if let Some(d) = &mut self.debugging {
            d.debugger = d.debugger.take().filter(|debugger| debugger.follows(child));
        }
    }

    /// Lets the debugger know of a unit.
    pub(crate) fn debug_unit(&mut self, unit: &Rc<Unit>) {
        let Some(d) = &mut self.debugging else { return };
        let mut starts = vec![false; unit.len()].into_boxed_slice();
        let cover = dispatch::cell(self.engine, Opcode::BREAK);
        // A debugger's machine is its host's, which has memory.
        for instr in Unit::instructions(&unit.words().expect("memory for a copy of code"), unit.opcodes) {
            starts[instr.pos] = true;
            if matches!(instr.op, Opcode::RAISE | Opcode::RERAISE | Opcode::RAISE_NOTRACE) {
                let cell = unit.exchange(instr.pos, cover);
                d.covered.insert((unit.id, instr.pos), Covered { cell, wanted: None, raises: true });
            }
        }
        d.fragments.push(Fragment { unit: Some(unit.id), starts });
        if unit.is_loaded() {
            let (id, freed) = (unit.id, Rc::clone(&d.freed));
            unit.on_unload(move |_| freed.borrow_mut().push(id));
        }
    }

    /// A closure is called from outside, by code that is a fragment of its own from the first time on.
    #[inline]
    pub(crate) fn debug_callback(&mut self) {
        if let Some(d) = &mut self.debugging
            && d.callbacks.is_none()
        {
            d.callbacks = Some(d.fragments.len());
            d.fragments.push(Fragment { unit: None, starts: Box::default() });
        }
    }

    /// The number of the fragment that is the unit of this code object.
    pub fn fragment_of(&self, object: Slot) -> Option<usize> {
        let unit = self.unit_of_object(self.val(object))?;
        self.debugging.as_ref()?.number(unit.id)
    }

    // ---- stopping ----------------------------------------------------------------------------------

    /// Stops for the debugger, if there is one.
    ///
    /// # Errors
    /// What the debugger wants raised.
    pub fn debug_stop(&mut self, stop: Stop) -> Result<(), Raise> {
        let Some(mut debugger) = self.debugging.as_mut().and_then(|d| d.debugger.take()) else {
            return Ok(());
        };
        let outcome = debugger.stopped(self, stop);
        if let Some(d) = &mut self.debugging {
            d.debugger = Some(debugger);
            d.shown.clear();
        }
        outcome
    }

    /// Stops at the end of a program that an exception leaves.
    ///
    /// # Errors
    /// As [`Machine::debug_stop`].
    pub fn debug_uncaught(&mut self, exn: Slot) -> Result<(), Raise> {
        let mark = self.mark();
        self.push_slot(exn);
        let outcome = self.debug_stop(Stop::Uncaught);
        self.release(mark);
        outcome
    }

    /// Forgets the code that has been freed. The debugger is not told: it may go back to a time when there was some, and
    /// would miss what it knew.
    fn debug_freed(&mut self) {
        let Some(d) = &mut self.debugging else { return };
        let freed = std::mem::take(&mut *d.freed.borrow_mut());
        for id in freed {
            d.covered.retain(|(unit, _), _| *unit != id);
            if let Some(number) = d.number(id) {
                d.fragments[number] = Fragment { unit: None, starts: Box::default() };
            }
        }
    }

    /// At a covered instruction, behind whose cell the saved `pc` stands. False when the debugger wants something raised.
    #[cold]
    #[inline(never)]
    pub(crate) fn debug_point(&mut self) -> bool {
        match self.stop_at_point() {
            Ok(()) => true,
            Err(raise) => {
                self.leave_exn(raise);
                false
            }
        }
    }

    fn stop_at_point(&mut self) -> Result<(), Raise> {
        self.debug_freed();
        let at = self.roots.thread.pc as usize - size_of::<u64>();
        let found = self.registry.borrow().find(at).map(|unit| (unit.id, unit.position(at)));
        let (Some(d), Some(key)) = (&mut self.debugging, found) else { return self.not_covered() };
        let Some(covered) = d.covered.get(&key).copied() else { return self.not_covered() };
        d.original = covered.cell;
        let stop = match covered.wanted {
            Some(Cover::Event) => {
                d.events = d.events.wrapping_sub(1);
                (d.events == 0).then_some(Stop::Event)
            }
            Some(Cover::Break) => Some(Stop::Breakpoint),
            None => None,
        };
        if let Some(stop) = stop {
            self.stop_in_frame(at, stop)?;
        }
        if covered.raises { self.debug_trap() } else { Ok(()) }
    }

    fn not_covered(&self) -> Result<(), Raise> {
        Err(Raise::Fatal("an instruction of a debugger's, but there is none".to_owned()))
    }

    /// With a frame {accu, pc, env, extra_args} on the stack, `pc` being that of the instruction itself.
    fn stop_in_frame(&mut self, at: usize, stop: Stop) -> Result<(), Raise> {
        let mark = self.mark();
        let pc = Regs::code_value(at as *const u64);
        for v in
            [Value::int(self.roots.thread.extra as i64), self.roots.thread.env, pc, self.roots.thread.accu]
        {
            self.push_raw(v);
        }
        let outcome = self.debug_stop(stop);
        self.release(mark);
        outcome
    }

    /// An exception is about to be raised.
    pub(crate) fn debug_trap(&mut self) -> Result<(), Raise> {
        match &self.debugging {
            Some(d) if self.roots.thread.trap_depth <= d.barrier => self.debug_stop(Stop::Trap),
            _ => Ok(()),
        }
    }

    /// What the cell that [`Machine::debug_point`] has looked at held.
    pub(crate) fn covered_cell(&self) -> u64 {
        self.debugging.as_ref().map_or(0, |d| d.original)
    }

    // ---- what a debugger asks for ------------------------------------------------------------------

    /// How many more events are to pass.
    pub fn debug_events(&self) -> u64 {
        self.debugging.as_ref().map_or(0, |d| d.events)
    }

    /// Lets so many more events pass.
    pub fn set_debug_events(&mut self, events: u64) {
        if let Some(d) = &mut self.debugging {
            d.events = events;
        }
    }

    /// Makes exceptions stop the machine that are handled at this depth of the stack or above.
    pub fn set_trap_barrier(&mut self, depth: usize) {
        if let Some(d) = &mut self.debugging {
            d.barrier = depth;
        }
    }

    /// Covers the instruction at a place, or uncovers it. Places where no instruction is are passed over.
    pub fn cover(&mut self, place: CodePlace, wanted: Option<Cover>) {
        let Some(d) = &mut self.debugging else { return };
        let Some(fragment) = d.fragments.get(place.fragment) else { return };
        let position = place.byte / 4;
        let (Some(id), Some(true)) = (fragment.unit, fragment.starts.get(position)) else { return };
        let registry = self.registry.borrow();
        let Some(unit) = registry.get(id).filter(|unit| !unit.is_revoked()) else { return };
        let key = (id, position);
        let before = d.covered.get(&key).copied();
        let now = match before {
            Some(covered) => Covered { wanted, ..covered },
            None => Covered { cell: unit.cell(position), wanted, raises: false },
        };
        let cell = match (wanted, now.raises) {
            (None, false) => now.cell,
            (Some(Cover::Event), _) => dispatch::cell(self.engine, Opcode::EVENT),
            _ => dispatch::cell(self.engine, Opcode::BREAK),
        };
        unit.exchange(position, cell);
        if wanted.is_none() && !now.raises {
            d.covered.remove(&key);
        } else {
            d.covered.insert(key, now);
        }
    }

    /// The depth of the frame of the instruction at which the machine has stopped.
    pub fn debug_frame(&self) -> i64 {
        self.roots.thread.stack.depth() as i64 - 1
    }

    /// The word of the stack at a depth.
    fn word_at(&self, depth: i64) -> Option<Value> {
        let words = self.roots.thread.stack.words();
        let i = words.len().checked_sub(usize::try_from(depth).ok().filter(|depth| *depth > 0)?)?;
        words.get(i).copied()
    }

    fn place_of(&self, code: Value) -> Option<CodePlace> {
        let d = self.debugging.as_ref()?;
        if code == self.stop_code() {
            return Some(CodePlace { fragment: d.callbacks?, byte: CALLBACK_RETURN });
        }
        let address = Regs::is_code_value(code).then(|| Regs::code_address(code) as usize)?;
        let registry = self.registry.borrow();
        let unit = registry.find(address)?;
        Some(CodePlace { fragment: d.number(unit.id)?, byte: 4 * unit.position(address) })
    }

    /// Where the frame at a depth is in the code.
    pub fn frame_place(&self, frame: i64) -> Option<CodePlace> {
        self.place_of(self.word_at(frame)?)
    }

    /// The frame that called the one at this depth, which has `size` words: its depth and place.
    pub fn caller_frame(&self, frame: i64, size: i64) -> Option<(i64, CodePlace)> {
        let extra = self.word_at(frame.checked_sub(2)?)?.as_int();
        let caller = frame.checked_sub(extra)?.checked_sub(size)?.checked_sub(FRAME)?;
        Some((caller, self.frame_place(caller)?))
    }

    /// The word `i` behind the frame at a depth.
    pub fn frame_local(&self, frame: i64, i: i64) -> Option<Val<'_>> {
        let depth = frame.checked_sub(FRAME)?.checked_sub(i)?;
        Some(self.as_val(self.word_at(depth)?))
    }

    /// Word `i` of the environment of the frame at a depth.
    pub fn frame_environment(&self, frame: i64, i: usize) -> Option<Val<'_>> {
        let env = self.word_at(frame.checked_sub(1)?)?;
        Some(self.as_val(closure_field::<Checked>(env, i).ok()?))
    }

    /// What `accu` holds.
    pub fn debug_accu(&self) -> Option<Val<'_>> {
        Some(self.as_val(self.word_at(self.roots.thread.stack.depth() as i64)?))
    }

    /// The place of a closure's code.
    pub fn closure_place(&self, closure: Slot) -> Option<CodePlace> {
        self.place_of(self.code_behind(self.raw(closure))?)
    }

    /// The code that a closure leads to, under the stub strategy through its object.
    fn code_behind(&self, closure: Value) -> Option<Value> {
        let code = closure_code(closure).ok()?;
        if code != self.stub_code() {
            return Some(code);
        }
        Some(Regs::code_value(destination::<Checked>(closure).ok()?))
    }

    /// Shows a value to the debugger: the word by which it may ask about it until the machine goes on.
    pub fn show_value(&mut self, v: Slot) -> u64 {
        let word = self.raw(v).bits();
        if let Some(d) = &mut self.debugging {
            d.shown.insert(word);
        }
        word
    }

    /// The value that a word stands for which the debugger has been given, in a new slot.
    pub fn shown_value(&mut self, word: u64) -> Option<Slot> {
        let known = self.debugging.as_ref()?.shown.contains(&word);
        // Nothing has been allocated since it was shown.
        known.then(|| self.push_raw(Value::from_bits(word)))
    }
}
