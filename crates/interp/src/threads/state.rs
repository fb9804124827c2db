//! A thread's own state. That of the running thread is in the machine's roots, that of the others in the table of
//! threads.

use std::cell::Cell;
use std::collections::VecDeque;

use spelter_heap::raw::{Sample, SampleSource, Value};

use crate::code::point::CodePoint;
use crate::inspect::memprof::{AllocationSource, Fresh};
use crate::machine::nesting::Nesting;
use crate::machine::stack::Stack;
use crate::prim::NO_PRIMITIVE;
use crate::prim::foreign::OfThread;

/// The value of `base_depth` when no activation runs.
const NO_ACTIVATION: usize = usize::MAX;

/// A thread's own state.
pub(crate) struct ThreadState {
    /// The stack of the running fiber.
    pub(crate) stack: Stack,
    /// The block of the running fiber; `()` while the thread's first stack has never run another one.
    pub(crate) fiber: Value,
    /// The block of the thread's first stack as a fiber, or `()`.
    pub(crate) first_fiber: Value,
    /// `accu` and `env`, while an instruction is in progress but its handler is not running.
    pub(crate) accu: Value,
    pub(crate) env: Value,
    /// `pc`, saved at the same times; null while it is not in use.
    pub(crate) pc: *const u64,
    /// `extra_args`, saved at the same times.
    pub(crate) extra: usize,
    /// The exception last raised. What only reads the machine may raise, too.
    pub(crate) exn: Cell<Value>,
    /// The exception to which the backtrace belongs.
    pub(crate) backtrace_exn: Value,
    /// The backtrace of that exception, innermost first.
    pub(crate) points: Vec<CodePoint>,
    /// Depth of the innermost trap frame; 0 for none.
    pub(crate) trap_depth: usize,
    /// The stack depth at the start of the current activation: traps below it belong to outer ones. [`NO_ACTIVATION`]
    /// while none runs.
    pub(crate) base_depth: usize,
    /// The number of the running primitive.
    pub(crate) running: usize,
    /// Depth of the stack below the running primitive's arguments.
    pub(crate) floor: usize,
    /// Words that the running primitive has inserted below its frame.
    pub(crate) inserted: usize,
    pub(crate) nesting: Nesting,
    /// Whether it is running a function of the profile's tracker.
    pub(crate) in_tracker: bool,
    /// Samples of its allocations that have not been reported to the tracker.
    pub(crate) fresh: VecDeque<Fresh>,
    /// What a loader of libraries keeps.
    pub(crate) foreign: OfThread,
}

impl ThreadState {
    pub(crate) fn new(stack: Stack) -> Self {
        ThreadState {
            stack,
            fiber: Value::UNIT,
            first_fiber: Value::UNIT,
            accu: Value::UNIT,
            env: Value::UNIT,
            pc: std::ptr::null(),
            extra: 0,
            exn: Cell::new(Value::UNIT),
            backtrace_exn: Value::UNIT,
            points: Vec::new(),
            trap_depth: 0,
            base_depth: NO_ACTIVATION,
            running: NO_PRIMITIVE,
            floor: 0,
            inserted: 0,
            nesting: Nesting::default(),
            in_tracker: false,
            fresh: VecDeque::new(),
            foreign: OfThread::default(),
        }
    }

    /// The number of words from the top of the stack that the running primitive or the host has pushed, and how many
    /// after those are frames of the running activation. The rest belongs to outer activations.
    pub(crate) fn part_sizes(&mut self) -> (usize, usize) {
        let words = self.stack.depth();
        let base = self.base_depth.min(words);
        let top = if self.running == NO_PRIMITIVE { words } else { self.floor.clamp(base, words) };
        (words - top, top - base)
    }

    /// Records a sample of this thread's allocations that the heap reports. Returns false when there is no memory for
    /// it.
    pub(crate) fn sampled(&mut self, sample: Sample, profile: u64, callstack: Vec<CodePoint>) -> bool {
        let source = match sample.source {
            SampleSource::Block => AllocationSource::Normal,
            SampleSource::Outside => AllocationSource::Custom,
        };
        self.note_fresh(sample, source, profile, callstack)
    }

    pub(crate) fn note_fresh(
        &mut self,
        sample: Sample,
        source: AllocationSource,
        profile: u64,
        callstack: Vec<CodePoint>,
    ) -> bool {
        let room = self.fresh.try_reserve(1).is_ok();
        if room {
            self.fresh.push_back(Fresh::of(sample, source, profile, callstack));
        }
        room
    }
}
