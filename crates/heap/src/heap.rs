//! The heap: its settings, its state, its statistics.

use crate::account::Account;
use crate::ephemeron::Ephemerons;
use crate::finalise::Finalisers;
use crate::limited;
use crate::mark::MarkStack;
use crate::observe::Observer;
use crate::pace::Pace;
use crate::pages::Pages;
use crate::root::RootTable;
use crate::roots::Handles;
use crate::sampling::Sampler;
use crate::scope::shadow::Shadow;
use crate::value::{Colour, Header, Value, tag};
use crate::verify::Torture;
use crate::young::Young;
use std::any::Any;
use std::convert::Infallible;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a heap collects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// It collects when a collection is due.
    #[default]
    Plain,
    /// It never collects, and frees memory only when it is dropped. For telling the collector's bugs from others.
    Never,
    /// It collects at every allocation, poisons freed memory and verifies the heap. For finding values that were not
    /// rooted. Slow.
    Torture,
}

/// Settings of a heap.
#[derive(Clone, Debug)]
pub struct Config {
    /// The size of the nursery in words.
    pub nursery_words: usize,
    /// How much memory may be wasted, in percent of the live data, before dead data is collected.
    pub space_overhead: u32,
    /// How much free memory, in percent of the live data, triggers a compaction. Values from 1000000 on disable
    /// compaction.
    pub max_overhead: u32,
    /// How it collects.
    pub mode: Mode,
    /// The maximum number of words that the old generation may take from the system, together with what is
    /// [charged](Heap::charge) for memory outside of it. `None` means no limit.
    pub max_words: Option<usize>,
    /// The maximum number of bytes that the heap may hold, whatever it is for: the old generation, the nursery and what
    /// emptying it may take, the collector's tables, what is [charged](Heap::charge), and what the client
    /// [states](crate::raw::Roots::held_bytes). A request for more fails if a full collection does not free enough, and
    /// [`Heap::on_refusal`] is called. Below some megabytes, little can be allocated. `None` means no limit.
    pub max_bytes: Option<usize>,
    /// The maximum number of entries of the mark stack. When it overflows, marking rescans the heap instead.
    pub mark_stack_limit: usize,
    /// In torture mode, the minimum number of allocations between two complete collections.
    pub torture_period: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            nursery_words: 256 << 10,
            space_overhead: 120,
            max_overhead: 500,
            mode: Mode::Plain,
            max_words: None,
            max_bytes: None,
            mark_stack_limit: 64 << 20,
            torture_period: 101,
        }
    }
}

/// The heap has no room for a block, and cannot or may not grow enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("out of memory: the heap has no room for a block of {words} words, nor may it grow")]
pub struct OutOfMemory {
    /// The size requested.
    pub words: usize,
}

/// The phase of the major collection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cycle {
    /// Between two collections. Old blocks are white.
    Idle,
    /// Marking. Old blocks are white until reached, then black; new ones are black.
    Mark,
    /// Sweeping. In pages not swept yet, white blocks are dead and black ones alive; elsewhere blocks are white.
    Sweep,
}

/// The remembered set does not grow beyond this number of slots.
const MOST_REMEMBERED: usize = 4 << 20;

/// A nursery of this many words is emptied in a few milliseconds.
const SHORT_NURSERY: usize = 256 << 10;

/// From this many remembered slots on, a minor collection is requested.
pub(crate) const MANY_REMEMBERED: usize = 128 << 10;

/// The numbers of blocks and of pages visited between two checks for an interruption.
pub(crate) const BLOCKS_AT_ONCE: usize = 1 << 14;
const PAGES_AT_ONCE: usize = 64;

/// Totals since the heap was made.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) minor_words: u64,
    pub(crate) promoted_words: u64,
    pub(crate) major_words: u64,
    pub(crate) minor_collections: usize,
    pub(crate) major_collections: usize,
    pub(crate) forced_major_collections: usize,
    pub(crate) compactions: usize,
    /// The size of the old generation when sweeping began.
    pub(crate) words_to_sweep: usize,
    /// The sum of what collections found to be wasted, in percent of the live data, and their number.
    pub(crate) overheads: (f64, usize),
}

/// Everything that OCaml's `Gc.stat`, `quick_stat` and `counters` report. Words include headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Words allocated in the nursery.
    pub minor_words: u64,
    /// Words that outlived a minor collection.
    pub promoted_words: u64,
    /// Words allocated in the old generation, promoted ones included.
    pub major_words: u64,
    /// Minor collections.
    pub minor_collections: usize,
    /// Completed major collections.
    pub major_collections: usize,
    /// Completed major collections that were requested explicitly.
    pub forced_major_collections: usize,
    /// Compactions.
    pub compactions: usize,
    /// The size of the old generation.
    pub heap_words: usize,
    /// The pages and single blocks that it consists of.
    pub heap_chunks: usize,
    /// The largest value that `heap_words` has had.
    pub top_heap_words: usize,
    /// Words in blocks. Dead ones count until swept.
    pub live_words: usize,
    /// Blocks.
    pub live_blocks: usize,
    /// Words in free cells.
    pub free_words: usize,
    /// Free cells.
    pub free_blocks: usize,
    /// The largest free cell.
    pub largest_free: usize,
    /// Words lost between the end of a block and the end of its cell, and at the ends of pages.
    pub fragments: usize,
}

/// A garbage-collected heap.
///
/// Its safe methods may collect every block that is not reachable from a [`Root`](crate::Root). The unsafe methods are
/// for language runtimes: see [`raw`](crate::raw).
pub struct Heap {
    pub(crate) young: Young,
    /// Whether [`Heap::poll`] has something to do.
    pub(crate) due: bool,
    /// Set when the client should call [`Heap::poll`] although it does not allocate.
    attention: Option<Arc<AtomicBool>>,
    pub(crate) minor_due: bool,
    pub(crate) cycle: Cycle,
    /// Slots of old blocks that may hold young ones.
    pub(crate) remembered: Vec<*mut Value>,
    /// The remembered set has overflowed: any slot of an old block may hold a young block.
    pub(crate) remembered_overflow: bool,
    pub(crate) old: Pages,
    pub(crate) marker: MarkStack,
    /// Promoted blocks whose fields have not been promoted yet.
    pub(crate) promoted: Vec<Value>,
    /// Blocks of traced kinds that have been promoted, and whose values have not.
    pub(crate) promoted_traced: Vec<Value>,
    /// Blocks of traced kinds that have been marked, and whose values have not. Both lists have room for all such blocks.
    pub(crate) marked_traced: Vec<Value>,
    /// The number of blocks of traced kinds.
    pub(crate) traced: usize,
    pub(crate) ephemerons: Ephemerons,
    /// Whether minor collections leave the keys of ephemerons alone.
    pub(crate) keeps_young_keys: bool,
    /// Whether marking leaves references to forced suspensions alone.
    pub(crate) keeps_old_suspensions: bool,
    pub(crate) finals: Finalisers,
    pub(crate) handles: Handles,
    /// Young custom blocks that need an action when they die.
    pub(crate) young_customs: Vec<Value>,
    /// Bytes that young blocks hold outside the heap.
    pub(crate) young_outside: usize,
    pub(crate) pace: Pace,
    pub(crate) compaction_due: bool,
    /// The maximum number of nursery words in use, whatever its size.
    pub(crate) most_young: usize,
    /// All memory that counts towards a limit; shared with each [`Charge`](crate::Charge).
    pub(crate) account: Arc<Account>,
    /// The bytes of values that custom blocks own.
    pub(crate) owned_bytes: usize,
    /// What the client held at the last collection.
    pub(crate) client_bytes: usize,
    /// What emptying the nursery may take, if there is a limit of all memory.
    pub(crate) set_aside: usize,
    /// The limit of all memory leaves too little for the nursery.
    pub(crate) overdrawn: bool,
    pub(crate) counters: Counters,
    pub(crate) config: Config,
    /// How many allocations may still succeed; see [`Heap::fail_allocations_after`].
    pub(crate) allowed: Option<usize>,
    pub(crate) torture: Torture,
    /// Set while blocks are being moved, marked or swept. If it is set outside of a collection, a collection has
    /// panicked.
    pub(crate) under_way: bool,
    /// Samples allocations, if sampling is on.
    pub(crate) sampler: Option<Box<Sampler>>,
    /// Who is told about collections.
    pub(crate) observer: Option<Box<dyn Observer>>,
    /// One header per tag, and a last word that is not a header; see [`Heap::atom`].
    atoms: Box<[u64; 257]>,
    /// The slots of the safe roots; the table's address also identifies the heap.
    pub(crate) safe_roots: Rc<RootTable>,
    /// The values behind the handles of open scopes.
    pub(crate) shadow: Shadow,
}

impl Heap {
    /// An empty heap.
    pub fn new(config: Config) -> Heap {
        let account = Account::new(config.max_bytes);
        Heap::with_account(config, account)
    }

    pub(crate) fn with_account(mut config: Config, account: Account) -> Heap {
        limited::fit(&mut config);
        let mut atoms = Box::new([0; 257]);
        for (tag, header) in (0..=255).zip(atoms.iter_mut()) {
            *header = Header::new(0, tag).with_colour(Colour::Black).bits();
        }
        let torture = config.mode == Mode::Torture;
        let account = Arc::new(account);
        let shadow = Shadow::new(Arc::clone(&account));
        let mut heap = Heap {
            young: Young::new(config.nursery_words),
            due: false,
            attention: None,
            minor_due: false,
            cycle: Cycle::Idle,
            remembered: Vec::new(),
            remembered_overflow: false,
            old: Pages::new(torture, Arc::clone(&account)),
            marker: MarkStack::new(config.mark_stack_limit),
            promoted: Vec::new(),
            promoted_traced: Vec::new(),
            marked_traced: Vec::new(),
            traced: 0,
            ephemerons: Ephemerons::default(),
            keeps_young_keys: false,
            keeps_old_suspensions: false,
            finals: Finalisers::default(),
            handles: Handles::default(),
            young_customs: Vec::new(),
            young_outside: 0,
            pace: Pace::new(config.space_overhead),
            compaction_due: false,
            most_young: usize::MAX,
            account,
            owned_bytes: 0,
            client_bytes: 0,
            set_aside: 0,
            overdrawn: false,
            counters: Counters::default(),
            config,
            allowed: None,
            torture: Torture::default(),
            under_way: false,
            sampler: None,
            observer: None,
            atoms,
            safe_roots: Rc::default(),
            shadow,
        };
        if heap.config.mode == Mode::Plain {
            heap.young.begin_small();
        }
        heap.restock();
        heap.open_nursery();
        heap
    }

    /// Records that blocks are about to be moved, marked or swept.
    ///
    /// # Panics
    /// When such work began earlier and never ended: a collection panicked.
    pub(crate) fn begin_work(&mut self) {
        assert!(!self.under_way, "this heap cannot be used any more: a collection of it panicked");
        self.under_way = true;
    }

    /// Whether a collection has panicked. Blocks may then be anywhere, so the heap can no longer be used.
    pub fn is_broken(&self) -> bool {
        self.under_way
    }

    /// Takes the first panic, since the last call, of code that collections ran: the `Drop` of an external's data, or a
    /// kind's `finalize`. The heap is consistent, and all other such code has run.
    pub fn take_panic(&mut self) -> Option<Box<dyn Any + Send>> {
        self.old.dead.panic.take()
    }

    /// Resumes such a panic.
    pub(crate) fn resume_panic(&mut self) {
        if let Some(panic) = self.take_panic() {
            resume_unwind(panic);
        }
    }

    /// The empty block with this tag. There is one per tag, and it never dies or moves.
    #[inline]
    pub fn atom(&self, tag: u8) -> Value {
        Value::from_ptr(self.atoms[tag as usize + 1..].as_ptr().cast_mut())
    }
    pub(crate) fn is_atom(&self, v: Value) -> bool {
        self.atoms[1..].as_ptr_range().contains(&v.as_ptr().cast_const())
    }

    #[inline(always)]
    pub(crate) fn is_young(&self, v: Value) -> bool {
        self.young.contains(v)
    }
    /// Whether a value is a block in the nursery.
    #[inline(always)]
    pub fn is_young_block(&self, v: Value) -> bool {
        v.is_block() && self.young.contains(v)
    }

    /// Allows *naked pointers* from now on: values that point outside the heap, to anything, as C libraries for OCaml 4
    /// make them, and code addresses in closures that C makes. The collector then looks each pointer up before it
    /// follows it, which takes some nanoseconds.
    pub fn allow_naked_pointers(&mut self) {
        if !self.has_naked_pointers() {
            self.old.allow_naked_pointers();
        }
    }

    /// Whether [`Heap::allow_naked_pointers`] has been called.
    #[inline(always)]
    pub fn has_naked_pointers(&self) -> bool {
        self.old.has_naked_pointers()
    }

    /// Whether a value is a pointer that must not be followed. Empty blocks count as naked pointers here.
    #[inline(always)]
    pub(crate) fn is_naked(&self, v: Value) -> bool {
        self.has_naked_pointers() && v.is_block() && !self.is_young(v) && self.old.is_naked(v)
    }

    /// Whether a value is a pointer to something that is not a block of any heap: word 0 of a custom block, or a naked
    /// pointer.
    ///
    /// # Safety
    /// A value of this heap.
    #[inline]
    pub unsafe fn is_outside(&self, v: Value) -> bool {
        if self.has_naked_pointers() {
            return self.is_naked(v) && !self.is_atom(v);
        }
        // SAFETY: all that are not integers have a header.
        v.is_block() && unsafe { v.is_outside() }
    }

    /// Lets young blocks be allocated inline, up to the next sample; but in torture mode, only one after each
    /// [`Heap::make_room`].
    pub(crate) fn open_nursery(&mut self) {
        let low = if self.config.mode == Mode::Torture { self.young.ptr } else { self.young.floor };
        self.young.limit = self.sampler.as_ref().map_or(low, |sampler| low.max(sampler.trigger));
    }

    /// As [`Heap::open_nursery`], for a nursery that has just been emptied.
    pub(crate) fn open_empty_nursery(&mut self) {
        self.restock();
        if self.sampler.is_some() {
            self.draw_young_sample();
        }
        self.open_nursery();
    }

    /// Records that a slot of an old block may hold a young block.
    #[inline(always)]
    pub(crate) fn remember(&mut self, slot: *mut Value) {
        if self.remembered.len() < self.remembered.capacity() || self.remember_more() {
            self.remembered.push(slot);
        }
    }

    /// Makes room to remember more. A loop that writes without allocating must not take all memory: at some point it is
    /// cheaper to scan the whole old generation.
    #[cold]
    fn remember_more(&mut self) -> bool {
        let more = self.remembered.len().max(1024);
        if self.remembered.len() >= MANY_REMEMBERED {
            self.want_minor();
        }
        if !self.remembered_overflow
            && more < limited::most_remembered(&self.config).unwrap_or(MOST_REMEMBERED)
            && self.remembered.try_reserve_exact(more).is_ok()
        {
            return true;
        }
        self.remembered_overflow = true;
        self.want_minor();
        false
    }

    /// Requests a minor collection soon, even if nothing is allocated.
    fn want_minor(&mut self) {
        self.minor_due = true;
        self.request();
        if let Some(attention) = &self.attention {
            attention.store(true, Ordering::Release);
        }
    }

    /// Sets the flag by which the heap asks the client to call [`Heap::poll`] although it does not allocate, because
    /// its writes make the next collection longer and longer.
    pub fn set_attention(&mut self, attention: Arc<AtomicBool>) {
        self.attention = Some(attention);
    }

    /// Makes the next allocation, or [`Heap::poll`], do the collection work that is due.
    pub(crate) fn request(&mut self) {
        self.due = true;
        self.young.limit = self.young.end;
    }

    /// Counts bytes held outside the heap by old blocks towards the pace of the collector.
    pub fn outside_bytes_add(&mut self, bytes: usize) {
        self.pace.outside_added(bytes);
        if self.pace.slice_due() {
            self.request();
        }
    }
    /// Reverses [`Heap::outside_bytes_add`].
    pub fn outside_bytes_sub(&mut self, bytes: usize) {
        self.pace.outside_removed(bytes);
    }
    /// The counted bytes that are held outside the heap.
    pub fn outside_bytes(&self) -> usize {
        self.pace.outside_bytes
    }

    /// Treats everything in the old generation as alive, as if a collection had just found it so. For clients that fill
    /// the heap before they start: without this, a large heap would be marked and swept at once, for nothing.
    pub fn consider_alive(&mut self) {
        if self.cycle == Cycle::Idle {
            self.pace.cycle_ended(self.old.words());
        }
    }

    /// Sets whether minor collections keep the young keys of ephemerons and weak arrays alive, as those of OCaml 5.0 to
    /// 5.3 do; otherwise they find dead ones.
    pub fn keep_young_keys(&mut self, keep: bool) {
        self.keeps_young_keys = keep;
    }

    /// Sets whether marking leaves references to forced suspensions as they are, as it does since OCaml 4.14; otherwise it
    /// replaces them by what was computed. Minor collections always do, and so do the keys of ephemerons.
    pub fn keep_old_suspensions(&mut self, keep: bool) {
        self.keeps_old_suspensions = keep;
    }

    /// See [`Config::space_overhead`].
    pub fn space_overhead(&self) -> u32 {
        self.pace.space_overhead
    }
    /// See [`Config::space_overhead`]. At least 1 is used.
    pub fn set_space_overhead(&mut self, percent: u32) {
        self.pace.space_overhead = percent.max(1);
    }
    /// See [`Config::max_overhead`].
    pub fn max_overhead(&self) -> u32 {
        self.config.max_overhead
    }
    /// See [`Config::max_overhead`].
    pub fn set_max_overhead(&mut self, percent: u32) {
        self.config.max_overhead = percent;
    }
    /// The size of the nursery in words.
    pub fn nursery_words(&self) -> usize {
        self.young.words()
    }
    /// Limits the part of the nursery in use to its initial size or 256 Ki words, whichever is larger, however large
    /// the nursery is made. A nursery is emptied in one step, whose duration grows with its content.
    pub fn keep_nursery_short(&mut self) {
        self.most_young = self.config.nursery_words.max(SHORT_NURSERY);
    }
    /// How this heap collects.
    pub fn mode(&self) -> Mode {
        self.config.mode
    }
    /// Whether the old generation, with what is charged, is larger than [`Config::max_words`] allows, or
    /// [`Config::max_bytes`] leaves too little for the nursery, or the system has no memory left, even after a full
    /// collection. Small blocks are still allocated while there is room for them: the client must stop the program.
    pub fn exhausted(&self) -> bool {
        self.old.stock.touched || self.overdrawn || !self.is_within_limit(0)
    }

    /// The statistics that need no walk over the heap: all but the live, free and fragment fields.
    pub fn quick_stats(&self) -> Stats {
        let c = &self.counters;
        Stats {
            minor_words: c.minor_words + self.young.used() as u64,
            promoted_words: c.promoted_words,
            major_words: c.major_words,
            minor_collections: c.minor_collections,
            major_collections: c.major_collections,
            forced_major_collections: c.forced_major_collections,
            compactions: c.compactions,
            heap_words: self.old.words(),
            heap_chunks: self.old.page_count + self.old.large.len() + self.old.large_unswept.len(),
            top_heap_words: self.old.top_words,
            ..Stats::default()
        }
    }

    /// How much memory major collections have found wasted, on average, in percent of the live data.
    pub fn mean_space_overhead(&self) -> f64 {
        let (sum, count) = self.counters.overheads;
        if count == 0 { 0.0 } else { sum / count as f64 }
    }

    /// All statistics. Walks the old generation.
    pub fn stats(&self) -> Stats {
        let Ok(stats) = self.stats_unless(|| Ok::<(), Infallible>(()));
        stats
    }

    /// As [`Heap::stats`], but calls `go_on` from time to time, and stops when it fails.
    ///
    /// # Errors
    /// The error of `go_on`.
    pub fn stats_unless<E>(&self, mut go_on: impl FnMut() -> Result<(), E>) -> Result<Stats, E> {
        let mut s = self.quick_stats();
        for header in self.old.blocks() {
            // SAFETY: `blocks` yields headers.
            s.live_words += Header::from_bits(unsafe { *header }).whsize();
            s.live_blocks += 1;
            if s.live_blocks.is_multiple_of(BLOCKS_AT_ONCE) {
                go_on()?;
            }
        }
        for class in &self.old.classes {
            let (mut cells, mut live) = (0, 0);
            for (i, page) in class.pages().enumerate() {
                cells += page.capacity();
                live += self.old.live_cells(page);
                if i % PAGES_AT_ONCE == 0 {
                    go_on()?;
                }
            }
            s.free_blocks += cells - live;
            s.free_words += (cells - live) * class.cell;
            if cells > live {
                s.largest_free = s.largest_free.max(class.cell);
            }
        }
        s.fragments = s.heap_words - s.live_words - s.free_words;
        Ok(s)
    }

    /// Calls `f` with each block of the old generation, including dead ones that have not been swept yet.
    pub fn for_each_block(&self, mut f: impl FnMut(Value, Header)) {
        for header in self.old.blocks() {
            // SAFETY: `blocks` yields headers, each followed by a block.
            unsafe { f(Value::from_ptr(header.add(1)), Header::from_bits(*header)) }
        }
    }
}

impl Default for Heap {
    fn default() -> Heap {
        Heap::new(Config::default())
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        if self.is_broken() {
            return; // the data of blocks is leaked, as the blocks cannot be found
        }
        let mut dead = std::mem::take(&mut self.old.dead);
        let young = std::mem::take(&mut self.young_customs);
        let old = self.old.blocks().filter(|&header| {
            // SAFETY: `blocks` yields headers.
            Header::from_bits(unsafe { *header }).tag() == tag::CUSTOM
        });
        // SAFETY: `blocks` yields headers, each followed by a block.
        let old = old.map(|header| Value::from_ptr(unsafe { header.add(1) }));
        for v in young.into_iter().chain(old) {
            // SAFETY: custom blocks, not finalised as they are still there. Blocks of a C library's kinds are not
            // finalised, as at the end of a process: their functions may use the runtime, which is going.
            unsafe {
                if !crate::custom::is_foreign(v.word(0)) {
                    dead.bury(v);
                }
            }
            // One by one: there may be no memory left to collect them in a table.
            dead.drop_boxes();
        }
        if let (Some(panic), false) = (dead.panic, std::thread::panicking()) {
            resume_unwind(panic);
        }
    }
}
