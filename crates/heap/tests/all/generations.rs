//! Minor collections, the remembered set, and the two barriers.

use crate::client::{COLLECTING, Client, config, field, int_field};
use spelter_heap::raw::{Value, tag};
use spelter_heap::{Config, Heap, Mode};

#[test]
fn survivors_are_promoted_with_what_they_lead_to_and_sharing_is_kept() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        c.push_int_block(42);
        let pair = c.push(3, 5);
        let shared = c.stack.0[0];
        c.set(pair, 0, shared);
        c.set(pair, 1, shared);
        c.set(pair, 2, pair);
        c.stack.0.remove(0);
        c.minor();
        let moved = c.top();
        assert!(mode == Mode::Torture || moved != pair);
        c.churn();
        assert!(mode == Mode::Torture || moved == c.top(), "old blocks only move in compactions");
        let moved = c.top();
        assert_eq!(int_field(field(moved, 0), 0), 42);
        assert_eq!(field(moved, 0), field(moved, 1));
        assert_eq!(field(moved, 2), moved);
        // SAFETY: on the stack.
        assert_eq!(unsafe { (moved.tag(), moved.wosize()) }, (5, 3));
        c.verify();
    }
}

#[test]
fn young_garbage_costs_nothing() {
    let mut c = Client::new(Mode::Plain);
    c.churn();
    c.churn();
    c.minor();
    let stats = c.heap.stats();
    assert_eq!((stats.promoted_words, stats.heap_words), (0, 0));
    assert_eq!(stats.minor_words, 2 * 256 * 16);
}

#[test]
fn an_old_block_keeps_a_young_one() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        c.push(2, 0);
        c.minor();
        for n in 0..100 {
            c.push_int_block(n);
            let young = c.pop();
            let old = c.top();
            c.set(old, (n % 2) as usize, young);
            c.churn();
            assert_eq!(int_field(field(c.top(), (n % 2) as usize), 0), n);
        }
        c.verify();
    }
}

#[test]
fn a_young_block_in_a_block_born_old_is_remembered() {
    let mut c = Client::new(Mode::Plain);
    c.push_int_block(7);
    // SAFETY: nothing is collected between the allocation and the push.
    unsafe {
        let old = c.heap.alloc_major(3, 0).unwrap();
        c.heap.initialize(old, 2, c.top());
        c.pop();
        c.stack.0.push(old);
    }
    c.churn();
    c.churn();
    assert_eq!(int_field(field(c.top(), 2), 0), 7);
    assert_eq!(field(c.top(), 0), Value::UNIT);
    c.verify();
}

#[test]
fn a_value_moved_while_marking_survives() {
    for budget in 0..12 {
        // A list of five blocks, of which only the last is tested.
        let mut c = Client::new(Mode::Plain);
        c.push_int_block(7);
        for _ in 0..4 {
            let v = c.push(1, 0);
            c.pop();
            let rest = c.pop();
            c.set(v, 0, rest);
            c.stack.0.push(v);
        }
        c.minor();
        c.slice(budget); // the stack has been scanned, and some of the list
        let mut before_last = c.top();
        while field(field(before_last, 0), 0).is_block() {
            before_last = field(before_last, 0);
        }
        let last = field(before_last, 0);
        c.stack.0.push(last);
        c.set(before_last, 0, Value::UNIT);
        c.slice(usize::MAX);
        c.churn();
        c.verify();
        assert_eq!(int_field(c.top(), 0), 7);
    }
}

#[test]
fn marking_copes_with_a_tiny_stack() {
    let config = Config { mark_stack_limit: 1, ..config(Mode::Plain) };
    let mut c = Client { heap: Heap::new(config), stack: Default::default() };
    // A binary tree of depth 10.
    fn tree(c: &mut Client, depth: i64) {
        if depth == 0 {
            c.push_int_block(7);
            return;
        }
        tree(c, depth - 1);
        tree(c, depth - 1);
        let node = c.push(2, 0);
        c.pop();
        let (right, left) = (c.pop(), c.pop());
        c.set(node, 0, left);
        c.set(node, 1, right);
        c.stack.0.push(node);
    }
    tree(&mut c, 10);
    c.full();
    c.churn();
    c.full();
    c.verify();
    assert_eq!(c.live_blocks(), 2047);
}

#[test]
fn the_nursery_can_be_resized() {
    let mut c = Client::new(Mode::Plain);
    c.push_int_block(3);
    // SAFETY: all values are on the stack.
    unsafe { c.heap.set_nursery_words(&mut c.stack, 10_000) };
    assert_eq!(c.heap.nursery_words(), 10_000);
    assert_eq!(int_field(c.top(), 0), 3);
    c.churn();
    assert_eq!(int_field(c.top(), 0), 3);
    // SAFETY: all values are on the stack.
    unsafe { c.heap.set_nursery_words(&mut c.stack, 1) };
    assert!(c.heap.nursery_words() >= 512, "there is always room for a few blocks");
    c.churn();
    c.verify();
}

#[test]
fn torture_notices_a_value_that_nobody_rooted() {
    let mut c = Client::new(Mode::Torture);
    c.push(1, tag::STRING);
    let forgotten = c.pop();
    c.push(1, 0);
    // SAFETY: the nursery still exists, though not the block.
    let word = unsafe { forgotten.word(0) };
    assert_eq!(word, 0xDEAD_F9EE_DEAD_F9EE);
}

#[test]
fn torture_notices_a_field_that_was_written_without_the_barrier() {
    let mut c = Client::new(Mode::Torture);
    c.push(1, 0);
    c.minor();
    c.push_int_block(1);
    let young = c.pop();
    let old = c.top();
    // SAFETY: a field of a live block; the test breaks the contract on purpose.
    unsafe { *old.field_ptr(0) = young };
    // SAFETY: everything but the broken field is valid.
    let broken = unsafe { c.heap.verify(&mut c.stack) }.unwrap_err();
    assert!(broken.to_string().contains("unremembered"), "{broken}");
    c.set(old, 0, Value::UNIT);
}
