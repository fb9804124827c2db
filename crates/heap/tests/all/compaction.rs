//! Compaction.

use crate::client::{COLLECTING, Client, field, int_field};
use spelter_heap::Mode;
use spelter_heap::raw::Value;

#[test]
fn sparse_pages_are_given_back_and_references_follow() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        let count = if mode == Mode::Torture { 3_000 } else { 100_000 };
        for n in 0..count {
            let v = c.push(2, 0);
            c.set(v, 0, Value::int(n));
        }
        // Every fiftieth block refers to the one fifty before it; the others die.
        for n in (50..count as usize).step_by(50) {
            c.set(c.stack.0[n], 1, c.stack.0[n - 50]);
        }
        c.stack.0 = vec![c.stack.0[(count as usize - 1) / 50 * 50]];
        c.full();
        let before = c.heap.stats();
        c.compact();
        c.verify();
        let after = c.heap.stats();
        assert_eq!(before.live_words, after.live_words);
        if mode == Mode::Plain {
            assert!(after.heap_words * 10 < before.heap_words, "{before:?} {after:?}");
        }
        let mut v = c.top();
        for n in (0..count as usize).step_by(50).rev() {
            assert_eq!(int_field(v, 0), n as i64);
            v = field(v, 1);
        }
        assert_eq!(v, Value::UNIT);
    }
}

#[test]
fn torture_moves_every_block_that_may_move() {
    let mut c = Client::new(Mode::Torture);
    for size in [1, 2, 17, 100, 256, 400] {
        c.push(size, 0);
    }
    c.minor();
    let before = c.stack.0.clone();
    c.compact();
    assert!(before.iter().zip(&c.stack.0).all(|(a, b)| a != b));
}

#[test]
fn a_heap_that_has_become_sparse_is_compacted_by_itself() {
    let mut c = Client::new(Mode::Plain);
    for _ in 0..1_000_000 {
        c.push(2, 0);
    }
    let mut n = 0;
    c.stack.0.retain(|_| {
        n += 1;
        n % 1000 == 0
    });
    c.full();
    for _ in 0..3 {
        c.churn();
    }
    let stats = c.heap.stats();
    assert!(stats.compactions > 0, "{stats:?}");
    assert!(stats.heap_words < 100_000, "{stats:?}");
}
