//! The machine's side of a debugger (`debugger.c`): where it stops, and what can be queried while it is stopped. An
//! implementation of [`Debugger`] communicates with the debugger itself.
//!
//! A debugger *covers* instructions: it replaces their cells by `EVENT` or `BREAK`, which stop the machine if they
//! should, and then continue with the original instruction. Instructions that raise are covered from the start, so that
//! the barrier for exceptions costs nothing without a debugger.
//!
//! Code is identified by fragments, numbered in the order in which they are loaded. The program is fragment 0.

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

/// In the code by which OCaml's runtime calls closures, the bytes before the return address.
const CALLBACK_RETURN: usize = 16;
/// Words of a return frame.
const FRAME: i64 = 3;

/// Why the machine has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The program is about to start.
    Start,
    /// The requested number of events has passed.
    Event,
    /// At a breakpoint.
    Breakpoint,
    /// The program exits.
    Exit,
    /// An exception is about to be handled beyond the barrier, or not at all.
    Trap,
    /// The program ends with an uncaught exception, which is in `accu`.
    Uncaught,
    /// Code is about to be loaded. Its debug events (`Instruct.debug_event list array`) are in this slot.
    DebugInfo(Slot),
    /// That code has been loaded, as the fragment with this number.
    Loaded(usize),
    /// The program has released the fragment with this number.
    Unloaded(usize),
}

/// A debugger of a program.
pub trait Debugger {
    /// The machine has stopped. It continues when this returns.
    ///
    /// # Errors
    /// An exception to raise instead, as a primitive would.
    fn stopped(&mut self, m: &mut Machine, stop: Stop) -> Result<(), Raise>;

    /// The process has forked. Returns whether this process, the child or the parent, continues under the debugger.
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

/// A position in code: a fragment's number and a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodePlace {
    /// The fragment.
    pub fragment: usize,
    /// The byte offset, four for each code word.
    pub byte: usize,
}

/// An instruction that is covered.
#[derive(Clone, Copy)]
struct Covered {
    /// The original content of its cell.
    cell: u64,
    /// The cover that the debugger set.
    wanted: Option<Cover>,
    /// Whether it raises.
    raises: bool,
}

/// A fragment of code.
struct Fragment {
    /// The unit. `None` for the code that calls closures from outside, and for freed units.
    unit: Option<UnitId>,
    /// Which of its words are instructions.
    starts: Box<[bool]>,
}

/// The machine's state when it runs under a debugger.
pub(crate) struct Debugging {
    /// `None` while the debugger is being called, and after it has left.
    debugger: Option<Box<dyn Debugger>>,
    covered: HashMap<(UnitId, usize), Covered>,
    /// The original content of the cell of the running instruction.
    original: u64,
    events: u64,
    /// An exception stops the machine if its trap frame's depth is at most this.
    barrier: usize,
    fragments: Vec<Fragment>,
    callbacks: Option<usize>,
    /// Units that have been freed but not yet processed.
    freed: Rc<RefCell<Vec<UnitId>>>,
    /// The words that the debugger has received since the machine stopped: it asks about no others.
    shown: HashSet<u64>,
}

impl Debugging {
    fn number(&self, unit: UnitId) -> Option<usize> {
        self.fragments.iter().position(|fragment| fragment.unit == Some(unit))
    }
}

impl Machine {
    // ---- attaching and detaching --------------------------------------------------------------------

    /// Attaches a debugger to the machine, which has no program yet.
    ///
    /// # Safety
    /// The debugger obeys the contract of [`Prim`](crate::Prim): it gets access to the machine while that is stopped.
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

    /// The process has forked, and this is the child or the parent (`caml_debugger_cleanup_fork`): the debugger follows
    /// one of them.
    pub fn debugger_after_fork(&mut self, child: bool) {
        if let Some(d) = &mut self.debugging {
            d.debugger = d.debugger.take().filter(|debugger| debugger.follows(child));
        }
    }

    /// Registers a unit for debugging.
    pub(crate) fn debug_unit(&mut self, unit: &Rc<Unit>) {
        let Some(d) = &mut self.debugging else { return };
        let mut starts = vec![false; unit.len()].into_boxed_slice();
        let cover = dispatch::cell(self.engine, Opcode::BREAK);
        // A machine with a debugger belongs to its host, which has enough memory.
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

    /// A closure is called from outside. The calling code becomes a fragment the first time.
    #[inline]
    pub(crate) fn debug_callback(&mut self) {
        if let Some(d) = &mut self.debugging
            && d.callbacks.is_none()
        {
            d.callbacks = Some(d.fragments.len());
            d.fragments.push(Fragment { unit: None, starts: Box::default() });
        }
    }

    /// The number of the fragment that is the unit with this code object.
    pub fn fragment_of(&self, object: Slot) -> Option<usize> {
        let unit = self.unit_of_object(self.val(object))?;
        self.debugging.as_ref()?.number(unit.id)
    }

    // ---- stopping ----------------------------------------------------------------------------------

    /// Stops for the debugger, if there is one.
    ///
    /// # Errors
    /// An exception that the debugger wants to be raised.
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

    /// Stops at the end of a program that ends with an uncaught exception.
    ///
    /// # Errors
    /// The errors of [`Machine::debug_stop`].
    pub fn debug_uncaught(&mut self, exn: Slot) -> Result<(), Raise> {
        let mark = self.mark();
        self.push_slot(exn);
        let outcome = self.debug_stop(Stop::Uncaught);
        self.release(mark);
        outcome
    }

    /// Forgets freed code, without telling the debugger: it may return to a time when the code existed, and would then
    /// need what it knew about it.
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

    /// Runs at a covered instruction; the saved `pc` is after its cell. Returns false when the debugger wants something
    /// raised.
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
        Err(Raise::Fatal("a covered instruction, but no debugger is attached".to_owned()))
    }

    /// Stops with a frame {accu, pc, env, extra_args} on the stack, where `pc` is that of the instruction itself.
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

    /// Runs when an exception is about to be raised.
    pub(crate) fn debug_trap(&mut self) -> Result<(), Raise> {
        match &self.debugging {
            Some(d) if self.roots.thread.trap_depth <= d.barrier => self.debug_stop(Stop::Trap),
            _ => Ok(()),
        }
    }

    /// The original content of the cell that [`Machine::debug_point`] has processed.
    pub(crate) fn covered_cell(&self) -> u64 {
        self.debugging.as_ref().map_or(0, |d| d.original)
    }

    // ---- queries and requests of a debugger ---------------------------------------------------------

    /// The number of events left until the machine stops.
    pub fn debug_events(&self) -> u64 {
        self.debugging.as_ref().map_or(0, |d| d.events)
    }

    /// Sets the number of events until the machine stops.
    pub fn set_debug_events(&mut self, events: u64) {
        if let Some(d) = &mut self.debugging {
            d.events = events;
        }
    }

    /// Makes exceptions stop the machine if the depth of their trap frame is at most `depth`.
    pub fn set_trap_barrier(&mut self, depth: usize) {
        if let Some(d) = &mut self.debugging {
            d.barrier = depth;
        }
    }

    /// Sets or removes the cover of the instruction at a place. Places without an instruction are ignored.
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

    /// The place in the code of the frame at a depth.
    pub fn frame_place(&self, frame: i64) -> Option<CodePlace> {
        self.place_of(self.word_at(frame)?)
    }

    /// The depth and place of the frame that called the one at this depth, which has `size` words.
    pub fn caller_frame(&self, frame: i64, size: i64) -> Option<(i64, CodePlace)> {
        let extra = self.word_at(frame.checked_sub(2)?)?.as_int();
        let caller = frame.checked_sub(extra)?.checked_sub(size)?.checked_sub(FRAME)?;
        Some((caller, self.frame_place(caller)?))
    }

    /// Word `i` after the frame at a depth.
    pub fn frame_local(&self, frame: i64, i: i64) -> Option<Val<'_>> {
        let depth = frame.checked_sub(FRAME)?.checked_sub(i)?;
        Some(self.as_val(self.word_at(depth)?))
    }

    /// Word `i` of the environment of the frame at a depth.
    pub fn frame_environment(&self, frame: i64, i: usize) -> Option<Val<'_>> {
        let env = self.word_at(frame.checked_sub(1)?)?;
        Some(self.as_val(closure_field::<Checked>(env, i).ok()?))
    }

    /// The value in `accu`.
    pub fn debug_accu(&self) -> Option<Val<'_>> {
        Some(self.as_val(self.word_at(self.roots.thread.stack.depth() as i64)?))
    }

    /// The place in the code to which a closure refers.
    pub fn closure_place(&self, closure: Slot) -> Option<CodePlace> {
        self.place_of(self.code_behind(self.raw(closure))?)
    }

    /// The code word of a closure; under the stub strategy, found through its code object.
    fn code_behind(&self, closure: Value) -> Option<Value> {
        let code = closure_code(closure).ok()?;
        if code != self.stub_code() {
            return Some(code);
        }
        Some(Regs::code_value(destination::<Checked>(closure).ok()?))
    }

    /// Shows a value to the debugger. Returns the word by which the debugger may refer to it until the machine
    /// continues.
    pub fn show_value(&mut self, v: Slot) -> u64 {
        let word = self.raw(v).bits();
        if let Some(d) = &mut self.debugging {
            d.shown.insert(word);
        }
        word
    }

    /// Pushes the value that a word stands for into a new slot, if it was shown to the debugger.
    pub fn shown_value(&mut self, word: u64) -> Option<Slot> {
        let known = self.debugging.as_ref()?.shown.contains(&word);
        // Nothing has been allocated since the value was shown.
        known.then(|| self.push_raw(Value::from_bits(word)))
    }
}
