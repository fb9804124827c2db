//! The machine's side of a debugger (`debugger.c`): where it stops, and what can be queried while it is stopped. An
//! implementation of [`Debugger`] communicates with the debugger itself.
//!
//! A debugger *covers* instructions: it replaces their cells by `EVENT` or `BREAK`, which stop the machine if they
//! should, and then continue with the original instruction. Instructions that raise or perform are covered from the
//! start, so that the barrier costs nothing without a debugger.
//!
//! Code is identified by fragments, numbered in the order in which they are loaded. In some versions the runtime's own
//! code has numbers before the program's.
//!
//! Frames are identified by the number of fibers below their own, and by the words between them and the base of that
//! fiber's stack. In versions without fibers, the first number is always 0.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use spelter_bytecode::Opcode;
use spelter_heap::Val;
use spelter_heap::raw::Value;

use crate::code::translate::Translator;
use crate::code::{Unit, UnitId};
use crate::exec::dispatch;
use crate::exec::handlers::dynlinked::destination;
use crate::exec::regs::{Checked, Regs, closure_code, closure_field};
use crate::layout::RETURN_FRAME;
use crate::machine::fibers::BASE_WORDS;
use crate::prim::{Raise, Slot};
use crate::{Behaviour, Machine};

/// Words above the frame to which a fiber's handlers return, while it runs a child.
const SUSPENDED_PARENT: usize = 2;

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
    /// An exception is about to be handled beyond the barrier, or not at all. Or an effect is about to leave the barrier's
    /// fiber.
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

/// A frame: that of the running function, of one that waits for a result, or of a primitive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The number of fibers below its own.
    pub block: i64,
    /// The words from its first one to the base of its fiber's stack.
    pub offset: i64,
}

impl Frame {
    /// The position some words further down in the same stack.
    fn below(self, words: i64) -> Option<Frame> {
        Some(Frame { offset: self.offset.checked_sub(words)?, ..self })
    }
}

/// Where an exception or an effect stops the machine.
#[derive(Clone, Copy)]
struct Barrier {
    /// The number of the fiber.
    fiber: u64,
    /// The position of a frame in its stack. Exceptions stop if their trap frame is not above it.
    offset: i64,
}

/// An instruction that may pass the barrier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Passing {
    Raise,
    Perform,
    Reperform,
}

impl Passing {
    fn of(op: Opcode, performs: bool) -> Option<Passing> {
        match op {
            Opcode::RAISE | Opcode::RERAISE | Opcode::RAISE_NOTRACE => Some(Passing::Raise),
            Opcode::PERFORM if performs => Some(Passing::Perform),
            Opcode::REPERFORMTERM if performs => Some(Passing::Reperform),
            _ => None,
        }
    }
}

/// An instruction that is covered.
#[derive(Clone, Copy)]
struct Covered {
    /// The original content of its cell.
    cell: u64,
    /// The cover that the debugger set.
    wanted: Option<Cover>,
    /// How it may pass the barrier.
    passing: Option<Passing>,
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
    barrier: Option<Barrier>,
    fragments: Vec<Fragment>,
    callbacks: Option<usize>,
    /// Units that have been freed but not yet processed.
    freed: Arc<Mutex<Vec<UnitId>>>,
    /// The words that the debugger has received since the machine stopped: it asks about no others.
    shown: HashSet<u64>,
}

impl Debugging {
    /// The program is about to be registered.
    fn begin(&mut self, behaviour: &Behaviour) {
        let own = |_| Fragment { unit: None, starts: Box::default() };
        self.fragments.extend((0..behaviour.program_fragment).map(own));
        // The code that calls closures is the last of the runtime's own.
        self.callbacks = behaviour.program_fragment.checked_sub(1);
        // Without fibers, exceptions that nothing handles stop even when no debugger has set the barrier.
        self.barrier = (!behaviour.debugs_fibers).then_some(Barrier { fiber: 0, offset: 0 });
    }

    fn number(&self, unit: UnitId) -> Option<usize> {
        self.fragments.iter().position(|fragment| fragment.unit == Some(unit))
    }
}

/// Words at the base of a fiber's stack that are not the program's.
fn base_words(fiber: u64) -> usize {
    if fiber == 0 { 0 } else { BASE_WORDS }
}

/// The position of a word in a fiber's stack, from its depth.
fn offset(fiber: u64, depth: usize) -> i64 {
    depth as i64 - base_words(fiber) as i64
}

impl Machine {
    // ---- attaching and detaching --------------------------------------------------------------------

    /// Attaches a debugger to the machine, which has no program yet.
    ///
    /// # Safety
    /// The debugger obeys the contract of [`Prim`](crate::Prim): it gets access to the machine while that is stopped.
    pub unsafe fn attach_debugger(&mut self, debugger: Box<dyn Debugger>) {
        self.translator = OnceCell::from(Box::new(Translator::word_by_word(self.engine)));
        self.debugging = Some(Box::new(Debugging {
            debugger: Some(debugger),
            covered: HashMap::new(),
            original: 0,
            events: 0,
            barrier: None,
            fragments: Vec::new(),
            callbacks: None,
            freed: Arc::default(),
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
        let behaviour = self.behaviour();
        let Some(d) = &mut self.debugging else { return };
        if d.fragments.is_empty() {
            d.begin(behaviour);
        }
        let mut starts = vec![false; unit.len()].into_boxed_slice();
        let cover = dispatch::cell(self.engine, Opcode::BREAK);
        // A machine with a debugger belongs to its host, which has enough memory.
        for instr in Unit::instructions(&unit.words().expect("memory for a copy of code"), unit.opcodes) {
            starts[instr.pos] = true;
            let passing = Passing::of(instr.op, behaviour.debugs_fibers);
            if passing.is_some() {
                let cell = unit.exchange(instr.pos, cover);
                d.covered.insert((unit.id, instr.pos), Covered { cell, wanted: None, passing });
            }
        }
        d.fragments.push(Fragment { unit: Some(unit.id), starts });
        if unit.is_loaded() {
            let (id, freed) = (unit.id, Arc::clone(&d.freed));
            unit.on_unload(move |_| freed.lock().unwrap_or_else(PoisonError::into_inner).push(id));
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
        let freed = std::mem::take(&mut *d.freed.lock().unwrap_or_else(PoisonError::into_inner));
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
        match covered.passing {
            None => Ok(()),
            Some(Passing::Raise) => self.debug_trap(),
            Some(passing) => {
                self.debug_effect()?;
                // Without a handler, an effect becomes an exception here; one that is performed again, in its performer.
                let unhandled = passing == Passing::Perform && self.parent().is_none();
                if unhandled { self.debug_trap() } else { Ok(()) }
            }
        }
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
        match self.barrier() {
            Some(b) if b.fiber == self.fiber_number() && self.handler_offset() <= b.offset => {
                self.debug_stop(Stop::Trap)
            }
            _ => Ok(()),
        }
    }

    /// Runs when an effect is about to leave the running fiber.
    fn debug_effect(&mut self) -> Result<(), Raise> {
        let Some(b) = self.barrier() else { return Ok(()) };
        let passes = b.fiber == self.fiber_number()
            || self.running_chain().nth(1).is_some_and(|(number, words)| {
                number == b.fiber && offset(number, words.len().saturating_sub(SUSPENDED_PARENT)) == b.offset
            });
        if passes { self.debug_stop(Stop::Trap) } else { Ok(()) }
    }

    fn barrier(&self) -> Option<Barrier> {
        self.debugging.as_ref()?.barrier
    }

    /// The position of the innermost trap frame of the running fiber.
    fn handler_offset(&self) -> i64 {
        let t = &self.roots.thread;
        if self.behaviour().debugs_fibers && t.trap_depth <= t.base_depth {
            // None belongs to this activation.
            return i64::MIN;
        }
        offset(self.fiber_number(), t.trap_depth)
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

    /// Makes exceptions stop the machine if their trap frame is not above this frame, and effects if they leave its fiber.
    /// No fiber has a negative number.
    pub fn set_trap_barrier(&mut self, at: Frame) {
        let fiber = self.stack_of(at).map(|(number, _)| number);
        if let Some(d) = &mut self.debugging {
            d.barrier = fiber.map(|fiber| Barrier { fiber, offset: at.offset });
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
            None => Covered { cell: unit.cell(position), wanted, passing: None },
        };
        let cell = match (wanted, now.passing) {
            (None, None) => now.cell,
            (Some(Cover::Event), _) => dispatch::cell(self.engine, Opcode::EVENT),
            _ => dispatch::cell(self.engine, Opcode::BREAK),
        };
        unit.exchange(position, cell);
        if wanted.is_none() && now.passing.is_none() {
            d.covered.remove(&key);
        } else {
            d.covered.insert(key, now);
        }
    }

    /// The frame of the instruction at which the machine has stopped.
    pub fn debug_frame(&self) -> Frame {
        let block = self.running_chain().count() as i64 - 1;
        let depth = self.roots.thread.stack.depth();
        Frame { block, offset: offset(self.fiber_number(), depth) - 1 }
    }

    /// The number of the fiber on which a frame is, and its stack.
    fn stack_of(&self, frame: Frame) -> Option<(u64, &[Value])> {
        let above = (self.running_chain().count() as i64 - 1).checked_sub(frame.block)?;
        let above = usize::try_from(above).ok().filter(|_| frame.block >= 0)?;
        self.running_chain().nth(above)
    }

    /// The word at a position.
    fn word_at(&self, frame: Frame) -> Option<Value> {
        let (number, words) = self.stack_of(frame)?;
        let from_end = usize::try_from(frame.offset).ok().filter(|offset| *offset > 0)?;
        words.get(words.len().checked_sub(from_end + base_words(number))?).copied()
    }

    fn place_of(&self, code: Value) -> Option<CodePlace> {
        let d = self.debugging.as_ref()?;
        if code == self.stop_code() {
            return Some(CodePlace { fragment: d.callbacks?, byte: self.behaviour().callback_return });
        }
        let address = Regs::is_code_value(code).then(|| Regs::code_address(code) as usize)?;
        let registry = self.registry.borrow();
        let unit = registry.find(address)?;
        Some(CodePlace { fragment: d.number(unit.id)?, byte: 4 * unit.position(address) })
    }

    /// The place in the code of a frame.
    pub fn frame_place(&self, frame: Frame) -> Option<CodePlace> {
        self.place_of(self.word_at(frame)?)
    }

    /// The frame of the function that called the one of this frame, which has `size` words, or of the one to which the
    /// handlers of its fiber return; and its place in the code.
    pub fn caller_frame(&self, frame: Frame, size: i64) -> Option<(Frame, CodePlace)> {
        let extra = self.word_at(frame.below(2)?)?.as_int();
        let mut caller = frame.below(extra)?.below(size)?.below(RETURN_FRAME as i64)?;
        if caller.offset <= 0 {
            caller.block -= 1;
            let (number, words) = self.stack_of(caller)?;
            caller.offset = offset(number, words.len().checked_sub(SUSPENDED_PARENT)?);
        }
        Some((caller, self.frame_place(caller)?))
    }

    /// Word `i` after a frame.
    pub fn frame_local(&self, frame: Frame, i: i64) -> Option<Val<'_>> {
        let local = frame.below(RETURN_FRAME as i64)?.below(i)?;
        Some(self.as_val(self.word_at(local)?))
    }

    /// Word `i` of the environment of a frame.
    pub fn frame_environment(&self, frame: Frame, i: usize) -> Option<Val<'_>> {
        let env = self.word_at(frame.below(1)?)?;
        Some(self.as_val(closure_field::<Checked>(env, i).ok()?))
    }

    /// The value in `accu`.
    pub fn debug_accu(&self) -> Option<Val<'_>> {
        let frame = self.debug_frame();
        Some(self.as_val(self.word_at(frame.below(-1)?)?))
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
