//! Trusting code is a promise, and so unsafe.
use spelter::Vm;

fn main() {
    let mut vm = Vm::builder().trusted().build();
    vm.machine();
}
