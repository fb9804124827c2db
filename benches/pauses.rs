//! Measures how long the collector stops its client: minor collections of a nursery of 256 k words, of which one
//! block in fifty survives, and the slices of major collections that it runs by itself meanwhile.
//!
//!     cargo run --release -p spelter-benches --example pauses

use std::time::Duration;

use nix::time::ClockId;
use spelter_benches::raw_trees::{Trees, check};
use spelter_heap::Config;

/// Live blocks in a ring buffer: the newest replaces the oldest.
const LIVING: usize = 1 << 20;
const MINORS: usize = 2000;
const SURVIVORS: usize = 50;

fn main() {
    let config = Config { nursery_words: 256 << 10, ..Config::default() };
    let words = config.nursery_words;
    let mut trees = Trees::new(config);
    // A tree of this many blocks stays alive on the stack.
    let old = trees.make(LIVING.ilog2() as usize);
    trees.push(old);
    let mut minors = Vec::with_capacity(MINORS);
    let mut slices = Vec::new();
    for _ in 0..MINORS {
        // Trees of depth 4 fill the nursery; some are kept until after the collection.
        let mut kept = 0;
        let used = 15 * 3;
        for i in 0..words / used - 1 {
            let tree = trees.make(4);
            if i % SURVIVORS == 0 {
                trees.push(tree);
                kept += 1;
            }
        }
        minors.push(time(|| trees.minor()));
        slices.push(time(|| trees.slice(words / 8)));
        for _ in 0..kept {
            let tree = trees.pop();
            assert_eq!(check(tree), 31);
        }
    }
    assert!(check(trees.pop()) > LIVING as u64);
    report("minor collection", &mut minors);
    report("major slice", &mut slices);
}

/// The processor time of `f`, which is independent of other load on the machine.
fn time(f: impl FnOnce()) -> Duration {
    let now = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("a clock of every thread"));
    let start = now();
    f();
    now() - start
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    println!("{what:<18} median {:>8.1} µs   p99 {:>8.1} µs   longest {:>8.1} µs", at(50), at(99), at(100));
}
