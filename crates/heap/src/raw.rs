//! The raw interface, for language runtimes: full speed without checks.
//!
//! # Safety
//!
//! The contract of every unsafe method of [`Heap`], unless it states its own:
//!
//! 1. Values passed in are integers, or pointers to blocks of this heap that were reachable at the last collection or
//!    allocated since; indices are within their blocks.
//! 2. Every method that takes `roots` may collect. These roots must show every slot that holds a value the client still
//!    needs; values anywhere else (such as in Rust locals) are stale afterwards.
//! 3. Every word in the fields of a block with a tag below [`tag::NO_SCAN`] is a valid value at every
//!    call into the heap. Code addresses and the like are stored odd.
//! 4. Fields of blocks that may be old are written with [`Heap::modify`], never directly; an integer may be
//!    written directly over an integer.
//! 5. Once a block is only reachable through `Roots` rather than rooted handles, none of the heap's
//!    safe methods that take `&mut self` and allocate or collect may be called, nor a [scope](Heap::scope) be opened.

pub use crate::custom::{
    COperations, CustomOps, Retire, describe_foreign_kinds, find_foreign_kind, foreign_kind,
};
pub use crate::ephemeron::FIRST_KEY;
pub use crate::roots::{NoRoots, Phase, RootId, RootKind, Roots, Visitor, WeakId};
pub use crate::sampling::{Parked, Sample, SampleSource};
pub use crate::value::{Colour, Header, MAX_WOSIZE, MAX_YOUNG_WOSIZE, Value, tag};
pub use crate::young::Young;

use crate::custom::{BOX_WORDS, external_mut, is_traced, owned_cost, store_box};
use crate::heap::{BLOCKS_AT_ONCE, Cycle, Heap, Mode, OutOfMemory};
use std::any::Any;
use std::collections::{HashSet, TryReserveError};

/// Custom blocks that hold more bytes than this outside the heap are allocated in the old generation: the nursery would
/// hold many before it fills, as they are small themselves.
const MAX_YOUNG_OUTSIDE: usize = 8192;

/// Blocks reserved together are young if they fill at most this fraction of the nursery. Otherwise much of the nursery
/// could stay unused because they do not fit into the rest.
const YOUNG_SHARE: usize = 4;

#[allow(clippy::missing_safety_doc, reason = "the contract is shared and stated on the module")]
impl Heap {
    /// The nursery's pointers, for a client that allocates inline.
    #[inline(always)]
    pub unsafe fn young_mut(&mut self) -> &mut Young {
        &mut self.young
    }

    /// A young block of 1 to [`MAX_YOUNG_WOSIZE`] fields. The header is written, the fields are not: the caller must
    /// fill all of them before anything else happens. `None` if [`Heap::make_room`] must be called first.
    #[inline(always)]
    pub unsafe fn alloc_small(&mut self, wosize: usize, tag: u8) -> Option<Value> {
        self.young.alloc(wosize, tag)
    }

    /// Does the collection work that is due. Then [`Heap::alloc_small`] succeeds at least once (in torture mode,
    /// exactly once) for blocks of up to `wosize` fields (1 to [`MAX_YOUNG_WOSIZE`]), unless the system has no memory
    /// left.
    #[cold]
    pub unsafe fn make_room(&mut self, roots: &mut dyn Roots, wosize: usize) {
        debug_assert!((1..=MAX_YOUNG_WOSIZE).contains(&wosize));
        match self.config.mode {
            Mode::Never => {
                if self.young.free_words() <= wosize {
                    self.counters.minor_words += self.young.used() as u64;
                    self.young.extend();
                    self.remembered.clear();
                    self.open_empty_nursery();
                }
                self.due = false;
                self.open_nursery();
            }
            Mode::Plain => {
                self.minor_due |= self.young.free_words() <= wosize;
                // SAFETY: same contract.
                unsafe { self.poll(roots) }
            }
            Mode::Torture => {
                // SAFETY: same contract.
                unsafe { self.torture(roots) }
                self.young.limit = self.young.ptr.wrapping_sub(wosize + 1);
            }
        }
        debug_assert!(
            self.young.free_words() > wosize || self.exhausted() || self.config.mode == Mode::Never
        );
        if self.sampler.is_some() {
            self.young.limit = self.young.limit.min(self.young.ptr.wrapping_sub(wosize + 1));
        }
    }

    /// Does the collection work that is due, and returns whether `words` words, headers included, are few enough for
    /// the nursery. If so, [`Heap::alloc_small`] has room for them, or only for some of them if part of the nursery is
    /// unused, if allocations are sampled, or if the heap never collects. May collect.
    pub unsafe fn reserve_young(&mut self, roots: &mut dyn Roots, words: usize) -> bool {
        // SAFETY: same contract.
        unsafe {
            if words > self.young.words() / YOUNG_SHARE {
                self.before_large(roots);
                return false;
            }
            let free = (self.young.ptr as usize).saturating_sub(self.young.limit as usize) / 8;
            if free < words {
                self.minor_due |= self.young.free_words() < words;
                self.make_room(roots, MAX_YOUNG_WOSIZE);
                if self.config.mode == Mode::Torture {
                    let words = words.min(self.young.free_words());
                    self.young.limit = self.young.ptr.wrapping_sub(words);
                }
            }
        }
        true
    }

    /// A block of any size, or the atom if `wosize` is 0. Fields that are scanned are initialised to unit, other words
    /// to zero. May collect.
    #[inline]
    pub unsafe fn alloc(
        &mut self,
        roots: &mut dyn Roots,
        wosize: usize,
        tag: u8,
    ) -> Result<Value, OutOfMemory> {
        // SAFETY: same contract.
        unsafe {
            if wosize == 0 {
                return Ok(self.atom(tag));
            }
            if wosize > MAX_YOUNG_WOSIZE {
                self.before_large(roots);
                let v = self.alloc_major_or_collect(roots, wosize, tag)?;
                self.sample_words(roots, v, [wosize, wosize + 1], SampleSource::Block);
                return Ok(v);
            }
            if self.refuses() {
                return Err(OutOfMemory { words: wosize });
            }
            let v = self.alloc_young(roots, wosize, tag)?;
            clear_fields(v, wosize, tag);
            Ok(v)
        }
    }

    /// As [`Heap::alloc_major`], but collects if necessary.
    pub unsafe fn alloc_major_or_collect(
        &mut self,
        roots: &mut dyn Roots,
        wosize: usize,
        tag: u8,
    ) -> Result<Value, OutOfMemory> {
        // SAFETY: same contract.
        unsafe {
            if let Ok(v) = self.alloc_old(wosize, tag, false) {
                return Ok(v);
            }
            if !self.full_major_in_steps(roots) {
                return Err(OutOfMemory { words: wosize });
            }
            // The allocator may need the memory of empty pages.
            while self.old.drop_some_reserve() && !roots.cannot_wait() {}
            self.release_spare();
            self.alloc_major(wosize, tag)
        }
    }

    /// Lets the next `n` allocations that can fail succeed, and makes all later ones fail; `None` ends this. For tests
    /// of what happens when memory runs out, at each place where it may.
    pub fn fail_allocations_after(&mut self, n: Option<usize>) {
        self.allowed = n;
    }

    /// Counts an allocation, and returns whether it must fail.
    #[inline(always)]
    fn refuses(&mut self) -> bool {
        match &mut self.allowed {
            None => false,
            Some(0) => true,
            Some(n) => {
                *n -= 1;
                false
            }
        }
    }

    /// As [`Heap::alloc_small`], but collects first if necessary. The caller must fill the fields.
    #[inline(always)]
    pub unsafe fn alloc_young(
        &mut self,
        roots: &mut dyn Roots,
        wosize: usize,
        tag: u8,
    ) -> Result<Value, OutOfMemory> {
        // SAFETY: same contract.
        unsafe {
            match self.alloc_small(wosize, tag) {
                Some(v) => Ok(v),
                None => {
                    self.make_room(roots, wosize);
                    if self.sampler.is_some() && self.young.free_words() > wosize {
                        self.sample_young(roots, wosize);
                    }
                    self.alloc_small(wosize, tag).ok_or(OutOfMemory { words: wosize })
                }
            }
        }
    }

    /// A string block of `len` bytes, all zero. May collect.
    pub unsafe fn alloc_string(&mut self, roots: &mut dyn Roots, len: usize) -> Result<Value, OutOfMemory> {
        // SAFETY: same contract; the block has the words that the padding needs.
        unsafe {
            let v = self.alloc(roots, len / 8 + 1, tag::STRING)?;
            v.set_string_padding(len);
            Ok(v)
        }
    }

    /// A boxed float. May collect.
    #[inline]
    pub unsafe fn alloc_double(&mut self, roots: &mut dyn Roots, f: f64) -> Result<Value, OutOfMemory> {
        // SAFETY: same contract; the only field is filled.
        unsafe {
            let v = self.alloc_young(roots, 1, tag::DOUBLE)?;
            v.set_double_field(0, f);
            Ok(v)
        }
    }

    /// A block of at least one field in the old generation, initialised as by [`Heap::alloc`]. Never collects, but may
    /// make a collection due. The first write of each field must use [`Heap::initialize`].
    pub unsafe fn alloc_major(&mut self, wosize: usize, tag: u8) -> Result<Value, OutOfMemory> {
        // SAFETY: same contract.
        let made = unsafe { self.alloc_old(wosize, tag, false) };
        made.inspect_err(|_| self.refuse_unless_affordable(wosize))
    }

    /// As [`Heap::alloc_major`], but the block's address never changes.
    pub unsafe fn alloc_pinned(&mut self, wosize: usize, tag: u8) -> Result<Value, OutOfMemory> {
        // SAFETY: same contract.
        let made = unsafe { self.alloc_old(wosize, tag, true) };
        made.inspect_err(|_| self.refuse_unless_affordable(wosize))
    }

    unsafe fn alloc_old(&mut self, wosize: usize, tag: u8, pinned: bool) -> Result<Value, OutOfMemory> {
        debug_assert!(wosize > 0, "empty blocks are atoms");
        let error = OutOfMemory { words: wosize };
        let whsize = wosize.checked_add(1).filter(|_| wosize <= MAX_WOSIZE).ok_or(error)?;
        let single = whsize > crate::pages::MAX_CELL;
        if self.refuses() || (single || pinned) && !self.is_within_limit(whsize) {
            return Err(error);
        }
        let p = match (single, pinned) {
            (true, _) => self.old.alloc_large(whsize),
            (false, true) => self.old.alloc_pinned_cell(whsize),
            (false, false) => self.old.alloc_cell(whsize),
        };
        if p.is_null() {
            return Err(error);
        }
        self.counters.major_words += whsize as u64;
        self.pace.allocated(whsize);
        if self.pace.slice_due() {
            self.request();
        }
        // SAFETY: room for header and fields.
        unsafe {
            *p = Header::new(wosize, tag).with_colour(self.birth_colour()).bits();
            let v = Value::from_ptr(p.add(1));
            if !single || tag < tag::NO_SCAN {
                clear_fields(v, wosize, tag);
            }
            Ok(v)
        }
    }

    /// The colour of a new old block.
    #[inline(always)]
    pub(crate) fn birth_colour(&self) -> Colour {
        match self.cycle {
            Cycle::Mark => Colour::Black,
            Cycle::Idle | Cycle::Sweep => Colour::White,
        }
    }

    /// Called before an allocation outside the nursery, if a collection may happen now.
    pub(crate) unsafe fn before_large(&mut self, roots: &mut dyn Roots) {
        // SAFETY: same contract.
        unsafe {
            if self.config.mode == Mode::Torture {
                self.torture(roots);
            } else if self.due {
                self.poll(roots);
            }
        }
    }

    /// A custom block with a zeroed payload, which holds `outside_bytes` outside the heap. They must be 0 unless the
    /// kind counts them. May collect.
    ///
    /// # Panics
    /// If the kind's blocks own Rust values.
    pub unsafe fn alloc_custom(
        &mut self,
        roots: &mut dyn Roots,
        ops: &'static CustomOps,
        payload_words: usize,
        outside_bytes: usize,
    ) -> Result<Value, OutOfMemory> {
        // SAFETY: same contract.
        unsafe {
            assert!(!ops.owns, "custom blocks of this kind must be given the value that they own");
            self.alloc_custom_with(roots, ops, payload_words, outside_bytes)
        }
    }

    /// A custom block that owns `data` and drops it when it dies. May collect.
    ///
    /// # Panics
    /// If the kind's blocks own nothing.
    pub unsafe fn alloc_external(
        &mut self,
        roots: &mut dyn Roots,
        ops: &'static CustomOps,
        data: Box<dyn Any>,
        outside_bytes: usize,
    ) -> Result<Value, OutOfMemory> {
        // SAFETY: same contract; the payload has the words that the box takes.
        unsafe {
            assert!(ops.owns, "custom blocks of this kind own no value");
            let owned = owned_cost(&*data);
            if !self.account.allows(owned) {
                drop(self.charge(roots, owned)?);
            }
            let v = self.alloc_custom_with(roots, ops, BOX_WORDS, outside_bytes)?;
            self.owned_bytes += owned;
            self.account.take(owned);
            store_box(v, data);
            Ok(v)
        }
    }

    unsafe fn alloc_custom_with(
        &mut self,
        roots: &mut dyn Roots,
        ops: &'static CustomOps,
        payload_words: usize,
        outside_bytes: usize,
    ) -> Result<Value, OutOfMemory> {
        assert!(ops.counts || outside_bytes == 0, "blocks of this kind do not count bytes outside the heap");
        let counted = ops.counts;
        let wosize = 1 + payload_words + usize::from(counted);
        // SAFETY: same contract; words written are within the block.
        unsafe {
            self.young_customs.try_reserve(1).map_err(|_| OutOfMemory { words: wosize })?;
            if ops.traced {
                self.reserve_traced()?;
            }
            let v = if wosize <= MAX_YOUNG_WOSIZE && outside_bytes <= MAX_YOUNG_OUTSIDE {
                self.alloc(roots, wosize, tag::CUSTOM)?
            } else {
                self.before_large(roots);
                let v = self.alloc_major_or_collect(roots, wosize, tag::CUSTOM)?;
                self.sample_words(roots, v, [wosize, wosize + 1], SampleSource::Block);
                v
            };
            if outside_bytes > 0 {
                self.sample_words(roots, v, [outside_bytes / 8; 2], SampleSource::Outside);
            }
            v.set_word(0, ops.word());
            if counted {
                v.set_word(wosize - 1, outside_bytes as u64);
            }
            if self.is_young(v) {
                if ops.is_mourned() {
                    self.young_customs.push(v);
                }
                self.young_outside += outside_bytes;
                if self.young_outside > 8 * self.young.words() {
                    self.minor_due = true;
                    self.request();
                }
            }
            if counted {
                self.outside_bytes_add(outside_bytes);
            }
            self.traced += usize::from(ops.traced);
            Ok(v)
        }
    }

    /// Counts bytes outside the heap that belong to young blocks but of which the heap does not learn when they are freed:
    /// the next collections come sooner.
    pub unsafe fn hasten(&mut self, bytes: usize) {
        self.young_outside = self.young_outside.saturating_add(bytes);
        if self.young_outside > 8 * self.young.words() {
            self.minor_due = true;
            self.request();
        }
        self.pace.allocated(bytes / 8);
        if self.pace.slice_due() {
            self.request();
        }
    }

    /// Called before a root that the heap does not know of changes, outside a collection: while marking, what it holds
    /// must be found, as it was reachable when marking began.
    pub unsafe fn before_root_change(&mut self, v: Value) {
        // SAFETY: same contract.
        unsafe { self.read_weakly(v) };
    }

    /// The addresses of the nursery.
    pub fn nursery(&self) -> std::ops::Range<*mut u64> {
        self.young.start()..self.young.end
    }

    /// Makes room for one more block of a traced kind.
    fn reserve_traced(&mut self) -> Result<(), OutOfMemory> {
        let all = self.traced + 1;
        for list in [&mut self.promoted_traced, &mut self.marked_traced] {
            list.try_reserve(all - list.len()).map_err(|_| OutOfMemory { words: all })?;
        }
        Ok(())
    }

    /// Marks the values of a block of a traced kind now, if marking is under way. The client calls this before it changes
    /// them: what was reachable when marking began must be found (`mark.rs`).
    ///
    /// # Safety
    /// See [`raw`](crate::raw); `block` is of a traced kind.
    #[inline(always)]
    pub unsafe fn before_traced_change(&mut self, roots: &mut dyn Roots, block: Value) {
        if self.is_marking() {
            // SAFETY: same contract.
            unsafe { self.trace(roots, block, Phase::Mark) };
        }
    }

    /// Whether marking is under way.
    #[inline(always)]
    pub fn is_marking(&self) -> bool {
        self.cycle == Cycle::Mark
    }

    /// Shows the values of a block of a traced kind to the client's roots.
    ///
    /// # Safety
    /// A live block of a traced kind, during a collection of this phase.
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn trace(&mut self, roots: &mut dyn Roots, block: Value, phase: Phase) {
        // SAFETY: the block is alive, and nothing else has access to its data meanwhile.
        if let Some(data) = unsafe { external_mut(block) } {
            roots.trace(data, &mut Visitor::new(self, phase));
        }
    }

    /// Writes field `i` of a block.
    #[inline(always)]
    pub unsafe fn modify(&mut self, block: Value, i: usize, v: Value) {
        // SAFETY: same contract.
        unsafe {
            let slot = block.field_ptr(i);
            if self.is_young(block) {
                *slot = v;
            } else {
                self.modify_old(slot, v);
            }
        }
    }

    /// As [`Heap::modify`], if that needs no bookkeeping; otherwise does nothing and returns false.
    #[inline(always)]
    pub unsafe fn modify_quickly(&mut self, block: Value, i: usize, v: Value) -> bool {
        // SAFETY: same contract. While marking is off, writing an integer or an old block concerns neither the snapshot
        // nor the remembered set.
        unsafe {
            if !self.is_young(block) && (self.cycle == Cycle::Mark || self.is_young(v)) {
                return false;
            }
            *block.field_ptr(i) = v;
        }
        true
    }

    /// The write barrier. While marking, it marks the overwritten value (which may be reachable only in the snapshot at
    /// the beginning); and it remembers a slot that receives a young block.
    #[inline]
    unsafe fn modify_old(&mut self, slot: *mut Value, v: Value) {
        // SAFETY: same contract.
        unsafe {
            let before = std::mem::replace(&mut *slot, v);
            if before.is_block() {
                if self.is_young(before) {
                    return; // remembered already
                }
                if self.cycle == Cycle::Mark {
                    self.darken(before);
                }
            }
            if self.is_young_block(v) {
                self.remember(slot);
            }
        }
    }

    /// Writes field `i` of a block that may be old, for the first time since it was allocated.
    #[inline(always)]
    pub unsafe fn initialize(&mut self, block: Value, i: usize, v: Value) {
        // SAFETY: same contract.
        unsafe {
            let slot = block.field_ptr(i);
            *slot = v;
            if !self.is_young(block) && self.is_young_block(v) {
                self.remember(slot);
            }
        }
    }

    /// Makes a block smaller. `wosize` is at least 1 and at most its present size; not for custom blocks.
    pub unsafe fn truncate(&mut self, v: Value, wosize: usize) {
        // SAFETY: same contract. Cells and large allocations record their own size, so the words cut off are simply no
        // longer used. Marking works from the snapshot at the beginning, to which these words may belong.
        unsafe {
            let h = v.header();
            debug_assert!(0 < wosize && wosize <= h.wosize());
            if self.cycle == Cycle::Mark && h.tag() < tag::NO_SCAN && !self.is_young(v) {
                for i in wosize..h.wosize() {
                    let field = v.field(i);
                    if field.is_block() {
                        self.darken(field);
                    }
                }
            }
            // The remembered set may contain slots that are cut off, so overwrite them with an integer.
            if h.tag() < tag::NO_SCAN {
                for i in wosize..h.wosize() {
                    *v.field_ptr(i) = Value::UNIT;
                }
            }
            v.set_header(Header::new(wosize, h.tag()).with_colour(h.colour()));
        }
    }

    /// Whether [`Heap::poll`] has something to do.
    #[inline(always)]
    pub fn due(&self) -> bool {
        self.due
    }

    /// Called when the target of a weak reference is read: while marking, marks the target, since it may not be
    /// reachable in the snapshot at the beginning.
    pub(crate) unsafe fn read_weakly(&mut self, v: Value) {
        if self.cycle == Cycle::Mark && v.is_block() {
            // SAFETY: a valid value.
            unsafe { self.darken(v) }
        }
    }

    /// A rooted handle on a value.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub unsafe fn root_new(&mut self, v: Value) -> Result<RootId, OutOfMemory> {
        self.handles.roots.try_insert(v).map(RootId)
    }
    /// The value of a rooted handle.
    #[inline]
    pub fn root_get(&self, id: RootId) -> Value {
        self.handles.roots.get(id.0)
    }
    /// Changes the value of a rooted handle.
    pub unsafe fn root_set(&mut self, id: RootId, v: Value) {
        self.handles.roots.set(id.0, v);
    }
    /// Drops a rooted handle.
    pub unsafe fn root_drop(&mut self, id: RootId) {
        self.handles.roots.remove(id.0);
    }
    /// The number of rooted handles.
    pub fn root_count(&self) -> usize {
        self.handles.roots.len()
    }

    /// The target of a weak reference, which is not kept alive: for inspection only.
    pub fn weak_peek(&self, id: WeakId) -> Option<Value> {
        let v = self.handles.weaks.get(id.0);
        v.is_block().then_some(v)
    }

    /// A weak reference to a block: it follows the block when it moves, and is cleared when the block dies.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub unsafe fn weak_new(&mut self, v: Value) -> Result<WeakId, OutOfMemory> {
        self.handles.weaks.try_insert(v).map(WeakId)
    }
    /// The target of a weak reference, unless it has died.
    pub fn weak_get(&mut self, id: WeakId) -> Option<Value> {
        let v = self.handles.weaks.get(id.0);
        v.is_block().then(|| {
            // SAFETY: targets that died have been replaced by an integer.
            unsafe { self.read_weakly(v) };
            v
        })
    }
    /// Drops a weak reference.
    pub unsafe fn weak_drop(&mut self, id: WeakId) {
        self.handles.weaks.remove(id.0);
    }
    /// The number of finalisers: those whose value is alive, and those that are due.
    pub fn finaliser_count(&self) -> usize {
        self.finals.first.len() + self.finals.last.len() + self.finals.due.len()
    }
    /// The number of ephemerons and weak arrays.
    pub fn ephemeron_count(&self) -> usize {
        self.ephemerons.all.len()
    }
    /// The number of weak references.
    pub fn weak_count(&self) -> usize {
        self.handles.weaks.len()
    }

    /// The words, headers included, of all blocks reachable from `v`, as OCaml's `Obj.reachable_words` counts them.
    ///
    /// # Errors
    /// When there is no memory for the set of blocks that have been counted.
    pub unsafe fn reachable_words(&self, v: Value) -> Result<usize, OutOfMemory> {
        // SAFETY: same contract.
        unsafe { self.reachable_words_unless(v, &mut Seen::default(), || Ok(())) }
    }

    /// As [`Heap::reachable_words`], but calls `go_on` from time to time, and stops when it fails. `seen` records the
    /// blocks that have been counted.
    ///
    /// # Errors
    /// When there is no memory for `seen`, or `go_on` fails.
    pub unsafe fn reachable_words_unless<E: From<OutOfMemory>>(
        &self,
        v: Value,
        seen: &mut Seen,
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut steps = 0usize;
        let mut todo = vec![v];
        let mut words = 0;
        let none = |_: TryReserveError| OutOfMemory { words: 0 };
        while let Some(v) = todo.pop() {
            steps += 1;
            // Checks often, as each step may miss the cache and needs a lookup.
            if steps.is_multiple_of(BLOCKS_AT_ONCE / 16) {
                go_on()?;
            }
            if v.is_int() || self.is_naked(v) || !seen.count_outside && self.is_atom(v) {
                continue;
            }
            // SAFETY: reachable blocks are valid.
            unsafe {
                if !seen.count_outside && v.is_outside() {
                    continue;
                }
                let v = v.enclosing();
                if !seen.insert(v).map_err(none)? {
                    continue;
                }
                let h = v.header();
                // It belongs to the machine, not to the program.
                if h.tag() == tag::CUSTOM && is_traced(v) {
                    continue;
                }
                words += h.whsize();
                if h.tag() < tag::NO_SCAN {
                    for from in (0..h.wosize()).step_by(BLOCKS_AT_ONCE) {
                        let fields = from..h.wosize().min(from + BLOCKS_AT_ONCE);
                        todo.try_reserve(fields.len()).map_err(none)?;
                        todo.extend(fields.map(|i| v.field(i)).filter(|f| f.is_block()));
                        if from > 0 {
                            go_on()?;
                        }
                    }
                }
            }
        }
        Ok(words)
    }
}

/// A set of blocks, by their addresses. A large set is divided into many small ones: a single one would cause a long
/// pause whenever it grows.
#[derive(Default)]
pub struct Seen {
    /// Whether empty blocks and blocks outside the heap are counted, too.
    count_outside: bool,
    few: HashSet<u64>,
    many: Vec<HashSet<u64>>,
}

impl Seen {
    /// An empty set, for counting all blocks, or only those that are in the heap.
    pub fn counting(outside: bool) -> Seen {
        Seen { count_outside: outside, ..Seen::default() }
    }

    const FEW: usize = 1 << 14;
    const PARTS: usize = 1 << 12;

    /// Adds a block, and returns whether it is new.
    fn insert(&mut self, v: Value) -> Result<bool, TryReserveError> {
        let v = v.bits();
        let mut set = &mut self.few;
        if set.len() >= Self::FEW {
            if set.contains(&v) {
                return Ok(false);
            }
            if self.many.is_empty() {
                self.many.try_reserve_exact(Self::PARTS)?;
                self.many.resize_with(Self::PARTS, HashSet::new);
            }
            let hash = v.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            set = &mut self.many[(hash >> 32) as usize % Self::PARTS];
        }
        set.try_reserve(1)?;
        Ok(set.insert(v))
    }

    /// Roughly the bytes that it takes.
    pub fn bytes(&self) -> usize {
        let sets = self.many.iter().chain([&self.few]);
        sets.map(|set| set.capacity() * size_of::<u64>()).sum()
    }
}

/// Fills a block with unit if its fields are scanned, else with zeros.
///
/// # Safety
/// `v` is a block of at least `wosize` words.
#[inline(always)]
unsafe fn clear_fields(v: Value, wosize: usize, tag: u8) {
    let with = if tag < tag::NO_SCAN { Value::UNIT.bits() } else { 0 };
    // SAFETY: by contract.
    unsafe { crate::pages::fill(v.as_ptr(), wosize, with) }
}
