//! What a machine holds can be sent to another thread with it.
use std::rc::Rc;

use spelter::Vm;

fn main() {
    let count = Rc::new(1);
    Vm::builder().primitive("count", move |n: i64| n + *count);
}
