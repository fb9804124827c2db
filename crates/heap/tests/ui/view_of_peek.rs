//! A view that only peeks does not survive an allocation, nor do references into it.

use spelter_heap::{Heap, View};

#[derive(View)]
struct Name<'p> {
    text: &'p str,
}

fn main() {
    let mut heap = Heap::default();
    heap.scope(|s| {
        let name = s.make(Name { text: "x" }).unwrap();
        let view: Name<'_> = s.view(name).unwrap();
        s.make(Name { text: "y" }).unwrap();
        println!("{}", view.text);
    });
}
