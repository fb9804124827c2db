//! Values kept by the host cannot leave the machine's thread.
use spelter::Vm;

fn main() {
    let mut vm = Vm::builder().build();
    let value: spelter::Value = vm.value("name").unwrap();
    std::thread::spawn(move || drop(value));
}
