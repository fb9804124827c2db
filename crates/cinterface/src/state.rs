//! The runtime's state as C's macros see it: a table of words whose places differ between versions.
//!
//! Source: the table of the state's fields in each version's headers. OCaml 4 finds it through the variable
//! `Caml_state`, OCaml 5 through the thread-local variable `caml_state`.
#![allow(unreachable_pub, reason = "the linker reaches the variables")]

use std::ops::Range;

use spelter_heap::raw::Value;
use spelter_interp::{Machine, Release};

use crate::roots::Block;

/// The places, in words, of what compiled stubs read or write.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    pub(crate) young_start: usize,
    pub(crate) young_end: usize,
    pub(crate) local_roots: usize,
    pub(crate) backtrace_pos: usize,
    pub(crate) backtrace_last_exn: usize,
    pub(crate) compare_unordered: usize,
}

/// The place of the nursery's limit in all versions.
pub(crate) const YOUNG_LIMIT: usize = 0;
/// The place of the nursery's free end.
pub(crate) const YOUNG_PTR: usize = 1;

/// As many words as any version has, and some.
const WORDS: usize = 160;

/// The state.
struct Words(core::cell::UnsafeCell<[u64; WORDS]>);

// SAFETY: only the thread that has the machine uses it.
unsafe impl Sync for Words {}

static WORDS_OF_STATE: Words = Words(core::cell::UnsafeCell::new(at_first()));

/// The state before [`adopt`]. The collector sees the exception in it.
const fn at_first() -> [u64; WORDS] {
    let mut words = [0; WORDS];
    words[Places::of(Release::V4_13).backtrace_last_exn] = Value::UNIT.bits();
    words
}

/// OCaml 4's variable: the address of the state.
#[unsafe(no_mangle)]
pub static mut Caml_state: *mut u64 = WORDS_OF_STATE.0.get().cast();

static mut PLACES: Places = Places::of(Release::V4_13);

/// See [`has_threads`].
static mut HAS_THREADS: bool = false;

/// Whether C finds the state through a thread-local variable: in OCaml 5.
pub(crate) fn has_threads() -> bool {
    // SAFETY: this thread has the machine.
    unsafe { HAS_THREADS }
}

impl Places {
    /// The places in a version.
    const fn of(release: Release) -> Places {
        match release {
            Release::V4_13 | Release::V4_14 => Places {
                young_start: 4,
                young_end: 5,
                local_roots: 36,
                backtrace_pos: 30,
                backtrace_last_exn: 32,
                compare_unordered: 33,
            },
            Release::V5_0 | Release::V5_3 => Places {
                young_start: 2,
                young_end: 3,
                local_roots: 20,
                backtrace_pos: 23,
                backtrace_last_exn: 26,
                compare_unordered: 27,
            },
            Release::V5_1 | Release::V5_2 => Places {
                young_start: 2,
                young_end: 3,
                local_roots: 19,
                backtrace_pos: 22,
                backtrace_last_exn: 25,
                compare_unordered: 26,
            },
            Release::V5_4 | Release::V5_5 => Places {
                young_start: 2,
                young_end: 3,
                local_roots: 24,
                backtrace_pos: 27,
                backtrace_last_exn: 30,
                compare_unordered: 31,
            },
        }
    }
}

/// Lays the state out as the machine's version does.
pub(crate) fn adopt(m: &Machine) {
    let places = Places::of(m.dialect().release);
    // SAFETY: this thread has the machine.
    unsafe {
        PLACES = places;
        LOCAL_ROOTS = address().add(places.local_roots).cast();
        HAS_THREADS = m.dialect().release >= Release::V5_0;
    }
    nursery_moved(m.heap().nursery());
    set(places.backtrace_last_exn, Value::UNIT.bits());
    // No block fits above this limit: C's `Alloc_small` always calls `caml_alloc_small_dispatch`.
    set(YOUNG_LIMIT, u64::MAX);
}

/// The places of the version in use.
#[inline(always)]
pub(crate) fn places() -> Places {
    // SAFETY: this thread has the machine.
    unsafe { PLACES }
}

/// The address of the state.
#[inline(always)]
pub(crate) fn address() -> *mut u64 {
    WORDS_OF_STATE.0.get().cast()
}

/// Reads a word.
#[inline(always)]
pub(crate) fn get(place: usize) -> u64 {
    // SAFETY: within the table; this thread has the machine.
    unsafe { *address().add(place) }
}

/// Writes a word.
#[inline(always)]
pub(crate) fn set(place: usize, word: u64) {
    // SAFETY: as above.
    unsafe { *address().add(place) = word }
}

/// Where the innermost block of local roots is noted, for `arch`.
pub static mut LOCAL_ROOTS: *mut *mut Block =
    WORDS_OF_STATE.0.get().cast::<*mut Block>().wrapping_add(Places::of(Release::V4_13).local_roots);

/// The innermost block of local roots. Null while C does not run.
#[inline(always)]
pub(crate) fn local_roots() -> *mut Block {
    // SAFETY: within the table; this thread has the machine.
    unsafe { *LOCAL_ROOTS }
}

/// Sets it.
#[inline(always)]
pub(crate) fn set_local_roots(block: *mut Block) {
    // SAFETY: as above.
    unsafe { *LOCAL_ROOTS = block }
}

/// The same, and there is none afterwards.
#[inline(always)]
pub(crate) fn take_local_roots() -> *mut Block {
    let block = local_roots();
    set_local_roots(std::ptr::null_mut());
    block
}

/// OCaml 5's count of completed major collections, for C that waits for one.
#[unsafe(no_mangle)]
pub static mut caml_major_cycles_completed: usize = 0;

/// Where OCaml 4's state has that count.
const MAJOR_COLLECTIONS: usize = 41;

/// Tells C how many major collections have been completed.
pub(crate) fn note_collections(major: usize) {
    // SAFETY: this thread has the machine.
    unsafe { caml_major_cycles_completed = major };
    if !has_threads() {
        set(MAJOR_COLLECTIONS, major as u64);
    }
}

/// C finds the state in this thread.
pub(crate) fn enter_thread() {
    if has_threads() {
        // SAFETY: it sets a variable of this thread.
        unsafe { crate::arch::set_thread_state(address()) };
    }
}

/// C goes on in this thread, but without the machine: OCaml 5's thread-local variable is null then.
pub(crate) fn leave_thread() {
    if has_threads() {
        // SAFETY: as above.
        unsafe { crate::arch::set_thread_state(std::ptr::null_mut()) };
    }
}

/// Shows C the backtrace: which exception it belongs to, and how long it is. C can only clear it.
#[inline(always)]
pub(crate) fn show_backtrace(m: &Machine) {
    // SAFETY: nothing is allocated before C runs; from then on, `roots` shows the exception.
    let (exception, count) = unsafe { m.backtrace_of() };
    let places = places();
    set(places.backtrace_last_exn, exception.bits());
    set(places.backtrace_pos, count as u64);
}

/// Clears the backtrace if C has done so. While C does not run, the state shows none.
pub(crate) fn take_backtrace(m: &mut Machine) {
    let places = places();
    if get(places.backtrace_pos) == 0 {
        m.set_backtrace(Vec::new());
    }
    set(places.backtrace_last_exn, Value::UNIT.bits());
    set(places.backtrace_pos, 0);
}

/// Tells C where the nursery is. If the heap never collects, it allocates others, which C is not told.
pub(crate) fn nursery_moved(nursery: Range<*mut u64>) {
    let places = places();
    set(places.young_start, nursery.start as u64);
    set(places.young_end, nursery.end as u64);
    set(YOUNG_PTR, nursery.end as u64);
}

/// The exception that C sees as the last one that was raised.
pub(crate) fn last_exception() -> *mut Value {
    address().wrapping_add(places().backtrace_last_exn).cast()
}
