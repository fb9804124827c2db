//! The machine's stack: one array that grows downwards to a limit, and is moved when it grows.
//!
//! Positions that outlive an instruction (slots, trap frames) are *depths*, counted in words from the
//! stack's base, so that moving needs no fixing up. Sizes and the growth rule are OCaml 4's
//! (`runtime/stacks.c`): they decide how deep a program may recurse.

use std::mem::MaybeUninit;

use spelter_heap::OutOfMemory;
use spelter_heap::raw::Value;

use crate::prim::fallible;
use crate::prim::{Raise, Slot};

/// Words a stack starts with.
pub const INITIAL_WORDS: usize = 4096;
/// Words that every function entry finds free; deeper frames ask for theirs (`caml_ensure_stack_capacity`).
pub const SLACK_WORDS: usize = 256;
/// The most arguments that a partial application pushes at a function's entry, in checked code.
pub(crate) const MAX_PARTIAL: usize = SLACK_WORDS / 2;
/// The default limit, in words (8 MiB).
pub const DEFAULT_LIMIT_WORDS: usize = 1024 * 1024;
/// No stack has so many words, whatever its limit.
const MAX_WORDS: usize = 1 << 48;
/// Words kept below the slack, for what runs between two checks: event frames and primitives' first slots.
const RESERVE_WORDS: usize = 64;

/// The stack of values, return frames and trap frames.
pub struct Stack {
    /// Those in use have been written; the others may be memory that nobody has touched.
    words: Box<[MaybeUninit<Value>]>,
    /// The top of the stack while no instruction runs; the dispatch loop keeps its own copy in a register.
    pub(crate) sp: *mut Value,
    /// Below this, a function entry makes the stack grow.
    pub(crate) threshold: *mut Value,
    /// The program's own limit, up to `ceiling_words`.
    limit_words: usize,
    /// The host's.
    ceiling_words: usize,
    /// Words that every function entry finds free: more than usual where checked code has larger frames.
    slack: usize,
}

impl Stack {
    /// An empty stack that may grow to a ceiling, or, where there is none, to what the program sets.
    pub fn new(ceiling_words: Option<usize>) -> Self {
        let limit_words = ceiling_words.unwrap_or(DEFAULT_LIMIT_WORDS);
        let ceiling_words = ceiling_words.unwrap_or(usize::MAX);
        let mut stack = Stack { limit_words, ceiling_words, slack: SLACK_WORDS, ..Stack::absent() };
        stack.install(Box::new_uninit_slice(INITIAL_WORDS + RESERVE_WORDS), 0);
        stack
    }

    /// No stack: what is there while the running thread's own is put away.
    pub(crate) fn absent() -> Self {
        let mut stack = Stack {
            words: Box::new([]),
            sp: std::ptr::null_mut(),
            threshold: std::ptr::null_mut(),
            limit_words: 0,
            ceiling_words: 0,
            slack: 0,
        };
        stack.sp = stack.base();
        stack
    }

    /// An empty stack with this one's limits, which starts small.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn sibling(&self, initial_words: usize) -> Result<Self, OutOfMemory> {
        let (limit_words, ceiling_words) = (self.limit_words, self.ceiling_words);
        let mut stack = Stack { limit_words, ceiling_words, slack: self.slack, ..Stack::absent() };
        let words = initial_words.max(self.slack.next_power_of_two());
        stack.install(fallible::uninit(words + RESERVE_WORDS)?, 0);
        Ok(stack)
    }

    fn install(&mut self, words: Box<[MaybeUninit<Value>]>, depth: usize) {
        self.words = words;
        let low = self.words.as_mut_ptr().cast::<Value>();
        // SAFETY: the slack and the depth are smaller than every array that is installed.
        unsafe {
            self.threshold = low.add(self.slack + RESERVE_WORDS);
            self.sp = low.add(self.words.len() - depth);
        }
    }

    /// One past the deepest word: where the stack is empty.
    #[inline(always)]
    pub(crate) fn base(&self) -> *mut Value {
        self.words.as_ptr_range().end.cast_mut().cast()
    }

    /// The depth of an address in the stack.
    #[inline(always)]
    pub(crate) fn depth_of(&self, at: *mut Value) -> usize {
        (self.base() as usize - at as usize) / size_of::<Value>()
    }

    /// The address of the word at a depth.
    #[inline(always)]
    pub(crate) fn at(&self, depth: usize) -> *mut Value {
        self.base().wrapping_sub(depth)
    }

    /// How many words are in use.
    pub fn depth(&self) -> usize {
        self.depth_of(self.sp)
    }

    /// How many words the stack may hold.
    pub fn limit_words(&self) -> usize {
        self.limit_words
    }

    /// The limit that a program begins with.
    pub(crate) fn begin_with(&mut self, words: usize) {
        self.limit_words = words.min(self.ceiling_words);
    }

    /// Sets the program's limit, which the host's bounds; a stack that is larger already only stops growing.
    pub fn set_limit_words(&mut self, words: usize) {
        self.limit_words = words.max(INITIAL_WORDS).min(self.ceiling_words);
    }

    /// Makes function entries find room for frames of `words`, whatever the code asks for itself.
    ///
    /// # Errors
    /// As [`Stack::ensure`].
    pub(crate) fn reserve_frames(&mut self, words: usize) -> Result<(), Raise> {
        // On top of the frame come a partial application's arguments, and what instructions push for a moment.
        let slack = words.saturating_add(MAX_PARTIAL + RESERVE_WORDS);
        if slack > self.slack {
            if slack > self.limit_words {
                return Err(Raise::StackOverflow);
            }
            self.ensure(slack)?;
            self.slack = slack;
            let depth = self.depth();
            let words = std::mem::take(&mut self.words);
            self.install(words, depth);
        }
        Ok(())
    }

    /// Makes room for what a function entry finds, and `words` more.
    ///
    /// # Errors
    /// As [`Stack::ensure`].
    pub(crate) fn ensure_entry(&mut self, words: usize) -> Result<(), Raise> {
        self.ensure(words.saturating_add(self.slack))
    }

    /// Grows until `words` more fit.
    ///
    /// # Errors
    /// `Stack_overflow` when that needs more than the limit, `Out_of_memory` when there is no memory for it: nothing has
    /// changed then.
    #[cold]
    pub fn ensure(&mut self, words: usize) -> Result<(), Raise> {
        self.grow_to(self.depth().saturating_add(words), self.limit_words)
    }

    /// Grows by doubling, as OCaml does, until there are `wanted` words.
    fn grow_to(&mut self, wanted: usize, limit: usize) -> Result<(), Raise> {
        let depth = self.depth();
        let mut size = self.words.len() - RESERVE_WORDS;
        while size < wanted {
            if size >= limit {
                return Err(Raise::StackOverflow);
            }
            if size >= MAX_WORDS {
                return Err(Raise::OutOfMemory);
            }
            size *= 2;
        }
        if size > self.words.len() - RESERVE_WORDS {
            let mut larger = fallible::uninit(size + RESERVE_WORDS)?;
            let from = self.words.len() - depth;
            let to = larger.len() - depth;
            larger[to..].copy_from_slice(&self.words[from..]);
            self.install(larger, depth);
        }
        Ok(())
    }

    /// The words in use, top first, to be read.
    pub(crate) fn words(&self) -> &[Value] {
        let from = self.words.len() - self.depth();
        // SAFETY: what is in use has been written.
        unsafe { self.words[from..].assume_init_ref() }
    }

    /// The words in use, top first.
    pub(crate) fn live(&mut self) -> &mut [Value] {
        let from = self.words.len() - self.depth();
        // SAFETY: what is in use has been written.
        unsafe { self.words[from..].assume_init_mut() }
    }

    #[inline]
    fn index(&self, s: Slot) -> usize {
        assert!(s.0 - 1 < self.depth(), "a slot outlived the primitive that it belongs to");
        self.words.len() - s.0
    }

    #[inline]
    pub(crate) fn read(&self, s: Slot) -> Value {
        // SAFETY: it is in use, and so has been written.
        unsafe { self.words[self.index(s)].assume_init() }
    }

    #[inline]
    pub(crate) fn write(&mut self, s: Slot, v: Value) {
        let i = self.index(s);
        self.words[i].write(v);
    }

    /// Pushes a word on behalf of a primitive, which may push any number: these are bounded by the primitive's own data,
    /// not by the program's recursion, so the limit does not apply.
    ///
    /// # Errors
    /// When there is no memory for it.
    #[inline]
    pub(crate) fn try_push_temp(&mut self, v: Value) -> Result<Slot, Raise> {
        let depth = self.depth() + 1;
        if depth + RESERVE_WORDS / 2 > self.words.len() {
            self.grow_to(self.words.len(), usize::MAX)?;
        }
        self.sp = self.at(depth);
        let slot = Slot(depth);
        self.write(slot, v);
        Ok(slot)
    }

    /// The same where nothing can be raised, for a few words: where there is no memory, there is still what
    /// [`Stack::try_push_temp`] leaves of the reserve.
    ///
    /// # Panics
    /// When that has been used up.
    pub(crate) fn push_temp(&mut self, v: Value) -> Slot {
        self.try_push_temp(v).unwrap_or_else(|_| self.push_reserved(v))
    }

    #[cold]
    #[inline(never)]
    fn push_reserved(&mut self, v: Value) -> Slot {
        let depth = self.depth() + 1;
        assert!(depth <= self.words.len(), "memory for what a primitive keeps");
        self.sp = self.at(depth);
        let slot = Slot(depth);
        self.write(slot, v);
        slot
    }

    pub(crate) fn release(&mut self, mark: usize) {
        assert!(mark <= self.depth(), "released slots that were never pushed");
        self.sp = self.at(mark);
    }
}
