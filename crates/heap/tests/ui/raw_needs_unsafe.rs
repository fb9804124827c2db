//! The raw interface needs `unsafe`.

fn main() {
    let mut heap = spelter_heap::Heap::default();
    let value = heap.alloc(&mut spelter_heap::raw::NoRoots, 1, 0).unwrap();
    value.field(0);
}
