//! When the collector works, and how much memory it holds meanwhile.

use crate::client::{Client, config};
use spelter_heap::raw::{CustomOps, NoRoots};
use spelter_heap::{Config, Heap, Mode};

/// Allocates `words` words in old blocks that die after a while, and tells the largest heap there was.
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
    static OPS: CustomOps = CustomOps::new("outside", &()).counting();
    let mut heap = Heap::new(config(Mode::Plain));
    let mut largest = 0;
    for _ in 0..10_000 {
        // SAFETY: nothing is kept.
        unsafe { heap.alloc_custom(&mut NoRoots, &OPS, 1, 100_000).unwrap() };
        largest = largest.max(heap.outside_bytes());
    }
    assert!(largest < 10_000_000, "{largest} bytes of garbage outside");
    // The same for small ones, which die young.
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
    // Garbage may be allocated for ever …
    for _ in 0..100 {
        c.push(300_000, 0);
        c.pop();
    }
    // … but what is kept may not.
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
    // Small blocks are promoted all the same, and the client is told.
    assert!(!c.heap.exhausted());
    for _ in 0..400_000 {
        c.push(2, 0);
    }
    assert!(c.heap.exhausted());
    c.stack.0.clear();
    c.full();
    assert!(!c.heap.exhausted());
}

#[test]
fn statistics_add_up() {
    let mut c = Client::new(Mode::Plain);
    for n in 0..10_000 {
        c.push((1 + n % 20) as usize, 0);
        if n % 3 == 0 {
            c.pop();
        }
    }
    c.full();
    let s = c.heap.stats();
    assert_eq!(s.heap_words, s.live_words + s.free_words + s.fragments);
    assert_eq!(s.live_blocks, c.stack.0.len());
    assert_eq!(s.promoted_words, s.major_words);
    assert!(s.largest_free <= s.free_words && s.free_blocks > 0);
    assert_eq!(s.forced_major_collections, 1);
    assert!(s.top_heap_words >= s.heap_words);
    let quick = c.heap.quick_stats();
    assert_eq!(quick.minor_words, s.minor_words);
    assert_eq!(quick.live_words, 0);
}

/// Allocates a nursery's worth of words that die at once, and tells how many collections that took.
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
    assert!(collections_of_a_nursery(&mut c) >= 7, "most of it is left untouched");
    // A list that lives.
    for _ in 0..c.heap.nursery_words() {
        c.push(1, 0);
    }
    c.stack.0.clear();
    assert!(collections_of_a_nursery(&mut c) <= 1, "all of it is used");
    // Another size begins anew.
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
    // What is left is for the heap, or for what is outside.
    assert_eq!(charge(&mut c).unwrap_err().words, bytes / 8);
    // SAFETY: as above.
    assert!(unsafe { c.heap.alloc(&mut c.stack, 300_000, 0) }.is_err());
    // SAFETY: as above.
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
