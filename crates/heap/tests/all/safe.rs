//! The safe interface: what compiles works, and what must not compile does not.

use spelter_heap::{Config, Heap, Mode, Root, WrongType};

const MODES: [Mode; 3] = [Mode::Plain, Mode::Torture, Mode::Never];

fn heap(mode: Mode) -> Heap {
    Heap::new(Config { mode, torture_period: 5, ..Config::default() })
}

#[test]
fn values_can_be_built_read_and_changed() {
    for mode in MODES {
        let mut heap = heap(mode);
        let s = heap.string(b"hello").unwrap();
        let f = heap.float(1.5);
        let x = heap.external(Box::new(vec![1, 2, 3]), 24).unwrap();
        let b = heap.block(3, &[(&s).into(), 7.into(), (&f).into(), (&x).into()]).unwrap();
        let empty = heap.block(9, &[]).unwrap();
        drop((s, f, x));
        heap.collect();
        for _ in 0..1000 {
            heap.string(&[0; 1000]).unwrap();
        }
        let v = heap.get(&b);
        assert_eq!((v.tag(), v.wosize()), (Ok(3), Ok(4)));
        assert_eq!(v.field(0).unwrap().bytes(), Ok(&b"hello"[..]));
        assert_eq!(v.field(1).unwrap().int(), Ok(7));
        assert_eq!(v.field(2).unwrap().float(), Ok(1.5));
        assert_eq!(v.field(3).unwrap().external(), Ok(&vec![1, 2, 3]));
        assert!(v.same(heap.get(&b)) && !v.same(v.field(0).unwrap()));
        assert_eq!(heap.get(&empty).wosize(), Ok(0));
        let inner = heap.field(&b, 0).unwrap();
        heap.set(&b, 1, &b).unwrap();
        heap.set(&b, 0, -1).unwrap();
        assert!(heap.get(&b).field(1).unwrap().same(heap.get(&b)));
        assert_eq!(heap.get(&inner).bytes(), Ok(&b"hello"[..]));
        let copy = inner.clone();
        heap.assign(&inner, 5);
        assert_eq!(heap.get(&inner).int(), Ok(5));
        assert!(heap.get(&copy).bytes().is_ok());
    }
}

#[test]
fn kinds_and_bounds_are_checked() {
    let mut heap = heap(Mode::Plain);
    let s = heap.string(b"x").unwrap();
    let n = heap.int(3);
    let x = heap.external(Box::new(5u8), 0).unwrap();
    let b = heap.block(0, &[1.into()]).unwrap();
    let text = |w: WrongType| w.to_string();
    assert_eq!(text(heap.get(&n).field(0).unwrap_err()), "wrong type: expected a block of values");
    assert_eq!(text(heap.get(&s).field(0).unwrap_err()), "wrong type: expected a block of values");
    assert_eq!(text(heap.get(&b).field(1).unwrap_err()), "wrong type: expected a block with more fields");
    assert_eq!(text(heap.get(&b).int().unwrap_err()), "wrong type: expected an integer");
    assert_eq!(text(heap.get(&b).bytes().unwrap_err()), "wrong type: expected a string");
    assert_eq!(text(heap.get(&s).float().unwrap_err()), "wrong type: expected a float");
    assert_eq!(text(heap.get(&s).float_len().unwrap_err()), "wrong type: expected a float array");
    assert_eq!(text(heap.get(&n).tag().unwrap_err()), "wrong type: expected a block");
    assert_eq!(text(heap.get(&x).external::<i8>().unwrap_err()), "wrong type: expected i8");
    assert_eq!(text(heap.get(&s).custom_ops().err().unwrap()), "wrong type: expected a custom block");
    // An external has no payload to read.
    let error = heap.get(&x).custom_word(0).unwrap_err();
    assert_eq!(text(error), "wrong type: expected a custom block with a larger payload");
    assert_eq!(text(heap.set(&b, 1, 0).unwrap_err()), "wrong type: expected a block with more fields");
    assert_eq!(text(heap.set(&s, 0, 0).unwrap_err()), "wrong type: expected a block of values");
    assert_eq!(text(heap.set(&n, 0, 0).unwrap_err()), "wrong type: expected a block of values");
}

#[test]
fn roots_keep_and_release() {
    let mut heap = heap(Mode::Plain);
    let roots: Vec<Root> = (0..100).map(|n| heap.block(0, &[n.into()]).unwrap()).collect();
    let copies = roots.clone();
    drop(roots);
    heap.collect();
    assert_eq!(heap.stats().live_blocks, 100);
    for (n, root) in copies.iter().enumerate() {
        assert_eq!(heap.get(root).field(0).unwrap().int(), Ok(n as i64));
    }
    drop(copies);
    heap.collect();
    assert_eq!(heap.stats().live_blocks, 0);
}

#[test]
fn a_root_may_outlive_its_heap() {
    let mut heap = heap(Mode::Plain);
    let root = heap.string(b"gone").unwrap();
    drop(heap);
    drop(root.clone());
}

#[test]
#[should_panic(expected = "this root belongs to another heap")]
fn a_root_of_another_heap_is_refused() {
    let mut one = heap(Mode::Plain);
    let two = heap(Mode::Plain);
    let root = one.string(b"x").unwrap();
    two.get(&root);
}

#[test]
#[should_panic(expected = "tag 252 is not for blocks of values")]
fn a_block_of_values_needs_a_fitting_tag() {
    heap(Mode::Plain).block(252, &[1.into()]).unwrap();
}

#[test]
fn stale_values_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
