//! A value does not outlive its heap.

fn main() {
    let value = {
        let mut heap = spelter_heap::Heap::default();
        let root = heap.string(b"x").unwrap();
        heap.get(&root)
    };
    assert_eq!(value.bytes(), Ok(&b"x"[..]));
}
