//! A value of the host moves with its machine to another thread.

use std::rc::Rc;

use spelter::{Host, Vm};

fn main() {
    let _ = Vm::builder().primitive("create", || Host::new(Rc::new(5)));
    let _ = Vm::builder().primitive("read", |_: &Host<Rc<i64>>| 5);
}
