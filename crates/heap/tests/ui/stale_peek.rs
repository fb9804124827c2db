//! What is peeked at, and what it holds, does not survive an allocation, a write or a collection.

use spelter_heap::Heap;

fn main() {
    let mut heap = Heap::default();
    heap.scope(|s| {
        let x = s.string(b"x").unwrap();
        let peek = s.peek(x);
        s.string(b"y").unwrap();
        peek.keep();
        let bytes = s.bytes(x).unwrap();
        s.bytes_mut(x).unwrap()[0] = 1;
        assert_eq!(bytes, b"x");
        let data = s.external(String::new(), 0).unwrap();
        let text: &String = s.data(data).unwrap();
        s.collect();
        println!("{text}");
    });
}
