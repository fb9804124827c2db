//! A scope's context takes the locals that it was handed, and no others.
use spelter::Vm;

fn main() {
    let mut vm = Vm::builder().build();
    let _ = vm.with(|cx| {
        let outer = cx.int(1);
        cx.scope([], |cx, []| cx.block(0, &[outer]).map(drop))
    });
}
