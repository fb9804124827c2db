//! Bytes borrowed from a value do not survive a collection.

fn main() {
    let mut heap = spelter_heap::Heap::default();
    let root = heap.string(b"x").unwrap();
    let bytes = heap.get(&root).bytes().unwrap();
    heap.collect();
    assert_eq!(bytes, b"x");
}
