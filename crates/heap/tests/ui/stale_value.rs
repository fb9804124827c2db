//! A value does not survive an allocation.

fn main() {
    let mut heap = spelter_heap::Heap::default();
    let root = heap.string(b"x").unwrap();
    let value = heap.get(&root);
    heap.string(b"y").unwrap();
    assert_eq!(value.bytes(), Ok(&b"x"[..]));
}
