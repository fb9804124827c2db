//! A machine is borrowed while it runs: a primitive can use only the context that it is lent.
use spelter::Vm;

fn main() {
    let mut vm = Vm::builder().build();
    let _ = vm.with(|_| {
        vm.collect().map_err(|_| spelter::Raise::NotFound)
    });
}
