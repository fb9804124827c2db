//! A local cannot be the result of a closure.
use spelter::Vm;

fn main() {
    let mut vm = Vm::builder().build();
    let _ = vm.with(|cx| Ok(cx.int(1)));
}
