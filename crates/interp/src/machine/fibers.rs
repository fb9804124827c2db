//! Fibers: the stacks on which effects are handled (`runtime/fiber.c`).
//!
//! A fiber is an external block that owns a stack, its three handlers and a reference to its parent, the fiber to which
//! it returns. While it runs, its stack is the thread's ([`ThreadState::stack`]). A thread's first stack becomes a fiber,
//! too, when it first runs another one. Programs hold fibers only in continuations (blocks with tag
//! [`tag::CONT`]: the fiber that performed, and the last fiber of its chain of parents) and, between two instructions, as
//! the operands of `RESUME`. So a fiber lives as long as something can still resume it or return to it, and is freed with
//! its block like every other value.
//!
//! ```text
//! at the base of each fiber   trap frame, whose handler is FIBER_RAISE;  return frame to FIBER_RETURN
//! on top, new                 x  (free words for the argument)
//! on top, after PERFORM       trap  pc  env  extra_args
//! on top, running a child     trap  extra_args  …frame to which the child's handlers return
//! ```
//!
//! The word `trap` is there as in OCaml's layout; the depth of the innermost trap frame is in the fiber itself.
//!
//! The chain of parents is a list: a fiber has at most one child. [`Machine::resume_fiber`] and [`Machine::reperform`] attach
//! chains only at their ends, and a fiber resumes only while it is suspended. Everything else that a program may try with
//! its continuations is refused.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::rc::Rc;

use spelter_heap::raw::{CustomOps, Phase, Value, Visitor, tag};
use spelter_heap::{Charge, OutOfMemory};

use crate::code::Registry;
use crate::code::point::CodePoint;
use crate::exec::dispatch::Grade;
use crate::exec::regs::Regs;
use crate::layout::{Item, Items, RETURN_FRAME, TRAP_FRAME};
use crate::machine::stack::Stack;
use crate::prim::{Raise, Slot};
use crate::threads::state::ThreadState;
use crate::{Machine, fallible};

static FIBER: CustomOps = CustomOps::new("_fiber", &()).traced();

/// Initial size of a fiber's stack in words (`caml_fiber_wsz`).
const INITIAL_WORDS: usize = 64;
/// The number of unused stacks that are kept.
const SPARE_STACKS: usize = 64;

/// What a fiber can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Begin with a function.
    New,
    /// Continue after its `PERFORM`.
    Performed,
    /// Go on when its child ends or performs.
    Parent,
    /// Nothing but run, which it does.
    Running,
    /// Nothing any more.
    Ended,
}

/// A fiber.
pub(crate) struct Fiber {
    /// Its number, in the order of creation.
    number: u64,
    state: State,
    /// Its stack, unless it is running or has ended.
    stack: Stack,
    /// Depth of its innermost trap frame, unless it is running.
    trap_depth: usize,
    /// [`ThreadState::base_depth`], unless it is running.
    base_depth: usize,
    /// The functions for its result, an exception and an effect.
    handlers: [Value; 3],
    /// The fiber to which it returns, or `()`.
    parent: Value,
    /// Whether it is in [`Fibers::written`].
    written: bool,
    /// Counts its stack towards the heap's limit; none for a thread's first stack.
    charge: Option<Charge>,
    alive: Rc<Cell<usize>>,
}

impl Drop for Fiber {
    fn drop(&mut self) {
        self.alive.update(|n| n - 1);
    }
}

/// A fiber as the data of its block.
struct Owned(UnsafeCell<Fiber>);

/// What all fibers of a machine share.
#[derive(Default)]
pub(crate) struct Fibers {
    /// The fibers that ran or were changed since the last minor collection: nothing else remembers young values in old
    /// ones. Has room for all fibers.
    written: Vec<Value>,
    /// The number of fibers.
    alive: Rc<Cell<usize>>,
    /// The number of the next fiber; 0 is that of the first thread's first stack.
    next: u64,
    /// Stacks of fibers that have ended.
    spare: Vec<Stack>,
}

impl Fibers {
    /// Shows the values of old fibers that may be young, at the start of a minor collection. At the start of marking there
    /// are none: the nursery is empty.
    pub(super) fn settle(&mut self, visitor: &mut Visitor<'_>) {
        for block in self.written.drain(..) {
            // A young fiber that survives is traced when it is promoted.
            if !visitor.is_young(block) {
                // SAFETY: an old fiber: it was alive when it was written, and no marking has begun since.
                let fiber = unsafe { fiber_mut(block) };
                match visitor.phase() {
                    Phase::Minor => fiber.show(visitor),
                    _ => fiber.written = false,
                }
            }
        }
    }

    /// Redirects its own references after a compaction.
    pub(super) fn update(&mut self, visitor: &mut Visitor<'_>) {
        visitor.slice(&mut self.written);
    }

    fn note(&mut self, block: Value, fiber: &mut Fiber) {
        if !std::mem::replace(&mut fiber.written, true) {
            debug_assert!(self.written.len() < self.written.capacity(), "there is room for all fibers");
            self.written.push(block);
        }
    }
}

impl Fiber {
    /// Its stack, top first; nothing while it is running.
    pub(crate) fn words(&mut self) -> &mut [Value] {
        self.stack.live()
    }

    /// Shows all values that it holds.
    pub(super) fn show(&mut self, visitor: &mut Visitor<'_>) {
        if visitor.phase() == Phase::Minor {
            self.written = false;
        }
        visitor.slice(self.stack.live());
        visitor.slice(&mut self.handlers);
        visitor.value(&mut self.parent);
    }
}

/// The fiber that is the data of a traced block.
pub(super) fn of_data(data: &mut dyn Any) -> Option<&mut Fiber> {
    Some(data.downcast_mut::<Owned>()?.0.get_mut())
}

/// Whether a value is a fiber.
#[inline(always)]
fn is_fiber(v: Value) -> bool {
    // SAFETY: a valid value; a custom block has its operations in word 0.
    v.is_block() && unsafe { v.tag() == tag::CUSTOM && v.word(0) == FIBER.word() }
}

/// # Safety
/// `block` is a fiber, and no other reference to it is in use for `'a`.
#[inline(always)]
unsafe fn fiber_mut<'a>(block: Value) -> &'a mut Fiber {
    debug_assert!(is_fiber(block));
    // SAFETY: the caller guarantees it.
    unsafe { &mut *block.external_of_type::<Owned>().0.get() }
}

/// The stacks of a fiber and its parents, each with the depth of its innermost trap frame. The value may be `()`; while
/// the result is in use, nothing changes or moves.
fn chain<'a>(fiber: Value) -> impl Iterator<Item = (&'a [Value], usize)> {
    let mut next = fiber;
    std::iter::from_fn(move || {
        // SAFETY: fibers and their parents are fibers; callers borrow the machine or its roots meanwhile.
        let fiber: &Fiber = if is_fiber(next) { unsafe { fiber_mut(next) } } else { return None };
        next = fiber.parent;
        Some((fiber.stack.words(), fiber.trap_depth))
    })
}

/// The code points on stacks, innermost first: return addresses, and in some versions those of exception handlers other
/// than a stack's innermost one.
fn points<'a>(
    stacks: impl Iterator<Item = (&'a [Value], usize)>,
    registry: &Registry,
    max: usize,
) -> Result<Vec<CodePoint>, OutOfMemory> {
    let addresses = stacks.flat_map(|(words, trap)| {
        let mut outer = false;
        Items::new(words, trap, registry).filter_map(move |(_, item)| match item {
            Item::Frame { pc, .. } => Some(pc),
            Item::Trap { handler, .. } => {
                (std::mem::replace(&mut outer, true) && registry.callstacks_list_handlers).then_some(handler)
            }
            Item::Word(_) => None,
        })
    });
    let frames = addresses.filter_map(|pc| registry.find(pc).map(|unit| CodePoint::new(unit, pc)));
    fallible::collect(frames.take(max))
}

impl ThreadState {
    /// The code points on its running fiber and that one's parents, innermost first.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub(crate) fn callstack(&self, registry: &Registry, max: usize) -> Result<Vec<CodePoint>, OutOfMemory> {
        // The running fiber's own stack is the thread's, and empty in the fiber.
        let running = [(self.stack.words(), self.trap_depth)].into_iter();
        points(running.chain(chain(self.fiber)), registry, max)
    }
}

/// What an instruction of effects could not do.
#[derive(Debug, PartialEq)]
pub(crate) enum Refused {
    /// An OCaml exception, recorded as for [`Machine::leave_exn`].
    Raised,
    /// The operand is not what the compiler passes there.
    Operand,
}

impl From<Raise> for Refused {
    fn from(_: Raise) -> Refused {
        Refused::Raised
    }
}

impl Machine {
    /// A new fiber with these handlers for its result, an exception and an effect (`caml_alloc_stack`).
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new_fiber(&mut self, handlers: [Slot; 3]) -> crate::Res<'_> {
        let mut stack = match self.roots.fibers.spare.pop() {
            Some(mut stack) => {
                stack.adopt_limits(&self.roots.thread.stack)?;
                stack
            }
            None => self.roots.thread.stack.sibling(INITIAL_WORDS)?,
        };
        // SAFETY: registers are saved while a primitive runs.
        let charge = unsafe { self.heap.charge(&mut self.roots, stack.bytes())? };
        let [raise, end] = [self.fiber_raise_code(), self.fiber_return_code()];
        let frames: [Value; TRAP_FRAME + RETURN_FRAME + 1] = [
            Value::UNIT, // for the argument
            end,
            Value::UNIT,
            Value::int(0),
            raise,
            Value::int(0),
            Value::UNIT,
            Value::int(0),
        ];
        for v in frames.into_iter().rev() {
            stack.try_push_temp(v)?;
        }
        let mut fiber = self.fiber(State::New, stack, Some(charge));
        fiber.trap_depth = TRAP_FRAME;
        let block = self.own_fiber(fiber)?;
        let handlers = handlers.map(|s| self.raw(s));
        // SAFETY: just made; a new block is in the nursery, or noted.
        let fiber = unsafe { fiber_mut(block) };
        fiber.handlers = handlers;
        self.roots.fibers.note(block, fiber);
        Ok(self.as_val(block))
    }

    fn fiber(&mut self, state: State, stack: Stack, charge: Option<Charge>) -> Fiber {
        let fibers = &mut self.roots.fibers;
        fibers.alive.update(|n| n + 1);
        // The first thread's first stack has the number 0, and becomes a fiber when it first runs another one.
        fibers.next += 1;
        Fiber {
            number: fibers.next,
            state,
            stack,
            trap_depth: 0,
            base_depth: 0,
            handlers: [Value::UNIT; 3],
            parent: Value::UNIT,
            written: false,
            charge,
            alive: Rc::clone(&fibers.alive),
        }
    }

    /// Puts a fiber into a block. May collect.
    fn own_fiber(&mut self, fiber: Fiber) -> Result<Value, Raise> {
        let fibers = &mut self.roots.fibers;
        let missing = fibers.alive.get().saturating_sub(fibers.written.len());
        fibers.written.try_reserve(missing)?;
        let data = Box::new(Owned(UnsafeCell::new(fiber)));
        // SAFETY: registers are saved.
        let block = unsafe { self.heap.alloc_external(&mut self.roots, &FIBER, data, 0) };
        self.resume_heap_panic();
        Ok(block?)
    }

    /// Makes the thread's first stack a fiber, with the registers saved.
    pub(crate) fn begin_fibers(&mut self) -> Result<(), Refused> {
        let mut fiber = self.fiber(State::Running, Stack::absent(), None);
        fiber.number = 0;
        match self.own_fiber(fiber) {
            Ok(block) => {
                self.roots.thread.fiber = block;
                Ok(())
            }
            Err(raise) => {
                self.leave_exn(raise);
                Err(Refused::Raised)
            }
        }
    }

    /// Whether the thread's first stack is a fiber.
    #[inline(always)]
    pub(crate) fn has_fibers(&self) -> bool {
        self.roots.thread.fiber != Value::UNIT
    }

    /// Whether an effect could reach a handler.
    #[inline(always)]
    pub(crate) fn has_parent(&self) -> bool {
        // SAFETY: the running fiber, if there is one.
        self.has_fibers() && unsafe { fiber_mut(self.roots.thread.fiber).parent } != Value::UNIT
    }

    /// The parent of the running fiber, from which it is cut off.
    fn leave_parent(&mut self) -> Value {
        let own = self.roots.thread.fiber;
        // SAFETY: the running fiber.
        unsafe {
            self.heap.before_traced_change(&mut self.roots, own);
            std::mem::replace(&mut fiber_mut(own).parent, Value::UNIT)
        }
    }

    /// Suspends the running fiber as `state`, and runs `to`.
    fn switch(&mut self, state: State, to: Value) {
        let from = self.roots.thread.fiber;
        // SAFETY: `to` is a fiber that is suspended, and no reference to it is in use.
        unsafe { self.heap.before_traced_change(&mut self.roots, to) };
        // SAFETY: two different fibers: one is running, the other is not.
        let (old, new) = unsafe { (fiber_mut(from), fiber_mut(to)) };
        let t = &mut self.roots.thread;
        std::mem::swap(&mut t.stack, &mut old.stack);
        std::mem::swap(&mut t.stack, &mut new.stack);
        (old.trap_depth, old.base_depth) = (t.trap_depth, t.base_depth);
        (t.trap_depth, t.base_depth) = (new.trap_depth, new.base_depth);
        (old.state, new.state) = (state, State::Running);
        t.fiber = to;
        self.roots.fibers.note(from, old);
        // Limits may have changed while it was suspended. Without memory for more room, the next function entry asks again.
        let _ = self.roots.thread.stack.adopt_limits(&old.stack);
    }

    /// Top words of the running stack, below those that `skip` counts.
    fn top(&mut self, skip: usize) -> &mut Value {
        &mut self.roots.thread.stack.live()[skip]
    }

    fn push_words<const N: usize>(&mut self, words: [Value; N]) {
        for v in words {
            self.push_raw(v);
        }
    }

    /// Captures the running fiber in the continuation `cont`, a new block, and calls its parent's handler of effects:
    /// `PERFORM`, with the registers saved. Accu is the effect.
    pub(crate) fn perform(&mut self, cont: Value) {
        let t = &self.roots.thread;
        let (eff, fiber) = (t.accu, t.fiber);
        let frame =
            [Value::int(t.extra as i64), t.env, Regs::code_value(t.pc), Value::int(t.trap_depth as i64)];
        self.push_words(frame);
        self.give_up(State::Performed, [eff, cont, fiber]);
    }

    /// Suspends the running fiber for good, as the last one of a chain that a continuation holds, and calls the handler
    /// of effects in its parent.
    fn give_up(&mut self, state: State, args: [Value; 3]) {
        let parent = self.leave_parent();
        // SAFETY: the running fiber.
        let handler = unsafe { fiber_mut(self.roots.thread.fiber).handlers[2] };
        self.switch(state, parent);
        let extra = self.top(1).as_int() as usize;
        let [eff, cont, last] = args;
        self.push_raw(eff);
        (*self.top(1), *self.top(2)) = (cont, last);
        self.call_handler(handler, extra + 2);
    }

    /// Sets the registers for a call of a handler, whose arguments are on the stack.
    fn call_handler(&mut self, handler: Value, extra: usize) {
        let t = &mut self.roots.thread;
        (t.accu, t.env, t.extra) = (handler, handler, extra);
    }

    /// Resumes the chain from `fiber` to `last`, whose parent becomes the running fiber, with the registers saved and the
    /// running fiber's frame complete. It continues with `x`, in the function that the caller then enters.
    pub(crate) fn resume_fiber(&mut self, fiber: Value, last: Value, x: Value) -> Result<(), Refused> {
        if fiber == Value::int(0) {
            return Err(self.already_resumed());
        }
        if !is_fiber(fiber) {
            return Err(Refused::Operand);
        }
        let last = match last == Value::UNIT {
            true => self.last_of(fiber),
            false if is_fiber(last) => last,
            false => return Err(Refused::Operand),
        };
        if self.engine.grade() == Grade::Checked && self.last_of(fiber) != last {
            return Err(Refused::Operand);
        }
        // SAFETY: fibers, one at a time.
        unsafe {
            let ready = matches!(fiber_mut(fiber).state, State::New | State::Performed);
            if !ready || fiber_mut(last).parent != Value::UNIT || fiber_mut(last).state == State::Running {
                return Err(Refused::Operand);
            }
            let end = fiber_mut(last);
            end.parent = self.roots.thread.fiber;
            self.roots.fibers.note(last, end);
        }
        self.switch(State::Parent, fiber);
        *self.top(0) = x;
        Ok(())
    }

    /// The last fiber of a chain.
    fn last_of(&self, fiber: Value) -> Value {
        let mut last = fiber;
        loop {
            // SAFETY: fibers and their parents are fibers.
            match unsafe { fiber_mut(last).parent } {
                Value::UNIT => return last,
                parent => last = parent,
            }
        }
    }

    /// Hands the effect in `args` (effect, continuation, last fiber) on to the parent of the running fiber, which has one:
    /// `REPERFORMTERM`, with the registers saved and the running fiber's frame complete.
    pub(crate) fn reperform(&mut self, [eff, cont, last]: [Value; 3]) -> Result<(), Refused> {
        let own = self.roots.thread.fiber;
        let first = self.continuation_fiber(cont).ok_or(Refused::Operand)?;
        if !is_fiber(first) || !is_fiber(last) {
            return Err(Refused::Operand);
        }
        if self.engine.grade() == Grade::Checked && self.last_of(first) != last {
            return Err(Refused::Operand);
        }
        // SAFETY: fibers, one at a time; a continuation has the fields that were just read.
        unsafe {
            if fiber_mut(last).parent != Value::UNIT || fiber_mut(last).state == State::Running {
                return Err(Refused::Operand);
            }
            let end = fiber_mut(last);
            end.parent = own;
            self.roots.fibers.note(last, end);
            if cont.wosize() > 1 {
                self.heap.modify(cont, 1, own);
            }
        }
        self.give_up(State::Parent, [eff, cont, own]);
        Ok(())
    }

    /// Ends the running fiber, whose stack holds nothing but its trap frame at most, and calls its handler number
    /// `handler` in its parent with accu, with the registers saved.
    pub(crate) fn end_fiber(&mut self, handler: usize) -> Result<(), Refused> {
        if !self.has_parent() {
            return Err(Refused::Operand);
        }
        let result = self.roots.thread.accu;
        let own = self.roots.thread.fiber;
        let parent = self.leave_parent();
        // SAFETY: the running fiber.
        let handlers = unsafe { &mut fiber_mut(own).handlers };
        let handler = std::mem::replace(handlers, [Value::UNIT; 3])[handler];
        self.switch(State::Ended, parent);
        // SAFETY: it is not running any more.
        self.recycle(unsafe { fiber_mut(own) });
        let extra = self.top(1).as_int() as usize;
        let depth = self.mark();
        self.release(depth - 1);
        *self.top(0) = result;
        self.call_handler(handler, extra);
        Ok(())
    }

    /// Keeps the stack of an ended fiber for another one.
    fn recycle(&mut self, fiber: &mut Fiber) {
        let mut stack = std::mem::replace(&mut fiber.stack, Stack::absent());
        fiber.charge = None;
        let spare = &mut self.roots.fibers.spare;
        if spare.len() < SPARE_STACKS && stack.is_small(INITIAL_WORDS) && spare.try_reserve(1).is_ok() {
            stack.release(0);
            spare.push(stack);
        }
    }

    /// The exception for an effect without a handler, recorded to be raised; `eff` is on the stack as a slot.
    ///
    /// # Errors
    /// When the program does not know the exception, because it does not link `Effect`: it ends.
    pub(crate) fn unhandled(&mut self, eff: Value) -> Result<Value, Refused> {
        let mark = self.mark();
        let eff = self.push_raw(eff);
        let made = match self.named_value("Effect.Unhandled") {
            Some(id) => self.new_block(0, &[id, eff]).map(|v| v.raw()),
            None => Err(Raise::Exit(2)),
        };
        self.release(mark);
        made.map_err(|raise| {
            if raise == Raise::Exit(2) {
                self.complain("Fatal error: exception Effect.Unhandled");
            }
            self.leave_exn(raise);
            Refused::Raised
        })
    }

    /// Records the exception for a continuation that was resumed before.
    fn already_resumed(&mut self) -> Refused {
        let raise = self.continuation_already_resumed();
        self.leave_exn(raise);
        Refused::Raised
    }

    /// The exception for a continuation that was resumed before (`caml_raise_continuation_already_resumed`).
    pub fn continuation_already_resumed(&mut self) -> Raise {
        let mark = self.mark();
        match self.named_value("Effect.Continuation_already_resumed") {
            Some(exn) => {
                self.roots.thread.exn = self.raw(exn);
                self.release(mark);
                Raise::Exn
            }
            None => {
                self.complain("Fatal error: exception Effect.Continuation_already_resumed");
                Raise::Exit(2)
            }
        }
    }

    fn complain(&self, message: &str) {
        use std::io::Write;
        // Errors of stderr cannot be reported.
        let _ = writeln!(std::io::stderr(), "{message}");
    }

    // ---- continuations -----------------------------------------------------------------------------

    /// What field 0 of a continuation holds: a fiber, or 0 once it has been taken.
    fn continuation_fiber(&self, cont: Value) -> Option<Value> {
        // SAFETY: a valid value; a block of this tag has fields that are values.
        unsafe { (cont.is_block() && cont.tag() == tag::CONT && cont.wosize() > 0).then(|| cont.field(0)) }
    }

    /// Takes the fiber out of a continuation: `None` if it has been taken before (`caml_continuation_use_noexc`).
    ///
    /// # Errors
    /// When it is not a continuation.
    pub fn take_continuation(&mut self, cont: Slot) -> Result<Option<crate::Val<'_>>, Raise> {
        let fiber = self.take_fiber(self.raw(cont)).ok_or_else(|| Raise::invalid("not a continuation"))?;
        Ok((fiber != Value::int(0)).then(|| self.as_val(fiber)))
    }

    /// Takes the content of field 0 out of a continuation, which then holds 0. `None` if it is not one.
    pub(crate) fn take_fiber(&mut self, cont: Value) -> Option<Value> {
        let fiber = self.continuation_fiber(cont)?;
        // SAFETY: it has a field 0.
        unsafe { self.heap.modify(cont, 0, Value::int(0)) };
        Some(fiber)
    }

    /// Replaces the handlers of the last fiber of the chain that begins with the fiber in `fiber`.
    ///
    /// # Errors
    /// When it is not a fiber.
    pub fn set_handlers(&mut self, fiber: Slot, handlers: [Slot; 3]) -> Result<(), Raise> {
        let first = self.raw(fiber);
        if !is_fiber(first) {
            return Err(Raise::invalid("not a fiber"));
        }
        let last = self.last_of(first);
        let handlers = handlers.map(|s| self.raw(s));
        // SAFETY: a fiber.
        unsafe {
            self.heap.before_traced_change(&mut self.roots, last);
            let fiber = fiber_mut(last);
            fiber.handlers = handlers;
            self.roots.fibers.note(last, fiber);
        }
        Ok(())
    }

    /// Ends a fiber that will not be resumed, and its parents (`caml_drop_continuation`).
    pub fn drop_fiber(&mut self, fiber: Slot) {
        let mut next = self.raw(fiber);
        while is_fiber(next) {
            // SAFETY: a fiber that is not running.
            let fiber = unsafe { fiber_mut(next) };
            if !matches!(fiber.state, State::New | State::Performed | State::Parent) {
                return;
            }
            // SAFETY: as above.
            unsafe { self.heap.before_traced_change(&mut self.roots, next) };
            fiber.state = State::Ended;
            fiber.handlers = [Value::UNIT; 3];
            next = std::mem::replace(&mut fiber.parent, Value::UNIT);
            self.recycle(fiber);
        }
    }

    /// The words of a fiber's stack, the depth of its innermost trap frame, its handlers and its parent. `None` for a
    /// block that is no fiber.
    pub(crate) fn fiber_parts(&self, block: Value) -> Option<(&[Value], usize, [Value; 3], Value)> {
        if !is_fiber(block) {
            return None;
        }
        // SAFETY: a fiber; the machine is borrowed.
        let fiber: &Fiber = unsafe { fiber_mut(block) };
        Some((fiber.stack.words(), fiber.trap_depth, fiber.handlers, fiber.parent))
    }

    /// The number of fibers that exist.
    pub fn fiber_count(&self) -> usize {
        self.roots.fibers.alive.get()
    }

    /// The code points in a continuation's fibers, innermost first, at most `max`
    /// (`caml_get_continuation_callstack`). `None` if it has been taken.
    ///
    /// # Errors
    /// When it is not a continuation, or there is not enough memory.
    pub fn continuation_callstack(&self, cont: Slot, max: usize) -> Result<Option<Vec<CodePoint>>, Raise> {
        let fiber = self.continuation_fiber(self.raw(cont));
        let fiber = fiber.ok_or_else(|| Raise::invalid("not a continuation"))?;
        if fiber.is_int() {
            return Ok(None);
        }
        Ok(Some(points(chain(fiber), &self.registry.borrow(), max)?))
    }

    // ---- activations -------------------------------------------------------------------------------

    /// Cuts the running fiber from its parent while a callback runs: its effects do not cross a primitive.
    pub(crate) fn cut_parent(&mut self) -> Value {
        match self.has_fibers() {
            // It stays a root: the caller pushes it.
            true => self.leave_parent(),
            false => Value::UNIT,
        }
    }

    /// Ends the cut.
    pub(crate) fn join_parent(&mut self, parent: Value) {
        if self.has_fibers() {
            let own = self.roots.thread.fiber;
            // SAFETY: the running fiber.
            let fiber = unsafe { fiber_mut(own) };
            fiber.parent = parent;
            self.roots.fibers.note(own, fiber);
        }
    }

    /// The number of the running fiber; 0 for a thread's first stack.
    pub(crate) fn fiber_number(&self) -> u64 {
        match self.has_fibers() {
            // SAFETY: the running fiber.
            true => unsafe { fiber_mut(self.roots.thread.fiber).number },
            false => 0,
        }
    }

    /// Ends the fibers that were running above the one with this number, when an activation is left for good.
    pub(crate) fn leave_fibers(&mut self, number: u64) {
        while self.fiber_number() != number && self.has_parent() {
            let own = self.roots.thread.fiber;
            let parent = self.leave_parent();
            // SAFETY: the running fiber.
            unsafe { fiber_mut(own).handlers = [Value::UNIT; 3] };
            self.switch(State::Ended, parent);
            // SAFETY: it is not running any more.
            self.recycle(unsafe { fiber_mut(own) });
        }
    }

    /// Counts the running fiber's stack towards the heap's limit, after it has grown.
    pub(crate) fn charge_growth(&mut self) -> Result<(), Raise> {
        if !self.has_fibers() {
            return Ok(());
        }
        let bytes = self.roots.thread.stack.bytes();
        // SAFETY: the running fiber.
        let charged = unsafe { fiber_mut(self.roots.thread.fiber).charge.as_ref().map(Charge::bytes) };
        if charged.is_none_or(|charged| charged >= bytes) {
            return Ok(());
        }
        // SAFETY: registers are saved. A collection may move the fiber's block, but not the fiber.
        let charge = unsafe { self.heap.charge(&mut self.roots, bytes)? };
        // SAFETY: the running fiber.
        unsafe { fiber_mut(self.roots.thread.fiber).charge = Some(charge) };
        Ok(())
    }
}
