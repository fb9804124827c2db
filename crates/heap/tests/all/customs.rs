//! Custom blocks and externals: finalised exactly once, in whichever generation they die.

use crate::client::{COLLECTING, Client};
use spelter_heap::Mode;
use spelter_heap::raw::CustomOps;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

thread_local! {
    static BURIED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

static OPS: CustomOps = CustomOps::new(c"test", &"any data")
    .finalized_by(|payload| BURIED.with_borrow_mut(|b| b.push(payload[0])))
    .counting();
static PLAIN: CustomOps = CustomOps::new(c"plain", &()).owning().counting();

fn push_custom(c: &mut Client, id: u64, words: usize, outside: usize) {
    // SAFETY: pushed at once.
    let v = unsafe { c.heap.alloc_custom(&mut c.stack, &OPS, words, outside).unwrap() };
    // SAFETY: just allocated.
    let payload = unsafe { v.custom_payload() };
    assert_eq!(payload.len(), words);
    payload[0] = id;
    c.stack.0.push(v);
}

fn buried() -> Vec<u64> {
    let mut ids = BURIED.take();
    ids.sort_unstable();
    ids
}

#[test]
fn each_custom_block_is_finalised_once() {
    for mode in COLLECTING {
        buried();
        let mut c = Client::new(mode);
        // Blocks that die young, old, large, and with the heap.
        push_custom(&mut c, 0, 1, 0);
        push_custom(&mut c, 1, 1, 100);
        push_custom(&mut c, 2, 1000, 0);
        push_custom(&mut c, 3, 1, 1 << 20);
        push_custom(&mut c, 4, 3, 0);
        c.stack.0.remove(0);
        c.full();
        assert_eq!(buried(), [0]);
        c.compact();
        assert!(buried().is_empty());
        assert_eq!(c.heap.outside_bytes(), 100 + (1 << 20));
        c.stack.0.truncate(1);
        c.full();
        assert_eq!(buried(), [2, 3, 4]);
        assert_eq!(c.heap.outside_bytes(), 100);
        // SAFETY: on the stack.
        unsafe {
            assert_eq!(c.top().custom_ops().name, "test");
            assert_eq!(c.top().custom_ops().behaviour.downcast_ref(), Some(&"any data"));
            assert_eq!(c.top().custom_payload(), [1]);
        }
        push_custom(&mut c, 5, 1, 0);
        drop(c);
        assert_eq!(buried(), [1, 5]);
    }
}

#[test]
fn a_minor_collection_finalises_what_dies_young() {
    buried();
    let mut c = Client::new(Mode::Plain);
    push_custom(&mut c, 0, 1, 0);
    push_custom(&mut c, 1, 200, 50);
    push_custom(&mut c, 2, 1, 50);
    c.pop();
    c.pop();
    c.minor();
    assert_eq!(buried(), [1, 2]);
    assert_eq!(c.heap.outside_bytes(), 0);
}

#[test]
fn a_heap_that_never_collects_finalises_at_its_end() {
    buried();
    let mut c = Client::new(Mode::Never);
    for i in 0..10_000 {
        push_custom(&mut c, i, 1, 0);
    }
    c.stack.0.clear();
    c.full();
    assert!(buried().is_empty());
    drop(c);
    assert_eq!(buried(), (0..10_000).collect::<Vec<_>>());
}

thread_local! {
    /// What retired blocks leave, and how many of these have been dropped.
    static LEFT: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// What a block leaves.
struct Left(u64);
impl Drop for Left {
    fn drop(&mut self) {
        LEFT.set((LEFT.get().0, LEFT.get().1 + self.0));
    }
}

static RETIRED: CustomOps = CustomOps::new(c"retired", &())
    .retired_by(|payload| {
        LEFT.set((LEFT.get().0 + payload[0], LEFT.get().1));
        (payload[0] % 2 == 1).then(|| Box::new(Left(payload[0])) as Box<dyn std::any::Any>)
    })
    .counting()
    .sealed(9);

#[test]
fn what_a_block_leaves_is_dropped_after_the_collection() {
    for mode in COLLECTING {
        LEFT.set((0, 0));
        let mut c = Client::new(mode);
        for i in 1..=4 {
            // SAFETY: pushed at once.
            let v = unsafe { c.heap.alloc_custom(&mut c.stack, &RETIRED, 2, 1000).unwrap() };
            // SAFETY: just allocated.
            unsafe { v.custom_payload()[0] = 1 << (4 * i) | i & 1 };
            c.stack.0.push(v);
        }
        c.full();
        assert_eq!((LEFT.get(), c.heap.outside_bytes()), ((0, 0), 4000));
        c.stack.0.drain(..2);
        c.full();
        assert_eq!((LEFT.get(), c.heap.outside_bytes()), ((0x111, 0x11), 2000));
        drop(c);
        assert_eq!(LEFT.get(), (0x11112, 0x1012));
    }
    assert!(RETIRED.is_mourned() && RETIRED.seal() == 9);
}

struct Noisy(Rc<Cell<usize>>, &'static str);
impl Drop for Noisy {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn each_external_is_dropped_once() {
    for mode in [Mode::Plain, Mode::Torture, Mode::Never] {
        let drops = Rc::new(Cell::new(0));
        let mut c = Client::new(mode);
        for outside in [0, 10, 1 << 20] {
            for _ in 0..10 {
                let data = Box::new(Noisy(drops.clone(), "hello"));
                // SAFETY: pushed at once.
                let v = unsafe { c.heap.alloc_external(&mut c.stack, &PLAIN, data, outside).unwrap() };
                c.stack.0.push(v);
            }
        }
        c.compact();
        for &v in &c.stack.0 {
            // SAFETY: on the stack.
            unsafe {
                assert_eq!(v.external::<Noisy>().unwrap().1, "hello");
                assert!(v.external::<String>().is_none());
                assert!(v.custom_payload().is_empty());
            }
        }
        assert_eq!(drops.get(), 0);
        c.stack.0.truncate(12);
        c.minor();
        c.full();
        assert_eq!(drops.get(), if mode == Mode::Never { 0 } else { 18 });
        drop(c);
        assert_eq!(drops.get(), 30);
    }
}

#[test]
fn a_custom_block_is_never_taken_for_an_external() {
    let mut c = Client::new(Mode::Plain);
    push_custom(&mut c, 1, 2, 0);
    // SAFETY: on the stack.
    assert!(unsafe { c.top().external::<u64>() }.is_none());
}

#[test]
fn word_0_is_a_value_that_leads_out_of_the_heap() {
    for mode in [Mode::Plain, Mode::Torture, Mode::Never] {
        let mut c = Client::new(mode);
        push_custom(&mut c, 0, 1, 100);
        // SAFETY: on the stack; both words of the new block are filled, and nothing is kept elsewhere.
        let (kind, weak) = unsafe {
            let kind = c.top().field(0);
            let b = c.heap.alloc(&mut c.stack, 2, 0).unwrap();
            c.heap.modify(b, 0, kind);
            c.heap.modify(b, 1, c.top());
            c.stack.0.push(b);
            c.stack.0.push(kind);
            let e = c.heap.ephe_create(&mut c.stack, 1).unwrap();
            c.heap.ephe_set_key(e, 0, kind);
            c.stack.0.push(e);
            (kind, c.heap.weak_new(kind).unwrap())
        };
        for _ in 0..3 {
            c.minor();
            c.full();
            c.compact();
            c.verify();
        }
        // SAFETY: on the stack.
        unsafe {
            let e = c.pop();
            assert_eq!(c.heap.ephe_get_key(e, 0), Some(kind));
            assert_eq!((c.pop(), c.heap.weak_get(weak)), (kind, Some(kind)));
            let b = c.pop();
            assert_eq!((b.field(0), b.field(1)), (kind, c.top()));
            assert_eq!(c.top().field(0), kind);
            assert_eq!(c.heap.reachable_words(kind), Ok(0));
            assert_eq!(c.heap.reachable_words(b), Ok(3 + 4));
            c.heap.weak_drop(weak);
            assert!(kind.is_outside() && !b.is_outside() && !c.top().is_outside());
        }
        buried();
    }
}

#[test]
#[should_panic(expected = "custom blocks of this kind own no value")]
fn a_value_needs_a_kind_that_owns_one() {
    let mut c = Client::new(Mode::Plain);
    // SAFETY: nothing is kept.
    let _ = unsafe { c.heap.alloc_external(&mut c.stack, &OPS, Box::new(1), 0) };
}
