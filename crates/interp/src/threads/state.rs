//! What a thread of the program has for itself: the running one's is in the machine's roots, the others' in its table of threads.

use std::collections::VecDeque;

use spelter_heap::raw::Value;

use crate::inspect::backtrace::CodePoint;
use crate::inspect::memprof::Fresh;
use crate::machine::nesting::Nesting;
use crate::machine::stack::Stack;
use crate::prim::NO_PRIMITIVE;

/// The depth at which no activation begins.
const NO_ACTIVATION: usize = usize::MAX;

/// What a thread has for itself.
pub(crate) struct ThreadState {
    pub(crate) stack: Stack,
    /// `accu` and `env` while no instruction runs but one is under way.
    pub(crate) accu: Value,
    pub(crate) env: Value,
    /// `pc`, likewise; null while it is not in use.
    pub(crate) pc: *const u64,
    /// `extra_args`, likewise.
    pub(crate) extra: usize,
    /// The exception last raised.
    pub(crate) exn: Value,
    /// The exception that the backtrace belongs to.
    pub(crate) backtrace_exn: Value,
    /// Where that exception passed, innermost first.
    pub(crate) points: Vec<CodePoint>,
    /// Depth of the innermost trap frame; 0 for none.
    pub(crate) trap_depth: usize,
    /// Depth of the stack where the current activation began: traps below it belong to others. No depth while none runs.
    pub(crate) base_depth: usize,
    /// The number of the running primitive.
    pub(crate) running: usize,
    /// Depth of the stack below the running primitive's arguments.
    pub(crate) floor: usize,
    /// Words that the running primitive has put under its frame.
    pub(crate) inserted: usize,
    pub(crate) nesting: Nesting,
    /// It is in a function of the profile's tracker.
    pub(crate) in_tracker: bool,
    /// Samples on its allocations that the tracker has not heard of.
    pub(crate) fresh: VecDeque<Fresh>,
}

impl ThreadState {
    pub(crate) fn new(stack: Stack) -> Self {
        ThreadState {
            stack,
            accu: Value::UNIT,
            env: Value::UNIT,
            pc: std::ptr::null(),
            extra: 0,
            exn: Value::UNIT,
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
        }
    }

    /// How many words of the stack, from its top, the running primitive or the host has pushed, and how many after those
    /// are frames of the running activation. The rest belongs to outer ones.
    pub(crate) fn part_sizes(&mut self) -> (usize, usize) {
        let words = self.stack.depth();
        let base = self.base_depth.min(words);
        let top = if self.running == NO_PRIMITIVE { words } else { self.floor.clamp(base, words) };
        (words - top, top - base)
    }
}
