//! Handles stay in the thread of their heap.

use spelter_heap::Heap;

fn main() {
    let mut heap = Heap::default();
    heap.scope(|s| {
        let x = s.string(b"x").unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| x.is_int());
        });
    });
}
