//! Rust data in the heap cannot hold handles: the collector does not look into it.

use spelter_heap::Heap;

fn main() {
    let mut heap = Heap::default();
    heap.scope(|s| {
        let x = s.string(b"x").unwrap();
        s.external(vec![x], 0).unwrap();
    });
}
