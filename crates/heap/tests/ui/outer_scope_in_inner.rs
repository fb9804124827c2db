//! While an inner scope is open, the outer one cannot be used.

use spelter_heap::Heap;

fn main() {
    let mut heap = Heap::default();
    heap.scope(|outer| {
        outer.scope(|inner| {
            let x = inner.string(b"x").unwrap();
            outer.string(b"y").unwrap();
            inner.bytes(x).unwrap();
        });
    });
}
