//! A local cannot leave the call that it was made in.
use std::cell::RefCell;

use spelter::{Local, Vm};

fn main() {
    let mut vm = Vm::builder().build();
    let escaped: RefCell<Option<Local<'_>>> = RefCell::new(None);
    let _ = vm.with(|cx| {
        *escaped.borrow_mut() = Some(cx.int(1));
        Ok(())
    });
}
