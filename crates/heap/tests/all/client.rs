//! A client with a stack of values, for the tests.

use spelter_heap::raw::{NoRoots, Roots, Value, Visitor, tag};
use spelter_heap::{Config, Heap, Mode};

/// A heap and the roots into it.
pub(crate) struct Client {
    pub(crate) heap: Heap,
    pub(crate) stack: Stack,
}

#[derive(Default)]
pub(crate) struct Stack(pub(crate) Vec<Value>);

impl Roots for Stack {
    fn scan(&mut self, visitor: &mut Visitor<'_>) {
        visitor.slice(&mut self.0);
    }
}

/// The modes in which memory is reclaimed.
pub(crate) const COLLECTING: [Mode; 2] = [Mode::Plain, Mode::Torture];

pub(crate) fn config(mode: Mode) -> Config {
    Config { nursery_words: 4096, mode, torture_period: 7, ..Config::default() }
}

impl Client {
    pub(crate) fn new(mode: Mode) -> Client {
        Client { heap: Heap::new(config(mode)), stack: Stack::default() }
    }
    /// Allocates a block and pushes it; its fields are unit or zero.
    pub(crate) fn push(&mut self, wosize: usize, tag: u8) -> Value {
        // SAFETY: all values of these tests that are used after an allocation are on the stack.
        let v = unsafe { self.heap.alloc(&mut self.stack, wosize, tag).unwrap() };
        self.stack.0.push(v);
        v
    }
    pub(crate) fn push_int_block(&mut self, n: i64) -> Value {
        let v = self.push(1, 0);
        self.set(v, 0, Value::int(n));
        v
    }
    pub(crate) fn pop(&mut self) -> Value {
        self.stack.0.pop().unwrap()
    }
    pub(crate) fn top(&self) -> Value {
        *self.stack.0.last().unwrap()
    }
    pub(crate) fn set(&mut self, block: Value, i: usize, v: Value) {
        // SAFETY: tests pass blocks that are on the stack or just allocated.
        unsafe { self.heap.modify(block, i, v) }
    }
    pub(crate) fn minor(&mut self) {
        // SAFETY: as for `push`.
        unsafe { self.heap.minor(&mut self.stack) }
    }
    pub(crate) fn full(&mut self) {
        // SAFETY: as for `push`.
        unsafe { self.heap.full_major(&mut self.stack) }
    }
    pub(crate) fn compact(&mut self) {
        // SAFETY: as for `push`.
        unsafe { self.heap.compact(&mut self.stack) }
    }
    pub(crate) fn slice(&mut self, words: usize) {
        // SAFETY: as for `push`.
        unsafe { self.heap.major_slice(&mut self.stack, words) }
    }
    pub(crate) fn verify(&mut self) {
        // SAFETY: as for `push`.
        unsafe { self.heap.verify(&mut self.stack).unwrap() }
    }
    /// Fills the nursery with garbage once over, so that stale pointers are noticed.
    pub(crate) fn churn(&mut self) {
        for _ in 0..self.heap.nursery_words() / 16 {
            self.push(15, 0);
            self.pop();
        }
    }
    pub(crate) fn live_blocks(&self) -> usize {
        self.heap.stats().live_blocks
    }
}

/// Field `i`.
pub(crate) fn field(v: Value, i: usize) -> Value {
    // SAFETY: tests pass blocks that are reachable.
    unsafe { v.field(i) }
}
pub(crate) fn int_field(v: Value, i: usize) -> i64 {
    let f = field(v, i);
    assert!(f.is_int());
    f.as_int()
}

#[test]
fn a_heap_that_never_collects_keeps_everything() {
    let mut c = Client::new(Mode::Never);
    for n in 0..10_000 {
        c.push_int_block(n);
    }
    c.full();
    c.compact();
    for n in 0..10_000 {
        assert_eq!(int_field(c.stack.0[n], 0), n as i64);
    }
    assert_eq!(c.heap.quick_stats().minor_collections, 0);
    assert_eq!(c.heap.quick_stats().minor_words, 20_000);
}

#[test]
fn integers_wrap_to_63_bits() {
    assert_eq!(Value::int(i64::MAX).as_int(), -1);
    assert_eq!(Value::int(-1 << 62).as_int(), -1 << 62);
    assert_eq!(Value::int(-3).as_int(), -3);
    assert!(Value::int(0).is_int() && !Value::int(0).is_block());
    assert_eq!(Value::UNIT.bits(), 1);
}

#[test]
fn strings_have_all_lengths() {
    let mut heap = Heap::new(config(Mode::Plain));
    for len in 0..40 {
        // SAFETY: nothing is kept across allocations.
        unsafe {
            let s = heap.alloc_string(&mut NoRoots, len).unwrap();
            assert_eq!(s.tag(), tag::STRING);
            assert_eq!(s.wosize(), len / 8 + 1);
            assert_eq!(s.bytes(), vec![0; len]);
        }
    }
}
