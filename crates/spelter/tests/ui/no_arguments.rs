//! What is no list of arguments is refused with a hint.

use spelter::Vm;

fn main() {
    let mut vm = Vm::builder().build();
    let _: Result<i64, _> = vm.call("decide", 1i64);
    let _: Result<i64, _> = vm.call("decide", ());
    let _: Result<i64, _> = vm.call("decide", (std::time::Duration::ZERO,));
}
