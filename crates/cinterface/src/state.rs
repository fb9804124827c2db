//! The runtime's state as C's macros see it: a table of words whose places differ between versions.
//!
//! Source: `runtime/caml/domain_state.tbl`. OCaml 4 finds it through the variable `Caml_state`, OCaml 5 through the
//! thread-local variable `caml_state`.

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

/// As many words as any version has, and some.
const WORDS: usize = 128;

/// The state.
struct Words(core::cell::UnsafeCell<[u64; WORDS]>);

// SAFETY: only the thread that has the machine uses it.
unsafe impl Sync for Words {}

static WORDS_OF_STATE: Words = Words(core::cell::UnsafeCell::new([0; WORDS]));

/// OCaml 4's variable: the address of the state.
#[unsafe(no_mangle)]
pub static mut Caml_state: *mut u64 = WORDS_OF_STATE.0.get().cast();

static mut PLACES: Places = Places::of(Release::V4_13);

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
            Release::V5_0 | Release::V5_1 | Release::V5_2 | Release::V5_3 => Places {
                young_start: 2,
                young_end: 3,
                local_roots: 20,
                backtrace_pos: 23,
                backtrace_last_exn: 26,
                compare_unordered: 27,
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
    // SAFETY: this thread has the machine.
    unsafe { PLACES = Places::of(m.dialect().release) };
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

/// The innermost block of local roots.
#[inline(always)]
pub(crate) fn local_roots() -> *mut Block {
    get(places().local_roots) as *mut Block
}

/// Sets it.
#[inline(always)]
pub(crate) fn set_local_roots(block: *mut Block) {
    set(places().local_roots, block as u64);
}

/// Takes the state from the running thread, which puts the machine down: OCaml 5's thread-local variable is null then.
pub(crate) fn leave_thread(m: &Machine) {
    if m.dialect().release >= Release::V5_0 {
        // SAFETY: it sets a variable of this thread.
        unsafe { crate::arch::set_thread_state(std::ptr::null_mut()) };
    }
}

/// Prepares the state for C in the running thread.
pub(crate) fn enter_thread(m: &Machine) {
    let (places, nursery) = (places(), m.heap().nursery());
    set(places.young_start, nursery.start as u64);
    set(places.young_end, nursery.end as u64);
    if m.dialect().release >= Release::V5_0 {
        // SAFETY: it sets a variable of this thread.
        unsafe { crate::arch::set_thread_state(address()) };
    }
}
