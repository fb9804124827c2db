//! A handle of an inner scope does not become one of the outer scope.

use spelter_heap::{Handle, Heap, Var};

fn main() {
    let mut heap = Heap::default();
    heap.scope(|s| {
        let mut outer = Handle::ZERO;
        s.scope(|s| outer = s.string(b"x").unwrap());
        let result = s.scope(|s| s.string(b"x").unwrap());
        let var: Var<'_> = s.scope(|s| s.var(Handle::ZERO));
        s.get(var);
        s.same(outer, result);
    });
}
