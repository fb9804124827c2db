//! A variable is not one of another heap.

use spelter_heap::{Handle, Heap};

fn main() {
    let (mut one, mut two) = (Heap::default(), Heap::default());
    one.scope(|a| {
        let var = a.var(Handle::ZERO);
        two.scope(|b| {
            let y = b.string(b"y").unwrap();
            b.set(var, y);
        });
    });
}
