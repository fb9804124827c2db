//! Trusting code requires a promise by the host, and is therefore unsafe.
use spelter::Vm;

fn main() {
    let mut vm = Vm::builder().trusted().build();
    vm.machine();
}
