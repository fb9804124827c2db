//! When the collector works, and how much memory it holds meanwhile.

use crate::client::{Client, config};
use spelter_heap::raw::{CustomOps, NoRoots};
use spelter_heap::{Config, Heap, Mode};

/// Allocates `words` words in old blocks that die after a while, and returns the largest size of the heap.
fn churn_old(c: &mut Client, live: usize, words: usize) -> usize {
    let mut largest = 0;
    let size = 100;
    for i in 0..words / size {
        c.push(size - 1, 0);
        let v = c.pop();
        if c.stack.0.len() < live / size {
            c.stack.0.push(v);
        } else {
            let at = i * 7919 % c.stack.0.len();
            c.stack.0[at] = v;
        }
        largest = largest.max(c.heap.quick_stats().heap_words);
    }
    largest
}

#[test]
fn garbage_stays_within_the_overhead() {
    for overhead in [40, 120, 300] {
        let config = Config { space_overhead: overhead, ..config(Mode::Plain) };
        let mut c = Client { heap: Heap::new(config), stack: Default::default() };
        let live = 1_000_000;
        let largest = churn_old(&mut c, live, 20_000_000);
        // Floating garbage of one cycle doubles the allowance; cells and pages waste an eighth.
        let bound = (live + live * overhead as usize / 100 * 2) * 9 / 8;
        assert!(largest < bound, "overhead {overhead}: {largest} words for {live} live, bound {bound}");
        assert!(c.heap.quick_stats().major_collections > 3);
        assert_eq!(c.heap.quick_stats().forced_major_collections, 0);
        c.verify();
    }
}

#[test]
fn bytes_outside_make_the_collector_hurry() {
    static OPS: CustomOps = CustomOps::new(c"outside", &()).counting();
    let mut heap = Heap::new(config(Mode::Plain));
    let mut largest = 0;
    for _ in 0..10_000 {
        // SAFETY: nothing is kept.
        unsafe { heap.alloc_custom(&mut NoRoots, &OPS, 1, 100_000).unwrap() };
        largest = largest.max(heap.outside_bytes());
    }
    assert!(largest < 10_000_000, "{largest} bytes of garbage outside");
    // The same for small blocks, which die young.
    for _ in 0..100_000 {
        // SAFETY: nothing is kept.
        unsafe { heap.alloc_custom(&mut NoRoots, &OPS, 1, 8_000).unwrap() };
        largest = largest.max(heap.outside_bytes());
    }
    assert!(largest < 10_000_000, "{largest} bytes of garbage outside");
    heap.collect();
    assert_eq!(heap.outside_bytes(), 0);
}

#[test]
fn bytes_counted_by_hand_make_it_due() {
    let mut heap = Heap::new(config(Mode::Plain));
    assert!(!heap.due());
    heap.outside_bytes_add(100 << 20);
    assert!(heap.due());
    // SAFETY: no values.
    unsafe { heap.poll(&mut NoRoots) };
    assert!(!heap.due());
    heap.outside_bytes_sub(100 << 20);
    assert_eq!(heap.outside_bytes(), 0);
}

#[test]
fn a_heap_does_not_outgrow_its_limit() {
    let config = Config { max_words: Some(1_000_000), ..config(Mode::Plain) };
    let mut c = Client { heap: Heap::new(config), stack: Default::default() };
    // Garbage may be allocated without limit …
    for _ in 0..100 {
        c.push(300_000, 0);
        c.pop();
    }
    // … but live blocks may not.
    let mut kept = 0;
    let error = loop {
        // SAFETY: all values are on the stack.
        match unsafe { c.heap.alloc(&mut c.stack, 300_000, 0) } {
            Ok(v) => c.stack.0.push(v),
            Err(error) => break error,
        }
        kept += 1;
    };
    assert_eq!((kept, error.words), (3, 300_000));
    assert!(error.to_string().contains("300000 words"));
    c.stack.0.clear();
    c.push(300_000, 0);
    // Small blocks are still promoted, and `exhausted` tells the client.
    assert!(!c.heap.exhausted());
    for _ in 0..400_000 {
        c.push(2, 0);
    }
    assert!(c.heap.exhausted());
    c.stack.0.clear();
    c.full();
    assert!(!c.heap.exhausted());
}

/// The statistics of a heap whose blocks are all on the stack agree with the stack.
#[test]
fn statistics_are_those_of_the_blocks_on_the_stack() {
    /// Words of a block with its header.
    const fn with_header(wosize: usize) -> usize {
        wosize + 1
    }
    const LARGE: usize = 100_000;
    let mut c = Client::new(Mode::Plain);
    let (mut all, mut kept) = (0, 0);
    for n in 0..10_000 {
        let words = with_header(1 + n % 20);
        c.push(words - 1, 0);
        all += words;
        if n % 3 == 0 {
            c.pop();
        } else {
            kept += words;
        }
    }
    c.full();
    let small = c.heap.stats();
    assert_eq!((small.live_blocks, small.live_words), (c.stack.0.len(), kept));
    assert_eq!(small.minor_words, all as u64);
    // A block that was on the stack at a minor collection and died after it was promoted, too: at most one per
    // collection.
    let promoted = small.promoted_words as usize;
    assert!((kept..=kept + small.minor_collections * with_header(20)).contains(&promoted), "{small:?}");
    assert_eq!(small.major_words, small.promoted_words);
    assert!(small.free_words >= small.free_blocks * with_header(1) && small.free_words >= small.largest_free);
    // Cells are up to an eighth larger than their blocks, and pages end before the next cell.
    assert!(small.fragments < small.heap_words / 8, "{small:?}");

    c.push(LARGE, 0);
    let large = c.heap.stats();
    assert_eq!((large.live_blocks, large.live_words), (small.live_blocks + 1, kept + with_header(LARGE)));
    assert_eq!(
        (large.major_words - small.major_words, large.minor_words),
        (with_header(LARGE) as u64, small.minor_words)
    );
    assert_eq!(large.heap_chunks, small.heap_chunks + 1);
    assert!(large.heap_words >= small.heap_words + with_header(LARGE));

    c.stack.0.clear();
    c.full();
    let empty = c.heap.stats();
    assert_eq!((empty.live_blocks, empty.live_words), (0, 0));
    assert!(
        empty.heap_words <= large.heap_words - LARGE && empty.top_heap_words >= large.heap_words,
        "{empty:?}"
    );
    assert_eq!((small.forced_major_collections, empty.forced_major_collections), (1, 2));
    // The quick statistics agree, and leave out what only a walk can find.
    let quick = c.heap.quick_stats();
    assert_eq!((quick.minor_words, quick.heap_words), (empty.minor_words, empty.heap_words));
    assert_eq!((large.live_words > 0, quick.live_words, quick.fragments), (true, 0, 0));
}

/// Allocates a nursery's worth of words that die at once, and returns how many collections that took.
fn collections_of_a_nursery(c: &mut Client) -> usize {
    let before = c.heap.quick_stats().minor_collections;
    for _ in 0..c.heap.nursery_words() / 4 {
        c.push(3, 0);
        c.pop();
    }
    c.heap.quick_stats().minor_collections - before
}

#[test]
fn the_nursery_is_used_as_far_as_blocks_survive() {
    let mut c = Client { heap: Heap::new(Config::default()), stack: Default::default() };
    assert!(collections_of_a_nursery(&mut c) >= 7, "most of the nursery is left untouched");
    // A list that stays alive.
    for _ in 0..c.heap.nursery_words() {
        c.push(1, 0);
    }
    c.stack.0.clear();
    assert!(collections_of_a_nursery(&mut c) <= 1, "all of the nursery is used");
    // A new size starts small again.
    let words = c.heap.nursery_words();
    // SAFETY: nothing is kept.
    unsafe { c.heap.set_nursery_words(&mut NoRoots, 2 * words) };
    assert!(collections_of_a_nursery(&mut c) >= 15);
    c.verify();
}

#[test]
fn memory_outside_counts_towards_the_limit() {
    let limited = Config { max_words: Some(1 << 20), ..config(Mode::Plain) };
    let mut c = Client { heap: Heap::new(limited), stack: Default::default() };
    let bytes = 3 << 20;
    let charge = |c: &mut Client| {
        // SAFETY: all values are on the stack.
        unsafe { c.heap.charge(&mut c.stack, bytes) }
    };
    let first = charge(&mut c).unwrap();
    let second = charge(&mut c).unwrap();
    // The rest of the limit is available to the heap, or to memory outside.
    assert_eq!(charge(&mut c).unwrap_err().words, bytes / 8);
    // SAFETY: all values are on the stack.
    assert!(unsafe { c.heap.alloc(&mut c.stack, 300_000, 0) }.is_err());
    // SAFETY: all values are on the stack.
    assert!(unsafe { c.heap.charge(&mut c.stack, usize::MAX) }.is_err());
    drop(first);
    c.push(300_000, 0);
    assert!(charge(&mut c).is_err());
    assert!(!c.heap.exhausted());
    // Garbage is collected before anything is refused.
    c.pop();
    let first = charge(&mut c).unwrap();
    assert_eq!(c.heap.charged_bytes(), 2 * bytes);
    drop((first, second));
    assert_eq!(c.heap.charged_bytes(), 0);
}
