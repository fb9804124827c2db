//! A handle does not outlive its scope, as its result or otherwise.

use spelter_heap::{Handle, Heap};

fn main() {
    let mut heap = Heap::default();
    let result = heap.scope(|s| s.string(b"x").unwrap());
    let mut kept: Option<Handle<'_>> = None;
    heap.scope(|s| kept = Some(s.string(b"x").unwrap()));
    heap.scope(|s| s.same(result, kept.unwrap()));
}
