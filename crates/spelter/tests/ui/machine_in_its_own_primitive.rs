//! A machine is borrowed while it runs: what it lends is all that a primitive has of it.
use spelter::Vm;

fn main() {
    let mut vm = Vm::builder().build();
    let _ = vm.with(|_| {
        vm.collect().map_err(|_| spelter::Raise::NotFound)
    });
}
