//! A scope's context accepts only the locals that were passed in.
use spelter::Vm;

fn main() {
    let mut vm = Vm::builder().build();
    let _ = vm.with(|cx| {
        let outer = cx.int(1);
        cx.scope([], |cx, []| cx.block(0, &[outer]).map(drop))
    });
}
