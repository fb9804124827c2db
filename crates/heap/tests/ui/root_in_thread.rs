//! A root stays in the thread of its heap.

fn main() {
    let mut heap = spelter_heap::Heap::default();
    let root = heap.string(b"x").unwrap();
    std::thread::spawn(move || drop(root));
}
