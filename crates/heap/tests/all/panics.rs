//! Code that the collector calls may panic: the panic resumes after the collection, and the heap is consistent.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use spelter_heap::raw::{CustomOps, Roots, Visitor};
use spelter_heap::{Config, Heap, Mode};

use crate::client::{COLLECTING, Client, config};

/// Counts its drops, and panics in each.
struct Mine(Rc<Cell<usize>>);

impl Drop for Mine {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
        panic!("a mine");
    }
}

fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload.downcast_ref::<&str>().copied().unwrap_or_default()
}

#[test]
fn all_drops_run_and_the_first_panic_resumes() {
    for mode in COLLECTING {
        let drops = Rc::new(Cell::new(0));
        let mut heap = Heap::new(config(mode));
        let kept = heap.string(b"zinc").unwrap();
        let mines: Vec<_> =
            (0..10).map(|_| heap.external(Box::new(Mine(drops.clone())), 0).unwrap()).collect();
        drop(mines);
        let panicked = catch_unwind(AssertUnwindSafe(|| heap.collect())).unwrap_err();
        assert_eq!(message(&*panicked), "a mine");
        assert_eq!(drops.get(), 10);
        assert!(!heap.is_broken());
        heap.collect();
        assert_eq!(heap.get(&kept).bytes(), Ok(b"zinc".as_slice()));
        // Externals that die with the heap panic, too.
        let last = heap.external(Box::new(Mine(drops.clone())), 0).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| drop((heap, last)))).unwrap_err();
        assert_eq!(message(&*panicked), "a mine");
        assert_eq!(drops.get(), 11);
    }
}

#[test]
fn dropping_a_heap_while_unwinding_does_not_panic() {
    let drops = Rc::new(Cell::new(0));
    let mut heap = Heap::new(Config::default());
    let mine = heap.external(Box::new(Mine(drops.clone())), 0).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _both = (heap, mine);
        panic!("the first");
    }));
    assert_eq!(message(&*panicked.unwrap_err()), "the first");
    assert_eq!(drops.get(), 1);
}

static EXPLOSIVE: CustomOps = CustomOps::new(c"_explosive", &()).finalized_by(|_| panic!("finalize"));

#[test]
fn a_finalize_that_panics() {
    for mode in COLLECTING {
        let mut c = Client::new(mode);
        for _ in 0..5 {
            // SAFETY: the value is not kept.
            unsafe { c.heap.alloc_custom(&mut c.stack, &EXPLOSIVE, 1, 0).unwrap() };
        }
        c.full();
        assert_eq!(message(&*c.heap.take_panic().expect("the first panic")), "finalize");
        assert!(c.heap.take_panic().is_none() && !c.heap.is_broken());
        c.full();
    }
}

/// Roots that cannot be scanned.
struct Lost;

impl Roots for Lost {
    fn scan(&mut self, _: &mut Visitor<'_>) {
        panic!("lost");
    }
}

#[test]
fn a_heap_whose_collection_panicked_is_unusable() {
    let drops = Rc::new(Cell::new(0));
    let mut heap = Heap::new(config(Mode::Plain));
    let root = heap.external(Box::new(Mine(drops.clone())), 0).unwrap();
    // SAFETY: the only value is in a root.
    let lost = catch_unwind(AssertUnwindSafe(|| unsafe { heap.full_major(&mut Lost) }));
    assert_eq!(message(&*lost.unwrap_err()), "lost");
    assert!(heap.is_broken());
    let again = catch_unwind(AssertUnwindSafe(|| heap.collect())).unwrap_err();
    assert!(message(&*again).contains("cannot be used"));
    drop((root, heap));
    assert_eq!(drops.get(), 0, "the data of blocks stays alive");
}
