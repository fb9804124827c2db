//! What is peeked at is not kept in another heap, nor in a scope within that.

use spelter_heap::Heap;

fn main() {
    let (mut one, mut two) = (Heap::default(), Heap::default());
    one.scope(|a| {
        let x = a.string(b"x").unwrap();
        let peek = a.peek(x);
        two.scope(|b| {
            b.scope(|b| b.block(0, [peek.keep()]).map(|_| ()).unwrap());
        });
    });
}
