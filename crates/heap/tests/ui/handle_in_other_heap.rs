//! A handle is not one of another heap, whichever scope is within the other.

use spelter_heap::Heap;

fn main() {
    let (mut one, mut two) = (Heap::default(), Heap::default());
    one.scope(|a| {
        let x = a.string(b"x").unwrap();
        two.scope(|b| {
            let y = b.string(b"y").unwrap();
            b.bytes(x).unwrap();
            a.bytes(y).unwrap();
        });
    });
}
