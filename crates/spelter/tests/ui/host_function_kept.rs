//! A machine keeps host functions: what they capture must be theirs, and may move to another thread with the machine.

use std::rc::Rc;

use spelter::Vm;

fn main() {
    let shared = Rc::new(5);
    let _ = Vm::builder().primitive_mut("shared", move |n: i64| n + *shared);
}
