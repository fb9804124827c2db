//! Statistical memory profiling (`memprof.c`): blocks selected by the heap's sampling are tracked, and the program's
//! tracker is called when they are allocated, promoted and freed.
//!
//! When the program's own code allocates a young block, the tracker is called before the block exists, and may raise
//! instead. All other events are reported at the next safe point.

use spelter_heap::raw::{RootId, Sample, SampleSource, Value, WeakId};

use crate::Machine;
use crate::fallible;
use crate::inspect::backtrace::CodePoint;
use crate::prim::{Raise, Res, Slot};

/// Fields of `Gc.Memprof.tracker`.
const ALLOC_MINOR: usize = 0;
const ALLOC_MAJOR: usize = 1;
const PROMOTE: usize = 2;
const DEALLOC_MINOR: usize = 3;
const DEALLOC_MAJOR: usize = 4;

/// `Gc.Memprof.allocation_source`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AllocationSource {
    Normal = 0,
    Marshal = 1,
    Custom = 2,
    MapFile = 3,
}

/// An allocation that has not been reported to the tracker.
pub(crate) struct Fresh {
    /// `None` while the block does not exist yet.
    block: Option<WeakId>,
    count: usize,
    words: usize,
    source: AllocationSource,
    young: bool,
    /// The profile for which it was sampled.
    profile: u64,
    callstack: Vec<CodePoint>,
}

impl Fresh {
    pub(crate) fn of(
        sample: Sample,
        source: AllocationSource,
        profile: u64,
        callstack: Vec<CodePoint>,
    ) -> Fresh {
        let Sample { block, count, words, young, .. } = sample;
        Fresh { block: Some(block), count, words, source, young, profile, callstack }
    }
}

/// A block for which the tracker keeps some data.
#[derive(Clone, Copy)]
struct Tracked {
    /// Its number. Later entries have larger numbers.
    id: u64,
    /// `None` when it has died.
    block: Option<WeakId>,
    data: RootId,
    /// The profile that tracks it.
    profile: u64,
    /// Whether it was allocated young and has not been promoted.
    young: bool,
    promoted: bool,
    promotion_reported: bool,
    /// Whether it is being reported to the tracker right now, or does not exist yet.
    busy: bool,
    /// Whether its data has been dropped, so that the entry can be removed.
    forgotten: bool,
}

/// A profile.
#[derive(Clone, Copy)]
struct Profile {
    /// Its number. Later ones have larger numbers.
    number: u64,
    tracker: RootId,
    rate: f64,
    /// Points of call stacks.
    depth: usize,
    /// Whether it still takes samples.
    sampling: bool,
}

/// The profiles, and the blocks that they track. Each domain takes samples for one of them at most.
pub(crate) struct Memprof {
    /// Sorted by number.
    profiles: Vec<Profile>,
    /// The number of the next profile.
    next_profile: u64,
    /// Sorted by number. The tracker may let other threads run, so several threads may use the entries in turn.
    entries: Vec<Tracked>,
    next: u64,
    /// The numbers of minor and major collections when the entries were last checked.
    seen: (usize, usize),
    /// Whether there are unreported events from here on.
    unreported: bool,
    number: u64,
}

impl Memprof {
    fn profile(&self, number: u64) -> Option<&Profile> {
        let i = self.profiles.binary_search_by_key(&number, |profile| profile.number).ok()?;
        Some(&self.profiles[i])
    }

    fn profile_mut(&mut self, number: u64) -> Option<&mut Profile> {
        let i = self.profiles.binary_search_by_key(&number, |profile| profile.number).ok()?;
        Some(&mut self.profiles[i])
    }

    fn tracker(&self, number: u64) -> Option<RootId> {
        self.profile(number).map(|profile| profile.tracker)
    }

    fn entry(&mut self, id: u64) -> Option<&mut Tracked> {
        let i = self.entries.binary_search_by_key(&id, |entry| entry.id).ok()?;
        Some(&mut self.entries[i])
    }
}

impl Machine {
    // ---- start and stop -----------------------------------------------------------------------------

    /// Whether a profile is running.
    pub fn is_profiling(&self) -> bool {
        self.memprof.is_some()
    }

    /// Starts a profile. Words are sampled at this rate, from 0 to 1, with call stacks of up to `depth` points. The
    /// slot holds a `Gc.Memprof.tracker`.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn start_profile(&mut self, rate: f64, depth: usize, tracker: Slot) -> Result<(), Raise> {
        self.start_next_profile(rate, depth, tracker).map(drop)
    }

    /// Makes the heap take samples if the running domain's profile does, and as that asks for.
    pub(crate) fn settle_sampling(&mut self) {
        let number = self.roots.threads.domains.profile();
        let profile = self.memprof.as_ref().and_then(|memprof| memprof.profile(number).copied());
        match profile.filter(|profile| profile.sampling) {
            Some(Profile { rate, depth, .. }) => {
                self.roots.sample_depth = depth;
                if rate > 0.0 && !self.heap.has_sampler() {
                    self.heap.start_sampling(rate);
                    self.heap.pause_sampling(self.roots.thread.in_tracker);
                }
            }
            None if self.heap.has_sampler() => self.heap.stop_sampling(),
            None => {}
        }
    }

    // ---- profiles that end in two steps: first they take no more samples, then they are discarded ------

    /// Whether the running domain takes samples for a profile.
    pub fn is_sampling(&self) -> bool {
        let number = self.roots.threads.domains.profile();
        let profile = self.memprof.as_ref().and_then(|memprof| memprof.profile(number));
        profile.is_some_and(|profile| profile.sampling)
    }

    /// The number of the profile for which the running domain takes samples, or took them last.
    pub fn current_profile(&self) -> u64 {
        self.roots.threads.domains.profile()
    }

    /// Whether a domain takes samples for a profile, or took them last.
    pub fn has_profile(&self, number: u64) -> bool {
        self.roots.threads.domains.knows_profile(number)
    }

    /// Starts a profile in the running domain, like [`Machine::start_profile`], and returns its number. Blocks that
    /// earlier profiles track stay tracked, but in this domain these take no more samples.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn start_next_profile(&mut self, rate: f64, depth: usize, tracker: Slot) -> Result<u64, Raise> {
        fallible::afford(0)?;
        self.drop_unused_profiles();
        if let Some(memprof) = &mut self.memprof {
            memprof.profiles.try_reserve(1)?;
        }
        // SAFETY: a slot holds a valid value.
        let tracker = unsafe { self.heap.root_new(self.raw(tracker)) }?;
        if self.memprof.is_none() {
            self.profiles += 1;
            self.memprof = Some(Box::new(Memprof {
                profiles: Vec::new(),
                next_profile: 0,
                entries: Vec::new(),
                next: 0,
                seen: self.collections(),
                unreported: false,
                number: self.profiles,
            }));
        }
        let Some(memprof) = &mut self.memprof else { return Ok(0) };
        let number = memprof.next_profile;
        memprof.next_profile += 1;
        memprof.profiles.push(Profile { number, tracker, rate, depth, sampling: true });
        self.roots.threads.domains.set_profile(number);
        self.heap.stop_sampling();
        self.settle_sampling();
        Ok(number)
    }

    /// Drops the profiles that track nothing and for which no domain takes samples, when there is no room for another one.
    fn drop_unused_profiles(&mut self) {
        let Some(memprof) = &mut self.memprof else { return };
        let Memprof { profiles, entries, .. } = &mut **memprof;
        if profiles.len() < profiles.capacity() {
            return;
        }
        let roots = &self.roots;
        profiles.retain(|profile| {
            let number = profile.number;
            let mut of_threads =
                roots.threads.suspended().map(|(_, thread)| &thread.fresh).chain([&roots.thread.fresh]);
            let used = roots.threads.domains.knows_profile(number)
                || of_threads.any(|fresh| fresh.iter().any(|fresh| fresh.profile == number))
                || entries.iter().any(|entry| entry.profile == number);
            if !used {
                // SAFETY: made when the profile began.
                unsafe { self.heap.root_drop(profile.tracker) };
            }
            used
        });
    }

    /// Takes no more samples for the running domain's profile, in any domain; tracked blocks stay tracked.
    pub fn stop_sampling(&mut self) {
        let number = self.roots.threads.domains.profile();
        if let Some(profile) = self.memprof.as_mut().and_then(|memprof| memprof.profile_mut(number)) {
            profile.sampling = false;
        }
        self.settle_sampling();
    }

    /// Forgets the blocks that a profile tracks.
    pub fn discard_profile(&mut self, number: u64) {
        self.drop_fresh(Some(number));
        let of_profile = |entry: &&Tracked| entry.profile == number;
        let ids: Vec<u64> =
            self.memprof.iter().flat_map(|p| p.entries.iter().filter(of_profile)).map(|e| e.id).collect();
        for id in ids {
            self.forget_entry(id);
        }
        if !self.roots.thread.in_tracker
            && let Some(memprof) = &mut self.memprof
        {
            memprof.entries.retain(|entry| !entry.forgotten);
        }
    }

    /// Reports the pending events of this thread now.
    ///
    /// # Errors
    /// What the tracker raised.
    pub fn report_samples(&mut self) -> Result<(), Raise> {
        self.run_tracker()
    }

    /// Stops the profile. Tracked blocks are forgotten, and the tracker is no longer called.
    pub fn stop_profile(&mut self) {
        self.heap.stop_sampling();
        let Some(memprof) = self.memprof.take() else { return };
        for entry in &memprof.entries {
            self.forget(entry);
        }
        self.drop_fresh(None);
        for profile in &memprof.profiles {
            // SAFETY: made when the profile began.
            unsafe { self.heap.root_drop(profile.tracker) };
        }
    }

    /// Drops the allocations that have not been reported, of one profile or of all.
    fn drop_fresh(&mut self, of: Option<u64>) {
        let roots = &mut self.roots;
        let of_threads = roots.threads.suspended_mut().map(|(_, thread)| &mut thread.fresh);
        let mut dropped = Vec::new();
        for fresh in of_threads.chain([&mut roots.thread.fresh]) {
            fresh.retain(|fresh| {
                let goes = of.is_none_or(|profile| fresh.profile == profile);
                if goes {
                    dropped.push(fresh.block);
                }
                !goes
            });
        }
        for block in dropped {
            self.drop_sampled(block);
        }
    }

    /// Stops all calls of the tracker for good, because the program is about to end.
    pub fn suspend_profile(&mut self) {
        self.set_in_tracker(true);
    }

    /// While the tracker runs in a thread, allocations of that thread are not sampled, and the tracker is not called in
    /// it.
    fn set_in_tracker(&mut self, in_tracker: bool) {
        self.roots.thread.in_tracker = in_tracker;
        self.heap.pause_sampling(in_tracker);
    }

    fn collections(&self) -> (usize, usize) {
        let stats = self.heap.quick_stats();
        (stats.minor_collections, stats.major_collections)
    }

    fn drop_sampled(&mut self, block: Option<WeakId>) {
        if let Some(block) = block {
            // SAFETY: made for this sample, dropped once.
            unsafe { self.heap.weak_drop(block) };
        }
    }

    /// Drops what an entry holds, once.
    fn forget(&mut self, entry: &Tracked) {
        if !entry.forgotten {
            self.drop_sampled(entry.block);
            // SAFETY: made for this entry, dropped once.
            unsafe { self.heap.root_drop(entry.data) };
        }
    }

    /// Drops an entry of the running profile.
    fn forget_entry(&mut self, id: u64) {
        let Some(entry) = self.memprof.as_mut().and_then(|profile| profile.entry(id)) else { return };
        let gone = Tracked { forgotten: std::mem::replace(&mut entry.forgotten, true), ..*entry };
        entry.block = None;
        self.forget(&gone);
    }

    // ---- samples -----------------------------------------------------------------------------------

    /// Runs before code allocates a young block of `wosize` fields, for which there is room. If the block is sampled,
    /// the tracker is called. If it wants to track the block, this returns the number under which
    /// [`Machine::sampled_block`] continues.
    ///
    /// # Errors
    /// What the tracker raised.
    #[cold]
    pub(crate) fn sample_before(&mut self, wosize: usize) -> Result<Option<u64>, Raise> {
        let count = self.heap.young_samples(wosize);
        if count == 0 {
            return Ok(None);
        }
        self.in_event_frame(|m| {
            let callstack = m.roots.thread.callstack(&m.registry.borrow(), m.roots.sample_depth)?;
            let fresh = Fresh {
                block: None,
                count,
                words: wosize,
                source: AllocationSource::Normal,
                young: true,
                profile: m.roots.threads.domains.profile(),
                callstack,
            };
            m.set_in_tracker(true);
            let result = m.report_allocation(fresh);
            m.set_in_tracker(false);
            result
        })
    }

    /// Runs once the block of [`Machine::sample_before`] has been allocated. If that failed, the tracker learns that the
    /// block has died.
    pub(crate) fn sampled_block(&mut self, id: u64, block: Option<Value>) {
        // SAFETY: just allocated.
        let block = block.and_then(|block| unsafe { self.heap.weak_new(block) }.ok());
        match self.memprof.as_mut().and_then(|profile| profile.entry(id)) {
            Some(entry) => {
                entry.block = block;
                entry.busy = false;
            }
            None => self.drop_sampled(block),
        }
        if let (Some(profile), None) = (&mut self.memprof, block) {
            profile.unreported = true;
        }
        self.heap.draw_young_sample();
    }

    /// Samples an old block that code has allocated, or a block that was unmarshalled.
    #[cold]
    pub(crate) fn sample_block(&mut self, v: Value, wosize: usize, source: AllocationSource) {
        self.sample_words(v, [wosize, wosize + 1], source);
    }

    /// Samples the bytes of a mapped file, to which a new block belongs.
    #[cold]
    pub(crate) fn sample_mapped(&mut self, v: Value, bytes: usize) {
        self.sample_words(v, [bytes.div_ceil(8); 2], AllocationSource::MapFile);
    }

    /// Samples what a new block stands for: the words to report, and as many as are counted.
    fn sample_words(&mut self, v: Value, [wosize, counted]: [usize; 2], source: AllocationSource) {
        let count = self.heap.samples_among(counted);
        if count == 0 {
            return;
        }
        // SAFETY: a block just allocated.
        let Ok(block) = (unsafe { self.heap.weak_new(v) }) else { return };
        let young = self.heap.weak_age(block) == Some(true);
        let callstack = self.roots.thread.callstack(&self.registry.borrow(), self.roots.sample_depth);
        let sample = Sample { block, count, words: wosize, source: SampleSource::Block, young };
        let profile = self.roots.threads.domains.profile();
        let noted = |callstack| self.roots.thread.note_fresh(sample, source, profile, callstack);
        if !callstack.is_ok_and(noted) {
            // A sample for which there is no memory is dropped.
            self.drop_sampled(Some(block));
        }
        self.request_action();
    }

    // ---- calling the tracker ------------------------------------------------------------------------

    /// Checks what collections have done to the tracked blocks.
    fn check_entries(&mut self) {
        let now = self.collections();
        let Some(profile) = &mut self.memprof else { return };
        if std::mem::replace(&mut profile.seen, now) == now {
            return;
        }
        for entry in &mut profile.entries {
            let Some(block) = entry.block else { continue };
            match self.heap.weak_age(block) {
                None => {
                    // SAFETY: the entry's own, dropped once.
                    unsafe { self.heap.weak_drop(block) };
                    entry.block = None;
                    profile.unreported = true;
                }
                Some(false) if entry.young => {
                    (entry.young, entry.promoted, profile.unreported) = (false, true, true);
                }
                Some(_) => {}
            }
        }
    }

    /// Reports pending events to the tracker.
    ///
    /// # Errors
    /// What the tracker raised. The remaining events are reported later.
    pub(crate) fn run_tracker(&mut self) -> Result<(), Raise> {
        if self.memprof.is_none() {
            return Ok(());
        }
        self.check_entries();
        let profile = self.memprof.as_ref().expect("just tested");
        if self.roots.thread.in_tracker || !profile.unreported && self.roots.thread.fresh.is_empty() {
            return Ok(());
        }
        self.set_in_tracker(true);
        let outcome = self.report_all();
        if let Some(profile) = &mut self.memprof {
            profile.entries.retain(|entry| !entry.forgotten);
        }
        self.set_in_tracker(false);
        if outcome.is_err() {
            self.request_action();
        }
        outcome
    }

    fn report_all(&mut self) -> Result<(), Raise> {
        while let Some(fresh) = self.roots.thread.fresh.pop_front() {
            self.report_allocation(fresh)?;
        }
        // Some blocks may have died or been promoted before they were reported to the tracker.
        self.check_entries();
        let mut i = 0;
        while let Some(profile) = &mut self.memprof {
            let Some(entry) = profile.entries.get_mut(i) else {
                profile.unreported = false;
                break;
            };
            let id = entry.id;
            let which = match (entry.busy || entry.forgotten, entry.promoted && !entry.promotion_reported) {
                (true, _) => None,
                (false, true) => Some(PROMOTE),
                (false, false) if entry.block.is_some() => None,
                (false, false) => Some(if entry.young { DEALLOC_MINOR } else { DEALLOC_MAJOR }),
            };
            let Some(which) = which else {
                i += 1;
                continue;
            };
            entry.promotion_reported |= which == PROMOTE;
            self.report_entry(id, which)?;
            i = self.memprof.as_ref().map_or(0, |profile| profile.entries.partition_point(|e| e.id < id));
        }
        Ok(())
    }

    /// Calls a function of an entry's tracker with the entry's data. The result is in a new slot.
    fn call_tracker(&mut self, which: usize, entry: Tracked) -> Result<Slot, Raise> {
        let tracker = self.memprof.as_ref().and_then(|memprof| memprof.tracker(entry.profile));
        let Some(tracker) = tracker else { return Ok(self.push_int(0)) };
        let (tracker, data) = (self.heap.root_get(tracker), self.heap.root_get(entry.data));
        let tracker = self.push_raw(tracker);
        let data = self.push_raw(data);
        let function = self.push_field(tracker, which)?;
        self.push(|m| m.call(function, &[data]))
    }

    /// Reports an allocation. Returns the entry's number, if the tracker wants to track the block.
    fn report_allocation(&mut self, fresh: Fresh) -> Result<Option<u64>, Raise> {
        let Some(id) = self.new_entry(&fresh) else {
            // There is no memory to track it.
            self.drop_sampled(fresh.block);
            return Ok(None);
        };
        let mark = self.mark();
        let number = self.profiles;
        let result = self.report_fresh(&fresh);
        let data =
            result.as_ref().ok().and_then(|answer| self.val(*answer).field(0).ok()).map(|data| data.raw());
        let seen = self.collections();
        // The tracker may have ended the profile, or discarded what it tracks.
        let running = self.memprof.as_mut().filter(|profile| profile.number == number);
        let entry = running.and_then(|profile| {
            // What has happened to the block since its allocation is found at the next check.
            profile.seen = (seen.0.wrapping_sub(1), seen.1);
            profile.entry(id).filter(|entry| !entry.forgotten)
        });
        let kept = match (entry, data) {
            (Some(entry), Some(data)) => {
                entry.busy = fresh.block.is_none();
                // SAFETY: a value just read from a block; the root lives as long as the entry.
                unsafe { self.heap.root_set(entry.data, data) };
                Some(id)
            }
            (Some(_), None) => {
                self.forget_entry(id);
                None
            }
            (None, _) => None,
        };
        // Most allocations are not tracked: their entries must not pile up.
        while let Some(profile) = &mut self.memprof
            && profile.entries.pop_if(|entry| entry.forgotten).is_some()
        {}
        self.release(mark);
        result.map(|_| kept)
    }

    /// An entry for a block that is about to be reported. `None` if there is no profile, or no memory.
    fn new_entry(&mut self, fresh: &Fresh) -> Option<u64> {
        let profile = self.memprof.as_mut()?;
        profile.entries.try_reserve(1).ok()?;
        // SAFETY: an integer.
        let data = unsafe { self.heap.root_new(Value::UNIT) }.ok()?;
        let id = profile.next;
        profile.entries.push(Tracked {
            id,
            block: fresh.block,
            data,
            profile: fresh.profile,
            young: fresh.young,
            promoted: false,
            promotion_reported: false,
            busy: true,
            forgotten: false,
        });
        profile.next += 1;
        Some(id)
    }

    fn report_fresh(&mut self, fresh: &Fresh) -> Result<Slot, Raise> {
        let count = self.push_int(fresh.count as i64);
        let words = self.push_int(fresh.words as i64);
        let source = self.push_int(fresh.source as i64);
        let callstack = self.push(|m| m.new_raw_backtrace(&fresh.callstack))?;
        let info = self.push(|m| m.new_block(0, &[count, words, source, callstack]))?;
        let tracker = self.memprof.as_ref().and_then(|memprof| memprof.tracker(fresh.profile));
        let Some(tracker) = tracker else { return Ok(self.push_int(0)) };
        let tracker = self.heap.root_get(tracker);
        let tracker = self.push_raw(tracker);
        let which = if fresh.young { ALLOC_MINOR } else { ALLOC_MAJOR };
        let function = self.push_field(tracker, which)?;
        self.push(|m| m.call(function, &[info]))
    }

    /// Reports an event of an entry, which is dropped unless the tracker returns new data for it.
    fn report_entry(&mut self, id: u64, which: usize) -> Result<(), Raise> {
        let Some(profile) = &mut self.memprof else { return Ok(()) };
        let number = profile.number;
        let Some(entry) = profile.entry(id) else { return Ok(()) };
        entry.busy = true;
        let (entry, data) = (*entry, entry.data);
        let mark = self.mark();
        let result = self.call_tracker(which, entry);
        let same = self.memprof.as_ref().is_some_and(|profile| profile.number == number);
        let kept =
            result.as_ref().ok().and_then(|answer| self.val(*answer).field(0).ok()).map(|data| data.raw());
        if let (true, Some(profile)) = (same, &mut self.memprof) {
            if let Some(entry) = profile.entry(id) {
                entry.busy = false;
            }
            match kept {
                // SAFETY: a value just read from a root.
                Some(v) if which == PROMOTE && profile.entry(id).is_some_and(|entry| !entry.forgotten) => unsafe {
                    self.heap.root_set(data, v);
                },
                _ => self.forget_entry(id),
            }
        }
        self.release(mark);
        result.map(drop)
    }

    /// A raw backtrace in the form that programs use: an array of integers.
    ///
    /// # Errors
    /// When memory is exhausted.
    pub fn new_raw_backtrace(&mut self, points: &[CodePoint]) -> Res<'_> {
        // Large arrays are old blocks, but integers need no barrier there, and no slots here.
        let array = self.push(|m| m.new_block_sized(0, points.len()))?;
        for (i, point) in points.iter().enumerate() {
            self.set_field_int(array, i, point.to_int())?;
        }
        Ok(self.val(array))
    }
}
