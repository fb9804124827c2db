//! A value of the host that a guest holds is borrowed for as long as the context lasts, in which the guest's value stays.

use spelter::{Host, Vm};

fn main() {
    let mut vm = Vm::builder().build();
    let _escaped = vm.with(|cx| {
        let text = cx.new_host(Host::new(String::from("a text")))?;
        Ok(cx.host::<String>(text)?)
    });
}
