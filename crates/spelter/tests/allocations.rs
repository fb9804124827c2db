//! A call in either direction takes no memory of the host beyond what its values need.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use spelter::{Function, ToOcaml, Vm};

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: it only passes on.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often memory is allocated in the second hundred of calls.
fn allocations(mut call: impl FnMut(i64)) -> usize {
    (0..100).for_each(&mut call);
    let before = COUNT.get();
    (100..200).for_each(&mut call);
    COUNT.get() - before
}

#[derive(ToOcaml)]
struct Point {
    x: f64,
    y: f64,
}

#[derive(ToOcaml)]
#[expect(dead_code, reason = "a variant is bound with all of its constructors")]
enum Tree {
    Leaf,
    Node(Box<Tree>, i64, Box<Tree>),
}

#[test]
fn calls_and_callbacks_do_not_allocate() {
    let mut vm = Vm::builder().build();
    vm.run_bytes("host.byte", include_bytes!("fixtures/typed/host.byte")).expect("it runs");
    let unit = vm.load_bytes("rule.cmo", include_bytes!("fixtures/typed/rule.cmo")).expect("it loads");
    let unit = unit.with_interface(include_bytes!("fixtures/typed/rule.cmi")).expect("it is its interface");
    let triple: Function<(i64,), i64> = vm.function(&unit, "Sub.triple").expect("it agrees");
    assert_eq!(allocations(|n| assert_eq!(triple.call(&mut vm, (n,)).expect("it runs"), 3 * n)), 0);
    let mirror: Function<(Point,), spelter::Value> = vm.function(&unit, "mirror").expect("it agrees");
    let kept =
        allocations(|n| drop(mirror.call(&mut vm, (Point { x: n as f64, y: 0.0 },)).expect("it runs")));
    assert_eq!(kept, 0, "a handle reuses the place of one that was dropped");
    let insert: Function<(i64, &Tree), spelter::Value> = vm.function(&unit, "insert").expect("it agrees");
    assert_eq!(allocations(|n| drop(insert.call(&mut vm, (n, &Tree::Leaf)).expect("it runs"))), 0);

    let mut vm = Vm::builder()
        .primitive("host_double", |n: i64| 2 * n)
        .primitive("host_join", |a: String, b: String| a + &b)
        .primitive("host_fail", |_: String| 0i64)
        .build();
    vm.run_bytes("host.byte", include_bytes!("fixtures/host.byte")).expect("it runs");
    vm.load_bytes("calls.cmo", include_bytes!("fixtures/calls.cmo")).expect("it loads");
    let double: spelter::Value = vm.value("double").expect("it is registered");
    let counted = allocations(|n| assert_eq!(vm.call_value::<i64>(&double, (n,)).expect("it runs"), 2 * n));
    assert_eq!(counted, 0, "a host function");
}
