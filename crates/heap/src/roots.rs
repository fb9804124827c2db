//! The roots: how a client tells the collector where it keeps its values.
//!
//! Also the tables of handles that Rust code holds: rooted ones, which keep their target alive, and
//! weak ones, which do not.

use std::any::Any;

use crate::heap::{Heap, OutOfMemory};
use crate::sampling::Sample;
use crate::value::Value;

/// Why the roots are being scanned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// A minor collection: young targets are moved to the old generation.
    Minor,
    /// The start of a major collection: targets are marked.
    Mark,
    /// After a compaction: slots are redirected to where their targets are now.
    Update,
    /// The heap is being checked: slots are only read.
    Verify,
}

/// Implemented by the client: a walk over every place where it keeps values between calls.
pub trait Roots {
    /// Passes each slot that holds a value to the visitor, which may overwrite it. A slot that is left out in some
    /// phase holds a dangling pointer afterwards.
    fn scan(&mut self, visitor: &mut Visitor<'_>);

    /// Passes each slot in `data` that holds a value to the visitor: `data` is what a block of a
    /// [traced](crate::raw::CustomOps::traced) kind owns, and the block is alive.
    fn trace(&mut self, data: &mut dyn Any, visitor: &mut Visitor<'_>) {
        let _ = (data, visitor);
    }

    /// Called with samples that fall on an allocation to which these roots were passed; see [`Heap::start_sampling`].
    /// Returns false to decline the sample, whose weak reference is then dropped.
    fn sampled(&mut self, _: Sample) -> bool {
        false
    }

    /// The bytes that the client holds without having [charged](Heap::charge) them; asked at each minor collection.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Called from time to time by long operations that can be continued later: [`Heap::poll`] and
    /// [`Heap::full_major_in_steps`]. They stop when it returns true.
    fn cannot_wait(&self) -> bool {
        false
    }
}

/// For clients whose values are all in rooted handles.
pub struct NoRoots;

impl Roots for NoRoots {
    fn scan(&mut self, _: &mut Visitor<'_>) {}
}

impl<F: FnMut(&mut Visitor<'_>)> Roots for F {
    fn scan(&mut self, visitor: &mut Visitor<'_>) {
        self(visitor);
    }
}

/// Receives the slots during [`Roots::scan`].
pub struct Visitor<'a> {
    pub(crate) heap: &'a mut Heap,
    pub(crate) phase: Phase,
    /// The number of slots passed in slices, in [`Phase::Minor`].
    pub(crate) slots: usize,
    /// Targets seen, in [`Phase::Verify`].
    pub(crate) seen: Vec<Value>,
}

impl<'a> Visitor<'a> {
    pub(crate) fn new(heap: &'a mut Heap, phase: Phase) -> Self {
        Visitor { heap, phase, slots: 0, seen: Vec::new() }
    }

    /// Visits one slot.
    #[inline(always)]
    pub fn value(&mut self, v: &mut Value) {
        if v.is_int() {
            return;
        }
        match self.phase {
            Phase::Minor => {
                if self.heap.is_young(*v) {
                    // SAFETY: a root holds a valid value.
                    *v = unsafe { self.heap.promote_root(*v) };
                }
            }
            // SAFETY: a root holds a valid value.
            Phase::Mark => unsafe { self.heap.darken(*v) },
            // SAFETY: a root holds a value that was valid before the compaction.
            Phase::Update => *v = unsafe { crate::compact::forwarded(&self.heap.old, *v) },
            Phase::Verify => self.seen.push(*v),
        }
    }

    /// Visits a slice of slots.
    #[inline]
    pub fn slice(&mut self, vs: &mut [Value]) {
        if self.phase == Phase::Minor {
            self.slots += vs.len();
            for v in vs {
                if self.heap.is_young_block(*v) {
                    // SAFETY: a root holds a valid value.
                    *v = unsafe { self.heap.promote_root(*v) };
                }
            }
            return;
        }
        for v in vs {
            self.value(v);
        }
    }

    /// Visits a slice of slots whose holder caches nothing about their values: a pointer to a forced suspension may be
    /// replaced by the content, an integer or a block of another size. The other methods leave a slot with the same
    /// block.
    #[inline]
    pub fn slice_of_any(&mut self, vs: &mut [Value]) {
        if self.phase != Phase::Minor {
            return self.slice(vs);
        }
        self.slots += vs.len();
        for v in vs {
            if self.heap.is_young_block(*v) {
                // SAFETY: a root holds a valid value.
                *v = unsafe { self.heap.promote(*v) };
            }
        }
    }

    /// Whether a block is in the nursery. A minor collection may have moved it already.
    pub fn is_young(&self, block: Value) -> bool {
        self.heap.is_young_block(block)
    }

    /// Why the roots are being scanned.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Treats the target of this weak reference as reached by this collection, minor or major.
    pub fn keep(&mut self, w: WeakId) {
        let mut v = self.heap.handles.weaks.get(w.0);
        self.value(&mut v);
        if self.phase == Phase::Minor {
            self.heap.handles.weaks.set(w.0, v);
        }
    }
}

/// What keeps a value alive, as [`Heap::each_root`] reports it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RootKind {
    /// A slot of the client's [`Roots`].
    Client,
    /// A rooted handle, or one of an open scope.
    Handle,
    /// A [`Root`](crate::Root), by its number.
    Owned(u32),
    /// The function of a finaliser that waits for its value to die.
    Finaliser,
    /// A finaliser that is due, or its argument.
    DueFinaliser,
}

impl RootKind {
    /// The kind in words.
    pub fn name(self) -> &'static str {
        match self {
            RootKind::Client => "a root of the client",
            RootKind::Handle | RootKind::Owned(_) => "a rooted handle",
            RootKind::Finaliser => "a finaliser's function",
            RootKind::DueFinaliser => "a finaliser that is due",
        }
    }
}

impl Heap {
    /// Calls `f` with every block that is a root. Changes nothing.
    pub fn each_root(&mut self, roots: &mut dyn Roots, mut f: impl FnMut(RootKind, Value)) {
        let mut visitor = Visitor::new(self, Phase::Verify);
        roots.scan(&mut visitor);
        let seen = visitor.seen;
        let mut show = |kind, v: Value| {
            if v.is_block() {
                f(kind, v);
            }
        };
        seen.into_iter().for_each(|v| show(RootKind::Client, v));
        for &v in self.handles.roots.all().iter() {
            show(RootKind::Handle, v);
        }
        // SAFETY: nothing is pushed meanwhile.
        for &v in unsafe { &*self.shadow.all() } {
            show(RootKind::Handle, v);
        }
        for (number, &v) in (0..).zip(self.safe_roots.borrow_mut().all().iter()) {
            show(RootKind::Owned(number), v);
        }
        for entry in self.finals.first.iter().chain(&self.finals.last) {
            show(RootKind::Finaliser, entry.function);
        }
        for entry in &self.finals.due {
            show(RootKind::DueFinaliser, entry.function);
            show(RootKind::DueFinaliser, entry.value);
        }
    }
}

/// Identifies a rooted handle of a heap.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RootId(pub(crate) u32);

/// Identifies a weak reference of a heap.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WeakId(pub(crate) u32);

/// A table of slots that are allocated and freed. A vacant slot holds an integer, so that walks need not skip it.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Value>,
    vacant: Vec<u32>,
}

impl Slots {
    /// As [`Slots::insert`], which ends the process when there is no memory: this makes room first, also for the entry
    /// that records the slot as vacant later.
    pub(crate) fn try_insert(&mut self, v: Value) -> Result<u32, OutOfMemory> {
        self.reserve(1)?;
        Ok(self.insert(v))
    }

    /// Makes room for more values, also for the time when their slots are vacant.
    #[inline]
    pub(crate) fn reserve(&mut self, more: usize) -> Result<(), OutOfMemory> {
        if self.vacant.len() >= more {
            return Ok(());
        }
        let new = more - self.vacant.len();
        let all = self.slots.len() + new;
        let room =
            self.slots.try_reserve(new).and_then(|()| self.vacant.try_reserve(all - self.vacant.len()));
        room.map_err(|_| OutOfMemory { words: all })
    }

    pub(crate) fn insert(&mut self, v: Value) -> u32 {
        match self.vacant.pop() {
            Some(i) => {
                self.slots[i as usize] = v;
                i
            }
            None => {
                self.slots.push(v);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 handles")
            }
        }
    }
    pub(crate) fn get(&self, i: u32) -> Value {
        self.slots[i as usize]
    }
    pub(crate) fn set(&mut self, i: u32, v: Value) {
        self.slots[i as usize] = v;
    }
    pub(crate) fn remove(&mut self, i: u32) {
        debug_assert!(!self.vacant.contains(&i), "a handle was dropped twice");
        self.slots[i as usize] = Value::UNIT;
        self.vacant.push(i);
    }
    fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Value>() + self.vacant.capacity() * size_of::<u32>()
    }
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }
    /// Frees the memory of vacant slots at the end of the table.
    pub(crate) fn shrink(&mut self) {
        self.vacant.sort_unstable();
        while self.vacant.last().is_some_and(|&i| i as usize + 1 == self.slots.len()) {
            self.vacant.pop();
            self.slots.pop();
        }
        // The lowest vacant slot is used next.
        self.vacant.reverse();
        self.vacant.shrink_to(self.slots.len());
        self.slots.shrink_to_fit();
    }
    /// All slots, the vacant ones included.
    pub(crate) fn all(&mut self) -> &mut [Value] {
        &mut self.slots
    }
}

/// The handles that Rust code holds.
#[derive(Default)]
pub(crate) struct Handles {
    pub(crate) roots: Slots,
    pub(crate) weaks: Slots,
}

impl Handles {
    pub(crate) fn bytes(&self) -> usize {
        self.roots.bytes() + self.weaks.bytes()
    }
}
