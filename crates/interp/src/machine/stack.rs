//! The machine's stack: an array that grows downwards to a limit, and moves when it is enlarged.
//!
//! Positions that outlive an instruction (slots, trap frames) are *depths*, counted in words from the stack's base, so
//! they stay valid when it moves. Sizes and the growth rule are those of OCaml 4 (`runtime/stacks.c`): they determine
//! how deep a program may recurse.

use std::mem::MaybeUninit;
use std::sync::Arc;

use spelter_heap::raw::Value;
use spelter_heap::{Account, OutOfMemory};

use crate::prim::fallible;
use crate::prim::{Raise, Slot};

/// Initial size of a stack in words.
pub const INITIAL_WORDS: usize = 4096;
/// Words that are free at every function entry. Functions with deeper frames request more
/// (`caml_ensure_stack_capacity`).
pub const SLACK_WORDS: usize = 256;
/// The most arguments that a partial application pushes at a function's entry, in checked code.
pub(crate) const MAX_PARTIAL: usize = SLACK_WORDS / 2;
/// The default limit, in words (8 MiB).
pub const DEFAULT_LIMIT_WORDS: usize = 1024 * 1024;
/// More words than any stack has, whatever its limit.
const MAX_WORDS: usize = 1 << 48;
/// Words reserved below the slack, for pushes between two checks: event frames and the first slots of primitives.
const RESERVE_WORDS: usize = 64;

/// The stack of values, return frames and trap frames.
pub struct Stack {
    /// The words in use have been written; the others may be uninitialised.
    words: Box<[MaybeUninit<Value>]>,
    /// One past the deepest word: where the stack is empty.
    base: *mut Value,
    /// The top of the stack while no instruction runs; the dispatch loop keeps its own copy in a register.
    pub(crate) sp: *mut Value,
    /// When `sp` is below this at a function entry, the stack grows.
    pub(crate) threshold: *mut Value,
    /// The program's own limit, at most `ceiling_words`.
    limit_words: usize,
    /// The host's limit.
    ceiling_words: usize,
    /// Words that are free at every function entry: more than usual where checked code has larger frames.
    slack: usize,
    /// Limits the memory of the stack on which a thread runs.
    account: Option<Arc<Account>>,
}

impl Stack {
    /// An empty stack that may grow to `ceiling_words`, or without one, to the program's own limit.
    pub fn new(ceiling_words: Option<usize>) -> Self {
        let limit_words = ceiling_words.unwrap_or(DEFAULT_LIMIT_WORDS);
        let ceiling_words = ceiling_words.unwrap_or(usize::MAX);
        let mut stack = Stack { limit_words, ceiling_words, slack: SLACK_WORDS, ..Stack::absent() };
        stack.install(Box::new_uninit_slice(INITIAL_WORDS + RESERVE_WORDS), 0);
        stack
    }

    /// A placeholder while the running thread's own stack is put away.
    pub(crate) fn absent() -> Self {
        let mut stack = Stack {
            words: Box::new([]),
            base: std::ptr::null_mut(),
            sp: std::ptr::null_mut(),
            threshold: std::ptr::null_mut(),
            limit_words: 0,
            ceiling_words: 0,
            slack: 0,
            account: None,
        };
        stack.base = stack.words.as_mut_ptr_range().end.cast();
        stack.sp = stack.base;
        stack
    }

    /// A small empty stack with the limits of this one.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub(crate) fn sibling(&self, initial_words: usize) -> Result<Self, OutOfMemory> {
        let (limit_words, ceiling_words) = (self.limit_words, self.ceiling_words);
        let account = self.account.clone();
        let mut stack = Stack { limit_words, ceiling_words, slack: self.slack, account, ..Stack::absent() };
        let words = initial_words.max(self.slack.next_power_of_two());
        stack.install(fallible::uninit(words + RESERVE_WORDS)?, 0);
        Ok(stack)
    }

    /// Makes the stack grow only as far as the account allows.
    pub(crate) fn limit_memory(&mut self, account: &Arc<Account>) {
        self.account = account.is_limited().then(|| Arc::clone(account));
    }

    fn install(&mut self, words: Box<[MaybeUninit<Value>]>, depth: usize) {
        self.words = words;
        let low = self.words.as_mut_ptr().cast::<Value>();
        // SAFETY: the slack and the depth are smaller than every array that is installed.
        unsafe {
            self.threshold = low.add(self.slack + RESERVE_WORDS);
            self.base = low.add(self.words.len());
            self.sp = self.base.sub(depth);
        }
    }

    /// One past the deepest word: where the stack is empty.
    #[inline(always)]
    pub(crate) fn base(&self) -> *mut Value {
        self.base
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

    /// The size of its array, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val::<[_]>(&self.words)
    }

    /// The size in words of a stack whose array has this size in bytes.
    pub(crate) fn words_of(bytes: usize) -> usize {
        (bytes / size_of::<Value>()).saturating_sub(RESERVE_WORDS)
    }

    /// Whether it is no larger than a new one of `initial_words`.
    pub(crate) fn is_small(&self, initial_words: usize) -> bool {
        self.words.len() <= initial_words.max(self.slack.next_power_of_two()) + RESERVE_WORDS
    }

    /// Sets the words that are free at every function entry from now on.
    pub(crate) fn set_slack(&mut self, words: usize) {
        self.slack = words;
        self.threshold = self.words.as_mut_ptr().cast::<Value>().wrapping_add(words + RESERVE_WORDS);
    }

    /// Puts the words on which a thread has been running, their top at `sp`, away into `old`, and takes those of `new`,
    /// which has none then, as `old` has none before. Returns their top, which is also stored: checked code that is stopped
    /// leaves without saving its own. Each stack keeps its limits, which belong to the thread; the slack of both that have
    /// words must be the same.
    #[inline(always)]
    pub(crate) fn replace_words(&mut self, old: &mut Stack, sp: *mut Value, new: &mut Stack) -> *mut Value {
        debug_assert!(self.slack == new.slack && old.words.is_empty());
        old.sp = sp;
        old.threshold = self.threshold;
        self.threshold = new.threshold;
        // `old` has no words yet, so its base is what `new` gets.
        let nowhere = std::mem::replace(&mut old.base, self.base);
        self.base = std::mem::replace(&mut new.base, nowhere);
        let words = std::mem::take(&mut new.words);
        self.sp = new.sp;
        new.sp = nowhere;
        let words = std::mem::replace(&mut self.words, words);
        // Dropping a box calls a function if it is not empty, and this one is.
        std::mem::forget(std::mem::replace(&mut old.words, words));
        self.sp
    }

    /// Whether function entries find the same room in both.
    #[inline(always)]
    pub(crate) fn has_slack_of(&self, other: &Stack) -> bool {
        self.slack == other.slack
    }

    /// Makes function entries find the same room as in another stack. A stack without that much room grows at the next
    /// one.
    pub(crate) fn adopt_slack(&mut self, other: &Stack) {
        self.set_slack(other.slack);
    }

    /// A stack without words, for a fiber that will run on words of others.
    pub(crate) fn without_words(&self) -> Stack {
        Stack { slack: self.slack, ..Stack::absent() }
    }

    /// Sets the program's initial limit.
    pub(crate) fn begin_with(&mut self, words: usize) {
        self.limit_words = words.min(self.ceiling_words);
    }

    /// Sets the program's limit, at most the host's. A stack that is already larger just stops growing.
    pub fn set_limit_words(&mut self, words: usize) {
        self.limit_words = words.max(INITIAL_WORDS).min(self.ceiling_words);
    }

    /// Makes function entries reserve room for frames of `words`, whatever the code itself requests.
    ///
    /// # Errors
    /// The errors of [`Stack::ensure`].
    pub(crate) fn reserve_frames(&mut self, words: usize) -> Result<(), Raise> {
        // Above the frame there are a partial application's arguments, and what instructions push temporarily.
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

    /// Makes room for the slack of a function entry, and `words` more.
    ///
    /// # Errors
    /// The errors of [`Stack::ensure`].
    #[inline]
    pub(crate) fn ensure_entry(&mut self, words: usize) -> Result<(), Raise> {
        let words = words.saturating_add(self.slack);
        match self.depth().saturating_add(words) <= self.words.len() - RESERVE_WORDS {
            true => Ok(()),
            false => self.ensure(words),
        }
    }

    /// Grows until there is room for `words` more.
    ///
    /// # Errors
    /// `Stack_overflow` when that exceeds the limit, `Out_of_memory` when there is not enough memory. Nothing has
    /// changed then.
    #[cold]
    pub fn ensure(&mut self, words: usize) -> Result<(), Raise> {
        self.grow_to(self.depth().saturating_add(words), self.limit_words)
    }

    /// Grows by doubling, as OCaml does, until the size is at least `wanted` words.
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
            let bytes = (size + RESERVE_WORDS) * size_of::<Value>();
            if let Some(account) = &self.account {
                if !account.allows(bytes) {
                    return Err(Raise::OutOfMemory);
                }
                // The present one goes; the next collection finds that out.
                account.take(bytes);
            }
            let mut larger = fallible::uninit(size + RESERVE_WORDS)?;
            let from = self.words.len() - depth;
            let to = larger.len() - depth;
            larger[to..].copy_from_slice(&self.words[from..]);
            self.install(larger, depth);
        }
        Ok(())
    }

    /// Gives back what a deep recursion has left unused.
    pub(crate) fn shrink(&mut self) {
        let depth = self.depth();
        let size = (depth + self.slack).next_power_of_two().max(INITIAL_WORDS);
        if self.words.len() < 2 * size {
            return;
        }
        if let Ok(mut smaller) = fallible::uninit(size + RESERVE_WORDS) {
            let (from, to) = (self.words.len() - depth, smaller.len() - depth);
            smaller[to..].copy_from_slice(&self.words[from..]);
            self.install(smaller, depth);
        }
    }

    /// The words in use, top first, read-only.
    pub(crate) fn words(&self) -> &[Value] {
        let from = self.words.len() - self.depth();
        // SAFETY: the words in use have been written.
        unsafe { self.words[from..].assume_init_ref() }
    }

    /// The words in use, top first.
    pub(crate) fn live(&mut self) -> &mut [Value] {
        let from = self.words.len() - self.depth();
        // SAFETY: the words in use have been written.
        unsafe { self.words[from..].assume_init_mut() }
    }

    #[inline]
    fn index(&self, s: Slot) -> usize {
        assert!(s.0 - 1 < self.depth(), "a slot was used after the primitive to which it belongs");
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

    /// Pushes a word for a primitive, which may push any number. These are bounded by the primitive's own data and not
    /// by the program's recursion, so the limit does not apply.
    ///
    /// # Errors
    /// When there is not enough memory.
    #[inline]
    pub(crate) fn try_push_temp(&mut self, v: Value) -> Result<Slot, Raise> {
        let depth = self.depth() + 1;
        if depth + RESERVE_WORDS / 2 > self.words.len() {
            self.grow_to(self.words.len(), usize::MAX)?;
        }
        self.sp = self.at(depth);
        let i = self.words.len() - depth;
        self.words[i].write(v);
        Ok(Slot(depth))
    }

    /// Like [`Stack::try_push_temp`], for a few words where nothing can be raised. Without memory, it uses the reserve
    /// that [`Stack::try_push_temp`] leaves.
    ///
    /// # Panics
    /// When the reserve has been used up.
    #[inline]
    pub(crate) fn push_temp(&mut self, v: Value) -> Slot {
        self.try_push_temp(v).unwrap_or_else(|_| self.push_reserved(v))
    }

    /// The same for several words, of which the last one is on top.
    #[inline]
    pub(crate) fn push_few<const N: usize>(&mut self, words: [Value; N]) {
        let below = self.depth();
        if below + N + RESERVE_WORDS / 2 > self.words.len() {
            for word in words {
                self.push_temp(word);
            }
            return;
        }
        self.sp = self.at(below + N);
        let top = self.words.len() - below - N;
        for (place, word) in self.words[top..top + N].iter_mut().zip(words.into_iter().rev()) {
            place.write(word);
        }
    }

    #[cold]
    #[inline(never)]
    fn push_reserved(&mut self, v: Value) -> Slot {
        let depth = self.depth() + 1;
        assert!(depth <= self.words.len(), "no memory for a primitive's slots");
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
