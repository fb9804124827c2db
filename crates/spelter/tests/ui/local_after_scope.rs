//! A local cannot be used after the scope that it was made in.
use spelter::Vm;

fn main() {
    let mut vm = Vm::builder().build();
    let _ = vm.with(|cx| {
        let inner = cx.scope([], |cx, []| cx.int(1));
        cx.block(0, &[inner]).map(drop)
    });
}
