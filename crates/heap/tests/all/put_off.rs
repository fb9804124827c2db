//! Collections that are postponed midway: at whatever moment, nothing live is lost, and everything dead is found.

use crate::client::{Client, Stack, field, int_field};
use spelter_heap::Mode;
use spelter_heap::raw::{Roots, Value, Visitor};
use std::cell::Cell;

/// Roots that stop waiting when they have been asked a number of times.
struct Impatient<'a> {
    stack: &'a mut Stack,
    patience: Cell<usize>,
}

impl Roots for Impatient<'_> {
    fn scan(&mut self, visitor: &mut Visitor<'_>) {
        self.stack.scan(visitor);
    }
    fn cannot_wait(&self) -> bool {
        let left = self.patience.get();
        self.patience.set(left.saturating_sub(1));
        left == 0
    }
}

/// More fields than are marked in one step, all referring to a few blocks.
const FIELDS: usize = 300_000;
const BLOCKS: usize = 100;

fn push_much(c: &mut Client) {
    c.push(FIELDS, 0);
    for i in 0..BLOCKS {
        let block = c.push_int_block(i as i64);
        c.pop();
        c.set(c.top(), i, block);
    }
    for i in BLOCKS..FIELDS {
        c.set(c.top(), i, field(c.top(), i % BLOCKS));
    }
}

fn is_whole(much: Value) -> bool {
    [0, 1, 80_042, FIELDS - 1].iter().all(|i| int_field(field(much, *i), 0) == (*i % BLOCKS) as i64)
}

#[test]
fn the_end_of_marking_can_be_restarted() {
    let mut patience = 0;
    loop {
        let mut c = Client::new(Mode::Plain);
        c.push_int_block(1);
        // SAFETY: what is used is on the stack, or registered from there.
        let (alive, dead) = unsafe {
            let e = c.heap.ephe_create(&mut c.stack, 1).unwrap();
            c.stack.0.push(e);
            c.heap.ephe_set_key(e, 0, c.stack.0[0]);
            push_much(&mut c);
            c.heap.ephe_set_data(c.stack.0[1], c.top());
            c.pop();
            let dead = c.heap.ephe_create(&mut c.stack, 1).unwrap();
            c.stack.0.push(dead);
            push_much(&mut c);
            c.heap.ephe_set_key(c.stack.0[2], 0, c.top());
            let small = c.push_int_block(2);
            c.heap.final_register(Value::int(1), c.stack.0[3]).unwrap();
            c.heap.final_register_last(Value::int(2), small).unwrap();
            c.pop();
            c.minor();
            c.pop();
            (c.stack.0[1], c.stack.0[2])
        };
        let mut roots = Impatient { stack: &mut c.stack, patience: Cell::new(patience) };
        // SAFETY: the roots show all values in use.
        let complete = unsafe { c.heap.full_major_in_steps(&mut roots) };
        c.verify();
        // SAFETY: ephemerons on the stack.
        unsafe {
            assert!(is_whole(c.heap.ephe_get_data(alive).unwrap()), "after {patience} questions");
        }
        c.churn();
        c.full();
        c.full();
        let due: Vec<_> = std::iter::from_fn(|| c.heap.next_finaliser()).collect();
        let functions: Vec<i64> = due.iter().map(|(f, _)| f.as_int()).collect();
        assert!(functions == [1, 2] || functions == [2, 1], "{functions:?} after {patience} questions");
        assert!(due.iter().any(|(f, v)| f.as_int() == 1 && is_whole(*v)));
        c.full();
        // SAFETY: ephemerons on the stack.
        unsafe {
            assert!(!c.heap.ephe_check_key(dead, 0));
            assert!(is_whole(c.heap.ephe_get_data(alive).unwrap()));
        }
        c.verify();
        if complete {
            assert!(patience > 5, "there were {patience} questions");
            return;
        }
        patience += 1;
    }
}

#[test]
fn a_large_block_is_released_in_parts() {
    let mut c = Client::new(Mode::Plain);
    c.push(8 << 20, 0);
    let words = c.heap.quick_stats().heap_words;
    c.pop();
    let mut roots = Impatient { stack: &mut c.stack, patience: Cell::new(4) };
    // SAFETY: the roots show all values in use.
    let complete = unsafe { c.heap.full_major_in_steps(&mut roots) };
    assert!(!complete, "the collection takes more steps than that");
    c.push_int_block(3);
    c.full();
    assert!(c.heap.quick_stats().heap_words < words / 2);
    assert_eq!(int_field(c.top(), 0), 3);
    c.verify();
}
