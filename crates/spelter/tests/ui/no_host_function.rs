//! What is no function of OCaml values is refused with a hint.

use std::time::Duration;

use spelter::Vm;

fn main() {
    let _ = Vm::builder().primitive("wait", |_: Duration| ());
    let _ = Vm::builder().primitive("now", |_: i64| Duration::ZERO);
    let _ = Vm::builder().primitive("length", |text: &str| text.len());
}
