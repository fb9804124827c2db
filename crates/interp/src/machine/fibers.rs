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
//! The chain of parents is a list: a fiber has at most one child. [`Machine::attach`] and
//! [`Machine::append_running`] extend chains only at their ends, and only chains that begin with a suspended fiber: these
//! are not part of what is running. Everything else that a program may try with
//! its continuations is refused.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::rc::Rc;

use spelter_heap::raw::{CustomOps, Phase, Value, Visitor, tag};
use spelter_heap::{Charge, OutOfMemory};

use crate::code::Registry;
use crate::code::point::CodePoint;
use crate::exec::dispatch::Grade;
use crate::exec::regs::{Trust, Trusted};
use crate::layout::{Item, Items, RETURN_FRAME, TRAP_FRAME};
use crate::machine::stack::Stack;
use crate::prim::{Raise, Slot};
use crate::threads::state::ThreadState;
use crate::{Machine, fallible};

static FIBER: CustomOps = CustomOps::new(c"_fiber", &()).traced();

/// Initial size of a fiber's stack in words (`caml_fiber_wsz`).
const INITIAL_WORDS: usize = 64;
/// Words that a switch and a call may push in the handlers of effects.
const QUICK_ROOM: usize = 8;
/// Words at the base of a fiber's stack, below those of its function.
pub(crate) const BASE_WORDS: usize = TRAP_FRAME + RETURN_FRAME;
/// How many sizes of stacks are told apart.
const SIZES: usize = 32;
/// Of how many sizes OCaml keeps stacks of ended fibers (`NUM_STACK_SIZE_CLASSES`), and how many of each
/// (`cache_stacks_per_class`).
const KEPT_SIZES: usize = 5;
const MOST_IDLE: usize = 128;
/// The number of unused stacks that are kept.
const SPARE_STACKS: usize = 64;

/// What a fiber can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Begin with a function.
    New,
    /// Continue after its `PERFORM`.
    Performed,
    /// Go on when its child ends or performs.
    Parent,
    /// Go on when the host resumes its call.
    Paused,
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
    /// The last marking that has seen its values, by [`Fibers::marking`].
    marked: u64,
    /// Counts its stack towards the heap's limit; none for a thread's first stack.
    charge: Option<Charge>,
    counts: Rc<Counts>,
}

impl Drop for Fiber {
    fn drop(&mut self) {
        self.counts.alive.update(|n| n - 1);
        if let Some(charge) = &self.charge {
            self.counts.release(size_class(charge.bytes()), false);
        }
    }
}

/// How many fibers there are, and what OCaml would have allocated for them.
#[derive(Default)]
struct Counts {
    /// All of them.
    alive: Cell<usize>,
    /// The stacks of those that have not ended, without threads' first ones, by size: each size is twice the one before.
    stacks: [Cell<usize>; SIZES],
    /// The stacks that are kept for new ones, by size.
    idle: [Cell<usize>; KEPT_SIZES],
}

impl Counts {
    /// A stack of this size is used.
    fn occupy(&self, class: usize) {
        self.stacks[class].update(|n| n + 1);
        if let Some(idle) = self.idle.get(class) {
            idle.update(|n| n.saturating_sub(1));
        }
    }

    /// A stack of this size is not used any more. It may be kept.
    fn release(&self, class: usize, kept: bool) {
        self.stacks[class].update(|n| n.saturating_sub(1));
        if kept && let Some(idle) = self.idle.get(class) {
            idle.update(|n| (n + 1).min(MOST_IDLE));
        }
    }
}

/// The size of a fiber's stack: how often it has been doubled.
fn size_class(bytes: usize) -> usize {
    let words = Stack::words_of(bytes) / INITIAL_WORDS;
    (words.max(1).ilog2() as usize).min(SIZES - 1)
}

/// A fiber as the data of its block.
struct Owned(UnsafeCell<Fiber>);

/// What all fibers of a machine share.
#[derive(Default)]
pub(crate) struct Fibers {
    /// The fibers that ran or were changed since the last minor collection: nothing else remembers young values in old
    /// ones. Has room for all fibers.
    written: Vec<Value>,
    counts: Rc<Counts>,
    /// The number of the next fiber; 0 is that of the first thread's first stack.
    next: u64,
    /// The number of markings that have begun.
    marking: u64,
    /// Stacks of fibers that have ended.
    spare: Vec<Stack>,
}

impl Fibers {
    /// Shows the values of old fibers that may be young, at the start of a minor collection. At the start of marking there
    /// are none: the nursery is empty.
    pub(super) fn settle(&mut self, visitor: &mut Visitor<'_>) {
        self.marking += u64::from(visitor.phase() == Phase::Mark);
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

    /// Whether the marking under way has seen a fiber's values: it was running then, or they have been shown.
    fn has_marked(&self, fiber: &Fiber) -> bool {
        fiber.marked == self.marking
    }

    /// Shows a fiber's values, unless the marking under way has seen them.
    pub(super) fn show(&mut self, fiber: &mut Fiber, visitor: &mut Visitor<'_>) {
        match visitor.phase() {
            Phase::Mark if self.has_marked(fiber) => return,
            Phase::Mark => fiber.marked = self.marking,
            _ => {}
        }
        fiber.show(visitor);
    }

    /// The bytes of a thread's first stack, which no charge counts, as it was not made for a fiber.
    pub(crate) fn uncharged_bytes(&self, thread: &ThreadState) -> usize {
        match thread.first_fiber {
            first if first == thread.fiber => thread.stack.bytes(),
            // SAFETY: a fiber, which the thread keeps.
            first => unsafe { fiber_mut(first) }.stack.bytes(),
        }
    }

    /// The bytes of the stacks that are kept for later fibers.
    pub(crate) fn spare_bytes(&self) -> usize {
        self.spare.iter().map(Stack::bytes).sum()
    }

    #[inline(always)]
    fn note(&mut self, block: Value, fiber: &mut Fiber) {
        if !std::mem::replace(&mut fiber.written, true) {
            let len = self.written.len();
            // A call of `Vec::push` would cost the handlers a stack frame.
            // SAFETY: `own_fiber` made room for all fibers, and each is in the list once.
            unsafe {
                debug_assert!(len < self.written.capacity());
                self.written.as_mut_ptr().add(len).write(block);
                self.written.set_len(len + 1);
            }
        }
    }
}

impl Fiber {
    /// Whether it begins a chain that nothing runs.
    #[inline(always)]
    fn is_suspended(&self) -> bool {
        matches!(self.state, State::New | State::Performed)
    }

    /// Whether it is the last fiber of a chain that nothing runs.
    #[inline(always)]
    fn is_loose_end(&self) -> bool {
        self.parent == Value::UNIT && !matches!(self.state, State::Running | State::Paused | State::Ended)
    }

    /// Its stack, top first; nothing while it is running.
    pub(crate) fn words(&mut self) -> &mut [Value] {
        self.stack.live()
    }

    /// Shows all values that it holds.
    fn show(&mut self, visitor: &mut Visitor<'_>) {
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

/// A fiber and its parents. The value may be `()`; while the result is in use, nothing changes or moves.
fn ancestry<'a>(fiber: Value) -> impl Iterator<Item = &'a Fiber> {
    let mut next = fiber;
    std::iter::from_fn(move || {
        // SAFETY: fibers and their parents are fibers; callers borrow the machine or its roots meanwhile.
        let fiber: &Fiber = if is_fiber(next) { unsafe { fiber_mut(next) } } else { return None };
        next = fiber.parent;
        Some(fiber)
    })
}

/// The stacks of a fiber and its parents, each with the depth of its innermost trap frame.
fn chain<'a>(fiber: Value) -> impl Iterator<Item = (&'a [Value], usize)> {
    ancestry(fiber).map(|fiber| (fiber.stack.words(), fiber.trap_depth))
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
    /// Makes each function entry reserve room for frames of `words`: see [`Stack::reserve_frames`].
    pub(crate) fn reserve_frames(&mut self, words: usize) -> Result<(), Raise> {
        self.stack.reserve_frames(words)?;
        if self.fiber != Value::UNIT {
            // What the running fiber gets for its stack when it is suspended.
            // SAFETY: the thread's running fiber.
            unsafe { fiber_mut(self.fiber) }.stack.adopt_slack(&self.stack);
        }
        Ok(())
    }

    /// The code points on its running fiber and that one's parents, innermost first.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub(crate) fn callstack(&self, registry: &Registry, max: usize) -> Result<Vec<CodePoint>, OutOfMemory> {
        // The running fiber's own stack is the thread's, and empty in the fiber.
        let running = [(self.stack.words(), self.trap_depth)].into_iter();
        points(running.chain(chain(self.fiber)), registry, max)
    }

    /// Words in use on the running fiber, and on the thread's first stack, which may be the same.
    pub(crate) fn stack_depths(&self) -> (usize, usize) {
        // The running fiber's own stack is the thread's.
        let running = self.stack.depth();
        match ancestry(self.fiber).skip(1).last() {
            Some(first) => (running.saturating_sub(BASE_WORDS), first.stack.depth()),
            None => (running, running),
        }
    }
}

impl Machine {
    /// A new fiber with these handlers for its result, an exception and an effect (`caml_alloc_stack`).
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new_fiber(&mut self, handlers: [Slot; 3]) -> crate::Res<'_> {
        let (mut stack, charge) = self.fiber_stack()?;
        let [raise, end] = [self.fiber_raise_code(), self.fiber_return_code()];
        let frames: [Value; BASE_WORDS + 1] = [
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
        fiber.counts.occupy(0);
        fiber.trap_depth = TRAP_FRAME;
        let block = self.own_fiber(fiber)?;
        let handlers = handlers.map(|s| self.raw(s));
        // SAFETY: just made; a new block is in the nursery, or noted.
        let fiber = unsafe { fiber_mut(block) };
        fiber.handlers = handlers;
        self.roots.fibers.note(block, fiber);
        Ok(self.as_val(block))
    }

    /// An empty stack for a fiber, and what it is charged. May collect.
    fn fiber_stack(&mut self) -> Result<(Stack, Charge), Raise> {
        let stack = match self.roots.fibers.spare.pop() {
            Some(mut stack) => {
                stack.adopt_slack(&self.roots.thread.stack);
                stack
            }
            None => self.roots.thread.stack.sibling(INITIAL_WORDS + BASE_WORDS)?,
        };
        // SAFETY: registers are saved while a primitive runs.
        let charge = unsafe { self.heap.charge(&mut self.roots, stack.bytes())? };
        Ok((stack, charge))
    }

    fn fiber(&mut self, state: State, stack: Stack, charge: Option<Charge>) -> Fiber {
        let fibers = &mut self.roots.fibers;
        fibers.counts.alive.update(|n| n + 1);
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
            marked: 0,
            charge,
            counts: Rc::clone(&fibers.counts),
        }
    }

    /// Puts a fiber into a block. May collect.
    fn own_fiber(&mut self, fiber: Fiber) -> Result<Value, Raise> {
        let fibers = &mut self.roots.fibers;
        let missing = fibers.counts.alive.get().saturating_sub(fibers.written.len());
        fibers.written.try_reserve(missing)?;
        let data = Box::new(Owned(UnsafeCell::new(fiber)));
        // SAFETY: registers are saved.
        let block = unsafe { self.heap.alloc_external(&mut self.roots, &FIBER, data, 0) };
        self.resume_heap_panic();
        Ok(block?)
    }

    /// Makes the thread's first stack a fiber, with the registers saved. Returns false when there is no memory; the
    /// exception is then recorded.
    pub(crate) fn begin_fibers(&mut self) -> bool {
        self.make_first_fiber().map_err(|raise| self.leave_exn(raise)).is_ok()
    }

    fn make_first_fiber(&mut self) -> Result<(), Raise> {
        let mut fiber = self.fiber(State::Running, self.roots.thread.stack.without_words(), None);
        fiber.number = 0;
        let block = self.own_fiber(fiber)?;
        let t = &mut self.roots.thread;
        (t.fiber, t.first_fiber) = (block, block);
        Ok(())
    }

    /// Whether the thread's first stack is a fiber.
    #[inline(always)]
    pub(crate) fn has_fibers(&self) -> bool {
        self.roots.thread.fiber != Value::UNIT
    }

    /// Lets marking see a fiber's values before they change.
    #[inline(always)]
    fn before_change(&mut self, block: Value) {
        // SAFETY: a fiber, to which no reference is in use.
        unsafe {
            if self.heap.is_marking() && !self.roots.fibers.has_marked(fiber_mut(block)) {
                self.heap.before_traced_change(&mut self.roots, block);
            }
        }
    }

    /// The parent of the running fiber, if it has one.
    #[inline(always)]
    pub(crate) fn parent(&self) -> Option<Value> {
        if !self.has_fibers() {
            return None;
        }
        // SAFETY: the running fiber.
        let parent = unsafe { fiber_mut(self.roots.thread.fiber).parent };
        (parent != Value::UNIT).then_some(parent)
    }

    /// Handler number `i` of the running fiber.
    #[inline(always)]
    pub(crate) fn handler(&self, i: usize) -> Value {
        // SAFETY: the running fiber; callers know that there is one.
        unsafe { fiber_mut(self.roots.thread.fiber).handlers[i] }
    }

    /// Whether a switch to this fiber needs no call, unless an action is due: nothing is to be traced, and there is room
    /// for a function's entry.
    #[inline(always)]
    pub(crate) fn can_switch_quickly(&self, to: Value) -> bool {
        // SAFETY: fibers.
        let (to, own) = unsafe { (fiber_mut(to), fiber_mut(self.roots.thread.fiber)) };
        let fibers = &self.roots.fibers;
        let seen = !self.heap.is_marking() || fibers.has_marked(to) && fibers.has_marked(own);
        let to = &to.stack;
        seen && to.has_slack_of(&self.roots.thread.stack) && to.sp.wrapping_sub(QUICK_ROOM) >= to.threshold
    }

    /// Makes function entries find the same room in a suspended fiber as in the running one: code with larger frames may
    /// have been loaded since it was suspended.
    pub(crate) fn prepare_switch(&mut self, to: Value) {
        // SAFETY: a fiber that is not running.
        let stack = unsafe { &mut fiber_mut(to).stack };
        if !stack.has_slack_of(&self.roots.thread.stack) {
            stack.adopt_slack(&self.roots.thread.stack);
        }
    }

    /// Suspends the running fiber as `state`, with its top at `sp`, and runs `to`, for which the switch is prepared. Returns
    /// the top of its stack. The registers that are saved are unchanged. If `to` is its parent, it is cut off from it.
    ///
    /// The quick form does not let marking see the fibers: [`Machine::can_switch_quickly`] says that it has.
    #[inline(always)]
    fn switch<T: Trust>(&mut self, state: State, sp: *mut Value, to: Value, is_parent: bool) -> *mut Value {
        let from = self.roots.thread.fiber;
        if !T::QUICK {
            self.roots.thread.stack.sp = sp;
            if is_parent {
                self.before_change(from);
            }
            self.before_change(to);
        }
        // SAFETY: two different fibers: one is running, the other is not.
        let (old, new) = unsafe { (fiber_mut(from), fiber_mut(to)) };
        let t = &mut self.roots.thread;
        t.fiber = to;
        if is_parent {
            old.parent = Value::UNIT;
        }
        let sp = t.stack.replace_words(&mut old.stack, sp, &mut new.stack);
        old.trap_depth = std::mem::replace(&mut t.trap_depth, new.trap_depth);
        old.base_depth = std::mem::replace(&mut t.base_depth, new.base_depth);
        (old.state, new.state) = (state, State::Running);
        self.roots.fibers.note(from, old);
        sp
    }

    /// Suspends the running fiber as `state`, with its top at `sp`, and runs its parent, for which the switch is prepared.
    /// Returns the top of its stack.
    #[inline(always)]
    pub(crate) fn switch_to_parent<T: Trust>(&mut self, state: State, sp: *mut Value) -> *mut Value {
        // SAFETY: the running fiber.
        let parent = unsafe { fiber_mut(self.roots.thread.fiber).parent };
        self.switch::<T>(state, sp, parent, true)
    }

    /// Resumes the chain from `fiber` to `last`, which [`Machine::resumable`] has tested. The running fiber, with its top at
    /// `sp`, becomes its parent. Returns the top of the stack of `fiber`.
    #[inline(always)]
    pub(crate) fn attach<T: Trust>(&mut self, fiber: Value, last: Value, sp: *mut Value) -> *mut Value {
        self.append_running(last);
        self.switch::<T>(State::Parent, sp, fiber, false)
    }

    /// The last fiber of the chain that begins with `fiber`, if the chain can be resumed; `last` is what the code says that
    /// it is, or `()`.
    #[inline(always)]
    pub(crate) fn resumable<T: Trust>(&self, fiber: Value, last: Value) -> Option<Value> {
        if !is_fiber(fiber) {
            return None;
        }
        // SAFETY: a fiber.
        let first = unsafe { fiber_mut(fiber) };
        if !first.is_suspended() {
            return None;
        }
        if last == fiber && first.parent == Value::UNIT {
            return Some(fiber);
        }
        if !T::QUICK {
            return self.resumable_chain(fiber, last);
        }
        // Trusted code states the last fiber. SAFETY: a fiber.
        let ends = !T::CHECKED && is_fiber(last) && unsafe { fiber_mut(last) }.is_loose_end();
        ends.then_some(last)
    }

    /// The same for a longer chain.
    #[cold]
    #[inline(never)]
    fn resumable_chain(&self, fiber: Value, last: Value) -> Option<Value> {
        let checks = last == Value::UNIT || self.engine.grade() == Grade::Checked;
        let end = if checks { self.last_of(fiber) } else { last };
        let stated = last == Value::UNIT || last == end;
        // SAFETY: a fiber.
        let ends = is_fiber(end) && unsafe { fiber_mut(end) }.is_loose_end();
        (stated && ends).then_some(end)
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

    /// Whether `last` is the last fiber of the chain that the continuation `cont` holds, so that the running fiber can be
    /// appended.
    #[inline(always)]
    pub(crate) fn can_append<T: Trust>(&self, cont: Value, last: Value) -> bool {
        let Some(first) = self.continuation_fiber(cont) else { return false };
        if !is_fiber(first) || !is_fiber(last) {
            return false;
        }
        // SAFETY: fibers.
        let (begins, ends) = unsafe { (fiber_mut(first).is_suspended(), fiber_mut(last).is_loose_end()) };
        begins && ends && (!T::CHECKED || first == last || !T::QUICK && self.last_of(first) == last)
    }

    /// Makes the running fiber the parent of `last`, the end of a chain.
    #[inline(always)]
    pub(crate) fn append_running(&mut self, last: Value) {
        // SAFETY: a fiber.
        let end = unsafe { fiber_mut(last) };
        end.parent = self.roots.thread.fiber;
        self.roots.fibers.note(last, end);
    }

    /// Ends the running fiber, drops what is on its stack, and runs its parent, for which the switch is prepared. Returns
    /// the top of the parent's stack.
    pub(crate) fn end_fiber(&mut self, sp: *mut Value) -> *mut Value {
        let own = self.roots.thread.fiber;
        let sp = self.switch_to_parent::<Trusted>(State::Ended, sp);
        // SAFETY: it is not running any more.
        let ended = unsafe { fiber_mut(own) };
        ended.handlers = [Value::UNIT; 3];
        self.recycle(ended);
        sp
    }

    /// Keeps the stack of an ended fiber for another one.
    fn recycle(&mut self, fiber: &mut Fiber) {
        let none = fiber.stack.without_words();
        let mut stack = std::mem::replace(&mut fiber.stack, none);
        if let Some(charge) = fiber.charge.take() {
            fiber.counts.release(size_class(charge.bytes()), true);
        }
        let spare = &mut self.roots.fibers.spare;
        if spare.len() < SPARE_STACKS
            && stack.is_small(INITIAL_WORDS + BASE_WORDS)
            && spare.try_reserve(1).is_ok()
        {
            stack.release(0);
            spare.push(stack);
        }
    }

    /// The exception for an effect without a handler, with the registers saved. `None` when there is no memory, or when the
    /// program does not know the exception, because it does not link `Effect`, and ends: that is then recorded.
    pub(crate) fn unhandled(&mut self, eff: Value) -> Option<Value> {
        let mark = self.mark();
        let eff = self.push_raw(eff);
        let made = match self.named_value("Effect.Unhandled") {
            Some(id) => self.new_block(0, &[id, eff]).map(|v| v.raw()),
            None => Err(Raise::Exit(2)),
        };
        self.release(mark);
        let report = |raise| {
            if raise == Raise::Exit(2) {
                self.complain("Fatal error: exception Effect.Unhandled");
            }
            self.leave_exn(raise);
        };
        made.map_err(report).ok()
    }

    /// The exception for a continuation that was resumed before (`caml_raise_continuation_already_resumed`).
    pub fn continuation_already_resumed(&mut self) -> Raise {
        let mark = self.mark();
        match self.named_value("Effect.Continuation_already_resumed") {
            Some(exn) => {
                self.roots.thread.exn.set(self.raw(exn));
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
        // A guest has no part in the process's stderr.
        if self.prims.screen.is_some() {
            return;
        }
        // Errors of stderr cannot be reported.
        let _ = writeln!(std::io::stderr(), "{message}");
    }

    // ---- continuations -----------------------------------------------------------------------------

    /// What field 0 of a continuation holds: a fiber, or 0 once it has been taken.
    #[inline(always)]
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
        self.before_change(last);
        // SAFETY: a fiber.
        unsafe {
            let fiber = fiber_mut(last);
            fiber.handlers = handlers;
            self.roots.fibers.note(last, fiber);
        }
        Ok(())
    }

    /// Ends a fiber that will not be resumed, and its parents (`caml_drop_continuation`).
    pub fn drop_fiber(&mut self, fiber: Slot) {
        let mut next = self.raw(fiber);
        // SAFETY: a fiber.
        if !is_fiber(next) || !unsafe { fiber_mut(next) }.is_suspended() {
            return;
        }
        while next != Value::UNIT {
            // SAFETY: a fiber of a chain that nothing runs.
            let fiber = unsafe { fiber_mut(next) };
            self.before_change(next);
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
        self.roots.fibers.counts.alive.get()
    }

    /// The words that OCaml 5 would have allocated for fibers' stacks, each with this many beside it. It keeps stacks of
    /// ended fibers for new ones.
    pub(crate) fn fiber_stack_words(&self, beside: usize) -> usize {
        let counts = &self.roots.fibers.counts;
        let counted = counts.stacks.iter().chain(&counts.idle);
        let sizes = (0..SIZES).chain(0..KEPT_SIZES).map(|class| (INITIAL_WORDS << class) + beside);
        counted.zip(sizes).map(|(count, size)| count.get() * size).sum()
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

    // ---- calls that can pause ----------------------------------------------------------------------

    /// A fiber without a parent for a call of the host, with nothing on its stack. Makes the thread's first stack a fiber,
    /// too.
    pub(crate) fn new_call_fiber(&mut self) -> Result<Value, Raise> {
        if !self.has_fibers() {
            self.make_first_fiber()?;
        }
        let (stack, charge) = self.fiber_stack()?;
        let fiber = self.fiber(State::Paused, stack, Some(charge));
        fiber.counts.occupy(0);
        self.own_fiber(fiber)
    }

    /// Pushes words on the stack of a new call's fiber, of which the last one is on top. What is there is never left by an
    /// exception.
    pub(crate) fn push_on_call(&mut self, call: Value, words: &[Value], base: bool) -> Result<(), Raise> {
        // SAFETY: just made by `new_call_fiber`.
        let fiber = unsafe { fiber_mut(call) };
        self.roots.fibers.note(call, fiber);
        for word in words {
            fiber.stack.try_push_temp(*word)?;
        }
        if base {
            fiber.base_depth = fiber.stack.depth();
        }
        Ok(())
    }

    /// Whether a value is a call that has paused.
    pub(crate) fn is_paused_call(&self, call: Value) -> bool {
        // SAFETY: a fiber.
        is_fiber(call) && unsafe { fiber_mut(call) }.state == State::Paused
    }

    /// Leaves the thread's first stack for that of a paused call. Returns the number of the fiber at the call's base.
    pub(crate) fn enter_call(&mut self, call: Value) -> u64 {
        debug_assert!(self.roots.thread.fiber == self.roots.thread.first_fiber);
        self.prepare_switch(call);
        self.switch::<Trusted>(State::Parent, self.roots.thread.stack.sp, call, false);
        let base = ancestry(self.roots.thread.fiber).last();
        base.map_or(0, |base| base.number)
    }

    /// Leaves the call's stack for the thread's first one. Returns the fiber that has been running.
    pub(crate) fn pause_call(&mut self) -> Value {
        let running = self.roots.thread.fiber;
        self.leave_call(State::Paused);
        running
    }

    /// The same when the call, on the fiber at its base, has ended.
    pub(crate) fn end_call_fiber(&mut self) {
        let running = self.roots.thread.fiber;
        self.leave_call(State::Ended);
        // SAFETY: a fiber, which is not running any more.
        self.recycle(unsafe { fiber_mut(running) });
    }

    fn leave_call(&mut self, state: State) {
        let first = self.roots.thread.first_fiber;
        self.prepare_switch(first);
        self.switch::<Trusted>(state, self.roots.thread.stack.sp, first, false);
    }

    // ---- activations -------------------------------------------------------------------------------

    /// Cuts the running fiber from its parent while a callback runs: its effects do not cross a primitive.
    pub(crate) fn cut_parent(&mut self) -> Value {
        match self.has_fibers() {
            // It stays a root: the caller pushes it.
            true => {
                let own = self.roots.thread.fiber;
                self.before_change(own);
                // SAFETY: the running fiber.
                unsafe { std::mem::replace(&mut fiber_mut(own).parent, Value::UNIT) }
            }
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

    /// The numbers and stacks of the running fiber and its parents; number 0 is that of a thread's first stack.
    pub(crate) fn running_chain(&self) -> impl Iterator<Item = (u64, &[Value])> {
        let running = (self.fiber_number(), self.roots.thread.stack.words());
        let parents = ancestry(self.parent().unwrap_or(Value::UNIT));
        std::iter::once(running).chain(parents.map(|fiber| (fiber.number, fiber.stack.words())))
    }

    /// Ends the fibers that were running above the one with this number, when an activation is left for good.
    pub(crate) fn leave_fibers(&mut self, number: u64) {
        while self.fiber_number() != number {
            let parent = self.parent().expect("the running chain leads back to its activation");
            self.prepare_switch(parent);
            self.roots.thread.stack.sp = self.end_fiber(self.roots.thread.stack.sp);
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
        let fiber = unsafe { fiber_mut(self.roots.thread.fiber) };
        fiber.counts.occupy(size_class(bytes));
        if let Some(old) = fiber.charge.replace(charge) {
            fiber.counts.release(size_class(old.bytes()), true);
        }
        Ok(())
    }
}
